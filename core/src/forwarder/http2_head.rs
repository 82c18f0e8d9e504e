//! Heads of requests over HTTP/2: how rules see them, how long they may be, which targets they fit, what the log
//! has of them.

use std::net::SocketAddr;

use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::headers;
use super::http1::{MAX_HEAD, MAX_LINE};
use super::record::Texts;
use super::settings::{GroupSettings, ListenerSettings};
use crate::model::ProtocolVersion;
use crate::request::{HttpRequest, RequestView};

/// A request with its peer, for the router.
pub(crate) struct View<'a> {
    pub(crate) request: HttpRequest<'a>,
    /// Rules do not see fields that are dropped for their names (spec: dataplane §1.5.3).
    pub(crate) drop_invalid: bool,
}

impl RequestView for View<'_> {
    fn method(&self) -> &[u8] {
        self.request.method()
    }

    fn target(&self) -> &[u8] {
        self.request.target()
    }

    fn host(&self) -> Option<&[u8]> {
        self.request.host()
    }

    fn any_header(&self, name: &str, visit: impl FnMut(&[u8]) -> bool) -> bool {
        (!self.drop_invalid || headers::is_valid_name(name.as_bytes()))
            && self.request.any_header(name, visit)
    }

    fn peer(&self) -> SocketAddr {
        self.request.peer()
    }
}

/// `application/grpc`, with a format behind it or not; gRPC-Web is none, and goes to any target.
pub(crate) fn is_grpc(parts: &Parts) -> bool {
    parts.headers.get(CONTENT_TYPE).is_some_and(|v| {
        let rest = v.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
    })
}

/// Whether the client's protocol can be spoken to the group (spec: dataplane §6.7).
pub(crate) fn compatible(parts: &Parts, group: &GroupSettings) -> bool {
    let grpc = is_grpc(parts);
    match group.version {
        ProtocolVersion::Http1 => !grpc,
        ProtocolVersion::Http2 => true,
        ProtocolVersion::Grpc => grpc || parts.method == Method::POST,
    }
}

/// About as many bytes as the head had before it was compressed, or would have had in HTTP/1.
pub(crate) struct HeadSize {
    line: usize,
    longest: usize,
    pub(crate) all: usize,
}

impl HeadSize {
    pub(crate) fn of(parts: &Parts) -> Self {
        let path = parts.uri.path_and_query().map_or(1, |p| p.as_str().len());
        let line = parts.method.as_str().len() + path + 12;
        let mut size = HeadSize { line, longest: 0, all: line };
        for (name, value) in &parts.headers {
            let field = field_size((name, value));
            size.longest = size.longest.max(field);
            size.all += field;
        }
        size
    }

    /// The status for a head that is too long (spec: dataplane §6.7).
    pub(crate) fn refused(&self) -> Option<u16> {
        match () {
            () if self.line >= MAX_LINE => Some(414),
            () if self.longest >= MAX_LINE || self.all > MAX_HEAD => Some(400),
            () => None,
        }
    }
}

/// As many bytes as header fields take in HTTP/1.
pub(crate) fn fields_size(fields: &HeaderMap) -> usize {
    fields.iter().map(field_size).sum()
}

/// A line with its colon, space and end.
fn field_size((name, value): (&HeaderName, &HeaderValue)) -> usize {
    name.as_str().len() + value.len() + 4
}

pub(crate) fn texts(parts: &Parts, settings: &ListenerSettings) -> Texts {
    let text = |name: HeaderName| {
        parts
            .headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let authority = parts.uri.authority().map_or_else(|| text(HOST), |a| a.as_str().to_owned());
    let (host, _) = headers::split_port(&authority);
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let scheme = settings.protocol.scheme();
    Texts {
        request_line: format!("{} {scheme}://{host}:{}{path} HTTP/2.0", parts.method, settings.port),
        user_agent: text(USER_AGENT),
        ..Texts::default()
    }
}
