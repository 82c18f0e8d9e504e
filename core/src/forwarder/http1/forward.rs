//! One forward: a connection to the target, the exchange, and what became of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::buffer::Buffer;
use super::exchange::{Exchange, Fail};
use super::framing::Framing;
use super::head::{Head, View};
use super::pool::Key;
use super::request::Judged;
use super::response::{self, Asked};
use super::serve::{Session, Then};
use crate::decision::{Forward, Outcome};
use crate::forwarder::drain::InFlight;
use crate::forwarder::proxy::OUTPUT;
use crate::forwarder::record::{Kind, Record};
use crate::forwarder::settings::{GroupSettings, ListenerSettings};
use crate::forwarder::tunnel::{self, Ends, Side};
use crate::forwarder::upstream::Stream;
use crate::forwarder::{Shared, clock};
use crate::model::Protocol;

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) listener: &'a ListenerSettings,
    pub(crate) group: &'a GroupSettings,
    pub(crate) forward: Forward,
    pub(crate) judged: &'a Judged,
    /// Whether the client's connection ends with this request.
    pub(crate) last: bool,
    /// A moment since when nothing has been waited for.
    pub(crate) recent: Instant,
    /// The client's head, where the answer has to be looked at together with it; else empty.
    pub(crate) kept: &'a [u8],
}

/// A forward without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    pub(crate) status: u16,
    /// Whether nothing of an answer has been sent yet.
    pub(crate) answerable: bool,
    /// Whether all of the request has been read.
    pub(crate) request_read: bool,
}

/// Sends `up`, which is the head, and everything that follows. `Err` if the client has to be told.
pub(crate) async fn run<S>(
    session: &mut Session<S>,
    way: Way<'_>,
    up: Buffer,
    record: &mut Record,
    report: &mut InFlight,
) -> Result<Then, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Way { listener, group, forward, judged, last, mut recent, kept } = way;
    let key =
        Key { address: forward.address, source: listener.source, https: group.protocol == Protocol::Https };
    let worker = session.client.worker.clone();
    let mut target = match worker.pool.take(&key, recent) {
        Some(stream) => stream,
        None => {
            let empty = matches!(judged.checked.framing, Framing::Empty | Framing::Length(0));
            // In a box, as the tunnel: most requests have no use for the room it takes.
            let stream = Box::pin(connect(session, &key, record, report))
                .await
                .map_err(|f| Failed { request_read: empty, ..f })?;
            recent = Instant::now();
            stream
        }
    };
    if judged.checked.websocket {
        record.kind = Kind::WebSocket;
    }
    let mut down = Buffer::default();
    if judged.checked.expects_continue && judged.checked.framing != Framing::Empty {
        down.push(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let ends = judged.checked.ends_connections(listener.desync);
    let keep_alive = AtomicBool::new(judged.checked.keep_alive && !last && !ends);
    let asked = Asked {
        settings: listener,
        version: judged.checked.version,
        is_head: judged.is_head,
        websocket: judged.checked.websocket,
        keep_alive: &keep_alive,
    };
    record.dispatched(recent);
    let (shared, peer) = (session.client.shared.clone(), session.client.peer);
    let Session { conn, timer, .. } = session;
    let mut exchange =
        Exchange::new(conn, &mut target, (up, down), judged.checked.framing, (listener.idle, recent));
    let mut on_head = |head: &httparse::Response<'_, '_>, out: &mut Vec<u8>| {
        let application = if group.app_cookie {
            application_cookie(head, judged, (kept, peer), &shared)
        } else {
            Vec::new()
        };
        let download = if application.is_empty() {
            response::write(head, &asked, &judged.cookies, out)
        } else {
            response::write(head, &asked, &[judged.cookies.as_slice(), &application].concat(), out)
        }?;
        record.headed(head.code.unwrap_or_default());
        Ok(download)
    };
    let watch = || shared.departures.of_live(forward.target, &shared.router);
    let ended = std::future::poll_fn(|cx| exchange.poll(cx, timer, &mut on_head, &watch)).await;
    let (answered, upload_over) = (exchange.answered(), exchange.upload_over());
    let reusable = exchange.target_reusable() && !ends;
    let moved = exchange.last_moved();
    let moved = record.headed_at().map_or(moved, |headed| headed.max(moved));
    session.heard = moved;
    match ended {
        Ok(()) => {
            report.answered(record.target_status.unwrap_or_default(), moved);
            if record.target_status == Some(101) {
                let (_, down) = exchange.rest();
                Box::pin(switched(session, target, down, way, record)).await;
                return Ok(Then::Gone);
            }
            if reusable {
                worker.pool.put(key, target, moved + listener.idle);
            }
            Ok(if keep_alive.load(Ordering::Relaxed) && upload_over { Then::Next } else { Then::Close })
        }
        Err(fail) => {
            report.ended(match fail {
                Fail::TargetClosed | Fail::TargetMalformed | Fail::TargetGone => Outcome::Closed,
                Fail::TargetSilent => Outcome::TimedOut,
                _ if answered => Outcome::Response(record.target_status.unwrap_or_default()),
                _ => Outcome::Cancelled,
            });
            if answered {
                // Too late for a page: the client sees its answer break off.
                return Ok(Then::Gone);
            }
            record.target_status = None;
            Err(Failed { status: fail.status(), answerable: true, request_read: upload_over })
        }
    }
}

/// Opens a connection, unless the client leaves in the meantime.
async fn connect<S>(
    session: &mut Session<S>,
    key: &Key,
    record: &mut Record,
    report: &mut InFlight,
) -> Result<Stream, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connector = session.client.worker.upstream.connector(key.source, false);
    let mut connecting = std::pin::pin!(connector.open(key.address, key.https));
    let conn = &mut session.conn;
    let opened = std::future::poll_fn(|cx| {
        if let Poll::Ready(opened) = connecting.as_mut().poll(cx) {
            return Poll::Ready(Some(opened));
        }
        while !conn.eof && conn.inbox.len() < 64 * 1024 {
            match conn.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    })
    .await;
    session.client.connected();
    let failed = |status| Failed { status, answerable: true, request_read: false };
    match opened {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) => {
            record.connect_failed = !error.is_tls();
            record.tls_failed = error.is_tls();
            let (status, outcome) = error.outcome();
            report.ended(outcome);
            Err(failed(status))
        }
        None => Err(failed(460)),
    }
}

