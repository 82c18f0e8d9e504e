//! Target groups and targets of the model to the table's arrays.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::attributes::group_attributes;
use crate::error::{Code, Diagnostic};
use crate::health::{Codes, HealthCheck};
use crate::mix::fingerprint;
use crate::model::{ProtocolVersion, TargetGroup, TargetHealthDescription};
use crate::table::{GroupEntry, NOWHERE, TargetEntry};

pub(super) fn compile_groups(
    all: &[Cow<'_, TargetGroup>],
    in_use: &HashSet<u32>,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<GroupEntry>, Vec<TargetEntry>) {
    let (mut groups, mut targets) = (Vec::with_capacity(all.len()), Vec::new());
    for (number, group) in all.iter().enumerate() {
        let number = number as u32;
        let start = targets.len() as u32;
        let mut seen = HashSet::new();
        for description in &group.target_health_descriptions {
            let entry = target(number, group, description);
            if seen.insert((entry.id.clone(), entry.port)) {
                targets.push(entry);
            }
        }
        let health_check = health_check(group).unwrap_or_else(|problem| {
            problems.push(problem.object(format!("target group {}", group.target_group_name)));
            HealthCheck::default()
        });
        groups.push(GroupEntry {
            arn: group.target_group_arn.clone(),
            name: group.target_group_name.clone(),
            service: group.service_ref.clone(),
            targets: start..targets.len() as u32,
            in_use: in_use.contains(&number),
            target_type: group.target_type,
            attributes: group_attributes(&group.attributes),
            health_check,
            fingerprint: fingerprint(&[&group.target_group_arn]),
        });
    }
    (groups, targets)
}

/// The name in a target group's ARN: `…:targetgroup/NAME/ID`.
pub(super) fn name_of_arn(arn: &str) -> &str {
    arn.split("targetgroup/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or(arn)
}

fn target(number: u32, group: &TargetGroup, description: &TargetHealthDescription) -> TargetEntry {
    let target = &description.target;
    let port = target.port.unwrap_or_else(|| u16::try_from(group.port).unwrap_or_default());
    // An instance is reached at its node's address, where the model tells it.
    let node = group.node_port.iter().flat_map(|n| &n.nodes).find(|n| n.id == target.id);
    let ip: Option<IpAddr> = target.id.parse().ok().or_else(|| node.and_then(|n| n.address));
    let probe_port = match group.health_check_port.as_str() {
        "traffic-port" => port,
        text => text.parse().unwrap_or(port),
    };
    TargetEntry {
        group: number,
        id: target.id.clone(),
        port,
        zone: target.availability_zone.clone(),
        address: ip.map_or(NOWHERE, |ip| SocketAddr::new(ip, port)),
        probe_address: ip.map(|ip| SocketAddr::new(ip, probe_port)),
        health: description.target_health.clone(),
        fingerprint: target_fingerprint(&group.target_group_arn, &target.id, port),
    }
}

fn health_check(group: &TargetGroup) -> Result<HealthCheck, Diagnostic> {
    let grpc = group.protocol_version == ProtocolVersion::Grpc;
    let text = if grpc { &group.matcher.grpc_code } else { &group.matcher.http_code };
    let text = text.as_deref().unwrap_or(if grpc { "12" } else { "200" });
    let codes = Codes::parse(text).ok_or_else(|| {
        Diagnostic::error(Code::ValidationError, format!("`{text}` is not a list of codes"))
            .annotation("Matcher")
            .value(text)
            .expected("codes and ranges such as `200,204` or `200-299`")
    })?;
    let positive = |n: i32, default: u32| u32::try_from(n).ok().filter(|n| *n > 0).unwrap_or(default);
    Ok(HealthCheck {
        enabled: group.health_check_enabled,
        protocol: group.health_check_protocol,
        version: group.protocol_version,
        path: group.health_check_path.clone(),
        interval_ms: u64::from(positive(group.health_check_interval_seconds, 30)) * 1000,
        timeout_ms: u64::from(positive(group.health_check_timeout_seconds, 5)) * 1000,
        healthy_threshold: positive(group.healthy_threshold_count, 5),
        unhealthy_threshold: positive(group.unhealthy_threshold_count, 2),
        codes,
    })
}

/// What stands for a target in a cookie.
pub(crate) fn target_fingerprint(group_arn: &str, id: &str, port: u16) -> u64 {
    fingerprint(&[group_arn, id, &port.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_arns() {
        assert_eq!(name_of_arn("arn:aws:elasticloadbalancing:r:1:targetgroup/web/6d0"), "web");
        assert_eq!(name_of_arn("arn:odd"), "arn:odd");
    }
}
