//! A client's connection: one request after the other, until one side has had enough.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::buffer::Buffer;
use super::exchange::{Conn, Timer};
use super::forward;
use super::framing::{Decoder, Framing};
use super::head::{Found, Head, HttpVersion, Lengths, Scan};
use super::request::{Context, Judged, compose, for_hook, no_texts, prepare};
use crate::decision::Verdict;
use crate::forwarder::drain::InFlight;
use crate::forwarder::error_page::{Answer, Http1};
use crate::forwarder::proxy::{Client, OUTPUT};
use crate::forwarder::record::{Kind, Record};
use crate::forwarder::settings::{ListenerSettings, Settings};

/// A client that is told to go has this long to go by itself, so that it reads the answer.
const LINGER: Duration = Duration::from_secs(2);
/// As much of an unwanted body is read, so that the connection can live on.
const DISCARD: u64 = 256 * 1024;

/// What a connection waits for between requests.
enum Next {
    Head(Lengths),
    TooLong(u16),
    /// The client was silent; whether in the middle of a head.
    Silent(bool),
    /// The client has left, in the middle of a head.
    Broken,
    Ended,
}

/// Whether the connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Next,
    /// After the client has had time to read.
    Close,
    /// At once.
    Gone,
}

/// What the requests of a connection share.
pub(crate) struct Session<S> {
    pub(crate) conn: Conn<S>,
    pub(crate) timer: Timer,
    pub(crate) client: Client,
    /// When the client was last heard: a moment of each request that need not be read off a clock again.
    pub(crate) heard: Instant,
}

/// Whether more requests are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Any,
    /// One, if the client has it on its way.
    Last,
    None,
}

/// Serves a client until its connection ends. `draining` is ready when no more requests are wanted, with
/// whether to wait for a last one. To be called where it will run, for its timer.
// Not `async` itself, for that would keep every argument twice as long as the connection lives.
pub(crate) fn serve<S, D>(stream: S, client: Client, draining: D) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Future<Output = bool>,
{
    // In a box: on its way into the future below it would be kept at every step.
    let draining = Box::pin(draining);
    let first = client.settings().listener(client.listener).map_or(LINGER, |s| s.idle);
    let (timer, heard) = (Timer::new(first), Instant::now());
    let mut session = Session { conn: Conn::new(stream), timer, client, heard };
    async move { run(&mut session, draining).await }
}

async fn run<S, D>(session: &mut Session<S>, mut draining: Pin<Box<D>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Future<Output = bool>,
{
    let opened = session.heard;
    let mut wanted = Wanted::Any;
    loop {
        let settings = session.client.settings();
        let Some(listener) = settings.listener(session.client.listener).cloned() else { break };
        session.conn.inbox.release();
        let (received, sent) = (session.conn.received, session.conn.sent);
        let next = next(session, &listener, draining.as_mut(), &mut wanted).await;
        let mut record = Record::new(session.client.peer, Kind::Http1, session.heard);
        let last =
            wanted != Wanted::Any || session.heard.duration_since(opened) >= listener.client_keep_alive;
        let then = match next {
            Next::Ended | Next::Silent(false) => {
                goodbye(session).await;
                break;
            }
            Next::Broken => unread(session, &listener, 400, &mut record).await,
            Next::Silent(true) => unread(session, &listener, 408, &mut record).await,
            Next::TooLong(status) => unread(session, &listener, status, &mut record).await,
            Next::Head(lines) => {
                let open = session.client.open.enter();
                let then = one(session, &settings, &listener, &lines, last, &mut record).await;
                drop(open);
                then
            }
        };
        // What was read ahead belongs to the next request, near enough.
        record.received += session.conn.received - received;
        record.sent += session.conn.sent - sent;
        let group = record_group(&record, &settings);
        session.client.finished(&record, &listener, group);
        match then {
            // What is read ahead is heard now; a forward has noted when it ended.
            Then::Next if record.headed_at().is_none() => session.heard = Instant::now(),
            Then::Next => {}
            Then::Close => {
                linger(session).await;
                break;
            }
            Then::Gone => break,
        }
    }
}

fn record_group<'s>(
    record: &Record,
    settings: &'s Settings,
) -> Option<&'s crate::forwarder::settings::GroupSettings> {
    record.group.and_then(|id| settings.group(id))
}

