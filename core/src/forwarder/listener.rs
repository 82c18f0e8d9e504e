//! A port: accepts connections on every worker, does TLS, serves HTTP/1 and (over TLS) HTTP/2, and goes
//! away in order: stop accepting, let requests finish, cut what is left.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::drain::{Drained, Open};
use super::error_page::{Answer, Http1};
use super::proxy::Client;
use super::settings::ListenerSettings;
use super::tls::{TlsConfig, TlsFacts};
use super::tls_stream::TlsStream;
use super::{Shared, StartError, Worker, clock, http1, http2};
use crate::decision::ListenerId;

/// A client that connects has this long for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serve,
    /// Finish what is open, for at most this long.
    Drain {
        grace: Duration,
        /// Whether idle clients may send one more request, which is answered with `Connection: close`;
        /// otherwise they are cut.
        patient: bool,
    },
}

/// Where a listener gets its connections from.
#[derive(Debug)]
pub(crate) enum Source {
    /// An address to bind.
    Address(SocketAddr),
    /// Sockets that listen already.
    Sockets(Vec<StdListener>),
}

/// A running listener.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    port: Arc<Port>,
    phase: watch::Sender<Phase>,
    tasks: Vec<JoinHandle<Drained>>,
    /// For handing over: the same sockets that the workers accept on.
    sockets: Vec<StdListener>,
}

/// What the connections of a port share.
#[derive(Debug)]
struct Port {
    shared: Arc<Shared>,
    listener: ListenerId,
    bound_port: u16,
    tls: ArcSwapOption<TlsConfig>,
}

impl Running {
    /// Listens and begins to accept, on every worker.
    pub(crate) fn start(
        shared: Arc<Shared>,
        workers: &[Arc<Worker>],
        listener: ListenerId,
        source: Source,
        tls: Option<TlsConfig>,
        reuse_port: bool,
    ) -> Result<Self, StartError> {
        let mut sockets = match source {
            Source::Address(address) => bind_all(address, workers.len(), reuse_port)
                .map_err(|source| StartError::Bind { address, source })?,
            Source::Sockets(sockets) => sockets,
        };
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let failed = |source| StartError::Bind { address: unknown, source };
        let Some(first) = sockets.first() else {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "no socket was handed over")));
        };
        let address = first.local_addr().map_err(failed)?;
        // A worker without a socket of its own accepts on somebody else's.
        let mine = sockets.len();
        for i in mine..workers.len() {
            if let Some(socket) = sockets.get(i % mine) {
                sockets.push(socket.try_clone().map_err(failed)?);
            }
        }
        let (phase, phases) = watch::channel(Phase::Serve);
        let port = Arc::new(Port {
            shared,
            listener,
            bound_port: address.port(),
            tls: ArcSwapOption::from(tls.map(Arc::new)),
        });
        let mut tasks = Vec::new();
        // More sockets than workers can be handed over: then some workers serve several.
        for (socket, worker) in sockets.iter().zip(workers.iter().cycle()) {
            let socket = socket.try_clone().map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            let accepting = accept(port.clone(), worker.clone(), socket, phases.clone());
            tasks.push(worker.runtime.spawn(accepting));
        }
        Ok(Running { address, port, phase, tasks, sockets })
    }

    /// New connections get this certificate.
    pub(crate) fn set_tls(&self, tls: TlsConfig) {
        self.port.tls.store(Some(Arc::new(tls)));
    }

    /// The sockets, for a process that takes over.
    pub(crate) fn sockets(&self) -> io::Result<Vec<StdListener>> {
        self.sockets.iter().map(StdListener::try_clone).collect()
    }

    /// Serves a connection that somebody else has accepted.
    pub(crate) fn adopt<S>(&self, stream: S, peer: SocketAddr, worker: &Arc<Worker>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = self.port.client(worker.clone(), peer, Open::default(), watch::channel(false).1);
        let draining = drained(self.phase.subscribe());
        worker.runtime.spawn(async move { http1::serve(stream, client, draining).await });
    }

    /// Stops accepting at once; the future ends when everything else has ended.
    pub(crate) fn drain(self, grace: Duration, patient: bool) -> impl Future<Output = Drained> {
        self.phase.send_replace(Phase::Drain { grace, patient });
        // The last hold on the sockets: from here on nobody can connect, unless another process has them.
        drop(self.sockets);
        let (tasks, phase) = (self.tasks, self.phase);
        async move {
            let mut all = Drained::default();
            for task in tasks {
                all += task.await.unwrap_or_default();
            }
            drop(phase);
            all
        }
    }
}

