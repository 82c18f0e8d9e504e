//! The case of header names for targets of HTTP/1 that a client of HTTP/2 asks: all are lower case, as they came,
//! but for those that the load balancer writes itself (spec: dataplane §6.4). hyper writes every name in the same
//! case, so its heads are changed on their way out; nothing gets longer or shorter.

use std::borrow::Cow;

use super::http1::{Decoder, Framing, Head, Name};

/// The names in the load balancer's own case.
const OWN: [&str; 7] = [
    "Host",
    "Upgrade",
    "Connection",
    "X-Amzn-Trace-Id",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
];

/// Where heads are in what is written to a connection.
#[derive(Debug)]
pub(crate) enum HeaderCase {
    /// A head, of which so much is written.
    Head(Vec<u8>),
    Body(Decoder),
    /// What is written makes no sense, and is left alone.
    Lost,
}

impl Default for HeaderCase {
    fn default() -> Self {
        HeaderCase::Head(Vec::new())
    }
}

impl HeaderCase {
    /// What to write instead of `bytes`, which are the next ones.
    pub(crate) fn of<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let HeaderCase::Head(written) = self else { return Cow::Borrowed(bytes) };
        let mut whole = [written.as_slice(), bytes].concat();
        let end = end_of_head(&whole).unwrap_or(whole.len());
        let mut at = 0;
        while let Some(line) = whole.get_mut(at..end).filter(|line| !line.is_empty()) {
            for name in OWN {
                let colon = line.get(name.len()) == Some(&b':');
                if let Some(start) = line.get_mut(..name.len())
                    && colon
                    && start.eq_ignore_ascii_case(name.as_bytes())
                {
                    start.copy_from_slice(name.as_bytes());
                }
            }
            at += memchr::memchr(b'\n', line).map_or(line.len(), |newline| newline + 1);
        }
        whole.drain(..written.len());
        Cow::Owned(whole)
    }

    /// `bytes` have been written, whatever their case was.
    pub(crate) fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self {
                HeaderCase::Head(written) => {
                    let before = written.len();
                    written.extend_from_slice(bytes);
                    let Some(end) = end_of_head(written) else { return };
                    written.truncate(end);
                    bytes = bytes.get(end - before..).unwrap_or_default();
                    let body = Decoder::new(framing(written));
                    *self = if body.is_done() { Self::default() } else { HeaderCase::Body(body) };
                }
                HeaderCase::Body(body) => {
                    let Ok(piece) = body.next(bytes) else {
                        *self = HeaderCase::Lost;
                        return;
                    };
                    bytes = bytes.get(piece.consumed..).unwrap_or_default();
                    if body.is_done() {
                        *self = Self::default();
                    }
                }
                HeaderCase::Lost => return,
            }
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn framing(head: &[u8]) -> Framing {
    let head = Head::again(head);
    if head.first(Name::TransferEncoding).is_some() {
        return Framing::Chunked;
    }
    let length = head.first(Name::ContentLength).and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
    length.map_or(Framing::Empty, Framing::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of it, written so many bytes at a time of what is offered.
    fn written(all: &[&str], at_a_time: usize) -> String {
        let (mut case, mut out) = (HeaderCase::default(), Vec::new());
        for offered in all {
            let mut rest = offered.as_bytes();
            while !rest.is_empty() {
                let changed = case.of(rest).into_owned();
                assert_eq!(changed.len(), rest.len());
                let n = rest.len().min(at_a_time);
                out.extend_from_slice(&changed[..n]);
                case.wrote(&rest[..n]);
                rest = &rest[n..];
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_of_ours_have_their_case_in_heads_and_nowhere_else() {
        let body = "\r\nhost: a\r\n\r\nhost: b";
        let one = format!(
            "POST /host: HTTP/1.1\r\nhost: a\r\nx-a: host: b\r\nx-forwarded-for: c\r\nhostile: d\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let two = "PUT / HTTP/1.1\r\nx-amzn-trace-id: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunks = ["9\r\nhost: a\r\n\r\n", "0\r\n\r\n"];
        let three = "GET / HTTP/1.1\r\nx-forwarded-proto: a\r\nx-forwarded-port: b\r\nconnection: c\r\nupgrade: d\r\n\r\n";
        let all = [&one, body, two, chunks[0], chunks[1], three];
        let expected = [
            one.replace("\r\nhost: a", "\r\nHost: a").replace("x-forwarded-for", "X-Forwarded-For"),
            body.to_owned(),
            two.replace("x-amzn-trace-id", "X-Amzn-Trace-Id"),
            chunks.concat(),
            three
                .replace("x-forwarded-proto", "X-Forwarded-Proto")
                .replace("x-forwarded-port", "X-Forwarded-Port")
                .replace("connection", "Connection")
                .replace("upgrade", "Upgrade"),
        ]
        .concat();
        for at_a_time in [1, 2, 7, 1000] {
            assert_eq!(written(&all, at_a_time), expected, "{at_a_time}");
        }
        assert_eq!(
            written(&[&format!("{one}{body}{three}")], 1000),
            format!(
                "{}{body}{}",
                one.replace("\r\nhost: a", "\r\nHost: a").replace("x-forwarded-for", "X-Forwarded-For"),
                three
            ),
            "a head behind a body comes only when that is answered"
        );
    }

    #[test]
    fn what_makes_no_sense_is_left_alone() {
        let broken = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let all = [broken, "nonsense\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"];
        assert_eq!(written(&all, 1000), all.concat());
    }
}
