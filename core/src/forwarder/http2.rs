//! A client's connection that speaks HTTP/2: hyper's, and when it ends.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::{Body, BoxError};
use super::clock::Clock;
use super::proxy::Client;
use super::settings::ListenerSettings;

/// Streams at a time on one connection (spec: dataplane §6.7).
const MAX_STREAMS: u32 = 128;
/// Requests on one connection (spec: dataplane §6.7).
const MAX_REQUESTS: u64 = 10_000;
/// The longest request head that is read. More than the load balancer takes (spec: dataplane §6.7), which it
/// says with a status of its own; and HTTP/2 counts 32 bytes for each field on top.
const MAX_HEAD: u32 = 256 * 1024;

/// Serves a connection until the client leaves, or has been idle or here for long enough, or `drained` is ready.
/// It is asked to leave then; who does not is left.
pub(super) async fn serve<S>(
    stream: S,
    client: Client,
    settings: &ListenerSettings,
    drained: impl Future<Output = bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new(client.shared.clock));
    let full = Arc::new(tokio::sync::Notify::new());
    let service = {
        let (activity, full) = (activity.clone(), full.clone());
        service_fn(move |request| {
            let client = client.clone();
            let open = Open::new(&activity);
            if activity.requests.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_REQUESTS {
                full.notify_one();
            }
            async move {
                let response = client.handle(request).await;
                Ok::<_, Infallible>(response.map(|body| Counted { body, _open: open }))
            }
        })
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD);
    let stream = TokioIo::new(Watched { stream, activity: activity.clone() });
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let mut drained = std::pin::pin!(drained);
    let opened = Instant::now();
    let idle = settings.idle;
    let mut leaving = false;
    loop {
        tokio::select! {
            // An error here is the client's: it left, or did not speak HTTP/2.
            _ = connection.as_mut() => return,
            _ = drained.as_mut(), if !leaving => leaving = true,
            () = full.notified(), if !leaving => leaving = true,
            () = tokio::time::sleep(idle.min(Duration::from_secs(60))) => {
                let open = activity.open.load(Ordering::Relaxed);
                // Asked to leave it says nothing, or takes nothing of what it asked for: nobody is there.
                if (leaving && open == 0) || activity.since(&activity.moved_ms) >= 2 * idle {
                    return;
                }
                let quiet = open == 0 && activity.since(&activity.ended_ms) >= idle;
                if leaving || !(quiet || opened.elapsed() >= settings.client_keep_alive) {
                    continue;
                }
                leaving = true;
            }
        }
        connection.as_mut().graceful_shutdown();
    }
}

/// What a connection has been doing.
#[derive(Debug)]
struct Activity {
    clock: Clock,
    requests: AtomicU64,
    /// Requests whose answer is not there whole.
    open: AtomicUsize,
    /// When one of them ended.
    ended_ms: AtomicU64,
    /// When a byte came or went.
    moved_ms: AtomicU64,
}

impl Activity {
    fn new(clock: Clock) -> Self {
        let now = clock.now().mono_ms;
        Activity {
            clock,
            requests: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            ended_ms: AtomicU64::new(now),
            moved_ms: AtomicU64::new(now),
        }
    }

    fn note(&self, at: &AtomicU64) {
        at.store(self.clock.now().mono_ms, Ordering::Relaxed);
    }

    fn since(&self, at: &AtomicU64) -> Duration {
        Duration::from_millis(self.clock.now().mono_ms.saturating_sub(at.load(Ordering::Relaxed)))
    }
}

/// A request, as long as it is there.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        Open(activity.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.note(&self.0.ended_ms);
    }
}

/// An answer's body; its request is open until it has been sent, or is not wanted any more.
struct Counted {
    body: Body,
    _open: Open,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes when bytes move.
struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    fn wrote(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if matches!(written, Ok(n) if n > 0) {
            self.activity.note(&self.activity.moved_ms);
        }
        Poll::Ready(written)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.activity.note(&self.activity.moved_ms);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