impl Port {
    fn client(
        &self,
        worker: Arc<Worker>,
        peer: SocketAddr,
        open: Open,
        cut: watch::Receiver<bool>,
    ) -> Client {
        let observe = &self.shared.observe;
        let logged = observe.access.is_some() || observe.connections.is_some();
        let trace_id =
            logged.then(|| format!("TID_{:016x}{:016x}", clock::entropy(), clock::entropy()).into());
        Client {
            shared: self.shared.clone(),
            worker,
            listener: self.listener,
            peer,
            bound_port: self.bound_port,
            open,
            cut,
            tls: None,
            trace_id,
        }
    }
}

fn bind_all(address: SocketAddr, workers: usize, reuse_port: bool) -> io::Result<Vec<StdListener>> {
    let first = bind(address, reuse_port)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    // Sockets of the same port share its clients among them.
    while reuse_port && all.len() < workers {
        all.push(bind(address, true)?);
    }
    Ok(all)
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<StdListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    // Connections of an earlier run that linger in TIME_WAIT are no reason to fail.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Ready when no more requests are wanted; whether idle clients are waited for.
async fn drained(mut phases: watch::Receiver<Phase>) -> bool {
    match phases.wait_for(|p| *p != Phase::Serve).await {
        Ok(phase) => matches!(*phase, Phase::Drain { patient: true, .. }),
        Err(_) => false,
    }
}

async fn accept(
    port: Arc<Port>,
    worker: Arc<Worker>,
    socket: StdListener,
    mut phases: watch::Receiver<Phase>,
) -> Drained {
    let Ok(bound) = TcpListener::from_std(socket) else { return Drained::default() };
    let open = Open::default();
    let (cut_all, cut) = watch::channel(false);
    let mut connections = JoinSet::new();
    let grace = loop {
        let accepted = tokio::select! {
            // First, so that connections which end because of it are counted still.
            biased;
            changed = phases.changed() => match (changed, *phases.borrow_and_update()) {
                (Ok(()), Phase::Serve) => continue,
                (Ok(()), Phase::Drain { grace, .. }) => break grace,
                // The handle was dropped: nobody waits, so nothing is waited for.
                (Err(_), _) => break Duration::ZERO,
            },
            Some(_) = connections.join_next() => continue,
            accepted = bound.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of descriptors, or the client left already. Do not spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Some(counted) = Counted::new(&port) else { continue };
        let client = port.client(worker.clone(), peer, open.clone(), cut.clone());
        connections.spawn(connection(stream, client, port.clone(), phases.clone(), counted));
    };
    drop(bound);
    let mut drained = Drained { connections: connections.len(), requests: open.count(), cut: 0 };
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, finished).await.is_err() {
        drained.cut = open.count();
    }
    cut_all.send_replace(true);
    connections.shutdown().await;
    drained
}

/// A connection that counts.
struct Counted {
    shared: Arc<Shared>,
    listener: Option<Arc<ListenerSettings>>,
}

impl Counted {
    /// `None` if there are too many connections.
    fn new(port: &Port) -> Option<Self> {
        let shared = port.shared.clone();
        let listener = shared.settings.load().listener(port.listener).cloned();
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted { shared, listener };
        let metrics = counted.listener.as_ref().map(|l| &l.metrics);
        if let Some(metrics) = metrics {
            metrics.active_connections.inc();
        }
        if before >= counted.shared.max_connections {
            if let Some(metrics) = metrics {
                metrics.count.rejected.inc();
            }
            return None;
        }
        if let Some(metrics) = metrics {
            metrics.count.new_connections.inc();
        }
        Some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            listener.metrics.active_connections.dec();
        }
    }
}

