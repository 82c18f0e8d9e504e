//! One request with its answer between a client and a target, both ways at once and in one task: bytes are
//! read into the thread's scratch buffer and written on from there; what a slow reader does not take yet is
//! kept, and until it has taken it nothing more is read (back-pressure).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::buffer::{Buffer, poll_read};
use super::framing::{Decoder, Framing, LAST_CHUNK, write_chunk};
use crate::forwarder::drain::Gone;

/// How much of the client's is read ahead: a pipelined request, or a piece of a body.
const AHEAD: usize = 64 * 1024;
/// The longest head of a response (spec: dataplane §6.7).
pub(crate) const MAX_RESPONSE_HEAD: usize = 32 * 1024;
/// Data up to this size is copied behind the head; more is written from where it is.
const COPY: usize = 8 * 1024;
/// From this age on an exchange wants to know when its target is gone.
pub(crate) const WATCH_AFTER: Duration = Duration::from_secs(1);

/// A client's connection, with what was read of it and not used yet.
#[derive(Debug)]
pub(crate) struct Conn<S> {
    pub(crate) stream: S,
    pub(crate) inbox: Buffer,
    /// The client has ended its side.
    pub(crate) eof: bool,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub(crate) fn new(stream: S) -> Self {
        Conn { stream, inbox: Buffer::default(), eof: false, received: 0, sent: 0 }
    }

    /// Reads once.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Conn { stream, inbox, .. } = self;
        let n = ready!(poll_read(stream, cx, |_, bytes| {
            inbox.push(bytes);
            bytes.len()
        }))?;
        self.eof |= n == 0;
        self.received += n as u64;
        Poll::Ready(Ok(n))
    }

    /// Writes all of it; the time it may take is the caller's to limit.
    pub(crate) fn poll_flush(&mut self, out: &mut Buffer, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            self.sent += ready!(out.poll_flush_to(&mut self.stream, cx))? as u64;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// The one timer of a connection. Set anew only when it is due or has to be earlier, so that traffic does
/// not pay for it.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(crate) fn new(first: Duration) -> Self {
        Timer(Box::pin(tokio::time::sleep(first)))
    }

    pub(crate) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if self.0.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

/// Why an exchange ended without a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fail {
    /// The client ended its side in the middle of its request.
    ClientBroke,
    /// The client's chunks are none.
    ClientMalformed,
    /// The client left while the target was working, or while the answer was sent.
    ClientLeft,
    /// The client did not send the rest of its request, or does not take its answer.
    ClientSilent,
    /// The target ended without an answer, or in the middle of one.
    TargetClosed,
    /// The target's answer is none, or its head is too long.
    TargetMalformed,
    /// The target said nothing for too long.
    TargetSilent,
    /// The target's deregistration delay is over.
    TargetGone,
}

impl Fail {
    /// The status that the client gets, if it is not too late for one (spec: dataplane §7.1).
    pub(crate) fn status(self) -> u16 {
        match self {
            Fail::ClientBroke | Fail::ClientMalformed => 400,
            Fail::ClientLeft => 460,
            Fail::ClientSilent => 408,
            Fail::TargetClosed | Fail::TargetMalformed | Fail::TargetGone => 502,
            Fail::TargetSilent => 504,
        }
    }
}

/// What the head of a response makes of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    pub(crate) framing: Framing,
    /// Whether the client gets chunks.
    pub(crate) chunked: bool,
    /// Whether the target keeps its connection.
    pub(crate) keep: bool,
    /// 101: from here on bytes have no meaning for us.
    pub(crate) switch: bool,
}

#[derive(Debug)]
enum Phase {
    Head,
    Body { decoder: Decoder, chunked: bool },
    Done,
}

/// An exchange under way.
pub(crate) struct Exchange<'a, S, T> {
    pub(crate) client: &'a mut Conn<S>,
    pub(crate) target: &'a mut T,
    /// To the target.
    up: Buffer,
    upload: Decoder,
    upload_chunked: bool,
    upload_over: bool,
    /// The target does not read any more; its answer may say why.
    deaf: bool,
    /// To the client.
    down: Buffer,
    /// All of the answer has left.
    delivered: bool,
    /// The beginning of a response head that has not come in one piece.
    partial: Buffer,
    phase: Phase,
    download: Option<Download>,
    surplus: bool,
    idle: Duration,
    last: Instant,
    started: Instant,
    /// Not polled yet: what moves at once moves when it started.
    fresh: bool,
    gone: Option<Gone>,
}

