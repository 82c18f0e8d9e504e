//! Client-side balancing: the rules, targets and health of a load balancer in front of an HTTP client of
//! one's own, without a hop between.

use std::future::Future;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::drain::InFlight;
use super::error_page::Answer;
use super::proxy::{OUTPUT, application_cookie};
use super::settings::{ListenerSettings, Settings};
use super::{Shared, clock};
use crate::decision::{Decision, Forward, ListenerId, Outcome, Verdict};
use crate::model::Protocol;
use crate::request::HttpRequest;

/// A `tower::Service` around an HTTP client: each request is decided by a listener's rules and sent to the
/// target that is its turn, over the client's own connections. Made by [`super::Running::balance`].
///
/// - The request keeps its Host (the URI's authority, if it has no Host field); the URI names the target
///   instead. Transforms are applied. Nothing else is added: there is no proxy that a target would have to
///   be told of, so no `X-Forwarded-*`.
/// - Redirects, fixed responses and errors such as 503 come back as responses with
///   [`BalancedBody::Own`], as do requests whose rule wants an authentication (401), for which there is no
///   hook on this side.
/// - Stickiness is the caller's cookie jar: responses carry `Set-Cookie`, requests bring `Cookie`.
/// - An error of the client is handed on, and reported as a failure of the target. A request counts as in
///   flight until its body has been read or dropped.
///
/// Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Balance<S> {
    shared: Arc<Shared>,
    listener: ListenerId,
    peer: SocketAddr,
    inner: S,
}

impl<S> Balance<S> {
    pub(crate) fn new(shared: Arc<Shared>, listener: ListenerId, inner: S) -> Self {
        Balance { shared, listener, peer: SocketAddr::from(([127, 0, 0, 1], 0)), inner }
    }

    /// The address that `source-ip` conditions see; 127.0.0.1 otherwise.
    #[must_use]
    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.peer = peer;
        self
    }

    /// The client.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> tower_service::Service<Request<B>> for Balance<S>
where
    S: tower_service::Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<BalancedBody<R>>;
    type Error = S::Error;
    type Future = Balancing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = self.shared.settings.load_full();
        let Some(listener) = settings.listener(self.listener).cloned() else {
            return Balancing::answer(Answer::error(503), &ListenerSettings::default(), Vec::new());
        };
        let (mut parts, body) = request.into_parts();
        let (decision, own, cookies, rewritten) = self.decide(&parts);
        // From here on the guard owes the report of a forward.
        let guard = InFlight::new(self.shared.router.clone(), self.shared.clock, decision);
        if decision.authenticate.is_some() {
            return Balancing::answer(Answer::error(401), &listener, Vec::new());
        }
        let (Verdict::Forward(forward), None) = (decision.verdict, &own) else {
            let answer = own.unwrap_or_else(|| Answer::error(500));
            return Balancing::answer(answer, &listener, cookies);
        };
        if direct(&mut parts, forward, rewritten, &settings).is_none() {
            return Balancing::answer(Answer::error(500), &listener, Vec::new());
        }
        let group = settings.group(forward.group);
        let kept = if group.is_some_and(|g| g.app_cookie) { kept(&parts.headers) } else { Vec::new() };
        // The one that was made ready is used; its clone waits for the next request.
        let fresh = self.inner.clone();
        let sending = mem::replace(&mut self.inner, fresh).call(Request::from_parts(parts, body));
        Balancing(State::Sent {
            sending: Box::pin(sending),
            sent: Some(Sent { shared: self.shared.clone(), peer: self.peer, decision, guard, cookies, kept }),
        })
    }
}

/// A new path and query, and a new Host.
type Rewritten = (Option<String>, Option<String>);

impl<S> Balance<S> {
    fn decide(
        &self,
        parts: &http::request::Parts,
    ) -> (Decision, Option<Answer>, Vec<HeaderValue>, Rewritten) {
        let view = HttpRequest::new(parts, self.peer);
        OUTPUT.with_borrow_mut(|output| {
            let (now, entropy) = (self.shared.clock.now(), clock::entropy());
            let decision = self.shared.router.decide(self.listener, &view, now, entropy, output);
            let own = Answer::decided(&decision, output);
            let cookies = output.set_cookies().filter_map(|c| HeaderValue::try_from(c).ok()).collect();
            let rewritten = (output.uri().map(str::to_owned), output.host().map(str::to_owned));
            (decision, own, cookies, rewritten)
        })
    }
}

