//! The request taken apart once: host, path, query; the path normalised as rules see it
//! (spec: dataplane §1.5.1, §1.6). Borrowed from the request where nothing changes, else from a buffer.

use memchr::{memchr, memchr2};

use crate::options::{Options, PathDecode};
use crate::request::RequestView;

/// What conditions look at, but for headers, method and peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The Host as sent, or the authority of an absolute target.
    pub(crate) host: Option<&'a [u8]>,
    /// The path as rules see it.
    pub(crate) path: &'a [u8],
    /// The path as sent.
    pub(crate) sent_path: &'a [u8],
    /// What follows the first `?`, up to a `#`.
    pub(crate) query: Option<&'a [u8]>,
}

/// The target is not one a load balancer can route (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTarget;

impl<'a> Subject<'a> {
    /// Takes the request apart. `buffer` holds the path where normalisation changes it; a path that does
    /// not fit into its capacity is refused.
    #[inline]
    pub(crate) fn new<R: RequestView>(
        request: &'a R,
        options: &Options,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Self, BadTarget> {
        // Most targets are a path that nothing has to be done about; one look tells.
        let target = request.target();
        if target.first() == Some(&b'/') && !options.path_merge_slashes && !special(target) {
            return Ok(Subject { host: request.host(), path: target, sent_path: target, query: None });
        }
        Self::taken_apart(request, target, options, buffer)
    }

    fn taken_apart<R: RequestView>(
        request: &'a R,
        target: &'a [u8],
        options: &Options,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Self, BadTarget> {
        let (authority, rest) = split_absolute(target);
        let host = authority.or_else(|| request.host());
        let end = memchr2(b'?', b'#', rest);
        let (path, tail) = end.and_then(|end| rest.split_at_checked(end)).unwrap_or((rest, b""));
        let query = tail.strip_prefix(b"?").map(|query| match memchr(b'#', query) {
            Some(end) => query.get(..end).unwrap_or_default(),
            None => query,
        });
        let sent_path = if path.is_empty() && authority.is_some() { &b"/"[..] } else { path };
        let untouched = !options.path_merge_slashes && !special(sent_path);
        let path = if untouched || sent_path == b"*" || plain(sent_path, options) {
            sent_path
        } else {
            normalise(sent_path, options, options.path_decode, buffer)?;
            buffer.as_slice()
        };
        if !matches!(path.first(), Some(b'/' | b'*')) {
            return Err(BadTarget);
        }
        Ok(Subject { host, path, sent_path, query })
    }

    /// Writes the path as rules see it, and the query, as one text into `out`; refused where its capacity
    /// does not suffice. A path that the knob decodes in full keeps the escapes of what would end a path or
    /// a line: the text becomes a URI again.
    pub(crate) fn join(&self, options: &Options, out: &mut Vec<u8>) -> Result<(), BadTarget> {
        out.clear();
        if self.sent_path.len() + 1 + self.query.map_or(0, <[u8]>::len) > out.capacity() {
            return Err(BadTarget);
        }
        if options.path_decode == PathDecode::Full {
            normalise(self.sent_path, options, PathDecode::Unreserved, out)?;
        } else {
            out.extend_from_slice(self.path);
        }
        self.push_query(out);
        Ok(())
    }

    /// Writes the path as sent but percent-decoded, and the query, as one text into `out`; false where
    /// nothing is encoded, or the knob says that nothing is decoded.
    pub(crate) fn join_decoded(&self, options: &Options, out: &mut Vec<u8>) -> bool {
        out.clear();
        if options.path_decode == PathDecode::None || !self.sent_path.contains(&b'%') {
            return false;
        }
        let mut rest = self.sent_path;
        while let Some((byte, tail)) = next_decoded(rest, PathDecode::Unreserved) {
            out.push(byte);
            rest = tail;
        }
        let changed = out.len() < self.sent_path.len();
        self.push_query(out);
        changed
    }

    fn push_query(&self, out: &mut Vec<u8>) {
        if let Some(query) = self.query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }

    /// The host without its port.
    #[inline]
    pub(crate) fn host_name(&self) -> Option<&'a [u8]> {
        self.host.map(without_port)
    }
}

/// `name:port` without the port: digits at the end after a colon. The colons of a bracketed IPv6 address
/// are not one.
#[inline]
pub(crate) fn without_port(host: &[u8]) -> &[u8] {
    if !host.last().is_some_and(|b| b.is_ascii_digit() || *b == b':') {
        return host;
    }
    let digits = host.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let name = host.get(..host.len() - digits).unwrap_or(host);
    name.strip_suffix(b":").unwrap_or(host)
}

/// `http://authority/rest` taken apart; any other target is all rest.
fn split_absolute(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    if target.first() == Some(&b'/') {
        return (None, target);
    }
    for scheme in [&b"http://"[..], b"https://"] {
        let head = target.get(..scheme.len()).unwrap_or_default();
        if head.eq_ignore_ascii_case(scheme) {
            let after = target.get(scheme.len()..).unwrap_or_default();
            let end = after.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(after.len());
            let (authority, rest) = after.split_at_checked(end).unwrap_or((after, b""));
            // Credentials are not part of the host.
            let host = authority.rsplit(|b| *b == b'@').next().unwrap_or(authority);
            return (Some(host), rest);
        }
    }
    (None, target)
}

/// Whether there may be a byte that ends a path, or that normalisation does something about: a look at
/// eight bytes at a time that tells of every `?` and `.`, and of whatever comes before `-` in ASCII, which is
/// `#` and `%` and what is rare in paths.
#[inline]
fn special(text: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let any = |bytes: &[u8; 8]| {
        let word = u64::from_le_bytes(*bytes);
        let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word;
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        (below(word, b'-') | is(b'.') | is(b'?')) & HIGH != 0
    };
    match text.last_chunk::<8>() {
        Some(last) => any(last) || text.as_chunks::<8>().0.iter().any(any),
        None => text.iter().any(|byte| *byte < b'-' || matches!(byte, b'.' | b'?')),
    }
}

/// Whether normalisation would leave the path as it is.
fn plain(path: &[u8], options: &Options) -> bool {
    let mut before = 0;
    for byte in path {
        match byte {
            b'%' if options.path_decode != PathDecode::None => return false,
            // `/.` may start a dot segment; a name like `/.well-known` only costs the slower way.
            b'.' if before == b'/' && options.path_dot_segments => return false,
            b'/' if before == b'/' && options.path_merge_slashes => return false,
            _ => {}
        }
        before = *byte;
    }
    true
}

/// Decodes, merges slashes and resolves dot segments, in this order, into `out`.
fn normalise(path: &[u8], options: &Options, decode: PathDecode, out: &mut Vec<u8>) -> Result<(), BadTarget> {
    out.clear();
    if path.len() > out.capacity() {
        return Err(BadTarget); // longer than any request line a listener accepts
    }
    let mut rest = path;
    while let Some((byte, tail)) = next_decoded(rest, decode) {
        let merged = options.path_merge_slashes && byte == b'/' && out.last() == Some(&b'/');
        if !merged {
            out.push(byte);
        }
        rest = tail;
    }
    if options.path_dot_segments { remove_dot_segments(out) } else { Ok(()) }
}

/// The first byte of `text`, decoded where it is an escape that the knob decodes, and what follows it.
fn next_decoded(text: &[u8], decode: PathDecode) -> Option<(u8, &[u8])> {
    let (first, tail) = text.split_first()?;
    match (*first == b'%').then(|| hex_byte(tail)).flatten().filter(|b| decodes(*b, decode)) {
        Some(byte) => Some((byte, tail.get(2..).unwrap_or_default())),
        None => Some((*first, tail)),
    }
}

/// K-05: which bytes are decoded.
fn decodes(byte: u8, decode: PathDecode) -> bool {
    match decode {
        PathDecode::None => false,
        PathDecode::Full => true,
        // RFC 3986: unreserved, and what a path segment may hold as it is.
        PathDecode::Unreserved => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte),
    }
}

