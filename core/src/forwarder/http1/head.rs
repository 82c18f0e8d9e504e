//! Request heads as they come, good or bad: found in the bytes, cut into lines, nothing judged yet. What
//! may pass is decided by `check.rs`, which needs to see what a strict parser would have refused.

use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::forwarder::chars::is_ordinary;
use crate::forwarder::headers::is_valid_name;
use crate::request::RequestView;

/// The longest request line and the longest header line (spec: dataplane §6.7).
pub(crate) const MAX_LINE: usize = 16 * 1024;
/// The longest head.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// How long each line is, with its end. No line is longer than [`MAX_LINE`], and many short ones take no more
/// memory than themselves.
pub(crate) type Lengths = SmallVec<[u16; 24]>;

/// Looks for the end of a head, a few bytes at a time, without looking at a byte twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    at: usize,
    line_start: usize,
    lines: Lengths,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// More bytes are needed.
    Partial,
    /// A head of these lines.
    Head(Lengths),
    /// An empty line before a request, so long, is to be skipped (RFC 9112 §2.2).
    Skip(usize),
    /// Too long for the status.
    TooLong(u16),
}

impl Scan {
    /// Looks on; `bytes` begins at the first byte of the head.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Found {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let newline = memchr::memchr(b'\n', rest).map(|n| self.at + n);
            let length = newline.unwrap_or(bytes.len()) - self.line_start;
            if length >= MAX_LINE {
                return Found::TooLong(if self.lines.is_empty() { 414 } else { 400 });
            }
            let Some(newline) = newline else {
                self.at = bytes.len();
                return if self.at > MAX_HEAD { Found::TooLong(400) } else { Found::Partial };
            };
            self.at = newline + 1;
            if self.at > MAX_HEAD {
                return Found::TooLong(400);
            }
            let line = bytes.get(self.line_start..newline).unwrap_or_default();
            let (first, empty) = (self.lines.is_empty(), line.is_empty() || line == b"\r");
            if first && empty {
                return Found::Skip(self.at);
            }
            // It is not longer than a line may be.
            self.lines.push((self.at - self.line_start) as u16);
            // HTTP/0.9 has a request line and nothing else: no version, no end of a head.
            if empty || (first && is_simple(line)) {
                return Found::Head(std::mem::take(&mut self.lines));
            }
            self.line_start = self.at;
        }
    }

    /// Whether any byte of a request has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.at > 0
    }
}

/// `GET /path` without a version.
fn is_simple(line: &[u8]) -> bool {
    line.strip_prefix(b"GET ").is_some_and(|target| target.starts_with(b"/") && !target.contains(&b' '))
}

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/0.9: no head, neither way.
    V09,
    /// HTTP/1.0.
    V10,
    /// HTTP/1.1, and what calls itself a later 1.
    V11,
}

/// Names that mean something to the load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    /// Of this hop only, and nothing else is done about them.
    HopByHop,
    ForwardedFor,
    ForwardedProto,
    ForwardedPort,
    TraceId,
    UserAgent,
    /// Those that only the load balancer may set.
    Tls,
    Other,
}

impl Name {
    pub(crate) fn of(name: &[u8]) -> Name {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            2 if is("te") => Name::HopByHop,
            4 if is("host") => Name::Host,
            6 if is("expect") => Name::Expect,
            7 if is("upgrade") => Name::Upgrade,
            7 if is("trailer") => Name::HopByHop,
            10 if is("connection") => Name::Connection,
            10 if is("keep-alive") => Name::HopByHop,
            10 if is("user-agent") => Name::UserAgent,
            14 if is("content-length") => Name::ContentLength,
            15 if is("x-forwarded-for") => Name::ForwardedFor,
            15 if is("x-amzn-trace-id") => Name::TraceId,
            16 if is("x-forwarded-port") => Name::ForwardedPort,
            16 if is("proxy-connection") => Name::HopByHop,
            17 if is("transfer-encoding") => Name::TransferEncoding,
            17 if is("x-forwarded-proto") => Name::ForwardedProto,
            12.. if name.get(..11).is_some_and(|n| n.eq_ignore_ascii_case(b"x-amzn-tls-")) => Name::Tls,
            13.. if name.get(..12).is_some_and(|n| n.eq_ignore_ascii_case(b"x-amzn-mtls-")) => Name::Tls,
            _ => Name::Other,
        }
    }
}

/// A header line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// As sent.
    pub(crate) name: &'a [u8],
    /// Without the white space around it.
    pub(crate) value: &'a [u8],
    pub(crate) known: Name,
    /// The name is made of letters, digits and hyphens.
    pub(crate) ordinary: bool,
    /// Where the line stands in the head, with its end.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Line<'_> {
    /// Whether the line looks as it would be written: one space behind the colon, none behind the value, CRLF.
    pub(crate) fn is_tidy(&self, head: &[u8]) -> bool {
        let written = self.name.len() + self.value.len() + ": \r\n".len();
        self.end - self.start == written && head.get(self.start + self.name.len() + 1) == Some(&b' ')
    }
}

