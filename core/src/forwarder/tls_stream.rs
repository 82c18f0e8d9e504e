//! A client's connection over TLS that owns buffers only while bytes are on their way. rustls keeps none of
//! its own here: it reads records where they were received and writes them where it is told to, which is
//! memory of the thread; only what is left over moves into the connection. Idle, it is the keys.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1::Buffer;

/// As much as one read takes.
const READ: usize = 64 * 1024;
/// What a record carries at most.
const PAYLOAD: usize = 16 * 1024;
/// A record, with room for what is around that.
const RECORD: usize = PAYLOAD + 2 * 1024;
/// As much is encrypted at a time.
const WRITE: usize = 64 * 1024;
/// For what records add to that, and for messages of TLS itself.
const AROUND: usize = 1024;
/// What is kept of a handshake that has not come whole: a message of TLS's 64 KiB, in records of a sensible
/// length.
const MAX_HANDSHAKE: usize = 64 * 1024 + 2 * RECORD;
/// What is kept afterwards: a record.
const MAX_INCOMPLETE: usize = RECORD + 5;

thread_local! {
    // One a thread, so that a connection needs none. Never held across an await.
    static RECEIVED: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    static SEALED: RefCell<Vec<u8>> = RefCell::new(vec![0; WRITE + AROUND]);
}

type Traffic<'c> = WriteTraffic<'c, ServerConnectionData>;

/// The connection. In a box: those who pass it on do not pay for its size.
pub(crate) struct TlsStream<S>(Box<Inner<S>>);

struct Inner<S> {
    io: S,
    session: Session,
    /// The beginning of what has not come whole, as rustls left it.
    incoming: Vec<u8>,
    /// Our side has ended.
    closed: bool,
    /// The client takes less than it is sent.
    slow: bool,
}

/// What rustls knows, and what it wants to go out and in.
struct Session {
    connection: UnbufferedServerConnection,
    /// Encrypted, to be sent.
    outgoing: Buffer,
    /// Decrypted, more than the reader had room for.
    plain: Buffer,
    /// The client has ended its side properly.
    ended: bool,
    /// Something was wrong. rustls is asked no more: it remembers places in bytes that are gone.
    failed: bool,
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl<S> TlsStream<S> {
    /// What the handshake has agreed on.
    pub(crate) fn agreed(&self) -> &CommonState {
        &self.0.session.connection
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands with a client. The errors of rustls are in those of kind `InvalidData`.
    pub(crate) async fn accept(io: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(failed)?;
        let (outgoing, plain) = (Buffer::default(), Buffer::default());
        let session = Session { connection, outgoing, plain, ended: false, failed: false };
        let mut inner = Box::new(Inner { io, session, incoming: Vec::new(), closed: false, slow: false });
        poll_fn(|cx| inner.poll_handshake(cx)).await?;
        Ok(TlsStream(inner))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_drain(cx)?;
            if !self.session.connection.is_handshaking() {
                ready!(sent);
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            if self.session.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_records(cx, &mut ReadBuf::new(&mut [])))?;
        }
    }

    /// Reads once, and decrypts what has come whole: into `into`, and beside it what that has no room for.
    fn poll_records(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Inner { io, session, incoming, .. } = self;
        if session.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let gone_through = RECEIVED.with_borrow_mut(|received| {
            // A small reader is not read ahead of by more than a record.
            let room = received.len().min(into.remaining() + RECORD);
            let mut read = ReadBuf::new(received.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(io).poll_read(cx, &mut read))?;
            let came = read.filled_mut();
            if came.is_empty() {
                // Without a goodbye anybody may have cut it off.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if incoming.is_empty() {
                let used = session.turn(came, into, |_| ())?;
                incoming.extend_from_slice(came.get(used..).unwrap_or_default());
            } else {
                incoming.extend_from_slice(came);
                let used = session.turn(incoming, into, |_| ())?;
                incoming.drain(..used);
            }
            Poll::Ready(Ok(()))
        });
        if gone_through.is_pending() {
            return Poll::Pending;
        }
        // After its goodbye and after an error, nothing that a client sends is looked at.
        if self.incoming.is_empty() || self.session.ended || self.session.failed {
            self.incoming = Vec::new();
        } else if self.incoming.capacity() > 2 * RECORD {
            self.incoming.shrink_to(RECORD);
        }
        // What TLS has to say, an alert above all: as much as goes at once, the rest with what is sent next.
        let _ = self.poll_drain(cx);
        let most = if self.session.connection.is_handshaking() { MAX_HANDSHAKE } else { MAX_INCOMPLETE };
        if self.incoming.len() > most {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        gone_through
    }

    /// Sends what is encrypted already.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = &mut self.session.outgoing;
        while !outgoing.is_empty() {
            ready!(outgoing.poll_flush_to(&mut self.io, cx))?;
        }
        outgoing.release();
        Poll::Ready(Ok(()))
    }

    /// Encrypts and sends; what does not go at once is kept, and nothing more is taken until it has gone.
    fn poll_seal(&mut self, cx: &mut Context<'_>, plain: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        SEALED.with_borrow_mut(|sealed| {
            let mut made = Err(io::ErrorKind::BrokenPipe.into());
            // Record by record for who is slow, so that whoever waits sees something move.
            let most = if self.slow { PAYLOAD } else { WRITE };
            self.may_send(|traffic| made = seal(traffic, plain, most, sealed))?;
            let (taken, length) = made?;
            let mut rest = sealed.get(..length).unwrap_or_default();
            // What TLS itself has to say was made before.
            let in_turn = self.session.outgoing.is_empty();
            while in_turn && !rest.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => break,
                }
            }
            self.slow = !rest.is_empty();
            if self.slow {
                self.session.outgoing.push(rest);
            }
            Poll::Ready(Ok(taken))
        })
    }

    /// Calls `then` if data may be sent.
    fn may_send(&mut self, then: impl FnOnce(Traffic<'_>)) -> io::Result<()> {
        let Inner { session, incoming, .. } = self;
        let used = session.turn(incoming, &mut ReadBuf::new(&mut []), then)?;
        incoming.drain(..used);
        Ok(())
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closed, true) {
            let mut goodbye = [0; AROUND];
            let mut length = 0;
            // A connection that has failed has said so; it ends all the same.
            let _ = self.may_send(|mut traffic| {
                length = traffic.queue_close_notify(&mut goodbye).unwrap_or_default()
            });
            self.session.outgoing.push(goodbye.get(..length).unwrap_or_default());
        }
        ready!(self.poll_drain(cx))?;
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

impl Session {
    /// Goes through the records in `data`, which is everything that has come and is not used yet; how much of
    /// it is used now. The rest has to come again with what follows it. `then` is called when nothing is left
    /// to be read and data may be sent. An error is the last there is.
    fn turn(
        &mut self,
        data: &mut [u8],
        into: &mut ReadBuf<'_>,
        then: impl FnOnce(Traffic<'_>),
    ) -> io::Result<usize> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let used = self.process(data, into, then);
        self.failed = used.is_err();
        used
    }

    fn process(
        &mut self,
        data: &mut [u8],
        into: &mut ReadBuf<'_>,
        then: impl FnOnce(Traffic<'_>),
    ) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = data.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(failed)?;
                        discard += record.discard;
                        deliver(record.payload, into, &mut self.plain);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(message)) => encode(message, &mut self.outgoing)?,
                // It is in the buffer, in the order in which it goes out.
                Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    then(traffic);
                    return Ok(used + discard);
                }
                Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake) => return Ok(used + discard),
                // Early data; none is offered.
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) => {
                    self.last_words(data.get_mut(used + discard..).unwrap_or_default());
                    return Err(failed(error));
                }
            }
            used += discard;
        }
    }

    /// After an error: the alert that tells the client. Asked for more than that, rustls would fail again.
    fn last_words(&mut self, data: &mut [u8]) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(data).state {
                Ok(ConnectionState::EncodeTlsData(message)) => {
                    if encode(message, &mut self.outgoing).is_err() {
                        return;
                    }
                }
                // What came before the error is not for anybody any more.
                Ok(ConnectionState::ReadTraffic(mut records)) => while records.next_record().is_some() {},
                _ => return,
            }
        }
    }
}

