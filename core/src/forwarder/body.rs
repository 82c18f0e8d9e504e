//! Bodies, streamed both ways: what the client sends to the target and what the target answers. Nothing is
//! collected, so that a slow reader slows its writer.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::clock::Clock;
use super::drain::{Entered, Gone, InFlight};
use super::http2_pool::Stream;
use super::proxy::Client;
use super::record::Record;
use super::settings::{GroupSettings, ListenerSettings};
use crate::decision::Outcome;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// What the client gets.
pub(crate) enum Body {
    /// An answer of our own.
    Full(Full<Bytes>),
    /// The target's.
    Target(Box<TargetBody>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Body::Full(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Body::Target(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(body) => body.is_end_stream(),
            Body::Target(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(body) => body.size_hint(),
            Body::Target(body) => body.inner.size_hint(),
        }
    }
}

/// A target's answer. Holds the request's report until it has been sent, or the client is gone.
pub(crate) struct TargetBody {
    inner: Incoming,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    gone: Gone,
    report: InFlight,
    _open: Entered,
    _stream: Option<Stream>,
    finish: Finish,
}

/// Ends the record of a request when its answer has ended, however that was; also if the client has reset it
/// before there was one.
pub(crate) struct Finish {
    client: Client,
    pub(crate) record: Record,
    listener: Arc<ListenerSettings>,
    pub(crate) group: Option<GroupSettings>,
    /// Of the request's body, once that is on its way.
    pub(crate) upload: Option<Arc<Progress>>,
}

impl Finish {
    pub(crate) fn new(client: Client, record: Record, listener: Arc<ListenerSettings>) -> Self {
        Finish { client, record, listener, group: None, upload: None }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.record.received += self.upload.as_ref().map_or(0, |upload| upload.bytes());
        if self.record.status == 0 {
            // Nobody was answered, for nobody waits any more (spec: dataplane §7.1).
            let half = self.upload.as_ref().is_some_and(|upload| !upload.is_complete());
            self.record.status = if half { 400 } else { 460 };
        }
        self.client.finished(&self.record, &self.listener, self.group.as_ref());
    }
}

impl TargetBody {
    pub(crate) fn new(
        (inner, stream): (Incoming, Option<Stream>),
        idle: Duration,
        gone: Gone,
        report: InFlight,
        open: Entered,
        finish: Finish,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(idle));
        TargetBody { inner, idle, timer, gone, report, _open: open, _stream: stream, finish }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer.as_mut().reset(Instant::now() + self.idle);
                self.finish.record.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(e))) => {
                self.report.ended(Outcome::Closed);
                return Poll::Ready(Some(Err(e.into())));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        if self.gone.as_mut().poll(cx).is_ready() {
            self.report.ended(Outcome::Closed);
            return Poll::Ready(Some(Err("the target's deregistration delay is over".into())));
        }
        ready!(self.timer.as_mut().poll(cx));
        self.report.ended(Outcome::TimedOut);
        Poll::Ready(Some(Err("the target fell silent".into())))
    }
}

/// What the client has sent so far, seen from beside the body.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Clock,
    last_ms: AtomicU64,
    complete: AtomicBool,
    broken: AtomicBool,
    /// Whether the target wants more of it than the client has sent.
    wanted: AtomicBool,
    bytes: AtomicU64,
}

impl Progress {
    pub(crate) fn new(clock: Clock, complete: bool) -> Arc<Self> {
        Arc::new(Progress {
            clock,
            last_ms: AtomicU64::new(clock.now().mono_ms),
            complete: AtomicBool::new(complete),
            broken: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
        })
    }

    fn touch(&self) {
        self.last_ms.store(self.clock.now().mono_ms, Ordering::Relaxed);
    }

    /// Whether the client has sent all of its request.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Whether the client broke off in the middle of its request.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether it is the client that is waited for, and not the target.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && !self.is_complete()
    }

    /// How much of the body has come.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns once nothing has moved for `idle`.
    pub(crate) async fn silence(&self, idle: Duration) {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        loop {
            let until = self.last_ms.load(Ordering::Relaxed).saturating_add(idle);
            if self.clock.now().mono_ms >= until {
                return;
            }
            tokio::time::sleep_until(self.clock.instant(until)).await;
        }
    }
}

/// The client's request body on its way to the target.
pub(crate) struct ClientBody {
    inner: Incoming,
    progress: Arc<Progress>,
}

impl ClientBody {
    pub(crate) fn new(inner: Incoming, progress: Arc<Progress>) -> Self {
        ClientBody { inner, progress }
    }
}

impl HttpBody for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        self.progress.wanted.store(frame.is_pending(), Ordering::Relaxed);
        let frame = ready!(frame);
        self.progress.touch();
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        match &frame {
            None => self.progress.complete.store(true, Ordering::Relaxed),
            Some(Err(_)) => self.progress.broken.store(true, Ordering::Relaxed),
            Some(Ok(_)) if self.inner.is_end_stream() => {
                self.progress.complete.store(true, Ordering::Relaxed);
            }
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame.map(|f| f.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
