//! Starting, changing and stopping a forwarder.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use super::balance::Balance;
use super::clock::Clock;
use super::drain::{Departures, Drained};
use super::hooks::{Hook, HookAnswer, HookRequest, Hooks};
use super::http2_pool::Http2Pool;
use super::listener::Source;
use super::metrics::Metrics;
use super::observe::Observe;
use super::settings::Settings;
use super::status::Observer;
use super::tls::TlsConfig;
use super::upstream::{CONNECT_TIMEOUT, Dial, Upstream};
use super::{Shared, StartError, Worker, http1, listener, probe};
use crate::decision::ListenerId;
use crate::error::Error;
use crate::model::Model;
use crate::router::{HealthEvent, Router};
use crate::time::Now;

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(5);

/// How many health events a slow subscriber may be behind.
const EVENTS: usize = 1024;

/// Collects what a forwarder needs before it starts.
pub struct Builder {
    router: Arc<Router>,
    model: Model,
    clock: ForwarderClock,
    binds: Vec<(ListenerId, Source, Option<TlsConfig>)>,
    sources: HashMap<String, IpAddr>,
    dial: Dial,
    health_checks: bool,
    workers: Vec<Handle>,
    reuse_port: bool,
    roots: Option<Vec<u8>>,
    connect_timeout: Duration,
    hooks: Hooks,
    observe: Observe,
    max_connections: usize,
}

/// The clock that a router and its forwarder have in common. `Router::new` and the forwarder must be
/// given times of the same clock. Its monotonic half never jumps; the time of day is the system's.
#[derive(Clone, Copy, Debug)]
pub struct ForwarderClock(Clock);

impl ForwarderClock {
    /// Starts at zero.
    #[allow(clippy::new_without_default)] // two defaults would be two different clocks
    pub fn new() -> Self {
        ForwarderClock(Clock::start())
    }

    /// Starts at zero, and takes the time of day from `wall` instead of the system. It may jump: cookies
    /// and trace ids follow it, timeouts and health checks do not.
    pub fn with_time_of_day(wall: fn() -> std::time::SystemTime) -> Self {
        ForwarderClock(Clock::with_time_of_day(wall))
    }

