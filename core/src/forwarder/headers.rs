//! What happens to header fields on the way to a target and back (spec: dataplane §6.1–§6.4). Pure: the
//! verb `route` prints with the same functions what the forwarder sends.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONNECTION, COOKIE, EXPECT, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Version};

use super::chars::is_ordinary;
use super::settings::{ListenerSettings, XffMode};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// More addresses than this in X-Forwarded-For are refused with 463.
const MAX_FORWARDED_FOR: usize = 30;
/// A longer trace header is thrown away.
const MAX_TRACE_ID: usize = 7 * 1024;

/// What is known about the request besides its headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) settings: &'a ListenerSettings,
    /// The client.
    pub(crate) peer: SocketAddr,
    /// The port the client really connected to; differs from the listener's when ports are mapped.
    pub(crate) bound_port: u16,
    pub(crate) version: Version,
    /// The authority of an absolute target or of HTTP/2.
    pub(crate) authority: Option<&'a str>,
    /// The Host that a transform wants.
    pub(crate) rewritten_host: Option<&'a str>,
    pub(crate) unix_s: u64,
    pub(crate) entropy: u128,
}

/// A request that does not get to a target; the status to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u16);

/// Turns the client's headers into the target's.
pub(crate) fn to_target(headers: &mut HeaderMap, arrival: &Arrival<'_>) -> Result<(), Refused> {
    let settings = arrival.settings;
    let sent: Vec<HeaderValue> = headers.get_all(HOST).iter().cloned().collect();
    let mut host = Vec::new();
    write_host(&mut host, sent.first().map(HeaderValue::as_bytes), arrival)?;
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    if settings.drop_invalid {
        drop_invalid(headers);
    }
    let made_up: Vec<HeaderName> =
        headers.keys().filter(|n| settings.owns(n.as_str().as_bytes())).cloned().collect();
    for name in made_up {
        headers.remove(name);
    }
    join_cookies(headers, arrival.version);
    headers.insert(HOST, HeaderValue::from_bytes(&host).map_err(|_| Refused(400))?);
    let lines: Vec<HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().cloned().collect();
    let mut value = Vec::new();
    write_forwarded_for(&mut value, lines.iter().map(HeaderValue::as_bytes), arrival)?;
    match settings.xff {
        XffMode::Preserve => {}
        XffMode::Remove => drop(headers.remove(X_FORWARDED_FOR)),
        XffMode::Append => {
            headers.insert(X_FORWARDED_FOR, HeaderValue::from_bytes(&value).map_err(|_| Refused(400))?);
        }
    }
    let https = settings.protocol == crate::model::Protocol::Https;
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if https { "https" } else { "http" }));
    headers.insert(X_FORWARDED_PORT, HeaderValue::from(settings.port));
    let mut trace = Vec::new();
    write_trace_id(&mut trace, headers.get(&X_AMZN_TRACE_ID).map(HeaderValue::as_bytes), arrival);
    if let Ok(trace) = HeaderValue::from_bytes(&trace) {
        headers.insert(X_AMZN_TRACE_ID, trace);
    }
    Ok(())
}

/// Turns the target's headers into the client's.
pub(crate) fn to_client(headers: &mut HeaderMap, settings: &ListenerSettings) {
    strip_hop_by_hop(headers);
    settings.insert_response_headers(headers);
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Fields that Connection names are of this hop as well. A client must not get rid of fields that
    // carry the request itself this way.
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|t| HeaderName::try_from(t.trim()).ok())
        .filter(|n| !matches!(n.as_str(), "host" | "content-length" | "cookie" | "authorization"))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, UPGRADE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// Names outside `[-A-Za-z0-9]+`, underscores above all.
fn drop_invalid(headers: &mut HeaderMap) {
    let invalid: Vec<HeaderName> =
        headers.keys().filter(|n| !is_valid_name(n.as_str().as_bytes())).cloned().collect();
    for name in invalid {
        headers.remove(name);
    }
}

/// Whether `routing.http.drop_invalid_header_fields.enabled` lets a field of this name be.
pub(crate) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|b| is_ordinary(*b))
}

