//! Target groups: attribute values and their combinations (spec: dataplane §3.3, §3.4, §4.0, §4.3, §13.7), and
//! which addresses may be targets (spec: dataplane §11).

use std::net::IpAddr;

use super::Check;
use crate::compile::attributes::MAX_STICKINESS_S;
use crate::error::Code;
use crate::model::{TargetDescription, TargetGroup, TargetIpAddressType, TargetType, attribute};

impl Check<'_> {
    pub(super) fn group(&mut self, group: &TargetGroup) {
        self.combinations(group);
        self.ranges(group);
        self.thresholds(group);
        for description in &group.target_health_descriptions {
            match group.target_type {
                TargetType::Ip => self.address(group, &description.target),
                TargetType::Instance if description.target.id.parse::<IpAddr>().is_ok() => {
                    self.invalid(format!("Instance ID '{}' is not valid", description.target.id));
                }
                _ => {}
            }
        }
    }

    fn combinations(&mut self, group: &TargetGroup) {
        let value = |key: &str| attribute(&group.attributes, key);
        let algorithm = value("load_balancing.algorithm.type").unwrap_or("round_robin");
        let sticky = value("stickiness.enabled") == Some("true");
        let slow = value("slow_start.duration_seconds").is_some_and(|v| v != "0");
        let mitigated = value("load_balancing.algorithm.anomaly_mitigation") == Some("on");
        let within_zones = value("load_balancing.cross_zone.enabled") == Some("false");
        let mut wrong: Vec<String> = Vec::new();
        if !matches!(algorithm, "round_robin" | "least_outstanding_requests" | "weighted_random") {
            self.invalid(format!("'{algorithm}' is not a load balancing algorithm"));
        }
        if slow && algorithm != "round_robin" {
            wrong.push(format!("slow start cannot be combined with the algorithm {algorithm}"));
        }
        if mitigated && algorithm != "weighted_random" {
            wrong.push("anomaly mitigation needs the algorithm weighted_random".into());
        }
        if sticky && algorithm == "weighted_random" {
            wrong.push("stickiness cannot be combined with the algorithm weighted_random".into());
        }
        if sticky && within_zones {
            wrong.push("stickiness needs cross-zone load balancing".into());
        }
        let everywhere = |t: &TargetDescription| t.availability_zone.as_deref() == Some("all");
        if within_zones && group.target_health_descriptions.iter().any(|d| everywhere(&d.target)) {
            wrong.push("cross-zone load balancing cannot be off while a target has the zone 'all'".into());
        }
        if group.target_control_port.is_some() && (sticky || algorithm != "round_robin") {
            wrong.push("a target optimizer needs the algorithm round_robin, without stickiness".into());
        }
        if sticky && value("stickiness.type") == Some("app_cookie") {
            let name = value("stickiness.app_cookie.cookie_name").unwrap_or_default();
            if name.is_empty() {
                wrong.push("an application cookie name must be set".into());
            }
            if name.starts_with("AWSALB") {
                wrong.push(format!("the application cookie name `{name}` has a reserved prefix"));
            }
        }
        for message in wrong {
            self.refuse(Code::InvalidConfigurationRequest, message);
        }
    }

    fn ranges(&mut self, group: &TargetGroup) {
        let value = |key: &str| attribute(&group.attributes, key);
        let ranges = [
            ("deregistration_delay.timeout_seconds", 0, 3600),
            ("stickiness.lb_cookie.duration_seconds", 1, MAX_STICKINESS_S),
            ("stickiness.app_cookie.duration_seconds", 1, MAX_STICKINESS_S),
        ];
        for (key, low, high) in ranges {
            if value(key).is_some_and(|v| !v.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n))) {
                self.invalid(format!("'{key}' must be between '{low}-{high}' inclusive"));
            }
        }
        let slow = value("slow_start.duration_seconds");
        if slow.is_some_and(|v| !v.parse::<u32>().is_ok_and(|n| n == 0 || (30..=900).contains(&n))) {
            self.invalid("'slow_start.duration_seconds' must be '0' or between '30-900' inclusive");
        }
        if !group.health_check_enabled && matches!(group.target_type, TargetType::Instance | TargetType::Ip) {
            self.invalid("health checks cannot be disabled for the target types 'instance' and 'ip'");
        }
    }

    /// DNS has to react before routing does, or with it (spec: dataplane §3.4).
    fn thresholds(&mut self, group: &TargetGroup) {
        for kind in ["count", "percentage"] {
            let of = |what: &str| {
                let key = format!("target_group_health.{what}.minimum_healthy_targets.{kind}");
                attribute(&group.attributes, &key).map(str::to_owned)
            };
            let (dns, routing) = (of("dns_failover"), of("unhealthy_state_routing"));
            let highest = if kind == "count" { u32::MAX } else { 100 };
            let number = |text: &String| text.parse::<u32>().ok().filter(|n| (1..=highest).contains(n));
            let may_be_off = |text: &String, routed: bool| text == "off" && (kind == "percentage" || !routed);
            for (text, routed) in [(&dns, false), (&routing, true)] {
                if text.as_ref().is_some_and(|t| number(t).is_none() && !may_be_off(t, routed)) {
                    self.invalid(format!("a threshold of minimum healthy targets ({kind}) is out of range"));
                }
            }
            let default = (kind == "count").then_some(1);
            let dns = dns.as_ref().map_or(default, number);
            let routing = routing.as_ref().map_or(default, number);
            if let (Some(dns), Some(routing)) = (dns, routing)
                && dns < routing
            {
                self.refuse(
                    Code::InvalidConfigurationRequest,
                    format!(
                        "the {kind} of DNS fail-over ({dns}) must not be below that of routing ({routing})"
                    ),
                );
            }
        }
    }

    /// Whether AWS takes an address as a target (spec: dataplane §11.1, §11.3).
    fn address(&mut self, group: &TargetGroup, target: &TargetDescription) {
        let text = &target.id;
        let family = match group.ip_address_type {
            TargetIpAddressType::Ipv4 => "IPv4",
            TargetIpAddressType::Ipv6 => "IPv6",
        };
        let wanted = |ip: &IpAddr| ip.is_ipv6() == (group.ip_address_type == TargetIpAddressType::Ipv6);
        let Some(ip) = text.parse::<IpAddr>().ok().filter(wanted) else {
            self.invalid(format!("The IP address '{text}' is not a valid {family} address"));
            return;
        };
        let refused = match ip {
            _ if ip.is_loopback() => "a loopback address",
            _ if ip.is_multicast() => "a multicast address",
            _ if ip.is_unspecified() => "no address",
            IpAddr::V4(ip) if ip.is_link_local() => "a link-local address",
            IpAddr::V6(ip) if ip.is_unicast_link_local() => "a link-local address",
            // 100.64.0.0/10 is what VPCs use beside the private ranges.
            IpAddr::V4(v4) if !v4.is_private() && (v4.octets()[0] != 100 || v4.octets()[1] & 0xc0 != 64) => {
                "a public address: targets are in the VPC's subnets, in 10.0.0.0/8, 172.16.0.0/12, \
                 192.168.0.0/16 or 100.64.0.0/10"
            }
            _ => return,
        };
        self.invalid(format!("The IP address '{text}' cannot be registered as a target: it is {refused}"));
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Model;
    use crate::options::Options;

    /// What the API says to one group with these attributes and this target.
    fn said(attributes: &[(&str, &str)], kind: &str, id: &str) -> Vec<String> {
        let attributes: Vec<_> =
            attributes.iter().map(|(k, v)| serde_json::json!({"Key": k, "Value": v})).collect();
        let model: Model = serde_json::from_value(serde_json::json!({"TargetGroups": [{
            "TargetGroupArn": "a", "TargetType": kind, "Attributes": attributes,
            "TargetHealthDescriptions": [{"Target": {"Id": id, "Port": 80}}]}]}))
        .unwrap();
        model
            .validate(&Options::default())
            .into_iter()
            .map(|d| format!("{}: {}", d.code, d.message))
            .collect()
    }

    #[test]
    fn public_addresses_are_refused_and_private_ones_are_not() {
        for fine in ["10.0.0.1", "172.31.255.1", "192.168.1.1", "100.64.0.1", "100.127.9.9"] {
            assert_eq!(said(&[], "ip", fine), [""; 0], "{fine}");
        }
        for refused in
            ["8.8.8.8", "127.0.0.1", "169.254.1.1", "224.0.0.1", "100.128.0.1", "172.32.0.1", "::1", "i-1"]
        {
            assert_eq!(said(&[], "ip", refused).len(), 1, "{refused}");
        }
        assert_eq!(
            said(&[], "ip", "2001:db8::1")[0],
            "ValidationError: The IP address '2001:db8::1' is not a valid IPv4 address"
        );
        assert_eq!(
            said(&[], "instance", "10.0.0.1")[0],
            "ValidationError: Instance ID '10.0.0.1' is not valid"
        );
    }

    #[test]
    fn dns_reacts_before_routing_does() {
        let (dns, routing) = ("dns_failover", "unhealthy_state_routing");
        let set = |what, kind, value| -> (String, String) {
            (format!("target_group_health.{what}.minimum_healthy_targets.{kind}"), String::from(value))
        };
        let said = |pairs: &[(String, String)]| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            self::said(&pairs, "ip", "10.0.0.1").len()
        };
        assert_eq!(said(&[set(dns, "count", "3"), set(routing, "count", "3")]), 0);
        assert_eq!(said(&[set(dns, "count", "2"), set(routing, "count", "3")]), 1);
        assert_eq!(said(&[set(routing, "count", "2")]), 1, "DNS has 1 unless told otherwise");
        assert_eq!(said(&[set(dns, "count", "off"), set(routing, "count", "2")]), 0);
        assert_eq!(said(&[set(dns, "percentage", "40"), set(routing, "percentage", "50")]), 1);
        assert_eq!(said(&[set(routing, "percentage", "50")]), 0);
        assert_eq!(said(&[set(routing, "count", "off")]), 1);
        assert_eq!(said(&[set(dns, "percentage", "101")]), 1);
    }

    #[test]
    fn combinations_that_the_api_refuses() {
        let algorithm = "load_balancing.algorithm.type";
        assert_eq!(said(&[("load_balancing.algorithm.anomaly_mitigation", "on")], "ip", "10.0.0.1").len(), 1);
        assert_eq!(said(&[("slow_start.duration_seconds", "29")], "ip", "10.0.0.1").len(), 1);
        assert_eq!(said(&[(algorithm, "best")], "ip", "10.0.0.1").len(), 1);
        assert_eq!(
            said(
                &[(algorithm, "weighted_random"), ("load_balancing.algorithm.anomaly_mitigation", "on")],
                "ip",
                "10.0.0.1"
            ),
            [""; 0]
        );
    }
}
