//! A running load balancer: tokio, hyper and rustls around a [`Router`]. A client of the public API like
//! any other; only what needs sockets or a clock is in here. Never builds a runtime.

mod balance;
mod body;
mod builder;
mod chars;
mod client_cert;
pub(crate) mod clock;
mod drain;
mod error_page;
mod header_case;
pub(crate) mod headers;
mod hooks;
mod http1;
mod http2;
mod http2_head;
mod http2_pool;
mod listener;
pub(crate) mod metrics;
mod observe;
mod policy;
mod probe;
mod proxy;
mod record;
pub(crate) mod settings;
mod status;
mod tls;
mod tls_stream;
mod tunnel;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, broadcast};

pub use balance::{Balance, BalancedBody, Balancing, TargetsBody};
pub use builder::{Builder, ForwarderClock, Running};
pub use drain::Drained;
pub use hooks::{HookAnswer, HookRequest};
pub use policy::SecurityPolicy;
pub use status::Observer;
pub use tls::{CertificatePem, ClientAuth, TlsConfig, TlsOptions};

#[cfg(feature = "cli")]
pub(crate) use clock::entropy as random;

use crate::model::Model;
use crate::router::{HealthEvent, Router};

/// A load balancer on sockets.
///
/// ```no_run
/// # async fn demo(model: podway::model::Model) -> Result<(), Box<dyn std::error::Error>> {
/// use podway::forwarder::{Forwarder, ForwarderClock};
///
/// let clock = ForwarderClock::new();
/// let keys = podway::KeyRing::from_secret(b"32 bytes that nobody else has...")?;
/// let router = podway::Router::new(&model, podway::Options::default(), keys, clock.now())?;
/// let router = std::sync::Arc::new(router);
/// let web = router.listener("web", 80).ok_or("no such listener")?;
/// let running = Forwarder::builder(router, &model, clock)
///     .bind(web, "127.0.0.1:8080".parse()?, None)
///     .start()
///     .await?;
/// running.shutdown(std::time::Duration::from_secs(30)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Forwarder(());

impl Forwarder {
    /// Begins to describe a forwarder for `router`, which was made from `model` at a time of `clock`.
    pub fn builder(router: Arc<Router>, model: &Model, clock: ForwarderClock) -> Builder {
        Builder::new(router, model, clock)
    }
}

/// Why a forwarder or one of its listeners does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{0}")]
    Tls(String),
}

/// 32 random bytes that nobody can guess, for a cookie key.
#[cfg(feature = "cli")]
pub(crate) fn secret() -> Result<[u8; 32], StartError> {
    let mut secret = [0; 32];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let filled = provider.secure_random.fill(&mut secret);
    filled.map_err(|_| StartError::Tls("the system has no random numbers".to_owned()))?;
    Ok(secret)
}

/// What every connection of a forwarder shares.
#[derive(Debug)]
pub(crate) struct Shared {
    router: Arc<Router>,
    clock: clock::Clock,
    settings: ArcSwap<settings::Settings>,
    departures: drain::Departures,
    events: broadcast::Sender<HealthEvent>,
    wake: Notify,
    hooks: hooks::Hooks,
    metrics: metrics::Metrics,
    observe: observe::Observe,
    /// Client connections, and how many there may be at a time.
    connections: AtomicUsize,
    max_connections: usize,
}

/// A runtime that serves connections, with its own connections to targets: nothing of a request crosses
/// from one worker to another.
#[derive(Debug)]
pub(crate) struct Worker {
    runtime: tokio::runtime::Handle,
    pool: http1::Pool,
    http2: http2_pool::Http2Pool,
    upstream: upstream::Upstream,
}