    /// Now.
    pub fn now(&self) -> Now {
        self.0.now()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("binds", &self.binds).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(router: Arc<Router>, model: &Model, clock: ForwarderClock) -> Self {
        Builder {
            router,
            model: model.clone(),
            clock,
            binds: Vec::new(),
            sources: HashMap::new(),
            dial: Arc::new(|address| address),
            health_checks: true,
            workers: Vec::new(),
            reuse_port: false,
            roots: None,
            connect_timeout: CONNECT_TIMEOUT,
            hooks: Hooks::default(),
            observe: Observe::default(),
            max_connections: usize::MAX,
        }
    }

    /// Serves a listener on an address; with TLS for an HTTPS listener. Port 0 takes a free one.
    #[must_use]
    pub fn bind(mut self, listener: ListenerId, address: SocketAddr, tls: Option<TlsConfig>) -> Self {
        self.binds.push((listener, Source::Address(address), tls));
        self
    }

    /// Serves a listener on sockets that listen already: one's own, or those that another process hands
    /// over ([`Running::sockets`]).
    #[must_use]
    pub fn adopt(
        mut self,
        listener: ListenerId,
        sockets: Vec<std::net::TcpListener>,
        tls: Option<TlsConfig>,
    ) -> Self {
        self.binds.push((listener, Source::Sockets(sockets), tls));
        self
    }

    /// Runtimes that share the connections among them, each with its own connections to targets. Best are
    /// current-thread runtimes, one for each core, driven by threads of yours. Without this, everything is
    /// served by the runtime that [`Builder::start`] is called in.
    #[must_use]
    pub fn workers(mut self, runtimes: impl IntoIterator<Item = Handle>) -> Self {
        self.workers = runtimes.into_iter().collect();
        self
    }

    /// Whether listeners are bound with SO_REUSEPORT: then each worker has a socket of its own, and another
    /// process of the same user can bind the same address. Default false.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Verifies the certificates of HTTPS targets, which the load balancer of AWS does not: with these
    /// authorities (PEM), and the target's address as the name.
    #[must_use]
    pub fn verify_targets(mut self, authorities: &[u8]) -> Self {
        self.roots = Some(authorities.to_vec());
        self
    }

    /// How long a connection to a target may take, and then again its TLS handshake: 504 after that.
    /// Default 10 s for each, which is fixed on AWS.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// At most so many client connections at a time; more are closed as soon as they come.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// Who decides on authentication actions (OIDC, Cognito, JWT). Without it such requests are refused.
    #[must_use]
    pub fn authenticate<F, A>(mut self, hook: F) -> Self
    where
        F: Fn(HookRequest) -> A + Send + Sync + 'static,
        A: Future<Output = HookAnswer> + Send + 'static,
    {
        self.hooks.authenticate = Some(Hook::new(hook));
        self
    }

    /// A firewall that sees every request that rules have matched.
    #[must_use]
    pub fn firewall<F, A>(mut self, hook: F) -> Self
    where
        F: Fn(HookRequest) -> A + Send + Sync + 'static,
        A: Future<Output = HookAnswer> + Send + 'static,
    {
        self.hooks.firewall = Some(Hook::new(hook));
        self
    }

    /// Takes the lines of the access log, in the load balancer's format; without their ends. Must not wait.
    #[must_use]
    pub fn access_log(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.observe.access = Some(Arc::new(sink));
        self
    }

    /// Takes the lines of the connection log. Must not wait.
    #[must_use]
    pub fn connection_log(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.observe.connections = Some(Arc::new(sink));
        self
    }

    /// The address from which a load balancer connects to its targets.
    #[must_use]
    pub fn source(mut self, load_balancer: &str, address: IpAddr) -> Self {
        self.sources.insert(load_balancer.to_owned(), address);
        self
    }

    /// Where to connect to instead of a target's own address: for targets that stand somewhere else than
    /// their identity says.
    #[must_use]
    pub fn dial(mut self, dial: impl Fn(SocketAddr) -> SocketAddr + Send + Sync + 'static) -> Self {
        self.dial = Arc::new(dial);
        self
    }

    /// Whether the forwarder does the router's health checks. Default true.
    #[must_use]
    pub fn health_checks(mut self, on: bool) -> Self {
        self.health_checks = on;
        self
    }

    /// Binds every listener and begins. Must be called inside a tokio runtime.
    #[allow(clippy::unused_async)] // callers must be in a runtime, and binding may have to wait one day
    pub async fn start(self) -> Result<Running, StartError> {
        let metrics = Metrics::default();
        let settings = Settings::of(&self.model, &self.router, &self.sources, &metrics);
        let runtimes = if self.workers.is_empty() { vec![Handle::current()] } else { self.workers };
        let workers = runtimes
            .into_iter()
            .map(|runtime| {
                let upstream = Upstream::new(self.dial.clone(), self.roots.as_deref(), self.connect_timeout)?;
                Ok(Arc::new(Worker {
                    runtime,
                    pool: http1::Pool::default(),
                    http2: Http2Pool::default(),
                    upstream,
                }))
            })
            .collect::<Result<Vec<_>, StartError>>()?;
        let prober = Arc::new(Worker {
            runtime: Handle::current(),
            pool: http1::Pool::default(),
            http2: Http2Pool::default(),
            upstream: Upstream::new(self.dial, self.roots.as_deref(), self.connect_timeout)?,
        });
        let shared = Arc::new(Shared {
            router: self.router,
            clock: self.clock.0,
            settings: ArcSwap::from_pointee(settings),
            departures: Departures::default(),
            events: broadcast::channel(EVENTS).0,
            wake: Notify::new(),
            hooks: self.hooks,
            metrics,
            observe: self.observe,
            connections: AtomicUsize::new(0),
            max_connections: self.max_connections,
        });
        let mut chores: Vec<JoinHandle<()>> =
            workers.iter().map(|worker| worker.runtime.spawn(sweep(worker.clone()))).collect();
        if self.health_checks {
            chores.push(tokio::spawn(probe::run(shared.clone(), prober)));
        }
        let running = Running {
            chores,
            listeners: Mutex::new(HashMap::new()),
            sources: Mutex::new(self.sources),
            model: Arc::new(ArcSwap::from_pointee(self.model)),
            shared,
            workers,
            reuse_port: self.reuse_port,
        };
        for (listener, source, tls) in self.binds {
            running.listen(listener, source, tls)?;
        }
        Ok(running)
    }
}

/// Closes connections to targets that nobody has needed for an idle timeout.
async fn sweep(worker: Arc<Worker>) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tick.tick().await;
        worker.pool.sweep();
        worker.http2.sweep();
    }
}

