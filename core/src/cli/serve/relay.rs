//! A node's NodePort in target type `instance`: hands each connection to a pod as kube-proxy would, from
//! the node's address, so that the pod sees the node (spec: dataplane §9, §10).

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::cluster::Dialled;
use crate::forwarder::ForwarderClock;
use crate::{Hop, KubeProxy};

/// What a relay follows: the proxy behind its port, swapped when the Service changes.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) node: String,
    pub(super) proxy: KubeProxy,
}

/// Relays a node's port until the task is aborted.
pub(super) async fn serve(
    listener: TcpListener,
    node_address: SocketAddr,
    behind: Arc<ArcSwap<Behind>>,
    dialled: Dialled,
) {
    let clock = ForwarderClock::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let behind = behind.load_full();
        let hop = behind.proxy.pick(&behind.node, peer.ip(), clock.now(), crate::forwarder::random());
        match hop {
            Hop::Forward { endpoint, from_node } => {
                let pod = SocketAddr::new(endpoint.address, endpoint.port);
                let pod = dialled.load().get(&pod).copied().unwrap_or(pod);
                // Policy Local keeps the peer's address; on loopback that is the load balancer's.
                let from = if from_node { node_address.ip() } else { peer.ip() };
                tokio::spawn(relay(stream, pod, from));
            }
            // A refused connection is reset; a dropped one hears nothing until it gives up.
            Hop::Refused => reset(&stream),
            Hop::Dropped => drop(tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                drop(stream);
            })),
        }
    }
}

async fn relay(mut from: TcpStream, pod: SocketAddr, source: std::net::IpAddr) {
    match connect(pod, source).await {
        Ok(mut to) => drop(tokio::io::copy_bidirectional(&mut from, &mut to).await),
        Err(_) => reset(&from),
    }
}

async fn connect(pod: SocketAddr, source: std::net::IpAddr) -> std::io::Result<TcpStream> {
    let socket = if pod.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Where only one loopback address exists, the pod sees that one.
    let _ = socket.bind(SocketAddr::new(source, 0));
    let stream = socket.connect(pod).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
