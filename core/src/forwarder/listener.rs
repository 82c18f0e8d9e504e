//! A port: accepts connections, does TLS, serves HTTP/1.1 and (over TLS) HTTP/2, and goes away in order:
//! stop accepting, let requests finish, cut what is left.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::drain::{Drained, Open};
use super::proxy::Client;
use super::settings::ListenerSettings;
use super::tls::TlsConfig;
use super::{Shared, StartError, error_page};
use crate::decision::ListenerId;

/// A client that connects has this long for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 streams at a time on one connection (spec: dataplane §6.7).
const MAX_STREAMS: u32 = 128;
/// The longest request head that is read.
const MAX_HEAD: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serve,
    /// Finish what is open, for at most this long.
    Drain(Duration),
}

/// A running listener.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    tls: Arc<ArcSwapOption<TlsConfig>>,
    phase: watch::Sender<Phase>,
    task: JoinHandle<Drained>,
}

impl Running {
    /// Binds and begins to accept.
    pub(crate) fn start(
        shared: Arc<Shared>,
        listener: ListenerId,
        address: SocketAddr,
        tls: Option<TlsConfig>,
    ) -> Result<Self, StartError> {
        let bound = bind(address).map_err(|source| StartError::Bind { address, source })?;
        let address = bound.local_addr().map_err(|source| StartError::Bind { address, source })?;
        let (phase, phases) = watch::channel(Phase::Serve);
        let tls = Arc::new(ArcSwapOption::from(tls.map(Arc::new)));
        let task = tokio::spawn(accept(shared, listener, bound, tls.clone(), phases));
        Ok(Running { address, tls, phase, task })
    }

    /// New connections get this certificate.
    pub(crate) fn set_tls(&self, tls: TlsConfig) {
        self.tls.store(Some(Arc::new(tls)));
    }

    /// Stops accepting at once; the future ends when everything else has ended.
    pub(crate) fn drain(self, grace: Duration) -> impl Future<Output = Drained> {
        self.phase.send_replace(Phase::Drain(grace));
        async move { self.task.await.unwrap_or_default() }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of an earlier run that linger in TIME_WAIT are no reason to fail.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept(
    shared: Arc<Shared>,
    listener: ListenerId,
    bound: TcpListener,
    tls: Arc<ArcSwapOption<TlsConfig>>,
    mut phases: watch::Receiver<Phase>,
) -> Drained {
    let graceful = GracefulShutdown::new();
    let open = Open::default();
    let (cut_all, cut) = watch::channel(false);
    let bound_port = bound.local_addr().map_or(0, |a| a.port());
    let mut connections = JoinSet::new();
    let grace = loop {
        let accepted = tokio::select! {
            accepted = bound.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            changed = phases.changed() => match (changed, *phases.borrow_and_update()) {
                (Ok(()), Phase::Serve) => continue,
                (Ok(()), Phase::Drain(grace)) => break grace,
                // The handle was dropped: nobody waits, so nothing is waited for.
                (Err(_), _) => break Duration::ZERO,
            },
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of descriptors, or the client left already. Do not spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let client = Client {
            shared: shared.clone(),
            listener,
            peer,
            bound_port,
            open: open.clone(),
            cut: cut.clone(),
        };
        let (tls, watcher, phases) = (tls.load_full(), graceful.watcher(), phases.clone());
        connections.spawn(connection(stream, client, tls, watcher, phases));
    };
    drop(bound);
    let mut drained = Drained { connections: connections.len(), requests: open.count(), cut: 0 };
    let finished = async {
        graceful.shutdown().await;
        // WebSockets have left their connection; they end with their clients or with the grace.
        while open.count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(grace, finished).await.is_err() {
        drained.cut = open.count();
    }
    cut_all.send_replace(true);
    connections.shutdown().await;
    drained
}

async fn connection(
    stream: TcpStream,
    client: Client,
    tls: Option<Arc<TlsConfig>>,
    watcher: Watcher,
    mut phases: watch::Receiver<Phase>,
) {
    let _ = stream.set_nodelay(true);
    let settings = client.shared.settings.load().listener(client.listener).unwrap_or_default();
    let Some(tls) = tls else {
        serve(stream, client, &settings, false, watcher).await;
        return;
    };
    let handshake = async {
        let mut first = [0; 1];
        if stream.peek(&mut first).await? == 1 && first != [0x16] {
            return plain_on_https(stream, &settings).await.map(|()| None);
        }
        let config = if settings.http2 { tls.http2.clone() } else { tls.http1.clone() };
        TlsAcceptor::from(config).accept(stream).await.map(Some)
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => shaken,
        _ = phases.wait_for(|p| *p != Phase::Serve) => return,
    };
    let Ok(Ok(Some(stream))) = shaken else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    serve(stream, client, &settings, http2, watcher).await;
}

/// Somebody speaks plain HTTP to an HTTPS listener: say so in words they understand.
async fn plain_on_https(mut stream: TcpStream, settings: &ListenerSettings) -> io::Result<()> {
    let page = error_page::page(400);
    let server = if settings.server_header { "Server: awselb/2.0\r\n" } else { "" };
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\n{server}Content-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn serve<S>(stream: S, client: Client, settings: &ListenerSettings, http2: bool, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new()).preserve_header_case(true);
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle)
        .max_buf_size(MAX_HEAD)
        .max_headers(1024)
        .pipeline_flush(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(client.handle(request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    // An error here is the client's: it left, or did not speak HTTP.
    let _ = watcher.watch(connection).await;
}
