//! The request as the matcher sees it: a borrowed view. Nothing is copied, nothing is kept.

use std::net::SocketAddr;

/// What a decision may look at. Implemented for [`Request`] (slices) and [`HttpRequest`] (the `http`
/// crate); an embedder with a type of its own implements these five methods.
///
/// All text is bytes as received, neither decoded nor validated: every byte is hostile.
pub trait RequestView {
    /// The method, for example `GET`. Case matters.
    fn method(&self) -> &[u8];

    /// The request target as received: `/path?query`, `http://host/path?query`, or `*`. For HTTP/2 it is
    /// the `:path` pseudo header.
    fn target(&self) -> &[u8];

    /// The first `Host` header or the `:authority`, if any. The authority of an absolute target, which
    /// takes its place, is found by the matcher itself.
    fn host(&self) -> Option<&[u8]>;

    /// Calls `visit` with the value of each header line of this name, in order, until it returns true;
    /// says whether it did. `name` is lower case; names of the request are compared without case.
    fn any_header(&self, name: &str, visit: impl FnMut(&[u8]) -> bool) -> bool;

    /// The TCP peer of the load balancer.
    fn peer(&self) -> SocketAddr;
}

/// A request made of slices.
///
/// ```
/// use podway::Request;
/// let request = Request::new("GET", "/app1?x=1", "192.0.2.7:40000".parse().unwrap())
///     .host("shop.example.com")
///     .headers(&[("accept", "text/html")]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    method: &'a [u8],
    target: &'a [u8],
    host: Option<&'a [u8]>,
    headers: Headers<'a>,
    peer: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
enum Headers<'a> {
    Text(&'a [(&'a str, &'a str)]),
    Bytes(&'a [(&'a [u8], &'a [u8])]),
}

impl<'a> Request<'a> {
    /// A request without headers.
    pub fn new<M, T>(method: &'a M, target: &'a T, peer: SocketAddr) -> Self
    where
        M: AsRef<[u8]> + ?Sized,
        T: AsRef<[u8]> + ?Sized,
    {
        Request {
            method: method.as_ref(),
            target: target.as_ref(),
            host: None,
            headers: Headers::Text(&[]),
            peer,
        }
    }

    /// Sets the host. Without it the first `host` among the headers counts.
    #[must_use]
    pub fn host<H: AsRef<[u8]> + ?Sized>(mut self, host: &'a H) -> Self {
        self.host = Some(host.as_ref());
        self
    }

    /// Sets the header lines, in the order received.
    #[must_use]
    pub fn headers(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = Headers::Text(headers);
        self
    }

    /// Sets the header lines from bytes.
    #[must_use]
    pub fn header_bytes(mut self, headers: &'a [(&'a [u8], &'a [u8])]) -> Self {
        self.headers = Headers::Bytes(headers);
        self
    }
}

impl RequestView for Request<'_> {
    #[inline]
    fn method(&self) -> &[u8] {
        self.method
    }

    #[inline]
    fn target(&self) -> &[u8] {
        self.target
    }

    #[inline]
    fn host(&self) -> Option<&[u8]> {
        if self.host.is_some() {
            return self.host;
        }
        match self.headers {
            Headers::Text(lines) => {
                lines.iter().find(|(n, _)| n.eq_ignore_ascii_case("host")).map(|(_, v)| v.as_bytes())
            }
            Headers::Bytes(lines) => {
                lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(b"host")).map(|(_, v)| *v)
            }
        }
    }

    #[inline]
    fn any_header(&self, name: &str, mut visit: impl FnMut(&[u8]) -> bool) -> bool {
        match self.headers {
            Headers::Text(lines) => {
                lines.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && visit(v.as_bytes()))
            }
            Headers::Bytes(lines) => {
                lines.iter().any(|(n, v)| n.eq_ignore_ascii_case(name.as_bytes()) && visit(v))
            }
        }
    }

    #[inline]
    fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// A request of the `http` crate with its peer.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    parts: &'a http::request::Parts,
    target: &'a str,
    peer: SocketAddr,
}

impl<'a> HttpRequest<'a> {
    /// A view of `parts`.
    pub fn new(parts: &'a http::request::Parts, peer: SocketAddr) -> Self {
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        HttpRequest { parts, target, peer }
    }
}

impl RequestView for HttpRequest<'_> {
    fn method(&self) -> &[u8] {
        self.parts.method.as_str().as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn host(&self) -> Option<&[u8]> {
        match self.parts.uri.authority() {
            // Credentials are not part of the host.
            Some(authority) => authority.as_str().rsplit('@').next().map(str::as_bytes),
            None => self.parts.headers.get(http::header::HOST).map(http::HeaderValue::as_bytes),
        }
    }

    fn any_header(&self, name: &str, mut visit: impl FnMut(&[u8]) -> bool) -> bool {
        self.parts.headers.get_all(name).iter().any(|v| visit(v.as_bytes()))
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }
}
