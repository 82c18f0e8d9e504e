//! The head of a target's answer, written anew for the client (spec: dataplane §6.4).

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderName, HeaderValue};

use super::exchange::{Download, Fail};
use super::framing::Framing;
use super::head::{HttpVersion, Name};
use crate::forwarder::settings::ListenerSettings;

/// What an answer is written for.
pub(crate) struct Asked<'a> {
    pub(crate) settings: &'a ListenerSettings,
    pub(crate) version: HttpVersion,
    /// The request was HEAD.
    pub(crate) is_head: bool,
    pub(crate) websocket: bool,
    /// Whether the client's connection lives on.
    pub(crate) keep_alive: &'a AtomicBool,
}

/// Writes the head; how its body ends. `cookies` are whole lines.
pub(crate) fn write(
    response: &httparse::Response<'_, '_>,
    asked: &Asked<'_>,
    cookies: &[u8],
    out: &mut Vec<u8>,
) -> Result<Download, Fail> {
    let status = response.code.ok_or(Fail::TargetMalformed)?;
    if !(100..=999).contains(&status) {
        return Err(Fail::TargetMalformed);
    }
    let switch = status == 101;
    if switch && !asked.websocket {
        return Err(Fail::TargetMalformed);
    }
    let source = Source::of(response)?;
    let bodiless = asked.is_head || matches!(status, 204 | 304) || switch;
    let framing = match (bodiless, source.chunked, source.length) {
        (true, _, _) => Framing::Empty,
        (false, true, _) => Framing::Chunked,
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::UntilClose,
    };
    let unknown_length = matches!(framing, Framing::Chunked | Framing::UntilClose);
    let chunked = unknown_length && asked.version == HttpVersion::V11;
    if unknown_length && !chunked {
        asked.keep_alive.store(false, Ordering::Relaxed);
    }
    let download = Download { framing, chunked, keep: source.keep && framing != Framing::UntilClose, switch };
    if asked.version == HttpVersion::V09 {
        return Ok(download);
    }

    out.extend_from_slice(b"HTTP/1.1 ");
    crate::forwarder::headers::push_number(out, status);
    out.push(b' ');
    out.extend_from_slice(response.reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (header, known) in response.headers.iter().zip(&source.known) {
        let name = header.name.as_bytes();
        let passes = match known {
            Name::Connection | Name::HopByHop | Name::TransferEncoding | Name::Upgrade => false,
            // The length of what a HEAD or a 304 would have had is the target's to tell.
            Name::ContentLength => bodiless && !switch && status != 204,
            _ => true,
        };
        if passes && !source.names(name) && !inserts(&asked.settings.insert, name) {
            line(out, name, header.value);
        }
    }
    for (name, value) in &asked.settings.insert {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(cookies);
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            crate::forwarder::headers::push_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ if chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    out.extend_from_slice(match (switch, asked.keep_alive.load(Ordering::Relaxed)) {
        (true, _) => b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n".as_slice(),
        (false, true) => b"Connection: keep-alive\r\n\r\n",
        (false, false) => b"Connection: close\r\n\r\n",
    });
    Ok(download)
}

/// What the target's own head says of its connection and its body.
struct Source<'a> {
    /// What each header is, in their order.
    known: smallvec::SmallVec<[Name; 32]>,
    chunked: bool,
    length: Option<u64>,
    keep: bool,
    /// Values of Connection, whose names are of that hop only.
    connection: smallvec::SmallVec<[&'a [u8]; 1]>,
}

impl<'a> Source<'a> {
    fn of(response: &httparse::Response<'_, 'a>) -> Result<Self, Fail> {
        let mut source = Source {
            known: response.headers.iter().map(|h| Name::of(h.name.as_bytes())).collect(),
            chunked: false,
            length: None,
            keep: response.version == Some(1),
            connection: smallvec::SmallVec::new(),
        };
        let mut coded = false;
        for (header, known) in response.headers.iter().zip(&source.known) {
            match known {
                Name::TransferEncoding => {
                    let coding = header.value.trim_ascii();
                    if coded
                        || !(coding.eq_ignore_ascii_case(b"chunked")
                            || coding.eq_ignore_ascii_case(b"identity"))
                    {
                        return Err(Fail::TargetMalformed);
                    }
                    coded = true;
                    source.chunked = coding.eq_ignore_ascii_case(b"chunked");
                }
                Name::ContentLength => {
                    let value = header.value.trim_ascii();
                    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                    let length =
                        std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
                    let length: u64 = length.ok_or(Fail::TargetMalformed)?;
                    if source.length.is_some_and(|other| other != length) {
                        return Err(Fail::TargetMalformed);
                    }
                    source.length = Some(length);
                }
                Name::Connection => source.connection.push(header.value),
                _ => {}
            }
        }
        let says = |source: &Self, token: &[u8]| source.tokens().any(|t| t.eq_ignore_ascii_case(token));
        source.keep = match response.version {
            Some(1) => !says(&source, b"close"),
            _ => says(&source, b"keep-alive"),
        };
        // Both at once is how responses are smuggled: chunks win, and nothing follows on that connection.
        source.keep &= !(source.chunked && source.length.is_some());
        Ok(source)
    }

    fn tokens(&self) -> impl Iterator<Item = &'a [u8]> {
        self.connection.iter().flat_map(|v| v.split(|b| *b == b',')).map(<[u8]>::trim_ascii)
    }

    fn names(&self, name: &[u8]) -> bool {
        !self.connection.is_empty()
            && self.tokens().any(|t| t.eq_ignore_ascii_case(name))
            && !name.eq_ignore_ascii_case(b"set-cookie")
    }
}

fn inserts(inserted: &[(HeaderName, HeaderValue)], name: &[u8]) -> bool {
    inserted.iter().any(|(n, _)| name.eq_ignore_ascii_case(n.as_str().as_bytes()))
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether one of the answer's cookies has this name.
pub(crate) fn sets_cookie(response: &httparse::Response<'_, '_>, name: &str) -> bool {
    response
        .headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("set-cookie"))
        .any(|h| h.value.split(|b| *b == b'=').next().is_some_and(|n| n.trim_ascii() == name.as_bytes()))
}
