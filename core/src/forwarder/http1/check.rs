//! What a request head may be, before it is routed: version, framing, and the desync classes
//! (spec: dataplane §6.7, §6.8). The classes are AWS's own: the crate `http_desync_guardian` is what the
//! load balancer runs.

use http_desync_guardian::request_analyzer::HttpRequestData;
use http_desync_guardian::{ClassificationReason, RequestSafetyTier};

use super::framing::Framing;
use super::head::{Head, HttpVersion, Name};
use crate::forwarder::chars::is_token;
use crate::forwarder::settings::DesyncMode;

/// What is known about a head that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) version: HttpVersion,
    pub(crate) framing: Framing,
    /// Whether the client wants its connection to live on.
    pub(crate) keep_alive: bool,
    pub(crate) websocket: bool,
    pub(crate) expects_continue: bool,
    /// `None` for a compliant request.
    pub(crate) class: Option<Class>,
    /// Every name is made of letters, digits and hyphens, every value of visible characters and spaces.
    pub(crate) plain: bool,
}

/// A finding of the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) tier: RequestSafetyTier,
    pub(crate) reason: ClassificationReason,
}

/// A head that may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) class: Option<Class>,
}

impl Checked {
    /// Whether both connections end with this request (spec: dataplane §6.8, Ambiguous).
    pub(crate) fn ends_connections(&self, mode: DesyncMode) -> bool {
        mode != DesyncMode::Monitor && self.class.is_some_and(|c| c.tier >= RequestSafetyTier::Ambiguous)
    }
}

/// Judges a head.
pub(crate) fn check(head: &Head<'_>, mode: DesyncMode) -> Result<Checked, Refused> {
    let version = match head.http_version() {
        Err(505) => return Err(Refused { status: 505, class: None }),
        version => version,
    };
    let plain = is_plain(head);
    let class = if plain { None } else { classify(head) };
    let refused = |status| Refused { status, class };
    let blocked = class.is_some_and(|c| match mode {
        DesyncMode::Monitor => false,
        DesyncMode::Defensive => c.tier >= RequestSafetyTier::Severe,
        DesyncMode::Strictest => c.tier >= RequestSafetyTier::Acceptable,
    });
    // A coding we know and do not take has a status of its own, whatever its class is.
    let codings = Codings::of(head);
    if codings == Codings::Foreign {
        return Err(refused(501));
    }
    if blocked {
        return Err(refused(400));
    }
    let version = version.map_err(refused)?;
    // Whatever the mode lets pass, nothing is sent on that cannot be written as a request.
    if head.target.iter().any(|b| matches!(b, 0 | b'\r')) || !is_token(head.method) {
        return Err(refused(400));
    }
    let framing = match codings {
        Codings::Chunked => Framing::Chunked,
        Codings::Unknown => return Err(refused(400)),
        Codings::Identity | Codings::Foreign => content_length(head).map_err(|Bad| refused(400))?,
    };
    let has_token = |name, token: &[u8]| {
        head.all(name)
            .flat_map(|v| v.split(|b| *b == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
    };
    let keep_alive = match version {
        HttpVersion::V09 => false,
        HttpVersion::V10 => has_token(Name::Connection, b"keep-alive"),
        HttpVersion::V11 => !has_token(Name::Connection, b"close"),
    };
    Ok(Checked {
        version,
        framing,
        keep_alive,
        websocket: version == HttpVersion::V11
            && has_token(Name::Upgrade, b"websocket")
            && has_token(Name::Connection, b"upgrade"),
        expects_continue: version == HttpVersion::V11
            && head.first(Name::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue")),
        class,
        plain,
    })
}

fn classify(head: &Head<'_>) -> Option<Class> {
    // HTTP/0.9 has a line and no head; what the classifier says of a missing end is not meant for it.
    let simple = head.version.is_empty() && head.lines.is_empty();
    let whole;
    let bytes = if simple {
        whole = [head.bytes, b"\r\n"].concat();
        whole.as_slice()
    } else {
        head.bytes
    };
    let found = HttpRequestData::analyze_raw_request(bytes);
    (found.tier != RequestSafetyTier::Compliant).then_some(Class { tier: found.tier, reason: found.reason })
}

/// Whether a head is so ordinary that the classifier has nothing to find in it. Says no to everything it
/// is not sure of; a test holds it against the classifier.
fn is_plain(head: &Head<'_>) -> bool {
    let bytes = head.bytes;
    let version = matches!(head.version, b"HTTP/1.1" | b"HTTP/1.0");
    let target = head.target.first() == Some(&b'/') && !head.target.contains(&b' ');
    if !version || !target || !matches!(head.method, b"GET" | b"HEAD" | b"POST" | b"PUT" | b"DELETE") {
        return false;
    }
    // Every line ends with CRLF, and CR stands nowhere else.
    let ends = head.lines.len() + 2;
    if !head.crlf || memchr::memchr_iter(b'\r', bytes).count() != ends || !bytes.ends_with(b"\r\n\r\n") {
        return false;
    }
    // Without a table and to the end, so that many bytes are done at a time.
    let visible =
        bytes.iter().fold(true, |ok, b| ok & (matches!(b, b' '..=b'~') | matches!(b, b'\r' | b'\n')));
    visible
        && head.lines.iter().all(|line| {
            let first = line.name.first().copied().unwrap_or_default();
            // Anything that could be taken for one of the two framing headers is looked at closely.
            let framing = matches!(first | 0x20, b'c' | b't') && line.name.len() > 12 || line.name.len() > 40;
            line.ordinary && first.is_ascii_alphabetic() && !line.value.is_empty() && !framing
        })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codings {
    /// None, or `identity`.
    Identity,
    Chunked,
    /// One that HTTP knows and the load balancer does not take.
    Foreign,
    Unknown,
}

impl Codings {
    fn of(head: &Head<'_>) -> Codings {
        let mut found = Codings::Identity;
        for coding in head.all(Name::TransferEncoding).flat_map(|v| v.split(|b| *b == b',')) {
            let coding = coding.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let is = |known: &str| coding.eq_ignore_ascii_case(known.as_bytes());
            match () {
                () if is("chunked") => {
                    if found != Codings::Unknown {
                        found = Codings::Chunked;
                    }
                }
                () if is("identity") => {}
                () if ["gzip", "x-gzip", "deflate", "compress", "x-compress"].into_iter().any(is) => {
                    return Codings::Foreign;
                }
                () => found = Codings::Unknown,
            }
        }
        found
    }
}

struct Bad;

/// The first length counts; only in monitor mode can there be another one.
fn content_length(head: &Head<'_>) -> Result<Framing, Bad> {
    let Some(value) = head.first(Name::ContentLength) else { return Ok(Framing::Empty) };
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Bad);
    }
    let value = std::str::from_utf8(value).map_err(|_| Bad)?;
    value.parse().map(Framing::Length).map_err(|_| Bad)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