/// A head, cut into pieces.
#[derive(Clone, Debug)]
pub(crate) struct Head<'a> {
    /// All of it.
    pub(crate) bytes: &'a [u8],
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    /// As sent; empty for HTTP/0.9.
    pub(crate) version: &'a [u8],
    pub(crate) lines: SmallVec<[Line<'a>; 24]>,
    /// Every line ends with CRLF, an empty one at the end as well.
    pub(crate) crlf: bool,
}

impl<'a> Head<'a> {
    /// Cuts a head anew that was cut before.
    pub(crate) fn again(bytes: &'a [u8]) -> Self {
        let lengths: Lengths = bytes.split_inclusive(|b| *b == b'\n').map(|l| l.len() as u16).collect();
        Head::cut(bytes, &lengths)
    }

    /// Cuts what [`Scan`] has found.
    pub(crate) fn cut(bytes: &'a [u8], lengths: &[u16]) -> Self {
        let mut end = 0;
        let mut crlf = true;
        let mut pieces = lengths.iter().map(|length| {
            let start = end;
            end += usize::from(*length);
            let line = bytes.get(start..end).unwrap_or_default();
            crlf &= line.ends_with(b"\r\n");
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            (line.strip_suffix(b"\r").unwrap_or(line), start, end)
        });
        let first = pieces.next().unwrap_or_default().0;
        let method = memchr::memchr(b' ', first).and_then(|at| split_around(first, at));
        let (method, after) = method.unwrap_or((first, &[]));
        // The version stands behind the last space, whatever is in the target.
        let (target, version) = match memchr::memrchr(b' ', after) {
            Some(space) => {
                let (target, version) = after.split_at(space);
                (target, version.get(1..).unwrap_or_default())
            }
            None => (after, &[] as &[u8]),
        };
        let mut lines = SmallVec::new();
        for (line, start, end) in pieces.take_while(|(line, ..)| !line.is_empty()) {
            let colon = line.iter().position(|b| !is_ordinary(*b)).unwrap_or_default();
            let ordinary = line.get(colon) == Some(&b':');
            let colon = if ordinary { Some(colon) } else { memchr::memchr(b':', line) };
            let (name, value) = colon.and_then(|at| split_around(line, at)).unwrap_or((line, &[]));
            lines.push(Line { name, value: value.trim_ascii(), known: Name::of(name), ordinary, start, end });
        }
        Head { bytes, method, target, version, lines, crlf }
    }

    /// The version, or the status for what is none we speak: 505 for one that could be, else 400.
    pub(crate) fn http_version(&self) -> Result<HttpVersion, u16> {
        match self.version {
            b"HTTP/1.1" => Ok(HttpVersion::V11),
            b"HTTP/1.0" => Ok(HttpVersion::V10),
            b"" | b"HTTP/0.9" => Ok(HttpVersion::V09),
            other => match other.trim_ascii().strip_prefix(b"HTTP/") {
                Some([b'1', b'.', b'1']) => Ok(HttpVersion::V11),
                Some([b'1', b'.', b'0']) => Ok(HttpVersion::V10),
                Some([b'1', b'.', b'2'..=b'9']) => Ok(HttpVersion::V11),
                Some([b'2'..=b'9'] | [b'2'..=b'9', b'.', b'0'..=b'9']) => Err(505),
                _ => Err(400),
            },
        }
    }

    /// The lines of one name.
    pub(crate) fn all(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        self.lines.iter().filter(move |l| l.known == name).map(|l| l.value)
    }

    /// The first line of a name.
    pub(crate) fn first(&self, name: Name) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The authority of an absolute target, and what follows it.
    pub(crate) fn absolute(&self) -> Option<(&'a [u8], &'a [u8])> {
        let scheme = ["http://", "https://"].into_iter().find(|s| {
            self.target.get(..s.len()).is_some_and(|start| start.eq_ignore_ascii_case(s.as_bytes()))
        })?;
        let rest = self.target.get(scheme.len()..)?;
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        Some(rest.split_at(end))
    }
}

/// A head with its peer, for the router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'h, 'a> {
    pub(crate) head: &'h Head<'a>,
    pub(crate) peer: SocketAddr,
    /// Rules do not see fields that are dropped for their names (spec: dataplane §1.5.3).
    pub(crate) drop_invalid: bool,
}

impl RequestView for View<'_, '_> {
    #[inline]
    fn method(&self) -> &[u8] {
        self.head.method
    }

    #[inline]
    fn target(&self) -> &[u8] {
        self.head.target
    }

    #[inline]
    fn host(&self) -> Option<&[u8]> {
        self.head.first(Name::Host)
    }

