//! source-ip (spec: dataplane §1.5.6): the TCP peer against CIDR blocks; X-Forwarded-For is never looked at.

use std::net::IpAddr;

use ipnet::IpNet;

/// CIDR blocks of one condition.
#[derive(Debug)]
pub(crate) struct SourceIp(Vec<IpNet>);

impl SourceIp {
    /// Parses the blocks; gives back the first text that is not one.
    pub(crate) fn new(values: &[String]) -> Result<Self, &str> {
        values.iter().map(|v| v.parse().map_err(|_| v.as_str())).collect::<Result<_, _>>().map(SourceIp)
    }

    pub(super) fn holds(&self, peer: IpAddr) -> bool {
        // A dual-stack socket reports IPv4 peers as ::ffff:a.b.c.d.
        let peer = peer.to_canonical();
        self.0.iter().any(|net| net.contains(&peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let all = |v: &[&str]| SourceIp(v.iter().map(|c| c.parse().unwrap()).collect());
        let v4 = all(&["192.0.2.0/24", "198.51.100.10/32"]);
        assert!(v4.holds("192.0.2.77".parse().unwrap()));
        assert!(v4.holds("::ffff:198.51.100.10".parse().unwrap()));
        assert!(!v4.holds("198.51.100.11".parse().unwrap()));
        assert!(!all(&["2001:db8::/32"]).holds("192.0.2.1".parse().unwrap()));
        assert_eq!(SourceIp::new(&["192.0.2.10".to_owned()]).unwrap_err(), "192.0.2.10");
    }
}
