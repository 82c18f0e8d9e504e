//! A client's connection, and requests over HTTP/2: decide, rewrite, send, stream back (spec: dataplane
//! §1.1, §6, §7). HTTP/1 is in `http1`. Every way out either goes through the report guard or never owed a
//! report.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, SET_COOKIE, TE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::{Body as _, Incoming};
use tokio::sync::watch;
use tokio::time::Instant;

use super::body::{Body, BoxError, ClientBody, Finish, Progress, TargetBody};
use super::drain::{Entered, InFlight, Open};
use super::error_page::Answer;
use super::headers::{self, Arrival};
use super::hooks::{self, HookRequest};
use super::http1::MAX_RESPONSE_HEAD;
use super::http2_head::{HeadSize, View, compatible, fields_size, is_grpc, texts};
use super::record::{Connection, Kind, Record};
use super::settings::{GroupSettings, ListenerSettings, Settings};
use super::tls::TlsFacts;
use super::upstream::ConnectError;
use super::{Shared, Worker, clock, http2_pool};
use crate::decision::{Decision, Forward, ListenerId, Outcome, Verdict};
use crate::model::{Protocol, ProtocolVersion};
use crate::request::{HttpRequest, Request as Asked};
use crate::router::Output;

/// A client connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) listener: ListenerId,
    pub(crate) peer: SocketAddr,
    pub(crate) bound_port: u16,
    pub(crate) open: Open,
    /// Becomes true when everything has to end now.
    pub(crate) cut: watch::Receiver<bool>,
    /// What the handshake found out.
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// Joins the access log to the connection log; made where there is a log.
    pub(crate) trace_id: Option<Arc<str>>,
}

/// A decision with its text, out of the router's buffer.
struct Decided {
    decision: Decision,
    answer: Option<Answer>,
    uri: Option<String>,
    host: Option<String>,
    cookies: Vec<HeaderValue>,
    /// Fields of the request that the answer is looked at together with.
    kept: Vec<(&'static [u8], HeaderValue)>,
}

thread_local! {
    // `decide` never waits, so one buffer serves every request of a thread.
    pub(crate) static OUTPUT: RefCell<Output> = RefCell::new(Output::new());
}

impl Client {
    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.shared.settings.load_full()
    }

    /// Counts a new connection to a target.
    pub(crate) fn connected(&self) {
        if let Some(listener) = self.shared.settings.load().listener(self.listener) {
            listener.metrics.count.new_connections.inc();
        }
    }

    /// Counts, logs and tells a request that has ended.
    pub(crate) fn finished(
        &self,
        record: &Record,
        listener: &ListenerSettings,
        group: Option<&GroupSettings>,
    ) {
        record.count(listener, group);
        if let Some(access) = &self.shared.observe.access {
            access(&record.line(listener, group, &self.connection()));
        }
        tracing::debug!(
            target: "podway::request",
            listener = listener.port,
            client = %record.peer,
            status = record.status,
            target_status = record.target_status,
            upstream = record.target.map(tracing::field::display),
            rule = record.priority.map(tracing::field::display),
            error_reason = record.error_reason.as_deref(),
            seconds = record.age().as_secs_f64(),
        );
    }