// Not `async` itself, for that would keep every argument twice.
fn connection(
    stream: TcpStream,
    mut client: Client,
    port: Arc<Port>,
    phases: watch::Receiver<Phase>,
    counted: Counted,
) -> impl Future<Output = ()> {
    let _ = stream.set_nodelay(true);
    let started = Instant::now();
    async move {
        let Some(tls) = port.tls.load_full() else {
            log_connection(&client, &counted, started, Err(""));
            drop(port);
            // In a box of its own size, as the two below: an idle connection does not pay for the others.
            Box::pin(http1::serve(stream, client, drained(phases))).await;
            return;
        };
        drop(port);
        let Some(settings) = counted.listener.clone() else { return };
        let (stream, facts) = match Box::pin(shake(stream, &tls, &settings, phases.clone())).await {
            Ok(Some(shaken)) => shaken,
            Ok(None) => return,
            Err(error) => {
                settings.metrics.count.tls_errors.inc();
                log_connection(&client, &counted, started, Err(super::tls::failure(&error)));
                return;
            }
        };
        log_connection(&client, &counted, started, Ok(&facts));
        drop(tls);
        let http2 = stream.agreed().alpn_protocol() == Some(b"h2");
        client.tls = Some(facts);
        if http2 {
            Box::pin(http2::serve(stream, client, &settings, drained(phases))).await;
        } else {
            drop(settings);
            Box::pin(http1::serve(stream, client, drained(phases))).await;
        }
    }
}

/// The handshake; nothing if there is nobody to be served: the listener goes away, or the client spoke plain
/// HTTP and was told.
async fn shake(
    stream: TcpStream,
    tls: &TlsConfig,
    settings: &ListenerSettings,
    mut phases: watch::Receiver<Phase>,
) -> io::Result<Option<(TlsStream<TcpStream>, Arc<TlsFacts>)>> {
    let handshake = async {
        let mut first = [0; 1];
        if stream.peek(&mut first).await? == 1 && first != [0x16] {
            return plain_on_https(stream, settings).await.map(|()| None);
        }
        let (config, asked) = tls.for_one(settings.http2);
        let stream = TlsStream::accept(stream, config).await?;
        let facts = Arc::new(TlsFacts::of(stream.agreed(), &asked, tls));
        Ok(Some((stream, facts)))
    };
    tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => {
            shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        _ = phases.wait_for(|p| *p != Phase::Serve) => Ok(None),
    }
}

/// A line of the connection log (spec: dataplane §8.6).
fn log_connection(client: &Client, counted: &Counted, started: Instant, tls: Result<&TlsFacts, &str>) {
    let Some(log) = &client.shared.observe.connections else { return };
    let facts = tls.ok();
    let or_dash = |text: Option<&str>| text.filter(|t| !t.is_empty()).unwrap_or("-").to_owned();
    let certificate = facts.and_then(|f| f.client.as_deref());
    let latency = match (facts, tls) {
        (None, Err("")) => "-".to_owned(),
        _ => format!("{:.3}", started.elapsed().as_secs_f64()),
    };
    let verified = match (tls, certificate) {
        (Ok(_), Some(c)) if c.verified => "Success".to_owned(),
        (Err(why), _) if !why.is_empty() => format!("Failed:{why}"),
        _ => "-".to_owned(),
    };
    log(&format!(
        "{} {} {} {} {} {} {latency} \"{}\" {} {} {verified} {} {}",
        clock::iso8601(clock::wall()),
        client.peer.ip().to_canonical(),
        client.peer.port(),
        counted.listener.as_ref().map_or(client.bound_port, |l| l.port),
        or_dash(facts.map(|f| f.protocol)),
        or_dash(facts.map(|f| f.cipher.as_str())),
        or_dash(certificate.map(|c| c.subject.as_str())).replace('"', "'"),
        or_dash(certificate.map(|c| c.validity.as_str())),
        or_dash(certificate.map(|c| c.serial_number.as_str())),
        client.trace_id.as_deref().unwrap_or("-"),
        or_dash(facts.and_then(|f| f.key_exchange.as_deref())),
    ));
}

/// Somebody speaks plain HTTP to an HTTPS listener: say so in words they understand.
async fn plain_on_https(mut stream: TcpStream, settings: &ListenerSettings) -> io::Result<()> {
    let mut out = Vec::new();
    Answer::error(400).write(&mut out, settings, Http1 { keep_alive: false, head: false, version9: false });
    stream.write_all(&out).await?;
    stream.shutdown().await?;
    // What the client has sent is read, for a reset would take the page away from it.
    let mut sink = [0; 1024];
    let rest = async {
        while tokio::io::AsyncReadExt::read(&mut stream, &mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(2), rest).await.unwrap_or(Ok(()))
}
