//! Answers of the load balancer's own: error pages, redirects and fixed responses (spec: dataplane §7.2,
//! §2.3, §2.4).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, LOCATION, SERVER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::body::Body;
use super::clock;
use super::settings::ListenerSettings;
use crate::decision::{Decision, Verdict};
use crate::router::Output;

/// The words behind a status, as the load balancer spells them.
fn title(status: u16) -> String {
    let words = match status {
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        405 => "Not Allowed",
        505 => "HTTP Version Not Supported",
        460 | 463 | 464 | 561 | 562 => "",
        _ => StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default(),
    };
    format!("{status} {words}").trim_end().to_owned()
}

/// The page for a status.
pub(crate) fn page(status: u16) -> String {
    let title = title(status);
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         </body>\r\n</html>\r\n"
    )
}

/// An answer of the load balancer's own, before it is written in the client's protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) location: Option<String>,
    /// Whole header fields besides those that every answer has.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// An error page.
    pub(crate) fn error(status: u16) -> Self {
        let content_type = Some("text/html".to_owned());
        Answer { status, content_type, body: page(status).into_bytes(), ..Answer::default() }
    }

    /// A redirect.
    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        if location.bytes().any(|b| matches!(b, 0..=b' ' | 0x7f)) {
            return Answer::error(500);
        }
        Answer { location: Some(location.to_owned()), ..Answer::error(status) }
    }

    /// A fixed response.
    pub(crate) fn fixed(status: u16, content_type: Option<&str>, body: &[u8]) -> Self {
        let content_type = Some(content_type.unwrap_or("text/plain; charset=utf-8").to_owned());
        Answer { status, content_type, body: body.to_vec(), ..Answer::default() }
    }

    /// What a decision answers by itself; `None` where it forwards.
    pub(crate) fn decided(decision: &Decision, output: &Output) -> Option<Self> {
        match decision.verdict {
            Verdict::Forward(_) => None,
            Verdict::Redirect { status } => {
                Some(Answer::redirect(status, output.location().unwrap_or_default()))
            }
            Verdict::FixedResponse { status } => {
                Some(Answer::fixed(status, output.content_type(), output.body().unwrap_or_default()))
            }
            Verdict::Error { status, .. } => Some(Answer::error(status)),
        }
    }

    /// Whether the client's stream cannot be trusted after it.
    pub(crate) fn closes(&self) -> bool {
        matches!(self.status, 400 | 408 | 413 | 414 | 460 | 501 | 505)
    }

    /// For hyper. `grpc` clients look for their status in a header of its own (spec: dataplane §6.7).
    pub(crate) fn into_response(self, settings: &ListenerSettings, grpc: bool) -> Response<Body> {
        self.into_full(settings, grpc).map(Body::Full)
    }

    /// As a response of the crate `http`.
    pub(crate) fn into_full(self, settings: &ListenerSettings, grpc: bool) -> Response<Full<Bytes>> {
        let length = self.body.len();
        // The body of an answer to HEAD is dropped by hyper, its Content-Length is kept.
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if settings.server_header {
            headers.insert(SERVER, HeaderValue::from_static("awselb/2.0"));
        }
        if let Ok(date) = HeaderValue::try_from(clock::http_date()) {
            headers.insert(DATE, date);
        }
        if let Some(content_type) = self.content_type.and_then(|t| HeaderValue::try_from(t).ok()) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(location) = self.location.and_then(|l| HeaderValue::try_from(l).ok()) {
            headers.insert(LOCATION, location);
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        if grpc {
            headers.insert("grpc-status", HeaderValue::from(grpc_status(self.status)));
            if let Ok(message) = HeaderValue::try_from(title(self.status)) {
                headers.insert("grpc-message", message);
            }
        }
        settings.insert_response_headers(headers);
        response
    }

    /// For HTTP/1.
    pub(crate) fn write(&self, out: &mut Vec<u8>, settings: &ListenerSettings, how: Http1) {
        if how.version9 {
            out.extend_from_slice(&self.body);
            return;
        }
        let mut line = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        // The space stands before words that are not there too (RFC 9112 §4).
        let words = title(self.status);
        let space = if words.contains(' ') { "" } else { " " };
        line("HTTP/1.1 ", format!("{words}{space}").as_bytes());
        if settings.server_header {
            line("Server: ", b"awselb/2.0");
        }
        line("Date: ", clock::http_date().as_bytes());
        if let Some(content_type) = &self.content_type {
            line("Content-Type: ", content_type.as_bytes());
        }
        line("Content-Length: ", self.body.len().to_string().as_bytes());
        line("Connection: ", if how.keep_alive { b"keep-alive" } else { b"close" });
        if let Some(location) = &self.location {
            line("Location: ", location.as_bytes());
        }
        let inserted = settings.insert.iter();
        for (name, value) in self.headers.iter().chain(inserted) {
            line(&format!("{name}: "), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !how.head {
            out.extend_from_slice(&self.body);
        }
    }
}

/// How an answer is written for HTTP/1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http1 {
    pub(crate) keep_alive: bool,
    /// The request was HEAD: no body.
    pub(crate) head: bool,
    /// HTTP/0.9: no head.
    pub(crate) version9: bool,
}

/// gRPC's own mapping of HTTP statuses.
fn grpc_status(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_length_that_was_measured_on_aws() {
        for (status, length) in
            [(301, 134), (302, 110), (400, 122), (403, 118), (500, 142), (502, 122), (503, 162), (504, 132)]
        {
            assert_eq!(page(status).len(), length, "{status}");
        }
    }

    #[test]
    fn a_status_without_a_name_has_no_trailing_space() {
        assert!(page(463).contains("<title>463</title>"));
    }

    #[test]
    fn own_answers_say_who_answers() {
        let settings = ListenerSettings::default();
        let response = Answer::redirect(301, "https://a:443/").into_response(&settings, false);
        assert_eq!(response.headers()[SERVER], "awselb/2.0");
        assert_eq!(response.headers()[CONTENT_LENGTH], "134");
        assert_eq!(response.headers()[LOCATION], "https://a:443/");
        let response = Answer::error(503).into_response(&settings, true);
        assert_eq!(response.headers()["grpc-status"], "14");
    }

    #[test]
    fn both_protocols_say_the_same() {
        let settings = ListenerSettings::default();
        let answer = Answer::redirect(302, "http://a:80/");
        let mut out = Vec::new();
        answer.write(&mut out, &settings, Http1 { keep_alive: true, head: false, version9: false });
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 302 Found\r\nServer: awselb/2.0\r\nDate: "), "{text}");
        assert!(
            text.contains("\r\nConnection: keep-alive\r\nLocation: http://a:80/\r\n\r\n<html>"),
            "{text}"
        );
        assert!(text.ends_with(&page(302)));
        assert_eq!(Answer::redirect(301, "http://a/\r\nX: y").status, 500);
    }
}
