//! `podway serve`: the load balancers on sockets, and behind them the local cluster. Each part is one
//! file; this one starts them, follows the files, and drains at the end.

mod admin;
mod args;
mod certificate;
mod cluster;
mod dns;
#[cfg(unix)]
mod handover;
mod logfile;
mod pod;
mod relay;
mod sockets;
mod status;
mod watch;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::args::Endpoint;
pub(super) use self::args::ServeArgs;
use self::cluster::Cluster;
use self::sockets::Sockets;
use super::input;
use super::{misused, refuse};
use crate::error::Error;
use crate::forwarder::{
    ClientAuth, Drained, Forwarder, ForwarderClock, Running, SecurityPolicy, StartError, TlsConfig,
    TlsOptions,
};
use crate::manifest::Loaded;
use crate::model::{Listener, LoadBalancer, Protocol};
use crate::{KeyRing, ListenerId, Options, Router};

pub(super) fn run(args: ServeArgs) -> ExitCode {
    let loaded = match input::read(&args.paths, &args.input) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    input::tell(&loaded.diagnostics);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return misused(format!("cannot start: {e}")),
    };
    match runtime.block_on(serve(args, loaded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Library(error)) => refuse(&error),
        Err(Failure::Said(message)) => misused(message),
    }
}

/// Why serving does not start.
enum Failure {
    Library(Error),
    Said(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Library(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Bind { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Failure::Said(format!(
                    "port {} of {} is already in use; choose another one with --map-port",
                    address.port(),
                    address.ip()
                ))
            }
            _ => Failure::Said(error.to_string()),
        }
    }
}

/// Runtimes for the load balancers, each on a thread of its own. They end with the process.
fn workers(args: &ServeArgs) -> std::io::Result<Vec<tokio::runtime::Handle>> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let number = args.workers.map_or_else(cores, usize::from);
    let worker = |i| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let run = move || runtime.block_on(std::future::pending::<()>());
        std::thread::Builder::new().name(format!("worker-{i}")).spawn(run)?;
        Ok(handle)
    };
    (0..number).map(worker).collect()
}

/// Everything that runs.
struct Served {
    args: ServeArgs,
    sockets: Sockets,
    /// What answers besides the load balancers.
    tasks: Vec<tokio::task::JoinHandle<()>>,
    router: Arc<Router>,
    running: Running,
    cluster: Cluster,
    zone: dns::Zone,
    /// By load balancer name; kept while the command runs, so that an address does not wander.
    addresses: HashMap<String, IpAddr>,
}

