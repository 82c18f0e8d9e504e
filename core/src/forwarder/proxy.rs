//! One request: decide, rewrite, send, stream back (spec: dataplane §1.1, §6, §7). Every way out either
//! goes through the report guard or never owed a report.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_TYPE, SET_COOKIE, TE, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;

use super::body::{Body, ClientBody, Progress, TargetBody};
use super::drain::{Entered, InFlight, Open};
use super::headers::{self, Arrival};
use super::settings::{GroupSettings, ListenerSettings};
use super::upstream::ConnectError;
use super::{Shared, clock, error_page, tunnel};
use crate::decision::{Authenticate, Decision, Forward, ListenerId, Outcome, Output, Verdict};
use crate::model::{Protocol, ProtocolVersion};
use crate::request::HttpRequest;

/// A client connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: ListenerId,
    pub(crate) peer: SocketAddr,
    pub(crate) bound_port: u16,
    pub(crate) open: Open,
    /// Becomes true when everything has to end now.
    pub(crate) cut: watch::Receiver<bool>,
}

/// A decision with its text, out of the router's buffer.
struct Decided {
    decision: Decision,
    location: Option<String>,
    body: Vec<u8>,
    content_type: Option<String>,
    uri: Option<String>,
    host: Option<String>,
    cookies: Vec<HeaderValue>,
}

thread_local! {
    // `decide` never waits, so one buffer serves every request of a thread.
    static OUTPUT: RefCell<Output> = RefCell::new(Output::new());
}

impl Client {
    /// Answers a request.
    pub(crate) async fn handle(self, request: Request<Incoming>) -> Response<Body> {
        let open = self.open.enter();
        let settings = self.shared.settings.load().listener(self.listener).unwrap_or_default();
        let (parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return error_page::error(400, &settings);
        }
        let decided = self.decide(&parts);
        match decided.decision.verdict {
            Verdict::Forward(forward) => {
                // From here on the guard owes the report.
                let report = InFlight::new(self.shared.router.clone(), self.shared.clock, decided.decision);
                if let Some(authenticate) = decided.decision.authenticate {
                    return unauthenticated(authenticate, &settings);
                }
                self.forward(parts, body, forward, &decided, &settings, report, open).await
            }
            _ if decided.decision.authenticate.is_some() => {
                unauthenticated(decided.decision.authenticate.unwrap_or(Authenticate::Jwt), &settings)
            }
            Verdict::Redirect { status } => {
                error_page::redirect(status, decided.location.as_deref().unwrap_or_default(), &settings)
            }
            Verdict::FixedResponse { status } => {
                error_page::fixed(status, decided.content_type.as_deref(), decided.body, &settings)
            }
            Verdict::Error { status, .. } => {
                let mut response = error_page::error(status, &settings);
                append_cookies(&mut response, decided.cookies);
                response
            }
        }
    }

    fn decide(&self, parts: &Parts) -> Decided {
        let view = HttpRequest::new(parts, self.peer);
        let (now, entropy) = (self.shared.clock.now(), clock::entropy());
        OUTPUT.with_borrow_mut(|output| {
            let decision = self.shared.router.decide(self.listener, &view, now, entropy, output);
            Decided {
                decision,
                location: output.location().map(str::to_owned),
                body: output.body().map(<[u8]>::to_vec).unwrap_or_default(),
                content_type: output.content_type().map(str::to_owned),
                uri: output.uri().map(str::to_owned),
                host: output.host().map(str::to_owned),
                cookies: output.set_cookies().filter_map(|c| HeaderValue::try_from(c).ok()).collect(),
            }
        })
    }