/// The byte that two hexadecimal digits at the start of `text` stand for.
pub(super) fn hex_byte(text: &[u8]) -> Option<u8> {
    let digit = |i: usize| text.get(i).and_then(|b| char::from(*b).to_digit(16));
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// K-06: RFC 3986 §5.2.4 in place, but climbing above the root is an error.
fn remove_dot_segments(path: &mut Vec<u8>) -> Result<(), BadTarget> {
    let (mut read, mut write) = (0, 0);
    while read < path.len() {
        // `read` stands at the slash (or, at the very start, at whatever is there) before a segment.
        let rest = path.get(read + 1..).unwrap_or_default();
        let len = memchr(b'/', rest).unwrap_or(rest.len());
        let segment = rest.get(..len).unwrap_or_default();
        let last = read + 1 + len >= path.len();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    if write == 0 {
                        return Err(BadTarget);
                    }
                    let kept = path.get(..write).unwrap_or_default();
                    write = kept.iter().rposition(|b| *b == b'/').unwrap_or(0);
                }
                if last {
                    // A trailing dot segment leaves its slash.
                    if let Some(slot) = path.get_mut(write) {
                        *slot = b'/';
                    }
                    write += 1;
                }
            }
            _ => {
                path.copy_within(read..read + 1 + len, write);
                write += 1 + len;
            }
        }
        read += 1 + len;
    }
    path.truncate(write);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    fn path(target: &str, options: &Options) -> Result<String, BadTarget> {
        let request = Request::new("GET", target, ([127, 0, 0, 1], 1).into());
        let mut buffer = Vec::with_capacity(1024);
        let subject = Subject::new(&request, options, &mut buffer)?;
        Ok(String::from_utf8(subject.path.to_vec()).unwrap())
    }

    #[test]
    fn normalisation_follows_the_knobs() {
        let defaults = Options::default();
        for (target, expected) in [
            ("/a/b", "/a/b"),
            ("/a%3Ab", "/a:b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%25b", "/a%25b"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("/%zz", "/%zz"),
            ("/a/./b", "/a/b"),
            ("/a/x/../b", "/a/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/.well-known", "/.well-known"),
            ("/...", "/..."),
            ("//a", "//a"),
            ("/a//../b", "/a/b"),
            ("*", "*"),
            ("http://h.com", "/"),
            ("http://h.com/img?x#y", "/img"),
        ] {
            assert_eq!(path(target, &defaults).as_deref(), Ok(expected), "{target}");
        }
        for bad in ["/..", "/../etc/passwd", "/a/../../b", "", "x"] {
            assert_eq!(path(bad, &defaults), Err(BadTarget), "{bad}");
        }
        let merge = Options { path_merge_slashes: true, ..Options::default() };
        assert_eq!(path("//a///b", &merge).as_deref(), Ok("/a/b"));
        let raw = Options { path_decode: PathDecode::None, path_dot_segments: false, ..Options::default() };
        assert_eq!(path("/a/../%41", &raw).as_deref(), Ok("/a/../%41"));
    }

    #[test]
    fn special_bytes_are_found_wherever_they_are() {
        for len in 0..70 {
            let mut text = vec![b'a'; len];
            assert!(!special(&text), "{len}");
            for at in 0..len {
                text[at] = b"?#%."[at % 4];
                assert!(special(&text), "{len}");
                text[at] = b'/';
                assert!(!special(&text), "{len}");
            }
        }
    }

    #[test]
    fn hosts_lose_their_port() {
        assert_eq!(without_port(b"a.com:80"), b"a.com");
        assert_eq!(without_port(b"[::1]:80"), b"[::1]");
        assert_eq!(without_port(b"[::1]"), b"[::1]");
        assert_eq!(without_port(b"a.com"), b"a.com");
        assert_eq!(without_port(b"10.0.0.1"), b"10.0.0.1");
        assert_eq!(without_port(b"a.com:"), b"a.com");
        assert_eq!(without_port(b"a.com:http"), b"a.com:http");
        assert_eq!(without_port(b""), b"");
    }
}