/// HTTP/2 may send one Cookie field per cookie, HTTP/1 must not.
fn join_cookies(headers: &mut HeaderMap, version: Version) {
    if version != Version::HTTP_2 || headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let joined =
        headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(b"; ".as_slice());
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Writes the Host for the target (spec: dataplane §6.3); `sent` is the first Host line.
pub(crate) fn write_host(
    out: &mut Vec<u8>,
    sent: Option<&[u8]>,
    arrival: &Arrival<'_>,
) -> Result<(), Refused> {
    let settings = arrival.settings;
    // Credentials are not part of the host.
    let authority = arrival.authority.map(|a| a.rsplit('@').next().unwrap_or(a).as_bytes());
    let chosen = match arrival.rewritten_host.map(str::as_bytes) {
        // What a transform has made is treated as if the client had sent it.
        Some(rewritten) => Some(rewritten),
        None if settings.preserve_host => sent.or(authority),
        None => authority.or(sent),
    };
    let Some(host) = chosen.filter(|h| !h.is_empty()) else {
        if chosen.is_some() || arrival.version == Version::HTTP_11 {
            return Err(Refused(400));
        }
        out.extend_from_slice(settings.dns_name.as_bytes());
        return Ok(());
    };
    if host.iter().any(|b| matches!(b, 0..=b' ' | 0x7f)) {
        return Err(Refused(400));
    }
    if settings.preserve_host {
        out.extend_from_slice(host);
        return Ok(());
    }
    let text = std::str::from_utf8(host).map_err(|_| Refused(400))?;
    let (name, port) = split_port(text);
    out.extend(name.bytes().map(|b| b.to_ascii_lowercase()));
    let well_known = matches!(settings.port, 80 | 443);
    // A client of a mapped port names that port; on AWS it would have named the listener's.
    let port = match port {
        Some(port) if port == arrival.bound_port => settings.port,
        Some(port) => port,
        None => settings.port,
    };
    if port != settings.port || !well_known {
        out.push(b':');
        push_number(out, port);
    }
    Ok(())
}

/// Splits a Host into its name and its port, where it has a valid one.
pub(crate) fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && (name.ends_with(']') || !name.contains(':')) => {
            match port.parse() {
                Ok(port) => (name, Some(port)),
                Err(_) => (host, None),
            }
        }
        _ => (host, None),
    }
}

/// Writes X-Forwarded-For as mode `append` has it; counts its addresses in every mode (spec: dataplane §6.1).
pub(crate) fn write_forwarded_for<'a>(
    out: &mut Vec<u8>,
    lines: impl Iterator<Item = &'a [u8]>,
    arrival: &Arrival<'_>,
) -> Result<(), Refused> {
    let start = out.len();
    for line in lines {
        if out.len() > start {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(line);
    }
    let written = out.get(start..).unwrap_or_default();
    if !written.is_empty() && written.iter().filter(|b| **b == b',').count() >= MAX_FORWARDED_FOR {
        return Err(Refused(463));
    }
    if !written.is_empty() {
        out.extend_from_slice(b", ");
    }
    push_peer(out, arrival);
    Ok(())
}

fn push_peer(out: &mut Vec<u8>, arrival: &Arrival<'_>) {
    // A peer of a dual-stack socket is an IPv4 address in disguise.
    let ip = arrival.peer.ip().to_canonical();
    let with_port = arrival.settings.xff_client_port;
    match ip {
        IpAddr::V4(ip) => {
            for (i, octet) in ip.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_number(out, octet);
            }
        }
        IpAddr::V6(ip) if with_port => out.extend_from_slice(format!("[{ip}]").as_bytes()),
        IpAddr::V6(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
    }
    if with_port {
        out.push(b':');
        push_number(out, arrival.peer.port());
    }
}

/// Writes X-Amzn-Trace-Id (spec: dataplane §6.2).
pub(crate) fn write_trace_id(out: &mut Vec<u8>, sent: Option<&[u8]>, arrival: &Arrival<'_>) {
    let fresh = |out: &mut Vec<u8>| {
        // The time in seconds, of which 32 bits are written, and 96 random bits.
        let id = u128::from(arrival.unix_s as u32) << 96 | arrival.entropy >> 32;
        let mut digits = [0; 32];
        // As long as it has to be.
        let _ = const_hex::encode_to_slice(id.to_be_bytes(), &mut digits);
        let (time, random) = digits.split_at(8);
        for part in [b"1-", time, b"-", random] {
            out.extend_from_slice(part);
        }
    };
    let sent = sent.filter(|s| s.len() <= MAX_TRACE_ID).and_then(|s| std::str::from_utf8(s).ok());
    let fields = || {
        let all = sent.unwrap_or_default().split(';').map(str::trim);
        all.filter(|f| {
            !f.is_empty() && !f.starts_with("Self=") && f.bytes().all(|b| matches!(b, b' '..=b'~'))
        })
    };
    let has_root = fields().any(|f| f.starts_with("Root="));
    out.extend_from_slice(if has_root { b"Self=" } else { b"Root=" });
    fresh(out);
    for field in fields() {
        out.push(b';');
        out.extend_from_slice(field.as_bytes());
    }
}

/// Appends a number in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