impl<'a, S, T> Exchange<'a, S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// `up` holds the head for the target, `down` what the client gets before anything else.
    pub(crate) fn new(
        client: &'a mut Conn<S>,
        target: &'a mut T,
        (up, down): (Buffer, Buffer),
        framing: Framing,
        (idle, now): (Duration, Instant),
    ) -> Self {
        Exchange {
            client,
            target,
            up,
            upload: Decoder::new(framing),
            upload_chunked: framing == Framing::Chunked,
            upload_over: matches!(framing, Framing::Empty | Framing::Length(0)),
            deaf: false,
            down,
            delivered: false,
            partial: Buffer::default(),
            phase: Phase::Head,
            download: None,
            surplus: false,
            idle,
            last: now,
            started: now,
            fresh: true,
            gone: None,
        }
    }

    /// Whether the head of the answer is on its way to the client.
    pub(crate) fn answered(&self) -> bool {
        self.download.is_some()
    }

    /// When the last byte moved, but for an answer that came in one piece.
    pub(crate) fn last_moved(&self) -> Instant {
        self.last
    }

    /// Whether all of the client's request has been read.
    pub(crate) fn upload_over(&self) -> bool {
        self.upload_over && !self.deaf
    }

    /// After the end: whether the target's connection can be used again.
    pub(crate) fn target_reusable(&self) -> bool {
        self.download.is_some_and(|d| d.keep && !d.switch)
            && self.upload_over()
            && self.up.is_empty()
            && !self.surplus
            && matches!(self.phase, Phase::Done)
    }

    /// After the end: what has not been written to the client yet; only after a switch is there any.
    pub(crate) fn rest(self) -> (Buffer, Buffer) {
        (self.up, self.down)
    }

    /// Moves what can be moved. `head` turns the head of the answer into the client's; `watch` is asked once,
    /// for an exchange that takes long, how to learn that the target is gone.
    pub(crate) fn poll<H, W>(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        head: &mut H,
        watch: &W,
    ) -> Poll<Result<(), Fail>>
    where
        H: FnMut(&httparse::Response<'_, '_>, &mut Vec<u8>) -> Result<Download, Fail>,
        W: Fn() -> Gone,
    {
        // What comes from the target first: with its end there is nothing to be asked of the client. Each way
        // goes on until it has to wait, and neither waits for the other.
        let headed = self.answered();
        let down = self.poll_down(cx, head)?;
        let switched = self.download.is_some_and(|d| d.switch);
        if switched || self.delivered {
            // An answer in one piece ends when its head comes, which the caller notes.
            if headed {
                self.last = Instant::now();
            }
            return Poll::Ready(Ok(()));
        }
        let up = self.poll_up(cx)?;
        let fresh = std::mem::take(&mut self.fresh);
        if (down || up) && !fresh {
            self.last = Instant::now();
        }
        loop {
            if let Some(gone) = &mut self.gone
                && gone.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Err(Fail::TargetGone));
            }
            let silent = self.last + self.idle;
            let watch_from = self.started + WATCH_AFTER;
            let deadline = if self.gone.is_none() { silent.min(watch_from) } else { silent };
            ready!(timer.poll_until(deadline, cx));
            if deadline == silent {
                return Poll::Ready(Err(self.silence()));
            }
            self.gone = Some(watch());
        }
    }

    fn silence(&self) -> Fail {
        let undelivered = !self.down.is_empty() || matches!(self.phase, Phase::Done);
        let waits_for_client = (!self.upload_over && self.up.is_empty()) || (self.answered() && undelivered);
        if waits_for_client { Fail::ClientSilent } else { Fail::TargetSilent }
    }

    /// From the client to the target.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<bool, Fail> {
        let mut moved = false;
        loop {
            if !self.up.is_empty() {
                match self.up.poll_flush_to(self.target, cx) {
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Ready(Err(_)) => {
                        self.deaf = true;
                        self.upload_over = true;
                        let all = self.up.len();
                        self.up.consume(all);
                    }
                    Poll::Pending => return Ok(moved),
                }
                continue;
            }
            if self.upload_over {
                return self.poll_client_left(cx).map(|m| m || moved);
            }
            self.take_body()?;
            if self.up.is_empty() && !self.upload_over {
                match self.client.poll_fill(cx) {
                    Poll::Ready(Ok(n)) if n > 0 => moved = true,
                    Poll::Ready(_) => return Err(Fail::ClientBroke),
                    Poll::Pending => return Ok(moved),
                }
            }
        }
    }

    /// Decodes what has been read of the body, and writes it in our own framing.
    fn take_body(&mut self) -> Result<(), Fail> {
        while !self.upload.is_done() && self.up.len() < AHEAD {
            let piece = self.upload.next(self.client.inbox.bytes()).map_err(|_| Fail::ClientMalformed)?;
            if self.upload_chunked {
                write_chunk(self.up.tail(), piece.data);
            } else {
                self.up.push(piece.data);
            }
            let (consumed, empty) = (piece.consumed, piece.data.is_empty());
            self.client.inbox.consume(consumed);
            if empty {
                break;
            }
        }
        if self.upload.is_done() {
            self.upload_over = true;
            if self.upload_chunked {
                self.up.push(LAST_CHUNK);
            }
        }
        Ok(())
    }

    /// The request is with the target: what comes now is the next one, or the end. A client that closes and
    /// one that only stops sending look alike, and waiting for the answer would tell too late: the log has a
    /// 460 without the target's time, so the load balancer goes by the end of the client's side (spec:
    /// dataplane §7.3). An answer that has begun is sent to its end.
    fn poll_client_left(&mut self, cx: &mut Context<'_>) -> Result<bool, Fail> {
        let mut moved = false;
        while !self.client.eof && self.client.inbox.len() < AHEAD {
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.answered() => {}
                Poll::Ready(Ok(0) | Err(_)) => return Err(Fail::ClientLeft),
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Pending => break,
            }
        }
        Ok(moved)
    }

    /// From the target to the client.
    fn poll_down<H>(&mut self, cx: &mut Context<'_>, head: &mut H) -> Result<bool, Fail>
    where
        H: FnMut(&httparse::Response<'_, '_>, &mut Vec<u8>) -> Result<Download, Fail>,
    {
        let mut moved = false;
        loop {
            if !self.down.is_empty() {
                match self.down.poll_flush_to(&mut self.client.stream, cx) {
                    Poll::Ready(Ok(n)) => {
                        self.client.sent += n as u64;
                        moved = true;
                    }
                    Poll::Ready(Err(_)) => return Err(Fail::ClientLeft),
                    Poll::Pending => return Ok(moved),
                }
                continue;
            }
            if matches!(self.phase, Phase::Done) {
                self.delivered = self.poll_delivered(cx)?;
                return Ok(moved);
            }
            let Exchange { target, client, down, partial, phase, download, surplus, .. } = self;
            let mut inbound = Inbound { client, down, partial, phase, download, surplus };
            match poll_read(*target, cx, |cx, bytes| inbound.take(cx, bytes, head)) {
                Poll::Ready(Ok(taken)) => taken?,
                Poll::Ready(Err(_)) => return Err(Fail::TargetClosed),
                Poll::Pending => {
                    // The target may be silent for long: the client gets everything up to here.
                    self.poll_delivered(cx)?;
                    return Ok(moved);
                }
            }
            moved = true;
            if self.download.is_some_and(|d| d.switch) {
                return Ok(true);
            }
        }
    }

    /// Whether what TLS has taken has gone out; it is seen to that it goes.
    fn poll_delivered(&mut self, cx: &mut Context<'_>) -> Result<bool, Fail> {
        match Pin::new(&mut self.client.stream).poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(Fail::ClientLeft),
            flushed => Ok(flushed.is_ready()),
        }
    }
}

