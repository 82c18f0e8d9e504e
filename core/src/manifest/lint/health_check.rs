//! Health checks that AWS refuses, or that no answer can meet (§8.7): often a setting of the Ingress that fits
//! most of its Services, and not this one.

use super::super::annotations::Annotations;
use crate::error::{Code, Diagnostic};
use crate::model::{ProtocolVersion, TargetGroup};

/// What is wrong with the health check of a group, told where its annotations say it.
pub(in super::super) fn health_check(group: &TargetGroup, annotations: Annotations<'_>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let mut add = |suffix: &str, message: String, expected: String| {
        let said = annotations.get(suffix).or_else(|| annotations.get("backend-protocol-version"));
        out.extend(said.map(|a| a.error(Code::W_HEALTH_CHECK, message).into_warning().expected(expected)));
    };
    let service = group.service_ref.as_ref().map(ToString::to_string).unwrap_or_default();
    let grpc = group.protocol_version == ProtocolVersion::Grpc;
    let (codes, low, high, kind) = if grpc {
        (group.matcher.grpc_code.as_deref(), 0, 99, "gRPC")
    } else {
        (group.matcher.http_code.as_deref(), 200, 499, "HTTP")
    };
    let codes = codes.unwrap_or_default();
    let fits = |text: &str| text.parse::<u16>().is_ok_and(|n| (low..=high).contains(&n));
    let fit = |item: &str| match item.split_once('-') {
        Some((from, to)) => fits(from) && fits(to),
        None => fits(item),
    };
    if !codes.split(',').all(fit) {
        add(
            "success-codes",
            format!("the success codes `{codes}` do not fit the {kind} target group of `{service}`"),
            format!("{low} to {high}, as `a,b` or `a-b`"),
        );
    }
    let path = &group.health_check_path;
    if !path.starts_with('/') || path.len() > 1024 {
        add(
            "healthcheck-path",
            format!("the health check path `{path}` is no path"),
            "`/` and at most 1023 characters".to_owned(),
        );
    }
    let (interval, timeout) = (group.health_check_interval_seconds, group.health_check_timeout_seconds);
    for (suffix, value, range) in [
        ("healthcheck-interval-seconds", interval, 5..=300),
        ("healthcheck-timeout-seconds", timeout, 2..=120),
        ("healthy-threshold-count", group.healthy_threshold_count, 2..=10),
        ("unhealthy-threshold-count", group.unhealthy_threshold_count, 2..=10),
    ] {
        if !range.contains(&value) {
            let expected = format!("{} to {}", range.start(), range.end());
            add(suffix, format!("AWS would refuse {value}"), expected);
        }
    }
    if timeout >= interval {
        let said = annotations.get("healthcheck-timeout-seconds").is_some();
        add(
            if said { "healthcheck-timeout-seconds" } else { "healthcheck-interval-seconds" },
            format!(
                "a health check may take {timeout} s and is made every {interval} s: AWS would refuse it"
            ),
            "a timeout shorter than the interval".to_owned(),
        );
    }
    if group.health_check_port.parse::<i32>().is_ok_and(|p| !(1..=65535).contains(&p)) {
        add("healthcheck-port", format!("{} is no port", group.health_check_port), "1 to 65535".to_owned());
    }
    out
}
