//! What happens to header fields on the way to a target and back (spec: dataplane §6.1–§6.4). Pure: the
//! verb `route` prints with the same functions what the forwarder sends.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONNECTION, COOKIE, EXPECT, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Version};

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
    pub(crate) entropy: [u64; 2],
}

/// A request that does not get to a target; the status to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u16);

/// Turns the client's headers into the target's.
pub(crate) fn to_target(headers: &mut HeaderMap, arrival: &Arrival<'_>) -> Result<(), Refused> {
    let settings = arrival.settings;
    let host = host(headers, arrival)?;
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    if settings.drop_invalid {
        drop_invalid(headers);
    }
    join_cookies(headers, arrival.version);
    headers.insert(HOST, host);
    forwarded_for(headers, arrival)?;
    let https = settings.protocol == crate::model::Protocol::Https;
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if https { "https" } else { "http" }));
    headers.insert(X_FORWARDED_PORT, HeaderValue::from(settings.port));
    trace_id(headers, arrival);
    Ok(())
}

/// Turns the target's headers into the client's.
pub(crate) fn to_client(headers: &mut HeaderMap, settings: &ListenerSettings) {
    strip_hop_by_hop(headers);
    settings.insert_response_headers(headers);
}

/// Whether the client asks for a WebSocket, the one upgrade that is passed on.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let token = |name: &HeaderName, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(word))
    };
    token(&CONNECTION, "upgrade") && token(&UPGRADE, "websocket")
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
    let invalid: Vec<HeaderName> = headers
        .keys()
        .filter(|n| !n.as_str().bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric()))
        .cloned()
        .collect();
    for name in invalid {
        headers.remove(name);
    }
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

fn host(headers: &HeaderMap, arrival: &Arrival<'_>) -> Result<HeaderValue, Refused> {
    if let Some(host) = arrival.rewritten_host {
        return HeaderValue::try_from(host).map_err(|_| Refused(500));
    }
    let settings = arrival.settings;
    let sent = match (arrival.authority, headers.get(HOST)) {
        (Some(authority), _) => authority.to_owned(),
        (None, Some(host)) => match host.to_str() {
            Ok(host) if !host.is_empty() => host.to_owned(),
            _ => return Err(Refused(400)),
        },
        (None, None) if arrival.version == Version::HTTP_10 => settings.dns_name.clone(),
        (None, None) => return Err(Refused(400)),
    };
    if settings.preserve_host {
        return HeaderValue::try_from(sent).map_err(|_| Refused(400));
    }
    let lower = sent.to_ascii_lowercase();
    let (name, port) = split_port(&lower);
    let well_known = matches!(settings.port, 80 | 443);
    // A client of a mapped port names that port; on AWS it would have named the listener's.
    let port = match port {
        Some(port) if port == arrival.bound_port => Some(settings.port),
        port => port,
    };
    let host = match port {
        None if well_known => name.to_owned(),
        None => format!("{name}:{}", settings.port),
        Some(port) if port == settings.port && well_known => name.to_owned(),
        Some(port) => format!("{name}:{port}"),
    };
    HeaderValue::try_from(host).map_err(|_| Refused(400))
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

fn forwarded_for(headers: &mut HeaderMap, arrival: &Arrival<'_>) -> Result<(), Refused> {
    let lines: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let count = lines.iter().flat_map(|l| l.split(|b| *b == b',')).count();
    if count > MAX_FORWARDED_FOR {
        return Err(Refused(463));
    }
    match arrival.settings.xff {
        XffMode::Preserve => {}
        XffMode::Remove => {
            headers.remove(X_FORWARDED_FOR);
        }
        XffMode::Append => {
            // A peer of a dual-stack socket is an IPv4 address in disguise.
            let ip = arrival.peer.ip().to_canonical();
            let client = match (arrival.settings.xff_client_port, ip) {
                (false, ip) => ip.to_string(),
                (true, IpAddr::V4(ip)) => format!("{ip}:{}", arrival.peer.port()),
                (true, IpAddr::V6(ip)) => format!("[{ip}]:{}", arrival.peer.port()),
            };
            let mut value = lines.join(b", ".as_slice());
            if !value.is_empty() {
                value.extend_from_slice(b", ");
            }
            value.extend_from_slice(client.as_bytes());
            headers.insert(X_FORWARDED_FOR, HeaderValue::from_bytes(&value).map_err(|_| Refused(400))?);
        }
    }
    Ok(())
}

fn trace_id(headers: &mut HeaderMap, arrival: &Arrival<'_>) {
    let [a, b] = arrival.entropy;
    let fresh = format!("1-{:08x}-{a:016x}{:08x}", arrival.unix_s as u32, b as u32);
    let sent = headers.get(&X_AMZN_TRACE_ID).and_then(|v| v.to_str().ok());
    let value = match sent {
        Some(sent) if !sent.is_empty() && sent.len() <= MAX_TRACE_ID => {
            let fields: Vec<&str> =
                sent.split(';').map(str::trim).filter(|f| !f.is_empty() && !f.starts_with("Self=")).collect();
            if fields.iter().any(|f| f.starts_with("Root=")) {
                format!("Self={fresh};{}", fields.join(";"))
            } else if fields.is_empty() {
                format!("Root={fresh}")
            } else {
                format!("Root={fresh};{}", fields.join(";"))
            }
        }
        _ => format!("Root={fresh}"),
    };
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(X_AMZN_TRACE_ID, value);
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