    fn connection(&self) -> Connection<'_> {
        let tls = self.tls.as_deref();
        Connection {
            cipher: tls.map(|t| t.cipher.as_str()),
            protocol: tls.map(|t| t.protocol),
            domain: tls.and_then(|t| t.domain.as_deref()),
            certificate: tls.and_then(|t| t.certificate.as_deref()),
            trace_id: self.trace_id.as_deref().unwrap_or("-"),
        }
    }

    /// Answers a request that came over HTTP/2.
    pub(crate) async fn handle(self, request: Request<Incoming>) -> Response<Body> {
        let open = self.open.enter();
        let settings = self.settings();
        let Some(listener) = settings.listener(self.listener).cloned() else {
            return Answer::error(503).into_response(&ListenerSettings::default(), false);
        };
        let (parts, body) = request.into_parts();
        let grpc = is_grpc(&parts);
        let kind = if grpc { Kind::Grpc } else { Kind::Http2 };
        let mut record = Record::new(self.peer, kind, tokio::time::Instant::now());
        let size = HeadSize::of(&parts);
        record.received = size.all as u64;
        if self.shared.observe.wants_text() {
            record.texts = Some(Box::new(texts(&parts, &listener)));
        }
        let is_head = parts.method == Method::HEAD;
        let finish = Finish::new(self.clone(), record, listener.clone());
        let routed = match size.refused() {
            Some(status) => Err(Refused::new(Answer::error(status), finish)),
            None => self.route(parts, body, &settings, &listener, finish, open).await,
        };
        let Refused { answer, mut finish, cookies } = match routed {
            Ok(response) => return response,
            Err(refused) => *refused,
        };
        finish.record.status = answer.status;
        finish.record.sent = if is_head { 0 } else { answer.body.len() as u64 };
        finish.group = finish.record.group.and_then(|id| settings.group(id)).cloned();
        drop(finish);
        let mut response = answer.into_response(&listener, grpc);
        append_cookies(&mut response, cookies);
        response
    }

    async fn route(
        &self,
        parts: Parts,
        body: Incoming,
        settings: &Settings,
        listener: &Arc<ListenerSettings>,
        mut finish: Finish,
        open: Entered,
    ) -> Result<Response<Body>, Box<Refused>> {
        if parts.method == Method::CONNECT {
            return Err(Refused::new(Answer::error(400), finish));
        }
        let decided = self.decide(&parts, listener, &mut finish.record);
        // From here on the guard owes the report of a forward.
        let report = InFlight::new(self.shared.router.clone(), self.shared.clock, decided.decision);
        if let Verdict::Forward(forward) = decided.decision.verdict {
            finish.record.group = Some(forward.group);
            finish.group = settings.group(forward.group).cloned();
        }
        if let Err(status) = self.inspect(&parts, &decided, listener, &mut finish.record) {
            finish.record.turned_away(status);
            return Err(Refused::new(Answer::error(status), finish));
        }
        let mut added = HeaderMap::new();
        if decided.decision.authenticate.is_some() || self.shared.hooks.firewall.is_some() {
            let request = self.for_hook(&parts, &decided);
            let (hooks, record) = (&self.shared.hooks, &mut finish.record);
            match hooks::ask(hooks, request, decided.decision.authenticate, listener, record).await {
                Ok(fields) => added = fields,
                Err(answer) => return Err(Refused::new(*answer, finish)),
            }
        }
        let Verdict::Forward(forward) = decided.decision.verdict else {
            let answer = decided.answer.unwrap_or_else(|| Answer::error(500));
            return Err(Box::new(Refused { answer, finish, cookies: decided.cookies }));
        };
        let Some(group) = settings.group(forward.group) else {
            return Err(Refused::new(Answer::error(503), finish));
        };
        let record = &mut finish.record;
        let parts = match self.rewrite(parts, forward, &decided, listener, group, &added, record) {
            Ok(parts) => parts,
            Err(status) => {
                record.turned_away(status);
                return Err(Refused::new(Answer::error(status), finish));
            }
        };
        self.forward(
            Request::from_parts(parts, body),
            forward,
            decided,
            listener,
            group,
            (finish, report, open),
        )
        .await
    }

    fn decide(&self, parts: &Parts, listener: &ListenerSettings, record: &mut Record) -> Decided {
        let view = View { request: HttpRequest::new(parts, self.peer), drop_invalid: listener.drop_invalid };
        let (now, entropy) = (self.shared.clock.now(), clock::entropy());
        OUTPUT.with_borrow_mut(|output| {
            let decision = self.shared.router.decide(self.listener, &view, now, entropy, output);
            record.decided(&decision, output);
            let (uri, host) = (output.uri().map(str::to_owned), output.host().map(str::to_owned));
            let answer = Answer::decided(&decision, output);
            let cookies = output.set_cookies().filter_map(|c| HeaderValue::try_from(c).ok()).collect();
            let kept = ["cookie", "origin", "user-agent"]
                .into_iter()
                .flat_map(|n| parts.headers.get_all(n).iter().map(move |v| (n.as_bytes(), v.clone())))
                .collect();
            Decided { decision, answer, uri, host, cookies, kept }
        })
    }

    /// Refuses, before anybody is asked, what no action may answer; and what is logged of a request that no
    /// target gets.
    fn inspect(
        &self,
        parts: &Parts,
        decided: &Decided,
        settings: &ListenerSettings,
        record: &mut Record,
    ) -> Result<(), u16> {
        let arrival = self.arrival(parts, decided, settings);
        let lines = parts.headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
        headers::write_forwarded_for(&mut Vec::new(), lines, &arrival).map_err(|refused| refused.0)?;
        if let Some(texts) = &mut record.texts {
            let sent = parts.headers.get("x-amzn-trace-id").map(HeaderValue::as_bytes);
            let mut trace = Vec::new();
            headers::write_trace_id(&mut trace, sent, &arrival);
            texts.trace_id = String::from_utf8_lossy(&trace).into_owned();
        }
        Ok(())
    }

    fn arrival<'a>(
        &self,
        parts: &'a Parts,
        decided: &'a Decided,
        settings: &'a ListenerSettings,
    ) -> Arrival<'a> {
        Arrival {
            settings,
            peer: self.peer,
            bound_port: self.bound_port,
            version: parts.version,
            authority: parts.uri.authority().map(Authority::as_str),
            rewritten_host: decided.host.as_deref(),
            unix_s: self.shared.clock.now().unix_s,
            entropy: clock::long_entropy(),
        }
    }

    fn for_hook(&self, parts: &Parts, decided: &Decided) -> HookRequest {
        let uri = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut headers = parts.headers.clone();
        if let (Some(authority), false) = (parts.uri.authority(), headers.contains_key(HOST))
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        HookRequest {
            listener: self.listener,
            peer: self.peer,
            method: parts.method.clone(),
            uri: decided.uri.clone().unwrap_or_else(|| uri.to_owned()),
            headers,
            action: self.shared.router.authentication(self.listener, &decided.decision),
        }
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        forward: Forward,
        decided: Decided,
        listener: &Arc<ListenerSettings>,
        group: &GroupSettings,
        (mut finish, mut report, open): (Finish, InFlight, Entered),
    ) -> Result<Response<Body>, Box<Refused>> {
        let http2 = group.version != ProtocolVersion::Http1;
        let (parts, body) = request.into_parts();
        let progress = Progress::new(self.shared.clock, body.is_end_stream());
        let outgoing = Request::from_parts(parts, ClientBody::new(body, progress.clone()));
        finish.upload = Some(progress.clone());
        let mut gone = self.shared.departures.of_live(forward.target, &self.shared.router);
        let source = listener.source;
        let sending = async {
            if http2 {
                let connector = self.worker.upstream.connector(source, true);
                let https = group.protocol == Protocol::Https;
                let key = http2_pool::Key { address: forward.address, source, https };
                let sent = self.worker.http2.send(key, &connector, listener.idle, outgoing).await;
                sent.map(|(answer, stream)| (answer, Some(stream)))
            } else {
                let sent = self.worker.upstream.pool(source, listener.idle).request(outgoing).await;
                sent.map(|answer| (answer, None)).map_err(BoxError::from)
            }
        };
        finish.record.dispatched(Instant::now());
        let answer = tokio::select! {
            answer = sending => answer,
            () = &mut gone => {
                report.ended(Outcome::Closed);
                return Err(Refused::new(Answer::error(502), finish));
            }
            () = progress.silence(listener.idle) => {
                let status = if progress.is_wanted() {
                    408
                } else {
                    report.ended(Outcome::TimedOut);
                    504
                };
                return Err(Refused::new(Answer::error(status), finish));
            }
        };
        let (answer, stream) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let connect = ConnectError::beneath(error.as_ref());
                finish.record.connect_failed = connect.is_some_and(|c| !c.is_tls());
                finish.record.tls_failed = connect.is_some_and(ConnectError::is_tls);
                let (status, outcome) = match connect {
                    Some(connect) => connect.outcome(),
                    None if progress.is_broken() => (400, Outcome::Cancelled),
                    None => (502, Outcome::Closed),
                };
                report.ended(outcome);
                return Err(Refused::new(Answer::error(status), finish));
            }
        };
        let status = answer.status().as_u16();
        report.ended(Outcome::Response(status));
        if status == 101 || fields_size(answer.headers()) > MAX_RESPONSE_HEAD {
            report.ended(Outcome::Closed);
            return Err(Refused::new(Answer::error(502), finish));
        }
        finish.record.headed(status);
        let (mut parts, body) = answer.into_parts();
        parts.version = Version::HTTP_2;
        let mut cookies = decided.cookies;
        if group.app_cookie {
            let asked = (&decided.decision, decided.kept.as_slice(), self.peer);
            cookies.extend(application_cookie(&self.shared, &parts.headers, asked));
        }
        headers::to_client(&mut parts.headers, listener);
        finish.record.sent = 16 + fields_size(&parts.headers) as u64;
        let body = TargetBody::new((body, stream), listener.idle, gone, report, open, finish);
        let mut response = Response::from_parts(parts, Body::Target(Box::new(body)));
        append_cookies(&mut response, cookies);
        Ok(response)
    }

    /// Makes the client's head the target's; the status to answer with if that cannot be.
    #[allow(clippy::too_many_arguments)] // the parts of one request, taken apart once
    fn rewrite(
        &self,
        mut parts: Parts,
        forward: Forward,
        decided: &Decided,
        settings: &ListenerSettings,
        group: &GroupSettings,
        added: &HeaderMap,
        record: &mut Record,
    ) -> Result<Parts, u16> {
        if !compatible(&parts, group) {
            return Err(464);
        }
        let http2 = group.version != ProtocolVersion::Http1;
        let trailers = http2 && parts.headers.get(TE).is_some_and(|v| v.as_bytes() == b"trailers");
        if parts.headers.keys().any(|n| !headers::is_valid_name(n.as_str().as_bytes())) {
            settings.count_invalid();
        }
        let mut fields = std::mem::take(&mut parts.headers);
        headers::to_target(&mut fields, &self.arrival(&parts, decided, settings))
            .map_err(|refused| refused.0)?;
        if decided.decision.authenticate.is_some_and(hooks::identifies) {
            let told: Vec<_> =
                fields.keys().filter(|n| hooks::is_identity(n.as_str().as_bytes())).cloned().collect();
            for name in told {
                fields.remove(name);
            }
        }
        if let Some(tls) = &self.tls {
            for (name, value) in tls.headers(settings) {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    fields.insert(name, value);
                }
            }
        }
        if let Some(texts) = &mut record.texts {
            let trace = fields.get("x-amzn-trace-id").and_then(|v| v.to_str().ok());
            texts.trace_id = trace.unwrap_or_default().to_owned();
        }
        if trailers {
            fields.insert(TE, HeaderValue::from_static("trailers"));
        }
        for (name, value) in added {
            fields.insert(name.clone(), value.clone());
        }
        let mut uri = http::uri::Parts::default();
        let https = group.protocol == Protocol::Https;
        uri.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(if http2 {
            // HTTP/2 has the Host in the URI, and nowhere else.
            let host = fields.remove(HOST);
            let host = host.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
            Authority::try_from(host).map_err(|_| 400u16)?
        } else {
            Authority::try_from(forward.address.to_string()).map_err(|_| 500u16)?
        });
        uri.path_and_query = Some(match &decided.uri {
            Some(rewritten) => PathAndQuery::try_from(rewritten.as_str()).map_err(|_| 500u16)?,
            None => parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        });
        parts.headers = fields;
        parts.uri = Uri::from_parts(uri).map_err(|_| 500u16)?;
        parts.version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        Ok(parts)
    }
}