    #[allow(clippy::too_many_arguments)] // the parts of one request, taken apart once
    async fn forward(
        &self,
        mut parts: Parts,
        body: Incoming,
        forward: Forward,
        decided: &Decided,
        settings: &Arc<ListenerSettings>,
        mut report: InFlight,
        open: Entered,
    ) -> Response<Body> {
        let group = self.shared.settings.load().group(forward.group);
        if !compatible(&parts, group) {
            return error_page::error(464, settings);
        }
        let on_client = parts.extensions.remove::<OnUpgrade>();
        let websocket = parts.version == Version::HTTP_11 && headers::is_websocket(&parts.headers);
        if let Err(status) = self.rewrite(&mut parts, forward, decided, settings, group, websocket) {
            return error_page::error(status, settings);
        }

        let http2 = group.version != ProtocolVersion::Http1;
        let progress = Progress::new(self.shared.clock, body.is_end_stream());
        let outgoing = Request::from_parts(parts, ClientBody::new(body, progress.clone()));
        let mut gone = self.shared.departures.of(forward.target);
        let pool = self.shared.upstream.pool(settings.source, http2);
        let answer = tokio::select! {
            answer = pool.request(outgoing) => answer,
            () = &mut gone => {
                report.ended(Outcome::Closed);
                return error_page::error(502, settings);
            }
            () = progress.silence(settings.idle) => {
                return if progress.is_complete() {
                    report.ended(Outcome::TimedOut);
                    error_page::error(504, settings)
                } else {
                    error_page::error(408, settings)
                };
            }
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let (status, outcome) = match ConnectError::beneath(&error) {
                    Some(ConnectError::TimedOut) => (504, Outcome::TimedOut),
                    Some(ConnectError::Failed(_)) => (502, Outcome::ConnectFailed),
                    None if progress.is_broken() => (400, Outcome::Cancelled),
                    None => (502, Outcome::Closed),
                };
                report.ended(outcome);
                return error_page::error(status, settings);
            }
        };

        let status = answer.status();
        report.ended(Outcome::Response(status.as_u16()));
        let mut switched = None;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let (true, Some(on_client)) = (websocket, on_client) else {
                report.ended(Outcome::Closed);
                return error_page::error(502, settings);
            };
            switched = Some((on_client, hyper::upgrade::on(&mut answer)));
        }
        let (mut parts, body) = answer.into_parts();
        parts.version = Version::HTTP_11;
        headers::to_client(&mut parts.headers, settings);
        let body = match switched {
            Some((client, target)) => {
                parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                let ends = tunnel::Ends { gone, cut: self.cut.clone(), idle: settings.idle };
                let clock = self.shared.clock;
                tokio::spawn(async move {
                    tunnel::run(client, target, ends, clock).await;
                    drop((report, open));
                });
                Body::full(bytes::Bytes::new())
            }
            None => Body::Target(Box::new(TargetBody::new(body, settings.idle, gone, report, open))),
        };
        let mut response = Response::from_parts(parts, body);
        append_cookies(&mut response, decided.cookies.clone());
        response
    }

    /// Makes the client's head the target's; the status to answer with if that cannot be.
    fn rewrite(
        &self,
        parts: &mut Parts,
        forward: Forward,
        decided: &Decided,
        settings: &ListenerSettings,
        group: GroupSettings,
        websocket: bool,
    ) -> Result<(), u16> {
        let http2 = group.version != ProtocolVersion::Http1;
        let trailers = http2 && parts.headers.get(TE).is_some_and(|v| v.as_bytes() == b"trailers");
        let authority = parts.uri.authority().map(|a| a.as_str().to_owned());
        let arrival = Arrival {
            settings,
            peer: self.peer,
            bound_port: self.bound_port,
            version: parts.version,
            authority: authority.as_deref(),
            rewritten_host: decided.host.as_deref(),
            unix_s: self.shared.clock.now().unix_s,
            entropy: [clock::entropy(), clock::entropy()],
        };
        headers::to_target(&mut parts.headers, &arrival).map_err(|refused| refused.0)?;
        if trailers {
            parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if websocket {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(if group.protocol == Protocol::Https { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(Authority::try_from(forward.address.to_string()).map_err(|_| 500u16)?);
        uri.path_and_query = Some(match &decided.uri {
            Some(rewritten) => PathAndQuery::try_from(rewritten.as_str()).map_err(|_| 500u16)?,
            None => parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        });
        parts.uri = Uri::from_parts(uri).map_err(|_| 500u16)?;
        parts.version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        Ok(())
    }
}

/// Whether the client's protocol can be spoken to the group (spec: dataplane §6.7).
fn compatible(parts: &Parts, group: GroupSettings) -> bool {
    let http2 = parts.version == Version::HTTP_2;
    let grpc = http2
        && parts.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    match group.version {
        ProtocolVersion::Http1 => !grpc,
        ProtocolVersion::Http2 => http2,
        ProtocolVersion::Grpc => http2 && (grpc || parts.method == Method::POST),
    }
}

/// The forwarder does not log users in yet; what asks for that is refused rather than let through.
fn unauthenticated(authenticate: Authenticate, settings: &ListenerSettings) -> Response<Body> {
    let status = match authenticate {
        Authenticate::Jwt => 401,
        Authenticate::Oidc | Authenticate::Cognito => 501,
    };
    error_page::error(status, settings)
}

fn append_cookies(response: &mut Response<Body>, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}