/// Waits for a head.
async fn next<S, D>(
    session: &mut Session<S>,
    settings: &ListenerSettings,
    mut draining: Pin<&mut D>,
    wanted: &mut Wanted,
) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Future<Output = bool>,
{
    let mut scan = Scan::default();
    std::future::poll_fn(|cx| {
        loop {
            let Session { conn, timer, heard, .. } = session;
            match scan.look(conn.inbox.bytes()) {
                Found::Head(lines) => return Poll::Ready(Next::Head(lines)),
                Found::TooLong(status) => return Poll::Ready(Next::TooLong(status)),
                Found::Skip(length) => {
                    conn.inbox.consume(length);
                    scan = Scan::default();
                    continue;
                }
                Found::Partial => {}
            }
            let left = || Poll::Ready(if scan.has_begun() { Next::Broken } else { Next::Ended });
            if conn.eof {
                return left();
            }
            match conn.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return left(),
                Poll::Ready(Ok(_)) => {
                    *heard = Instant::now();
                    continue;
                }
                Poll::Pending => {}
            }
            if *wanted == Wanted::Any
                && let Poll::Ready(patient) = draining.as_mut().poll(cx)
            {
                *wanted = if patient { Wanted::Last } else { Wanted::None };
            }
            if *wanted == Wanted::None && !scan.has_begun() {
                return Poll::Ready(Next::Ended);
            }
            let silent = timer.poll_until(*heard + settings.idle, cx).is_ready();
            return if silent { Poll::Ready(Next::Silent(scan.has_begun())) } else { Poll::Pending };
        }
    })
    .await
}

/// One request, whose head is at the front of the inbox.
async fn one<S>(
    session: &mut Session<S>,
    settings: &Arc<Settings>,
    listener: &ListenerSettings,
    lines: &[u16],
    last: bool,
    record: &mut Record,
) -> Then
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = Context {
        client: &session.client,
        settings: listener,
        now: session.client.shared.clock.at(session.heard),
    };
    let mut up = Buffer::default();
    let mut refused = 0;
    let length = lines.iter().map(|l| usize::from(*l)).sum();
    // Not a `match`: what is matched on would stay in the future for as long as it lives.
    let Some((judged, composed)) = OUTPUT
        .with_borrow_mut(|output| {
            let head = session.conn.inbox.bytes().get(..length).unwrap_or_default();
            prepare((head, lines), context, settings, (output, record), &mut up)
        })
        .map_err(|status| refused = status)
        .ok()
    else {
        session.conn.inbox.consume(length);
        return refuse(session, listener, refused, record).await;
    };
    // From here on a forward owes its report.
    let mut report =
        InFlight::new(session.client.shared.router.clone(), session.client.shared.clock, judged.decision);
    if let Verdict::Forward(forward) = judged.decision.verdict {
        record.group = Some(forward.group);
    }
    if let Some(Err(status)) = composed {
        session.conn.inbox.consume(length);
        record.turned_away(status);
        return answer_with(session, listener, Answer::error(status), &judged, last, record).await;
    }
    let (mut added, mut recent) = (HeaderMap::new(), session.heard);
    if judged.decision.authenticate.is_some() || session.client.shared.hooks.firewall.is_some() {
        let head = session.conn.inbox.bytes().get(..length).unwrap_or_default().to_vec();
        let asked = Box::pin(ask_hooks(&head, context, &judged, record)).await;
        recent = Instant::now();
        match asked {
            Ok(fields) => added = fields,
            Err(answer) => {
                session.conn.inbox.consume(length);
                return answer_with(session, listener, *answer, &judged, last, record).await;
            }
        }
    }
    let Verdict::Forward(forward) = judged.decision.verdict else {
        session.conn.inbox.consume(length);
        let answer = judged.answer.clone().unwrap_or_else(|| Answer::error(500));
        return answer_with(session, listener, answer, &judged, last, record).await;
    };
    let Some(group) = settings.group(forward.group) else {
        session.conn.inbox.consume(length);
        return answer_with(session, listener, Answer::error(503), &judged, last, record).await;
    };
    let unfit = match group.version {
        crate::model::ProtocolVersion::Http1 if judged.checked.websocket && !group.websockets => Some(501),
        crate::model::ProtocolVersion::Http1 => None,
        _ => Some(464),
    };
    if let Some(status) = unfit {
        session.conn.inbox.consume(length);
        record.turned_away(status);
        return answer_with(session, listener, Answer::error(status), &judged, last, record).await;
    }
    let head = session.conn.inbox.bytes().get(..length).unwrap_or_default();
    let composed = composed
        .unwrap_or_else(|| compose(up.tail(), &Head::cut(head, lines), context, &judged, &added, record));
    let kept = if group.app_cookie { head.to_vec() } else { Vec::new() };
    session.conn.inbox.consume(length);
    if let Err(status) = composed {
        record.turned_away(status);
        return answer_with(session, listener, Answer::error(status), &judged, last, record).await;
    }
    let way = forward::Way { listener, group, forward, judged: &judged, last, recent, kept: &kept };
    match forward::run(session, way, up, record, &mut report).await {
        Ok(then) => then,
        Err(failed) => {
            let answer = Answer::error(failed.status);
            if failed.status == 460 || !failed.answerable {
                record.status = failed.status;
                return Then::Gone;
            }
            let keep = failed.request_read && judged.checked.keep_alive && !last && !answer.closes();
            record.status = failed.status;
            say(session, listener, &answer, &judged, keep).await
        }
    }
}