async fn serve(args: ServeArgs, loaded: Loaded) -> Result<(), Failure> {
    let clock = ForwarderClock::new();
    let options = Options { port_map: port_map(&args), ..Options::default() };
    let mut sockets = Sockets::new(&args)?;
    // Sessions of a local run end with it, and with those that took over from it.
    let secret = sockets.secret()?;
    let router = Arc::new(Router::new(&loaded.model, options, KeyRing::from_secret(&secret)?, clock.now())?);
    let mut cluster = Cluster::new(&args.endpoint);
    cluster.follow(&loaded).await;
    let mut addresses = HashMap::new();
    assign(&loaded.model.load_balancers, &mut addresses);
    let dial = cluster.dialled();
    let workers = workers(&args).map_err(|e| Failure::Said(format!("cannot start: {e}")))?;
    let mut builder = Forwarder::builder(router.clone(), &loaded.model, clock)
        .workers(workers)
        // Elsewhere sockets of one port do not share its clients evenly: the workers share one socket.
        .reuse_port(cfg!(target_os = "linux"))
        .dial(move |address| dial.load().get(&address).copied().unwrap_or(address));
    for (name, address) in &addresses {
        builder = builder.source(name, *address);
    }
    let log = |path: &PathBuf| {
        logfile::open(path)
            .map_err(|e| Failure::Said(format!("cannot write the log `{}`: {e}", path.display())))
    };
    if let Some(path) = &args.access_log {
        builder = builder.access_log(log(path)?);
    }
    if let Some(path) = &args.connection_log {
        builder = builder.connection_log(log(path)?);
    }
    let running = builder.start().await?;
    let zone = dns::Zone::default();
    let mut tasks = Vec::new();
    let at = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    if let Some(port) = args.admin_port {
        let failed = |e| Failure::Said(format!("cannot serve the status page on {}: {e}", at(port)));
        let socket = sockets.tcp("admin", at(port)).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        tasks.push(admin::start(running.observer(), socket).map_err(failed)?);
        status::say(format!("status page: http://{bound}/"));
    }
    if args.dns_port != 0 {
        let address = at(args.dns_port);
        let failed = |e| {
            Failure::Said(format!("cannot answer DNS on {address}: {e}; choose another port with --dns-port"))
        };
        let udp = sockets.udp("dns", address).map_err(failed)?;
        let tcp = sockets.tcp("dns over tcp", address).map_err(failed)?;
        tasks.push(dns::start(zone.clone(), udp, tcp).map_err(failed)?);
    }
    let mut served = Served { args, sockets, tasks, router, running, cluster, zone, addresses };
    served.bind(&loaded)?;
    served.zone.set(&loaded.model, &served.addresses);
    served.greet(&loaded);
    served.sockets.ready()?;
    served.until_told(loaded).await
}

impl Served {
    /// Binds every listener of the model that is not bound, and stops those that are not in it.
    fn bind(&mut self, loaded: &Loaded) -> Result<(), StartError> {
        let mut wanted: Vec<ListenerId> = Vec::new();
        let mut on_ip: HashMap<IpAddr, u16> = HashMap::new();
        for balancer in &loaded.model.load_balancers {
            let ip = self.addresses.get(&balancer.load_balancer_name).copied();
            let ip = ip.unwrap_or(Ipv4Addr::LOCALHOST.into());
            // Load balancers that have to share an address keep a thousand ports of distance.
            let before = on_ip.entry(ip).or_default();
            let shift = before.saturating_mul(1000);
            *before += 1;
            for listener in &balancer.listeners {
                let id = self.router.listener(&balancer.load_balancer_arn, listener.port);
                let Some(id) = id else { continue };
                wanted.push(id);
                let tls = match listener.protocol {
                    Protocol::Http => None,
                    Protocol::Https => Some(self.tls(loaded, listener)?),
                };
                match (self.running.address(id), tls) {
                    (Some(_), Some(tls)) => self.running.set_tls(id, tls),
                    (Some(_), None) => {}
                    (None, tls) => {
                        let port = mapped(&self.args.map_port, listener.port).saturating_add(shift);
                        let address = SocketAddr::new(ip, port);
                        let name = format!("{} {}", balancer.load_balancer_name, listener.port);
                        let handed = self.sockets.listener(&name);
                        if handed.is_empty() {
                            // Two processes could have the port by SO_REUSEPORT, unawares.
                            std::net::TcpListener::bind(address)
                                .map_err(|source| StartError::Bind { address, source })?;
                            self.running.bind(id, address, tls)?;
                        } else {
                            self.running.adopt(id, handed, tls)?;
                        }
                    }
                }
            }
        }
        for id in self.running.listeners() {
            if !wanted.contains(&id) {
                tokio::spawn(self.running.unbind(id, Duration::from_secs(self.args.grace)));
            }
        }
        Ok(())
    }

