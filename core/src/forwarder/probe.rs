//! Health checks: asks the router what is due, does the IO, reports (spec: dataplane §5.5). Each check is
//! a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::upstream::{Upstream, Upstreaming};
use super::{Shared, Worker};
use crate::ProbeResult;
use crate::model::{Protocol, ProtocolVersion};
use crate::router::Probe;

/// Polled at least this often, so that a reload by somebody else's hand is noticed.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>, worker: Arc<Worker>) {
    let mut due = Vec::new();
    loop {
        let now = shared.clock.now();
        let next = shared.router.poll(now, &mut due);
        for probe in due.drain(..) {
            let (shared, worker) = (shared.clone(), worker.clone());
            tokio::spawn(async move {
                let result = check(&shared, &worker.upstream, &probe).await;
                shared.router.report_probe(probe.target, &result, shared.clock.now());
                shared.wake.notify_one();
            });
        }
        for event in shared.router.events() {
            if event.to.is_none() {
                shared.departures.gone(event.target);
            }
            // Nobody may be listening.
            let _ = shared.events.send(event);
        }
        let latest = tokio::time::Instant::now() + AT_LEAST_EVERY;
        // A deadline that has passed already must not turn this into a busy loop.
        let soonest = tokio::time::Instant::now() + Duration::from_millis(5);
        tokio::select! {
            () = tokio::time::sleep_until(shared.clock.instant(next).clamp(soonest, latest)) => {}
            () = shared.wake.notified() => {}
        }
    }
}

async fn check(shared: &Shared, upstream: &Upstream, probe: &Probe) -> ProbeResult {
    let timeout = Duration::from_millis(probe.timeout_ms);
    let source = shared
        .router
        .target(probe.target)
        .and_then(|target| shared.settings.load().group(target.group)?.source);
    let asked = async {
        let http2 = probe.version != ProtocolVersion::Http1;
        let connector = upstream.connector(source, http2);
        let https = probe.protocol == Protocol::Https;
        let stream = connector.connect(probe.address, https).await.ok()?;
        ask(stream, probe).await
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(Some(status)) => ProbeResult::Status(status),
        Ok(None) => ProbeResult::Failed,
        Err(_) => ProbeResult::TimedOut,
    }
}

/// One request on a connection of its own; what the matcher compares.
async fn ask(stream: Upstreaming, probe: &Probe) -> Option<u16> {
    let request = request(probe)?;
    if probe.version == ProtocolVersion::Http1 {
        let mut builder = hyper::client::conn::http1::Builder::new();
        let (mut sender, connection) = builder.title_case_headers(true).handshake(stream).await.ok()?;
        // The answer's body is of no interest, so the connection ends with the head.
        tokio::select! {
            answer = sender.send_request(request) => answer.ok().map(|a| a.status().as_u16()),
            never = driven(connection) => never,
        }
    } else {
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(stream)
            .await
            .ok()?;
        let asked = async {
            let answer = sender.send_request(request).await.ok()?;
            if probe.version == ProtocolVersion::Grpc {
                grpc_status(answer).await
            } else {
                Some(answer.status().as_u16())
            }
        };
        tokio::select! {
            status = asked => status,
            never = driven(connection) => never,
        }
    }
}

/// Drives a connection and never ends: the last answer comes in the very moment that a connection closes,
/// and whoever waits for one on a connection that closed without it is told so by the sender.
async fn driven<T>(connection: impl Future) -> T {
    connection.await;
    std::future::pending().await
}

fn request(probe: &Probe) -> Option<Request<Empty<Bytes>>> {
    let grpc = probe.version == ProtocolVersion::Grpc;
    let http1 = probe.version == ProtocolVersion::Http1;
    let uri = if http1 {
        Uri::try_from(probe.path.as_str()).ok()?
    } else {
        Uri::builder()
            .scheme(probe.protocol.scheme())
            .authority(probe.host.as_str())
            .path_and_query(probe.path.as_str())
            .build()
            .ok()?
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = if grpc { Method::POST } else { Method::GET };
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    if http1 {
        headers.insert(HOST, HeaderValue::try_from(probe.host.as_str()).ok()?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("ELB-HealthChecker/2.0"));
    if grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    } else {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, compressed"));
    }
    Some(request)
}

/// The grpc-status, which stands in the head when there is no message, else in the trailers.
async fn grpc_status(answer: Response<Incoming>) -> Option<u16> {
    let of = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(status) = of(answer.headers()) {
        return Some(status);
    }
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(trailers) = frame.ok()?.trailers_ref() {
            return of(trailers);
        }
    }
    None
}