/// The application's stickiness cookie, as a line, where the answer makes one (spec: dataplane §4.3).
fn application_cookie(
    head: &httparse::Response<'_, '_>,
    judged: &Judged,
    (kept, peer): (&[u8], SocketAddr),
    shared: &Shared,
) -> Vec<u8> {
    let asked = Head::again(kept);
    let request = View { head: &asked, peer, drop_invalid: false };
    OUTPUT.with_borrow_mut(|output| {
        let sets = |name: &str| response::sets_cookie(head, name);
        let (now, entropy) = (shared.clock.now(), clock::entropy());
        shared.router.app_cookie(&judged.decision, &request, sets, now, entropy, output);
        let mut lines = Vec::new();
        for cookie in output.set_cookies() {
            lines.extend_from_slice(b"Set-Cookie: ");
            lines.extend_from_slice(cookie.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        lines
    })
}

/// A WebSocket: bytes both ways until it ends.
async fn switched<S>(
    session: &mut Session<S>,
    target: Stream,
    down: Buffer,
    way: Way<'_>,
    record: &mut Record,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = &session.client;
    let ends = Ends {
        gone: client.shared.departures.of_live(way.forward.target, &client.shared.router),
        cut: client.cut.clone(),
        idle: way.listener.idle,
    };
    let clock = client.shared.clock;
    let to_target = session.conn.inbox.bytes().to_vec();
    let read = session.conn.inbox.len();
    session.conn.inbox.consume(read);
    let ours = Side { stream: &mut session.conn.stream, waiting: down.bytes().to_vec() };
    let theirs = Side { stream: target, waiting: to_target };
    let (up, down) = tunnel::run(ours, theirs, ends, clock).await;
    record.received += up;
    record.sent += down;
}