/// Asks whoever has a say. `Err` is what the client gets instead.
async fn ask_hooks(
    head: &[u8],
    context: Context<'_>,
    judged: &Judged,
    record: &mut Record,
) -> Result<HeaderMap, Box<Answer>> {
    let request = for_hook(head, context, judged);
    let hooks = &context.client.shared.hooks;
    crate::forwarder::hooks::ask(hooks, request, judged.decision.authenticate, context.settings, record).await
}

/// Answers a request whose head has not come whole, and ends the connection.
async fn unread<S>(
    session: &mut Session<S>,
    listener: &ListenerSettings,
    status: u16,
    record: &mut Record,
) -> Then
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if session.client.shared.observe.wants_text() {
        record.texts = Some(Box::new(no_texts(listener)));
    }
    refuse(session, listener, status, record).await
}

/// Answers a request that cannot be read, and ends the connection.
async fn refuse<S>(
    session: &mut Session<S>,
    listener: &ListenerSettings,
    status: u16,
    record: &mut Record,
) -> Then
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    record.status = status;
    let mut out = Buffer::default();
    let how = Http1 { keep_alive: false, head: false, version9: false };
    Answer::error(status).write(out.tail(), listener, how);
    write(session, &mut out, listener.idle).await;
    Then::Close
}

/// Answers a request whose body may still be on its way.
async fn answer_with<S>(
    session: &mut Session<S>,
    listener: &ListenerSettings,
    answer: Answer,
    judged: &Judged,
    last: bool,
    record: &mut Record,
) -> Then
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    record.status = answer.status;
    let small = match judged.checked.framing {
        Framing::Length(length) => length <= DISCARD && !judged.checked.expects_continue,
        _ => !judged.checked.expects_continue,
    };
    let ends = judged.checked.ends_connections(listener.desync);
    let keep = judged.checked.keep_alive && !last && small && !answer.closes() && !ends;
    let then = say(session, listener, &answer, judged, keep).await;
    if then == Then::Next && !discard(session, judged.checked.framing, listener.idle).await {
        return Then::Close;
    }
    then
}

async fn say<S>(
    session: &mut Session<S>,
    listener: &ListenerSettings,
    answer: &Answer,
    judged: &Judged,
    keep_alive: bool,
) -> Then
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let how =
        Http1 { keep_alive, head: judged.is_head, version9: judged.checked.version == HttpVersion::V09 };
    let mut out = Buffer::default();
    answer.write(out.tail(), listener, how);
    if !write(session, &mut out, listener.idle).await {
        return Then::Gone;
    }
    if keep_alive { Then::Next } else { Then::Close }
}

/// Writes all of it, if the client takes it in time.
async fn write<S>(session: &mut Session<S>, out: &mut Buffer, idle: Duration) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Session { conn, timer, .. } = session;
    let deadline = Instant::now() + idle;
    std::future::poll_fn(|cx| match conn.poll_flush(out, cx) {
        Poll::Ready(written) => Poll::Ready(written.is_ok()),
        Poll::Pending if timer.poll_until(deadline, cx).is_ready() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Reads the body that nobody wants, to get to the next request. `false` if it is too long.
async fn discard<S>(session: &mut Session<S>, framing: Framing, idle: Duration) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Session { conn, timer, .. } = session;
    let mut decoder = Decoder::new(framing);
    let deadline = Instant::now() + idle;
    let mut thrown = 0;
    std::future::poll_fn(|cx| {
        loop {
            while !decoder.is_done() && !conn.inbox.is_empty() {
                let Ok(piece) = decoder.next(conn.inbox.bytes()) else { return Poll::Ready(false) };
                let consumed = piece.consumed;
                thrown += consumed as u64;
                conn.inbox.consume(consumed);
                if consumed == 0 {
                    break;
                }
            }
            if decoder.is_done() {
                return Poll::Ready(true);
            }
            if thrown > DISCARD {
                return Poll::Ready(false);
            }
            match conn.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending if timer.poll_until(deadline, cx).is_ready() => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Ends TLS between two requests, so that the client knows it for an end; what does not go at once stays unsaid.
async fn goodbye<S>(session: &mut Session<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if session.client.tls.is_none() {
        return;
    }
    std::future::poll_fn(|cx| {
        let _ = Pin::new(&mut session.conn.stream).poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}

/// Ends our side and reads on for a moment: a reset would take the answer away from the client.
async fn linger<S>(session: &mut Session<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Session { conn, timer, .. } = session;
    // Over TLS a goodbye has to be written, to who may read no more.
    if !matches!(tokio::time::timeout(LINGER, conn.stream.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let deadline = Instant::now() + LINGER;
    let mut thrown = 0;
    std::future::poll_fn(|cx| {
        loop {
            let all = conn.inbox.len();
            conn.inbox.consume(all);
            match conn.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 && thrown < 4 * DISCARD => thrown += n as u64,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if timer.poll_until(deadline, cx).is_ready() => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
