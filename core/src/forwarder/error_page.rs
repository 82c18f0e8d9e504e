//! Answers of the load balancer's own: error pages, redirects and fixed responses (spec: dataplane §7.2,
//! §2.3, §2.4).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, SERVER};
use http::{HeaderValue, Response, StatusCode};

use super::body::Body;
use super::clock;
use super::settings::ListenerSettings;

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

/// An error. Statuses after which the client's stream cannot be trusted close the connection.
pub(crate) fn error(status: u16, settings: &ListenerSettings) -> Response<Body> {
    let mut response = own(status, "text/html", Bytes::from(page(status)), settings);
    if matches!(status, 400 | 408 | 413 | 414) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A redirect.
pub(crate) fn redirect(status: u16, location: &str, settings: &ListenerSettings) -> Response<Body> {
    let Ok(location) = HeaderValue::try_from(location) else {
        return error(500, settings);
    };
    let mut response = own(status, "text/html", Bytes::from(page(status)), settings);
    response.headers_mut().insert(LOCATION, location);
    response
}

/// A fixed response.
pub(crate) fn fixed(
    status: u16,
    content_type: Option<&str>,
    body: Vec<u8>,
    settings: &ListenerSettings,
) -> Response<Body> {
    own(status, content_type.unwrap_or("text/plain; charset=utf-8"), Bytes::from(body), settings)
}

fn own(status: u16, content_type: &str, body: Bytes, settings: &ListenerSettings) -> Response<Body> {
    let length = body.len();
    // The body of an answer to HEAD is dropped by hyper, its Content-Length is kept.
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if settings.server_header {
        headers.insert(SERVER, HeaderValue::from_static("awselb/2.0"));
    }
    if let Ok(date) = HeaderValue::try_from(clock::http_date()) {
        headers.insert(DATE, date);
    }
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    settings.insert_response_headers(headers);
    response
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
        let response = redirect(301, "https://a:443/", &settings);
        assert_eq!(response.headers()[SERVER], "awselb/2.0");
        assert_eq!(response.headers()[CONTENT_LENGTH], "134");
        assert_eq!(response.headers()[LOCATION], "https://a:443/");
        assert!(response.headers().get(CONNECTION).is_none());
        assert_eq!(error(400, &settings).headers()[CONNECTION], "close");
    }
}
