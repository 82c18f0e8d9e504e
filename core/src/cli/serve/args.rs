//! The arguments of `podway serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::input::InputArgs;

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ServeArgs {
    /// Files or folders with manifests; they are watched
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Serve a listener's port on another one (80 is on 8080 and 443 on 8443 unless told)
    #[arg(long = "map-port", value_name = "PORT=PORT", value_parser = port_pair)]
    pub(super) map_port: Vec<(u16, u16)>,
    /// Where DNS answers for the records; 0 switches it off
    #[arg(long, value_name = "PORT", default_value_t = 5353)]
    pub(super) dns_port: u16,
    /// A certificate chain in PEM, for all HTTPS listeners
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Authorities (PEM) for listeners that verify client certificates
    #[arg(long, value_name = "FILE")]
    pub(super) trust_store: Option<PathBuf>,
    /// A process of your own in the place of a Service's pods
    #[arg(long, value_name = "SERVICE[:PORT]=HOST:PORT", value_parser = endpoint)]
    pub(super) endpoint: Vec<Endpoint>,
    /// Where a status page (`/`), its data (`/status.json`) and OpenMetrics (`/metrics`) are served on 127.0.0.1
    #[arg(long, value_name = "PORT")]
    pub(super) admin_port: Option<u16>,
    /// Append the access log, in the load balancer's format; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) access_log: Option<PathBuf>,
    /// Append the connection log; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) connection_log: Option<PathBuf>,
    /// A Unix socket for restarts without a gap: takes the listening sockets over from the `serve` that has
    /// it, which then drains and ends, and hands them to the next one
    #[cfg(unix)]
    #[arg(long, value_name = "SOCKET")]
    pub(super) hand_over: Option<PathBuf>,
    /// Threads that serve clients, each with connections to targets of its own; one for each core unless told
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) workers: Option<u16>,
    /// Seconds that requests get to finish at the end
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) grace: u64,
}

/// `--endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::serve) struct Endpoint {
    pub(super) service: String,
    pub(super) port: Option<String>,
    pub(super) address: SocketAddr,
}

pub(super) fn port_pair(text: &str) -> Result<(u16, u16), String> {
    let pair = text.split_once('=').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    pair.ok_or_else(|| "expected such as `443=9443`".to_owned())
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    use std::net::ToSocketAddrs;
    let (service, to) =
        text.split_once('=').ok_or_else(|| "expected such as `web:80=127.0.0.1:3000`".to_owned())?;
    let (service, port) = match service.rsplit_once(':') {
        Some((service, port)) => (service, Some(port.to_owned())),
        None => (service, None),
    };
    let mut addresses = to.to_socket_addrs().map_err(|e| format!("`{to}`: {e}"))?;
    let address = addresses.next().ok_or_else(|| format!("`{to}` has no address"))?;
    Ok(Endpoint { service: service.to_owned(), port, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_name_a_service_and_an_address() {
        let e = endpoint("default/web:80=127.0.0.1:3000").unwrap();
        assert_eq!((e.service.as_str(), e.port.as_deref()), ("default/web", Some("80")));
        assert!(endpoint("web").is_err() && endpoint("web=nowhere").is_err());
        assert_eq!(port_pair("443=9443"), Ok((443, 9443)));
        assert!(port_pair("eighty=1").is_err());
    }
}