    fn tls(&self, loaded: &Loaded, listener: &Listener) -> Result<TlsConfig, StartError> {
        let certificates = match (&self.args.cert, &self.args.key) {
            (Some(cert), Some(key)) => certificate::from_files(cert, key)?,
            _ => certificate::for_manifests(loaded)?,
        };
        let policy = match listener.ssl_policy.as_deref() {
            Some(name) => SecurityPolicy::from_name(name)?,
            None => SecurityPolicy::recommended(),
        };
        if !policy.is_exact() {
            let left_out = policy.left_out().join(", ");
            status::say(format!("port {}: {} without {left_out}", listener.port, policy.name()));
        }
        let mutual = listener.mutual_authentication.as_ref();
        let client_auth = match mutual.map(|m| m.mode.as_str()) {
            Some("passthrough") => ClientAuth::Passthrough,
            Some("verify") => {
                let path = self.args.trust_store.as_ref().ok_or_else(|| {
                    StartError::Tls(format!(
                        "port {} verifies client certificates: name the authorities with --trust-store",
                        listener.port
                    ))
                })?;
                let trust_store = std::fs::read(path)
                    .map_err(|e| StartError::Tls(format!("cannot read `{}`: {e}", path.display())))?;
                let ignore_expiry = mutual.and_then(|m| m.ignore_client_certificate_expiry).unwrap_or(false);
                ClientAuth::Verify { trust_store, ignore_expiry }
            }
            _ => ClientAuth::Off,
        };
        TlsConfig::with_options(&certificates, &TlsOptions { policy, client_auth })
    }

    /// Follows changed files. What cannot be used is told, and everything stays as it is.
    async fn follow(&mut self) -> Option<Loaded> {
        let loaded = match input::read(&self.args.paths, &self.args.input) {
            Ok(loaded) => loaded,
            Err(error) => {
                for diagnostic in error.diagnostics() {
                    status::say(format!("not taken over: {diagnostic}"));
                }
                return None;
            }
        };
        self.cluster.follow(&loaded).await;
        assign(&loaded.model.load_balancers, &mut self.addresses);
        for (name, address) in &self.addresses {
            self.running.set_source(name, *address);
        }
        if let Err(error) = self.running.reload(&loaded.model) {
            status::say(format!("not taken over: {error}"));
            return None;
        }
        if let Err(error) = self.bind(&loaded) {
            status::say(format!("not taken over: {error}"));
        }
        self.zone.set(&loaded.model, &self.addresses);
        Some(loaded)
    }

    async fn until_told(mut self, mut loaded: Loaded) -> Result<(), Failure> {
        let mut changes = watch::watch(&self.args.paths)
            .map_err(|e| Failure::Said(format!("cannot watch the files: {e}")))?;
        let mut events = self.running.events();
        let terminal = std::io::stdout().is_terminal();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut stop = std::pin::pin!(told_to_stop());
        let mut waiting = self.sockets.wait(&self.args)?;
        let handed_over = loop {
            tokio::select! {
                () = &mut stop => break false,
                next = waiting.next() => {
                    if self.give(&loaded, next).await {
                        break true;
                    }
                }
                Some(()) = changes.recv() => {
                    if let Some(changed) = self.follow().await {
                        status::say("files changed: taken over".to_owned());
                        input::tell(&changed.diagnostics);
                        loaded = changed;
                    }
                }
                Ok(event) = events.recv() => {
                    if !terminal {
                        status::event(&event);
                    }
                }
                _ = tick.tick() => {
                    self.cluster.sweep(&self.router).await;
                    if terminal {
                        status::draw(&loaded.model, &self.router, &self.places(&loaded));
                    }
                }
            }
        };
        for task in &self.tasks {
            task.abort();
        }
        let grace = Duration::from_secs(self.args.grace);
        let Drained { connections, requests, cut } = if handed_over {
            status::say("another process has taken over: requests may finish".to_owned());
            self.running.retire(grace).await
        } else {
            status::say("stopping: requests may finish".to_owned());
            self.running.shutdown(grace).await
        };
        status::say(format!("drained {requests} requests on {connections} connections, {cut} cut"));
        Ok(())
    }

