//! The made-up pods and NodePorts as sockets: started when a model names them, stopped when the router
//! has drained what led to them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::pod::{self, Identity, Well};
use super::relay::{self, Behind};
use super::{Endpoint, status};
use crate::manifest::Loaded;
use crate::model::TargetGroup;
use crate::{KubeProxy, Router};

/// Where an address of the cluster really is, where it is somewhere else.
pub(super) type Dialled = Arc<ArcSwap<HashMap<SocketAddr, SocketAddr>>>;

/// What stands behind the load balancers.
pub(super) struct Cluster {
    endpoints: Vec<Endpoint>,
    pods: HashMap<SocketAddr, JoinHandle<()>>,
    well: HashMap<String, Well>,
    relays: HashMap<SocketAddr, (JoinHandle<()>, Arc<ArcSwap<Behind>>)>,
    dialled: Dialled,
    /// Addresses that had to be put elsewhere.
    moved: HashMap<SocketAddr, SocketAddr>,
    /// Sockets the newest model has no use for.
    unwanted: HashSet<SocketAddr>,
}

impl Cluster {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        Cluster {
            endpoints: endpoints.to_vec(),
            pods: HashMap::new(),
            well: HashMap::new(),
            relays: HashMap::new(),
            dialled: Dialled::default(),
            moved: HashMap::new(),
            unwanted: HashSet::new(),
        }
    }

    /// Where to connect to instead.
    pub(super) fn dialled(&self) -> Dialled {
        self.dialled.clone()
    }

    /// What had to be put elsewhere, and where it is.
    pub(super) fn moved(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let mut all: Vec<_> = self.moved.iter().map(|(from, to)| (*from, *to)).collect();
        all.sort_unstable();
        all
    }

    /// Opens what `loaded` needs; what it does not need any more stays until it is swept.
    pub(super) async fn follow(&mut self, loaded: &Loaded) {
        let mut wanted = HashSet::new();
        for pod in loaded.cluster.pods.iter().filter(|p| p.made_up) {
            let Some(ip) = pod.address else { continue };
            let well = self
                .well
                .entry(format!("{}/{}", pod.namespace, pod.name))
                .or_insert_with(|| Arc::new(AtomicBool::new(true)))
                .clone();
            for port in &pod.ports {
                let address = SocketAddr::new(ip, *port);
                wanted.insert(address);
                if self.pods.contains_key(&address) {
                    continue;
                }
                if let Some(listener) = self.open(address).await {
                    let identity = Arc::new(Identity {
                        namespace: pod.namespace.clone(),
                        name: pod.name.clone(),
                        node: pod.node.clone(),
                        address: listener.local_addr().unwrap_or(address),
                    });
                    let task = tokio::spawn(pod::serve(listener, identity, well.clone()));
                    self.pods.insert(address, task);
                }
            }
        }
        for group in &loaded.model.target_groups {
            self.node_ports(group, &mut wanted).await;
        }
        self.dialled.store(Arc::new(self.dial(loaded)));
        let open = self.pods.keys().chain(self.relays.keys());
        self.unwanted = open.filter(|a| !wanted.contains(a)).copied().collect();
    }

    async fn node_ports(&mut self, group: &TargetGroup, wanted: &mut HashSet<SocketAddr>) {
        let Some(node_port) = &group.node_port else { return };
        for node in &node_port.nodes {
            let target = group.target_health_descriptions.iter().find(|d| d.target.id == node.id);
            let (Some(ip), Some(port)) = (node.address, target.and_then(|d| d.target.port)) else { continue };
            // The node of a real cluster relays for itself.
            if !ip.is_loopback() {
                continue;
            }
            let address = SocketAddr::new(ip, port);
            wanted.insert(address);
            let behind = Behind { node: node.name.clone(), proxy: KubeProxy::new(node_port.clone()) };
            if let Some((_, known)) = self.relays.get(&address) {
                known.store(Arc::new(behind));
                continue;
            }
            if let Some(listener) = self.open(address).await {
                let behind = Arc::new(ArcSwap::from_pointee(behind));
                let task =
                    tokio::spawn(relay::serve(listener, address, behind.clone(), self.dialled.clone()));
                self.relays.insert(address, (task, behind));
            }
        }
    }

    /// Listens on an address. Where a user may not bind the port, or somebody else has it, another port
    /// of the same address does; where the system has one loopback address only, 127.0.0.1 does.
    async fn open(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let mut opened = TcpListener::bind(address).await;
        for place in [SocketAddr::new(address.ip(), 0), here] {
            use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
            let kind = opened.as_ref().map_err(io::Error::kind).err();
            if matches!(kind, Some(AddrInUse | AddrNotAvailable | PermissionDenied)) {
                opened = TcpListener::bind(place).await;
            }
        }
        match opened {
            Ok(listener) => {
                if let Ok(real) = listener.local_addr()
                    && real != address
                {
                    self.moved.insert(address, real);
                }
                Some(listener)
            }
            Err(e) => {
                status::say(format!("cannot open {address} of the local cluster: {e}"));
                None
            }
        }
    }

    /// Addresses that are somewhere else: moved ones, and Services that `--endpoint` replaces.
    fn dial(&self, loaded: &Loaded) -> HashMap<SocketAddr, SocketAddr> {
        let mut out = self.moved.clone();
        for group in &loaded.model.target_groups {
            let Some(service) = &group.service_ref else { continue };
            let full = format!("{}/{}", service.namespace, service.name);
            let replaced = self.endpoints.iter().find(|e| {
                (e.service == service.name || e.service == full)
                    && e.port.as_ref().is_none_or(|p| *p == service.port)
            });
            let Some(endpoint) = replaced else { continue };
            let behind = group.node_port.iter().flat_map(|n| &n.endpoints);
            let pods = behind.map(|e| SocketAddr::new(e.address, e.port));
            let targets = group
                .target_health_descriptions
                .iter()
                .filter_map(|d| Some(SocketAddr::new(d.target.id.parse().ok()?, d.target.port?)));
            out.extend(pods.chain(targets).map(|address| (address, endpoint.address)));
        }
        out
    }

    /// Closes what no target of the router leads to any more.
    pub(super) async fn sweep(&mut self, router: &Router) {
        if self.unwanted.is_empty() {
            return;
        }
        let targets = router.targets();
        let in_use: HashSet<SocketAddr> =
            targets.iter().filter_map(|t| Some(SocketAddr::new(t.target.parse().ok()?, t.port))).collect();
        let ports: HashSet<u16> = targets.iter().map(|t| t.port).collect();
        let unwanted = std::mem::take(&mut self.unwanted);
        for address in unwanted {
            let relay_in_use = self.relays.contains_key(&address) && ports.contains(&address.port());
            if in_use.contains(&address) || relay_in_use {
                self.unwanted.insert(address);
                continue;
            }
            if let Some(task) = self.pods.remove(&address) {
                task.abort();
            }
            if let Some((task, _)) = self.relays.remove(&address) {
                task.abort();
            }
        }
    }
}
