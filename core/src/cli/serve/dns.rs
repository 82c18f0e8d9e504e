//! A DNS responder for the record sets and the load balancers' own names, on loopback.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::A;
use hickory_server::proto::rr::{RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::model::Model;

/// Names to addresses; `*.` names stand for everything below.
#[derive(Clone, Default)]
pub(super) struct Zone(Arc<ArcSwap<HashMap<String, Ipv4Addr>>>);

/// Answers may be kept for a minute, as the load balancers' are.
const TTL_S: u32 = 60;

impl Zone {
    /// Takes over the records of a model.
    pub(super) fn set(&self, model: &Model, addresses: &HashMap<String, IpAddr>) {
        let mut names = HashMap::new();
        for balancer in &model.load_balancers {
            let Some(IpAddr::V4(address)) = addresses.get(&balancer.load_balancer_name).copied() else {
                continue;
            };
            names.insert(balancer.dns_name.to_ascii_lowercase(), address);
            for record in &model.record_sets {
                if record.alias_target.dns_name.eq_ignore_ascii_case(&balancer.dns_name) {
                    names.insert(record.name.to_ascii_lowercase(), address);
                }
            }
        }
        self.0.store(Arc::new(names));
    }

    /// The address of a name: its own, or that of the nearest wildcard above it.
    fn find(&self, name: &str) -> Option<Ipv4Addr> {
        let names = self.0.load();
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(address) = names.get(&name) {
            return Some(*address);
        }
        let mut rest = name.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(address) = names.get(&format!("*.{above}")) {
                return Some(*address);
            }
            rest = above;
        }
        None
    }
}

/// Answers on these sockets from now on, until the task is aborted.
pub(super) fn start(
    zone: Zone,
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
) -> std::io::Result<JoinHandle<()>> {
    let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
    let mut server = Server::new(Responder(zone));
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(5), 64);
    Ok(tokio::spawn(async move {
        // It ends with the task; what its last client makes of that is nobody's error.
        let _ = server.block_until_done().await;
    }))
}

struct Responder(Zone);

#[async_trait::async_trait]
impl RequestHandler for Responder {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let builder = MessageResponseBuilder::from_message_request(request);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let sent = match request.request_info() {
            Ok(info) if info.metadata.op_code == OpCode::Query => {
                let name = info.query.name();
                let found = self.0.find(&name.to_string());
                metadata.authoritative = true;
                metadata.response_code =
                    if found.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain };
                let wanted = matches!(info.query.query_type(), RecordType::A | RecordType::ANY);
                let records: Vec<Record> = found
                    .filter(|_| wanted)
                    .map(|address| Record::from_rdata(name.into(), TTL_S, RData::A(A(address))))
                    .into_iter()
                    .collect();
                response.send_response(builder.build(metadata, &records, [], [], [])).await
            }
            _ => {
                metadata.response_code = ResponseCode::NotImp;
                response.send_response(builder.build_no_records(metadata)).await
            }
        };
        sent.unwrap_or_else(|_| {
            // The client is gone; what would have been said is for the statistics of the server only.
            let mut metadata = Metadata::new(0, MessageType::Response, OpCode::Query);
            metadata.response_code = ResponseCode::ServFail;
            ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards() {
        let zone = Zone::default();
        let one = Ipv4Addr::LOCALHOST;
        zone.0
            .store(Arc::new([("a.example.com".to_owned(), one), ("*.w.example.com".to_owned(), one)].into()));
        assert_eq!(zone.find("A.example.com."), Some(one));
        assert_eq!(zone.find("x.y.w.example.com"), Some(one));
        assert_eq!(zone.find("w.example.com"), None);
        assert_eq!(zone.find("b.example.com"), None);
    }
}