/// The application's stickiness cookies for an answer with these headers (spec: dataplane §4.3).
pub(crate) fn application_cookie(
    shared: &Shared,
    headers: &HeaderMap,
    (decision, kept, peer): (&Decision, &[(&'static [u8], HeaderValue)], SocketAddr),
) -> Vec<HeaderValue> {
    let kept: Vec<(&[u8], &[u8])> = kept.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    let request = Asked::new("GET", "/", peer).header_bytes(&kept);
    let sets = |name: &str| {
        headers.get_all(SET_COOKIE).iter().any(|v| {
            v.as_bytes().split(|b| *b == b'=').next().is_some_and(|n| n.trim_ascii() == name.as_bytes())
        })
    };
    OUTPUT.with_borrow_mut(|output| {
        let (now, entropy) = (shared.clock.now(), clock::entropy());
        shared.router.app_cookie(decision, &request, sets, now, entropy, output);
        output.set_cookies().filter_map(|c| HeaderValue::try_from(c).ok()).collect()
    })
}

/// A request that is answered here.
struct Refused {
    answer: Answer,
    finish: Finish,
    cookies: Vec<HeaderValue>,
}

impl Refused {
    fn new(answer: Answer, finish: Finish) -> Box<Self> {
        Box::new(Refused { answer, finish, cookies: Vec::new() })
    }
}

fn append_cookies(response: &mut Response<Body>, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}