/// A running forwarder. Dropping it cuts everything; [`Running::shutdown`] does not.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    listeners: Mutex<HashMap<ListenerId, listener::Running>>,
    sources: Mutex<HashMap<String, IpAddr>>,
    model: Arc<ArcSwap<Model>>,
    chores: Vec<JoinHandle<()>>,
    workers: Vec<Arc<Worker>>,
    reuse_port: bool,
}

impl Running {
    /// Serves one more listener; the address it got.
    pub fn bind(
        &self,
        listener: ListenerId,
        address: SocketAddr,
        tls: Option<TlsConfig>,
    ) -> Result<SocketAddr, StartError> {
        self.listen(listener, Source::Address(address), tls)
    }

    fn listen(
        &self,
        listener: ListenerId,
        source: Source,
        tls: Option<TlsConfig>,
    ) -> Result<SocketAddr, StartError> {
        let started = listener::Running::start(
            self.shared.clone(),
            &self.workers,
            listener,
            source,
            tls,
            self.reuse_port,
        )?;
        let address = started.address;
        lock(&self.listeners).insert(listener, started);
        Ok(address)
    }

    /// Serves sockets that listen already, as [`Builder::adopt`].
    pub fn adopt(
        &self,
        listener: ListenerId,
        sockets: Vec<std::net::TcpListener>,
        tls: Option<TlsConfig>,
    ) -> Result<SocketAddr, StartError> {
        self.listen(listener, Source::Sockets(sockets), tls)
    }

    /// The sockets of a listener, to hand over to a process that takes over: whoever has them gets the
    /// clients that connect from now on and those that wait already, so that none is refused while this
    /// process drains.
    pub fn sockets(&self, listener: ListenerId) -> std::io::Result<Vec<std::net::TcpListener>> {
        lock(&self.listeners).get(&listener).map_or_else(|| Ok(Vec::new()), listener::Running::sockets)
    }