    /// Hands everything over to a process that asks; whether it has.
    async fn give(&self, loaded: &Loaded, to: sockets::Asking) -> bool {
        let mut listeners = Vec::new();
        for balancer in &loaded.model.load_balancers {
            for listener in &balancer.listeners {
                let id = self.router.listener(&balancer.load_balancer_arn, listener.port);
                let name = format!("{} {}", balancer.load_balancer_name, listener.port);
                match id.map(|id| self.running.sockets(id)) {
                    Some(Ok(sockets)) => listeners.extend(sockets.into_iter().map(|s| (name.clone(), s))),
                    Some(Err(e)) => status::say(format!("{name} cannot be handed over: {e}")),
                    None => {}
                }
            }
        }
        match self.sockets.give(to, listeners).await {
            Ok(()) => true,
            Err(e) => {
                status::say(format!("not handed over: {e}"));
                false
            }
        }
    }

    /// Where each listener can be reached, as a URL.
    fn places(&self, loaded: &Loaded) -> Vec<(String, u16, String)> {
        let mut out = Vec::new();
        for balancer in &loaded.model.load_balancers {
            for listener in &balancer.listeners {
                let id = self.router.listener(&balancer.load_balancer_arn, listener.port);
                if let Some(address) = id.and_then(|id| self.running.address(id)) {
                    let url = format!("{}://{address}", listener.protocol.scheme());
                    out.push((balancer.load_balancer_name.clone(), listener.port, url));
                }
            }
        }
        out
    }

    fn greet(&self, loaded: &Loaded) {
        for (name, port, url) in self.places(loaded) {
            status::say(format!("{name}: port {port} at {url}"));
        }
        for record in loaded.model.record_sets.iter().filter(|r| r.r#type == "A") {
            if self.args.dns_port != 0 {
                status::say(format!(
                    "{}: nslookup -port={} {} 127.0.0.1",
                    record.ingress, self.args.dns_port, record.name
                ));
            }
        }
        for (from, to) in self.cluster.moved() {
            status::say(format!("{from} cannot be bound here: it is at {to}"));
        }
    }
}

/// Ports that a user may not bind are moved out of the way.
fn mapped(told: &[(u16, u16)], port: u16) -> u16 {
    match told.iter().find(|(from, _)| *from == port) {
        Some((_, to)) => *to,
        None => match port {
            80 => 8080,
            443 => 8443,
            1..=1023 => port + 8000,
            _ => port,
        },
    }
}

/// The map for redirects: also for ports that only a later model listens on.
fn port_map(args: &ServeArgs) -> Vec<(u16, u16)> {
    let told = args.map_port.iter().map(|(from, _)| *from).filter(|from| *from > 1023);
    (1..=1023).chain(told).map(|port| (port, mapped(&args.map_port, port))).collect()
}

/// Gives each new load balancer a loopback address of its own, the first one 127.0.0.1; all have that one
/// where the system has no other.
fn assign(balancers: &[LoadBalancer], addresses: &mut HashMap<String, IpAddr>) {
    for balancer in balancers {
        if addresses.contains_key(&balancer.load_balancer_name) {
            continue;
        }
        let free = (1..=250u8)
            .map(|last| IpAddr::from([127, 0, 0, last]))
            .find(|ip| !addresses.values().any(|taken| taken == ip))
            .filter(|ip| std::net::TcpListener::bind((*ip, 0)).is_ok());
        addresses.insert(balancer.load_balancer_name.clone(), free.unwrap_or(Ipv4Addr::LOCALHOST.into()));
    }
}

#[cfg(unix)]
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn told_to_stop() {
    drop(tokio::signal::ctrl_c().await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_ports_move_and_told_ones_win() {
        assert_eq!(mapped(&[], 80), 8080);
        assert_eq!(mapped(&[], 443), 8443);
        assert_eq!(mapped(&[], 8081), 8081);
        assert_eq!(mapped(&[], 81), 8081);
        assert_eq!(mapped(&[(443, 9443)], 443), 9443);
    }
}