    #[inline]
    fn any_header(&self, name: &str, mut visit: impl FnMut(&[u8]) -> bool) -> bool {
        if self.drop_invalid && !is_valid_name(name.as_bytes()) {
            return false;
        }
        self.head.lines.iter().any(|l| l.name.eq_ignore_ascii_case(name.as_bytes()) && visit(l.value))
    }

    #[inline]
    fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// What stands before the byte at `at`, and what behind it.
fn split_around(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lengths: &[u16]) -> Found {
        Found::Head(Lengths::from_slice(lengths))
    }

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for step in 1..whole.len() {
            let mut scan = Scan::default();
            let ends: Vec<usize> = (step..whole.len()).step_by(step).chain([whole.len()]).collect();
            let found = ends.into_iter().map(|end| scan.look(&whole[..end])).find(|f| *f != Found::Partial);
            assert_eq!(found, Some(head(&[16, 9, 2])), "{step}");
        }
        assert_eq!(Scan::default().look(b"\r\nGET /"), Found::Skip(2));
        assert_eq!(Scan::default().look(b"GET /\r\n"), head(&[7]));
    }

    #[test]
    fn limits_are_those_of_the_load_balancer() {
        let target = "a".repeat(16 * 1024);
        assert_eq!(Scan::default().look(format!("GET /{target}").as_bytes()), Found::TooLong(414));
        let header = format!("GET / HTTP/1.1\r\nA: {target}\r\n\r\n");
        assert_eq!(Scan::default().look(header.as_bytes()), Found::TooLong(400));
        let many = format!("GET / HTTP/1.1\r\n{}", format!("A: {}\r\n", "b".repeat(1000)).repeat(66));
        assert_eq!(Scan::default().look(many.as_bytes()), Found::TooLong(400));
        let fits = format!("GET / HTTP/1.1\r\n{}\r\n", format!("A: {}\r\n", "b".repeat(1000)).repeat(60));
        let lengths = [vec![16], vec![1005; 60], vec![2]].concat();
        assert_eq!(Scan::default().look(fits.as_bytes()), head(&lengths));
    }

    #[test]
    fn lines_are_cut_and_known() {
        let head = Head::again(b"GET /a b?c HTTP/1.1\r\nHOST:  a \r\nX-Amzn-Mtls-Clientcert: x\nOdd\r\n\r\n");
        assert_eq!((head.method, head.target, head.version), (&b"GET"[..], &b"/a b?c"[..], &b"HTTP/1.1"[..]));
        assert_eq!(head.first(Name::Host), Some(&b"a"[..]));
        assert_eq!(head.lines[1].known, Name::Tls);
        assert_eq!(head.lines[2].name, b"Odd");
    }

    #[test]
    fn only_lines_as_they_are_written_are_tidy() {
        // The last line has a name and no colon; a bare LF is not told by a line's length.
        let text =
            b"GET / HTTP/1.1\r\nA: b\r\nA:b\r\nA:  b\r\nA: b \r\nA:b \r\nA: \r\nA:\r\nA : b\r\nA\r\n\r\n";
        let head = Head::again(text);
        let tidy: Vec<bool> = head.lines.iter().map(|line| line.is_tidy(head.bytes)).collect();
        assert_eq!(tidy, [true, false, false, false, false, true, false, true, false]);
        assert!(head.crlf);
        for odd in ["A: b \n", "A:  b\n", "A: b\n"] {
            let text = format!("GET / HTTP/1.1\r\n{odd}\r\n");
            assert!(!Head::again(text.as_bytes()).crlf, "{odd:?}");
        }
    }

    #[test]
    fn versions_we_do_not_speak_have_a_status() {
        let version = |v: &str| Head::again(format!("GET / {v}\r\n\r\n").as_bytes()).http_version();
        assert_eq!(version("HTTP/1.1"), Ok(HttpVersion::V11));
        assert_eq!(version("HTTP/1.7"), Ok(HttpVersion::V11));
        assert_eq!(version("HTTP/1.0"), Ok(HttpVersion::V10));
        assert_eq!(version("HTTP/2.0"), Err(505));
        assert_eq!(version("HTTP/3"), Err(505));
        assert_eq!(version("HTTQ/1.1"), Err(400));
        assert_eq!(version("HTTP/11"), Err(400));
    }

    #[test]
    fn absolute_targets_have_an_authority() {
        let of = |t: &str| {
            let text = format!("GET {t} HTTP/1.1\r\n\r\n");
            let head = Head::again(text.as_bytes());
            head.absolute()
                .map(|(a, b)| (String::from_utf8_lossy(a).into(), String::from_utf8_lossy(b).into()))
        };
        assert_eq!(of("http://a:80/b?c"), Some(("a:80".to_owned(), "/b?c".to_owned())));
        assert_eq!(of("HTTP://a?c"), Some(("a".to_owned(), "?c".to_owned())));
        assert_eq!(of("/http://a"), None);
    }
}
