//! Starting, changing and stopping a forwarder.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::drain::{Departures, Drained};
use super::settings::Settings;
use super::tls::TlsConfig;
use super::upstream::{Dial, Upstream};
use super::{Shared, StartError, listener, probe};
use crate::decision::ListenerId;
use crate::error::Error;
use crate::model::Model;
use crate::router::{HealthEvent, Router};
use crate::time::Now;

/// How many health events a slow subscriber may be behind.
const EVENTS: usize = 1024;

/// Collects what a forwarder needs before it starts.
pub struct Builder {
    router: Arc<Router>,
    model: Model,
    clock: ForwarderClock,
    binds: Vec<(ListenerId, SocketAddr, Option<TlsConfig>)>,
    sources: HashMap<String, IpAddr>,
    dial: Dial,
    health_checks: bool,
}

/// The clock that a router and its forwarder have in common. `Router::new` and the forwarder must be
/// given times of the same clock.
#[derive(Clone, Copy, Debug)]
pub struct ForwarderClock(Clock);

impl ForwarderClock {
    /// Starts at zero.
    #[allow(clippy::new_without_default)] // two defaults would be two different clocks
    pub fn new() -> Self {
        ForwarderClock(Clock::start())
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
        }
    }

    /// Serves a listener on an address; with TLS for an HTTPS listener. Port 0 takes a free one.
    #[must_use]
    pub fn bind(mut self, listener: ListenerId, address: SocketAddr, tls: Option<TlsConfig>) -> Self {
        self.binds.push((listener, address, tls));
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
        let settings = Settings::of(&self.model, &self.router, &self.sources);
        let shared = Arc::new(Shared {
            router: self.router,
            clock: self.clock.0,
            settings: ArcSwap::from_pointee(settings),
            upstream: Upstream::new(self.dial)?,
            departures: Departures::default(),
            events: broadcast::channel(EVENTS).0,
            wake: Notify::new(),
        });
        let running = Running {
            probes: self.health_checks.then(|| tokio::spawn(probe::run(shared.clone()))),
            listeners: Mutex::new(HashMap::new()),
            sources: Mutex::new(self.sources),
            shared,
        };
        for (listener, address, tls) in self.binds {
            running.bind(listener, address, tls)?;
        }
        Ok(running)
    }
}

/// A running forwarder. Dropping it cuts everything; [`Running::shutdown`] does not.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    listeners: Mutex<HashMap<ListenerId, listener::Running>>,
    sources: Mutex<HashMap<String, IpAddr>>,
    probes: Option<JoinHandle<()>>,
}

impl Running {
    /// Serves one more listener; the address it got.
    pub fn bind(
        &self,
        listener: ListenerId,
        address: SocketAddr,
        tls: Option<TlsConfig>,
    ) -> Result<SocketAddr, StartError> {
        let started = listener::Running::start(self.shared.clone(), listener, address, tls)?;
        let address = started.address;
        lock(&self.listeners).insert(listener, started);
        Ok(address)
    }

    /// Stops accepting on a listener at once; the future ends when its requests have, or `grace` has.
    pub fn unbind(
        &self,
        listener: ListenerId,
        grace: Duration,
    ) -> impl Future<Output = Drained> + Send + 'static {
        let stopped = lock(&self.listeners).remove(&listener).map(|l| l.drain(grace));
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
        let settings = Settings::of(model, &self.shared.router, &lock(&self.sources));
        self.shared.settings.store(Arc::new(settings));
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
        let stopped: Vec<_> = lock(&self.listeners).drain().map(|(_, l)| l.drain(grace)).collect();
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
        if let Some(probes) = &self.probes {
            probes.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