/// Points a request at its target. `None` if a transform has made something that is no URI.
fn direct(
    parts: &mut http::request::Parts,
    forward: Forward,
    (path, host): Rewritten,
    settings: &Settings,
) -> Option<()> {
    let host = match (host, parts.uri.authority()) {
        (Some(host), _) => Some(HeaderValue::try_from(host).ok()?),
        (None, Some(authority)) if !parts.headers.contains_key(HOST) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            Some(HeaderValue::try_from(host).ok()?)
        }
        _ => None,
    };
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    let https = settings.group(forward.group).is_some_and(|g| g.protocol == Protocol::Https);
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(forward.address.to_string()).ok()?);
    uri.path_and_query = Some(match path {
        Some(path) => PathAndQuery::try_from(path).ok()?,
        None => parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
    });
    parts.uri = Uri::from_parts(uri).ok()?;
    Some(())
}

/// Fields of the request that an application's cookie is looked at together with.
fn kept(headers: &HeaderMap) -> Vec<(&'static [u8], HeaderValue)> {
    [COOKIE, ORIGIN, USER_AGENT]
        .into_iter()
        .zip([b"cookie".as_slice(), b"origin", b"user-agent"])
        .flat_map(|(name, bytes)| headers.get_all(name).iter().map(move |v| (bytes, v.clone())))
        .collect()
}

/// What is known of a request that is with its target.
#[derive(Debug)]
struct Sent {
    shared: Arc<Shared>,
    peer: SocketAddr,
    decision: Decision,
    guard: InFlight,
    cookies: Vec<HeaderValue>,
    kept: Vec<(&'static [u8], HeaderValue)>,
}

/// The response of a [`Balance`] to come.
#[derive(Debug)]
pub struct Balancing<F>(State<F>);

#[derive(Debug)]
enum State<F> {
    Own(Option<Response<Full<Bytes>>>),
    Sent { sending: Pin<Box<F>>, sent: Option<Sent> },
}

impl<F> Balancing<F> {
    fn answer(answer: Answer, listener: &ListenerSettings, cookies: Vec<HeaderValue>) -> Self {
        let mut response = answer.into_full(listener, false);
        for cookie in cookies {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Balancing(State::Own(Some(response)))
    }
}

impl<F, R, E> Future for Balancing<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<BalancedBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Own(own) => match own.take() {
                Some(own) => Poll::Ready(Ok(own.map(BalancedBody::Own))),
                // Polled again after its end, which is a mistake of the caller's.
                None => Poll::Pending,
            },
            State::Sent { sending, sent } => {
                let done = ready!(sending.as_mut().poll(cx));
                let Some(mut sent) = sent.take() else { return Poll::Pending };
                let mut response = match done {
                    Ok(response) => response,
                    Err(error) => {
                        sent.guard.ended(Outcome::Closed);
                        return Poll::Ready(Err(error));
                    }
                };
                sent.guard.ended(Outcome::Response(response.status().as_u16()));
                let mut cookies = sent.cookies;
                if !sent.kept.is_empty() {
                    let headers = response.headers();
                    let asked = (&sent.decision, sent.kept.as_slice(), sent.peer);
                    cookies.extend(application_cookie(&sent.shared, headers, asked));
                }
                for cookie in cookies {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                let guard = sent.guard;
                Poll::Ready(
                    Ok(response.map(|body| BalancedBody::Target(TargetsBody { body, _guard: guard }))),
                )
            }
        }
    }
}

/// The body of a response of a [`Balance`].
#[derive(Debug)]
pub enum BalancedBody<R> {
    /// Of a response that no target was asked for.
    Own(Full<Bytes>),
    /// The target's.
    Target(TargetsBody<R>),
}

/// A target's body, which keeps its request in flight.
#[derive(Debug)]
pub struct TargetsBody<R> {
    body: R,
    _guard: InFlight,
}

impl<R> Body for BalancedBody<R>
where
    R: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.get_mut() {
            BalancedBody::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            BalancedBody::Target(target) => Pin::new(&mut target.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            BalancedBody::Own(body) => body.is_end_stream(),
            BalancedBody::Target(target) => target.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            BalancedBody::Own(body) => body.size_hint(),
            BalancedBody::Target(target) => target.body.size_hint(),
        }
    }
}
