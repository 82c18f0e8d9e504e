//! Connections to targets: opened on demand, pooled per target, from the load balancer's own address
//! (spec: dataplane §3.8).

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::ClientBody;
use super::header_case::HeaderCase;
use super::{StartError, tls};
use crate::decision::Outcome;

/// Both for the connection and for the TLS handshake; fixed on AWS (spec: dataplane §6.9).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to really connect to for the address of a target.
pub(crate) type Dial = Arc<dyn Fn(SocketAddr) -> SocketAddr + Send + Sync>;

/// A pool of connections.
pub(crate) type Pool = Client<Connector, ClientBody>;

/// The pools of HTTP/1.1 connections for clients of HTTP/2, one for each source address and idle timeout.
pub(crate) struct Upstream {
    dial: Dial,
    connect_timeout: Duration,
    tls_http1: Arc<ClientConfig>,
    tls_http2: Arc<ClientConfig>,
    pools: Mutex<HashMap<(Option<IpAddr>, Duration), Pool>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    /// `roots` are the authorities (PEM) that targets' certificates are verified with, if they are.
    pub(crate) fn new(
        dial: Dial,
        roots: Option<&[u8]>,
        connect_timeout: Duration,
    ) -> Result<Self, StartError> {
        Ok(Upstream {
            dial,
            connect_timeout,
            tls_http1: tls::to_targets(&[b"http/1.1"], roots)?,
            tls_http2: tls::to_targets(&[b"h2"], roots)?,
            pools: Mutex::new(HashMap::new()),
        })
    }

    /// The pool whose connections come from `source` and wait for a request no longer than `idle`.
    pub(crate) fn pool(&self, source: Option<IpAddr>, idle: Duration) -> Pool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry((source, idle)).or_insert_with(|| {
            let mut builder = Client::builder(TokioExecutor::new());
            builder
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(idle)
                .set_host(false)
                // What is sent again may have been done already (spec: dataplane K-13).
                .retry_canceled_requests(false)
                // The load balancer counts bytes, not fields; hyper would stop at 100.
                .http1_max_headers(512)
                .http1_max_buf_size(64 * 1024);
            builder.build(self.connector(source, false))
        });
        pool.clone()
    }

    /// A connector from `source`.
    pub(crate) fn connector(&self, source: Option<IpAddr>, http2: bool) -> Connector {
        Connector {
            source,
            http2,
            dial: self.dial.clone(),
            timeout: self.connect_timeout,
            tls: if http2 { self.tls_http2.clone() } else { self.tls_http1.clone() },
        }
    }
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    source: Option<IpAddr>,
    http2: bool,
    dial: Dial,
    timeout: Duration,
    tls: Arc<ClientConfig>,
}

impl Connector {
    /// Connects to a target.
    pub(crate) async fn connect(&self, target: SocketAddr, https: bool) -> Result<Upstreaming, ConnectError> {
        let stream = TokioIo::new(self.open(target, https).await?);
        Ok(Upstreaming { stream, http2: self.http2, case: HeaderCase::default() })
    }

    /// Connects to a target; a bare stream.
    pub(crate) async fn open(&self, target: SocketAddr, https: bool) -> Result<Stream, ConnectError> {
        let address = (self.dial)(target);
        let stream = match tokio::time::timeout(self.timeout, tcp(address, self.source)).await {
            Ok(Ok(stream)) => stream,
            // The system gave up before we did.
            Ok(Err(e)) if e.kind() == io::ErrorKind::TimedOut => return Err(ConnectError::TimedOut),
            Ok(Err(e)) => return Err(ConnectError::Failed(e)),
            Err(_) => return Err(ConnectError::TimedOut),
        };
        if !https {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::IpAddress(target.ip().into());
        let connecting = TlsConnector::from(self.tls.clone()).connect(name, stream);
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(e)) => Err(ConnectError::Handshake(e)),
            Err(_) => Err(ConnectError::HandshakeTimedOut),
        }
    }
}

/// Opens a connection, from `source` where that can reach `address`.
pub(crate) async fn tcp(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        // From a loopback address nothing but loopback can be reached.
        let reaches =
            source.is_ipv4() == address.is_ipv4() && source.is_loopback() == address.ip().is_loopback();
        if reaches {
            socket.bind(SocketAddr::new(source, 0))?;
        }
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The time for it is over.
    TimedOut,
    /// Refused, reset or unreachable.
    Failed(io::Error),
    /// There is a connection, and no TLS on it.
    Handshake(io::Error),
    /// The handshake took too long.
    HandshakeTimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::TimedOut => f.write_str("connecting took too long"),
            ConnectError::Failed(e) => write!(f, "cannot connect: {e}"),
            ConnectError::Handshake(e) => write!(f, "no TLS: {e}"),
            ConnectError::HandshakeTimedOut => f.write_str("the TLS handshake took too long"),
        }
    }
}

impl StdError for ConnectError {}

impl ConnectError {
    /// What the client gets, and what the target is reported with (spec: dataplane §7.1).
    pub(crate) fn outcome(&self) -> (u16, Outcome) {
        match self {
            ConnectError::TimedOut | ConnectError::HandshakeTimedOut => (504, Outcome::TimedOut),
            ConnectError::Failed(_) | ConnectError::Handshake(_) => (502, Outcome::ConnectFailed),
        }
    }

    /// Whether there was a connection, so that only its TLS has failed.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, ConnectError::Handshake(_) | ConnectError::HandshakeTimedOut)
    }

    /// The connect error at the bottom of what a pool returned.
    pub(crate) fn beneath<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a ConnectError> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<ConnectError>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Upstreaming;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Upstreaming, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            // The authority is one we wrote ourselves, from a SocketAddr.
            let target = uri.authority().and_then(|a| a.as_str().parse().ok()).ok_or_else(|| {
                ConnectError::Failed(io::Error::new(io::ErrorKind::InvalidInput, "not an address"))
            })?;
            connector.connect(target, uri.scheme_str() == Some("https")).await
        })
    }
}

/// A connection to a target, for hyper.
pub(crate) struct Upstreaming {
    stream: TokioIo<Stream>,
    http2: bool,
    case: HeaderCase,
}

impl Connection for Upstreaming {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Upstreaming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Upstreaming {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.http2 {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        let Upstreaming { stream, case, .. } = &mut *self;
        let written = ready!(Pin::new(stream).poll_write(cx, &case.of(buf)))?;
        case.wrote(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection to a target.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the peer has said nothing, not even goodbye.
    pub(crate) fn is_quiet(&self) -> bool {
        let tcp = match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        // A byte that comes without a request is as bad as an end. (TLS tickets come right after the
        // handshake and are read with the first answer.)
        matches!(tcp.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
