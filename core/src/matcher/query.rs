//! query-string (spec: dataplane §1.5.5): pairs between `&`, split at their first `=`; any pair may fulfil
//! any entry; key and value of one entry meet in the same pair. Case never matters.

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
    /// K-08: the same with percent-encoding taken off.
    decoded: Option<Box<(Option<Glob>, Glob)>>,
}

impl Pair {
    pub(crate) fn new(key: Option<&str>, value: &str, decode: bool) -> Self {
        let glob = |text: &str, decode| Glob::with_escapes(text, Case::Insensitive, decode);
        Pair {
            key: key.map(|k| glob(k, false)),
            value: glob(value, false),
            decoded: decode.then(|| Box::new((key.map(|k| glob(k, true)), glob(value, true)))),
        }
    }

    fn holds(&self, key: &[u8], value: &[u8]) -> bool {
        let raw = self.key.as_ref().is_none_or(|k| k.matches(key)) && self.value.matches(value);
        raw || self.decoded.as_deref().is_some_and(|(k, v)| {
            k.as_ref().is_none_or(|k| k.matches_decoded(key)) && v.matches_decoded(value)
        })
    }
}

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
            self.0.iter().any(|entry| entry.holds(key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(entries: &[(Option<&str>, &str)], query: &str) -> bool {
        let q = Query::new(entries.iter().map(|(k, v)| Pair::new(*k, v, false)).collect());
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
        let q = Query::new(vec![Pair::new(Some("q"), "a%20b%", true)]);
        let long = [b"q=".as_slice(), &b"x".repeat(4096), b"&q=a b%"].concat();
        for query in [&b"q=a%20b%"[..], b"%71=a b%25", &long] {
            assert!(q.holds(Some(query), &Options::default()), "{}", query.escape_ascii());
        }
        assert!(
            !Query::new(vec![Pair::new(Some("q"), "a b", false)])
                .holds(Some(b"q=a%20b"), &Options::default())
        );
    }
}