fn failed(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Gives `payload` to the reader; what it has no room for, and what comes after that, waits in `plain`.
fn deliver(payload: &[u8], into: &mut ReadBuf<'_>, plain: &mut Buffer) {
    let room = if plain.is_empty() { into.remaining() } else { 0 };
    let (now, later) = payload.split_at(room.min(payload.len()));
    into.put_slice(now);
    if !later.is_empty() {
        plain.push(later);
    }
}

/// Appends a message of TLS itself.
fn encode(mut message: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Buffer) -> io::Result<()> {
    let Err(EncodeError::InsufficientSize(needs)) = message.encode(&mut []) else { return Ok(()) };
    let tail = outgoing.tail();
    let from = tail.len();
    tail.resize(from + needs.required_size, 0);
    let encoded = message.encode(tail.get_mut(from..).unwrap_or_default());
    encoded.map(|_| ()).map_err(io::Error::other)
}

/// Encrypts `most` bytes or what there is room for: how much was taken of `plain`, and how much it has become in
/// `sealed`.
fn seal(
    mut traffic: Traffic<'_>,
    plain: &[IoSlice<'_>],
    most: usize,
    sealed: &mut [u8],
) -> io::Result<(usize, usize)> {
    let (mut taken, mut length) = (0, 0);
    for slice in plain {
        let now = slice.get(..slice.len().min(most - taken)).unwrap_or_default();
        if now.is_empty() {
            continue;
        }
        match traffic.encrypt(now, sealed.get_mut(length..).unwrap_or_default()) {
            Ok(n) => length += n,
            // What is taken already goes first.
            Err(_) if taken > 0 => break,
            Err(error) => return Err(io::Error::other(error)),
        }
        taken += now.len();
    }
    Ok((taken, length))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut self.get_mut().0;
        let before = into.filled().len();
        loop {
            let plain = &mut inner.session.plain;
            if !plain.is_empty() {
                let now = plain.len().min(into.remaining());
                into.put_slice(plain.bytes().get(..now).unwrap_or_default());
                plain.consume(now);
                plain.release();
            }
            if into.filled().len() > before || into.remaining() == 0 || inner.session.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(inner.poll_records(cx, into))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().0.poll_seal(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.poll_seal(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut self.get_mut().0;
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.poll_shutdown(cx)
    }
}
