//! query-string (spec: dataplane §1.5.5): pairs between `&`, split at their first `=`; any pair may fulfil
//! any entry; key and value of one entry meet in the same pair. Case never matters.

use smallvec::SmallVec;

use super::{Case, Glob};
use crate::options::Options;

/// The entries of one condition.
#[derive(Debug)]
pub(crate) struct Query(Vec<Pair>);

/// An entry: a value, and the key it must stand with.
#[derive(Debug)]
pub(crate) struct Pair {
    key: Option<Glob>,
    value: Glob,
}

impl Pair {
    pub(crate) fn new(key: Option<&str>, value: &str) -> Self {
        Pair {
            key: key.map(|k| Glob::with_escapes(k, Case::Insensitive)),
            value: Glob::with_escapes(value, Case::Insensitive),
        }
    }

    fn holds(&self, key: &[u8], value: &[u8]) -> bool {
        self.key.as_ref().is_none_or(|k| k.matches(key)) && self.value.matches(value)
    }
}

/// A key or value longer than this is compared as sent: decoding it would need memory of its own.
const DECODED: usize = 512;

impl Query {
    pub(crate) fn new(pairs: Vec<Pair>) -> Self {
        Query(pairs)
    }

    pub(super) fn holds(&self, query: Option<&[u8]>, options: &Options) -> bool {
        let Some(query) = query else { return false };
        query.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).any(|pair| {
            let (key, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
                None if options.query_bare_key => (pair, &b""[..]),
                None => return false,
            };
            if !options.query_decode {
                return self.0.iter().any(|entry| entry.holds(key, value));
            }
            let (key, value) = (decoded(key), decoded(value));
            self.0.iter().any(|entry| entry.holds(&key, &value))
        })
    }
}

/// K-08: percent-decoded; in place on the stack.
fn decoded(text: &[u8]) -> SmallVec<[u8; DECODED]> {
    let mut out = SmallVec::new();
    if text.len() > DECODED {
        return SmallVec::from_slice(text.get(..DECODED).unwrap_or_default());
    }
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let byte = (*first == b'%').then(|| super::subject::hex_byte(tail)).flatten();
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(entries: &[(Option<&str>, &str)], query: &str) -> bool {
        let q = Query::new(entries.iter().map(|(k, v)| Pair::new(*k, v)).collect());
        q.holds(Some(query.as_bytes()), &Options::default())
    }

    #[test]
    fn pairs() {
        assert!(holds(&[(Some("version"), "v1")], "a=b&VERSION=V1&c"));
        assert!(!holds(&[(Some("version"), "v1")], "version=v2&a=v1"), "key and value of one pair");
        assert!(holds(&[(None, "*example*")], "x=myexample1"));
        assert!(!holds(&[(None, "*example*")], "example=x"));
        assert!(holds(&[(Some("a"), "*")], "a"), "K-09");
        assert!(!holds(&[(Some("b"), "2")], "a=1;b=2"));
        assert!(holds(&[(Some("a"), "b=c")], "a=b=c"));
        assert!(!holds(&[(None, "*")], ""));
        assert!(!holds(&[(Some("q"), "a b")], "q=a%20b"), "K-08");
    }

    #[test]
    fn decoding_is_a_knob() {
        let options = Options { query_decode: true, ..Options::default() };
        let q = Query::new(vec![Pair::new(Some("q"), "a b%")]);
        assert!(q.holds(Some(b"q=a%20b%"), &options));
    }
}