    /// Serves one connection that you have accepted yourself, in HTTP/1; `false` if the listener is not
    /// served. For transports of your own: a Unix socket, a tunnel, a test.
    pub fn serve_connection<S>(&self, listener: ListenerId, stream: S, peer: SocketAddr) -> bool
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let all = lock(&self.listeners);
        let (Some(listener), Some(worker)) = (all.get(&listener), self.workers.first()) else { return false };
        listener.adopt(stream, peer, worker);
        true
    }

    /// A `tower::Service` that decides by a listener's rules and sends with `client`, from this process
    /// straight to the targets. The listener need not be served: a forwarder that binds nothing does the
    /// health checks, and follows [`Running::reload`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use podway::forwarder::{Forwarder, ForwarderClock};
    /// use tower_service::Service;
    ///
    /// let model = serde_json::from_str(r#"{"LoadBalancers": [{"LoadBalancerArn": "arn:lb",
    ///     "LoadBalancerName": "web", "Listeners": [{"Port": 80, "Protocol": "HTTP", "DefaultActions": [
    ///     {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}]}]}"#)?;
    /// let clock = ForwarderClock::new();
    /// let keys = podway::KeyRing::from_secret(b"32 bytes that nobody else has...")?;
    /// let router = std::sync::Arc::new(podway::Router::new(&model, Default::default(), keys, clock.now())?);
    /// let web = router.listener("web", 80).ok_or("no such listener")?;
    /// let running = Forwarder::builder(router, &model, clock).start().await?;
    ///
    /// let client = Client::builder(TokioExecutor::new()).build_http();
    /// let mut service = running.balance(web, client);
    /// let request = http::Request::get("http://shop.example.com/").body(String::new())?;
    /// assert_eq!(service.call(request).await?.status(), 404);
    /// # Ok(())
    /// # }
    /// ```
    pub fn balance<S>(&self, listener: ListenerId, client: S) -> Balance<S> {
        Balance::new(self.shared.clone(), listener, client)
    }

    /// What tells about this forwarder, for as long as anybody asks.
    pub fn observer(&self) -> Observer {
        Observer { shared: self.shared.clone(), model: self.model.clone() }
    }

    /// See [`Observer::metrics`].
    pub fn metrics(&self) -> String {
        self.observer().metrics()
    }

    /// See [`Observer::status`].
    pub fn status(&self) -> serde_json::Value {
        self.observer().status()
    }

    /// Stops accepting on a listener at once; the future ends when its requests have, or `grace` has.
    pub fn unbind(
        &self,
        listener: ListenerId,
        grace: Duration,
    ) -> impl Future<Output = Drained> + Send + 'static {
        let stopped = lock(&self.listeners).remove(&listener).map(|l| l.drain(grace, false));
        async move {
            match stopped {
                Some(stopped) => stopped.await,
                None => Drained::default(),
            }
        }
    }

    /// New connections of an HTTPS listener get these certificates.
    pub fn set_tls(&self, listener: ListenerId, tls: TlsConfig) {
        if let Some(listener) = lock(&self.listeners).get(&listener) {
            listener.set_tls(tls);
        }
    }

    /// See [`Builder::source`]; takes effect with the next [`Running::reload`].
    pub fn set_source(&self, load_balancer: &str, address: IpAddr) {
        lock(&self.sources).insert(load_balancer.to_owned(), address);
    }

    /// The address of a listener that is served.
    pub fn address(&self, listener: ListenerId) -> Option<SocketAddr> {
        lock(&self.listeners).get(&listener).map(|l| l.address)
    }

    /// The listeners that are served.
    pub fn listeners(&self) -> Vec<ListenerId> {
        let mut all: Vec<_> = lock(&self.listeners).keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Swaps a model into the router and follows it. Listeners are the caller's to bind and unbind.
    pub fn reload(&self, model: &Model) -> Result<(), Error> {
        self.shared.router.reload(model, self.shared.clock.now())?;
        let settings = Settings::of(model, &self.shared.router, &lock(&self.sources), &self.shared.metrics);
        self.shared.settings.store(Arc::new(settings));
        self.model.store(Arc::new(model.clone()));
        self.shared.departures.tidy();
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Changes of target health from now on.
    pub fn events(&self) -> broadcast::Receiver<HealthEvent> {
        self.shared.events.subscribe()
    }

    /// Stops accepting everywhere, lets requests finish for at most `grace`, then cuts.
    pub async fn shutdown(self, grace: Duration) -> Drained {
        self.stop(grace, false).await
    }

    /// As [`Running::shutdown`], for one whose [`Running::sockets`] another process serves by now: clients
    /// that are idle are not cut, for they may be about to ask. They get one more answer, with
    /// `Connection: close`, and come back to the other process.
    pub async fn retire(self, grace: Duration) -> Drained {
        self.stop(grace, true).await
    }

    async fn stop(self, grace: Duration, patient: bool) -> Drained {
        let stopped: Vec<_> = lock(&self.listeners).drain().map(|(_, l)| l.drain(grace, patient)).collect();
        let mut all = Drained::default();
        // Each has begun to drain already, so waiting in turn takes no longer than the slowest.
        for one in stopped {
            all += one.await;
        }
        all
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for chore in &self.chores {
            chore.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
