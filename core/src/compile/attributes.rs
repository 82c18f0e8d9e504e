//! Attributes of target groups, from text to types (spec: dataplane §13.7). An unknown key is left alone:
//! it may be newer than this library. A value outside its range falls back to AWS's default here; `check`
//! is where it is refused.

use crate::model::{Attribute, attribute};
use crate::table::{Algorithm, GroupAttributes, StickinessAttributes};

/// The longest stickiness there is, in seconds.
pub(super) const MAX_STICKINESS_S: u32 = 604_800;

pub(super) fn group_attributes(all: &[Attribute]) -> GroupAttributes {
    let text = |key: &str| attribute(all, key);
    let number = |key: &str, default: u32, range: std::ops::RangeInclusive<u32>| {
        text(key).and_then(|v| v.parse().ok()).filter(|n| range.contains(n)).unwrap_or(default)
    };
    let stickiness = match (text("stickiness.enabled"), text("stickiness.type")) {
        (Some("true"), Some("app_cookie")) => StickinessAttributes::AppCookie {
            name: text("stickiness.app_cookie.cookie_name").unwrap_or_default().to_owned(),
            seconds: number("stickiness.app_cookie.duration_seconds", 86_400, 1..=MAX_STICKINESS_S),
        },
        (Some("true"), _) => StickinessAttributes::LbCookie {
            seconds: number("stickiness.lb_cookie.duration_seconds", 86_400, 1..=MAX_STICKINESS_S),
        },
        _ => StickinessAttributes::Off,
    };
    let algorithm = match text("load_balancing.algorithm.type") {
        Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
        Some("weighted_random") => Algorithm::WeightedRandom,
        _ => Algorithm::RoundRobin,
    };
    let routing = "target_group_health.unhealthy_state_routing.minimum_healthy_targets";
    let dns = "target_group_health.dns_failover.minimum_healthy_targets";
    let percentage = |key: String| Some(number(&key, 0, 0..=100)).filter(|n| *n > 0);
    GroupAttributes {
        deregistration_delay_s: number("deregistration_delay.timeout_seconds", 300, 0..=3600),
        stickiness,
        slow_start_s: match number("slow_start.duration_seconds", 0, 0..=900) {
            n if n >= 30 && algorithm == Algorithm::RoundRobin => n,
            _ => 0,
        },
        algorithm,
        anomaly_mitigation: text("load_balancing.algorithm.anomaly_mitigation") == Some("on"),
        cross_zone: text("load_balancing.cross_zone.enabled") != Some("false"),
        fail_open_count: number(&format!("{routing}.count"), 1, 1..=u32::MAX),
        fail_open_percentage: percentage(format!("{routing}.percentage")),
        dns_failover_count: match text(&format!("{dns}.count")) {
            Some("off") => None,
            _ => Some(number(&format!("{dns}.count"), 1, 1..=u32::MAX)),
        },
        dns_failover_percentage: percentage(format!("{dns}.percentage")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> GroupAttributes {
        group_attributes(&pairs.iter().map(|(k, v)| Attribute::new(*k, *v)).collect::<Vec<_>>())
    }

    #[test]
    fn defaults_are_the_load_balancers() {
        let d = of(&[]);
        assert_eq!(d.deregistration_delay_s, 300);
        assert_eq!(d.stickiness, StickinessAttributes::Off);
        assert_eq!((d.slow_start_s, d.cross_zone, d.fail_open_count), (0, true, 1));
        assert_eq!(d.fail_open_percentage, None);
    }

    #[test]
    fn values_are_read_and_bad_ones_are_not() {
        let a = of(&[
            ("stickiness.enabled", "true"),
            ("stickiness.lb_cookie.duration_seconds", "60"),
            ("deregistration_delay.timeout_seconds", "4000"),
            ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "50"),
            ("load_balancing.algorithm.type", "least_outstanding_requests"),
            ("slow_start.duration_seconds", "60"),
        ]);
        assert_eq!(a.stickiness, StickinessAttributes::LbCookie { seconds: 60 });
        assert_eq!(a.deregistration_delay_s, 300);
        assert_eq!(a.fail_open_percentage, Some(50));
        assert_eq!(a.slow_start_s, 0, "not with least outstanding requests");
    }
}