/// The parts of an exchange that bytes of the target meet.
struct Inbound<'e, S> {
    client: &'e mut Conn<S>,
    down: &'e mut Buffer,
    partial: &'e mut Buffer,
    phase: &'e mut Phase,
    download: &'e mut Option<Download>,
    surplus: &'e mut bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound<'_, S> {
    fn take<H>(&mut self, cx: &mut Context<'_>, bytes: &[u8], head: &mut H) -> Result<(), Fail>
    where
        H: FnMut(&httparse::Response<'_, '_>, &mut Vec<u8>) -> Result<Download, Fail>,
    {
        if bytes.is_empty() {
            return self.end();
        }
        if !matches!(self.phase, Phase::Head) {
            return self.body(cx, bytes);
        }
        if self.partial.is_empty() {
            return match self.head(bytes, head)? {
                Some(used) => self.body(cx, bytes.get(used..).unwrap_or_default()),
                None => {
                    self.partial.push(bytes);
                    Ok(())
                }
            };
        }
        self.partial.push(bytes);
        let whole = std::mem::take(self.partial);
        match self.head(whole.bytes(), head)? {
            Some(used) => self.body(cx, whole.bytes().get(used..).unwrap_or_default()),
            None => {
                *self.partial = whole;
                Ok(())
            }
        }
    }

    /// Looks for a head; how long it is, with the interim ones before it.
    fn head<H>(&mut self, bytes: &[u8], head: &mut H) -> Result<Option<usize>, Fail>
    where
        H: FnMut(&httparse::Response<'_, '_>, &mut Vec<u8>) -> Result<Download, Fail>,
    {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let mut few = [httparse::EMPTY_HEADER; 48];
            let mut many;
            let mut response = httparse::Response::new(&mut few);
            let mut parsed = response.parse(rest);
            if parsed == Err(httparse::Error::TooManyHeaders) {
                many = vec![httparse::EMPTY_HEADER; 4096];
                response = httparse::Response::new(&mut many);
                parsed = response.parse(rest);
            }
            let length = match parsed {
                Ok(httparse::Status::Complete(n)) if n <= MAX_RESPONSE_HEAD => n,
                Ok(httparse::Status::Partial) if rest.len() <= MAX_RESPONSE_HEAD => return Ok(None),
                _ => return Err(Fail::TargetMalformed),
            };
            used += length;
            // Other interim answers than 101 are for us, not for the client.
            if matches!(response.code, Some(100 | 102..=199)) {
                continue;
            }
            let download = head(&response, self.down.tail())?;
            *self.download = Some(download);
            *self.phase = if download.switch {
                Phase::Body { decoder: Decoder::new(Framing::UntilClose), chunked: false }
            } else {
                Phase::Body { decoder: Decoder::new(download.framing), chunked: download.chunked }
            };
            return Ok(Some(used));
        }
    }

    fn body(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> Result<(), Fail> {
        loop {
            let Phase::Body { decoder, chunked } = self.phase else {
                *self.surplus |= !bytes.is_empty();
                return Ok(());
            };
            let chunked = *chunked;
            let piece = decoder.next(bytes).map_err(|_| Fail::TargetMalformed)?;
            bytes = bytes.get(piece.consumed..).unwrap_or_default();
            let done = decoder.is_done();
            if chunked {
                write_chunk(self.down.tail(), piece.data);
            } else {
                self.deliver(cx, piece.data)?;
            }
            if done {
                if chunked {
                    self.down.push(LAST_CHUNK);
                }
                *self.phase = Phase::Done;
            } else if piece.data.is_empty() {
                return Ok(());
            }
        }
    }

    /// Large pieces are written from where they were read, behind what waits already.
    fn deliver(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), Fail> {
        if data.len() <= COPY || !self.client.stream.is_write_vectored() {
            self.down.push(data);
            return Ok(());
        }
        let slices = [IoSlice::new(self.down.bytes()), IoSlice::new(data)];
        let written = match Pin::new(&mut self.client.stream).poll_write_vectored(cx, &slices) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => return Err(Fail::ClientLeft),
            Poll::Pending => 0,
        };
        self.client.sent += written as u64;
        let waiting = written.min(self.down.len());
        self.down.consume(waiting);
        self.down.push(data.get(written - waiting..).unwrap_or_default());
        Ok(())
    }

    /// The target has ended its side.
    fn end(&mut self) -> Result<(), Fail> {
        match self.phase {
            Phase::Body { decoder, chunked } if decoder.ends_with_connection() => {
                if *chunked {
                    self.down.push(LAST_CHUNK);
                }
                *self.phase = Phase::Done;
                Ok(())
            }
            _ => Err(Fail::TargetClosed),
        }
    }
}
