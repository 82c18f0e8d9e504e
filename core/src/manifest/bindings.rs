//! `TargetGroupBinding` objects (§9.1): target groups that were made elsewhere and get the endpoints of a
//! Service as targets. Actions name them by ARN or by name.

use std::collections::BTreeSet;

use super::lookup::Lookup;
use super::objects::{Selector, TargetGroupBinding};
use super::target_group::service_port;
use super::{Loaded, Origin, Settings, names, targets};
use crate::error::{Code, Diagnostic, Severity};
use crate::model::{Model, Protocol, ServiceRef, TargetGroup, TargetIpAddressType, TargetType};

/// Labels by which the controller marks the bindings it makes itself: those groups are in the model already.
const OWN: [&str; 2] = ["ingress.k8s.aws/stack", "ingress.k8s.aws/stack-name"];

/// The ARN of a binding's target group; made up where it gives only a name.
pub(crate) fn arn(binding: &TargetGroupBinding) -> String {
    match (&binding.arn, &binding.group_name) {
        (Some(arn), _) => arn.text.clone(),
        (None, Some(name)) => names::arn(&format!("targetgroup/{name}"), &["binding", "/", &name.text]),
        (None, None) => String::new(),
    }
}

/// Adds the target groups of the bindings to what was built.
pub(crate) fn add(objects: &Lookup<'_>, settings: &Settings, loaded: &mut Loaded) {
    let mut shared: BTreeSet<String> = BTreeSet::new();
    for binding in &objects.bindings {
        if OWN.iter().any(|label| binding.meta.labels.contains_key(*label)) {
            continue;
        }
        match group(binding, objects, settings, &mut loaded.diagnostics) {
            Err(error) => loaded.diagnostics.push(error),
            Ok(mut group) => {
                let arn = group.target_group_arn.clone();
                if !shared.insert(arn.clone()) && !binding.multi_cluster {
                    let message = "another TargetGroupBinding has the same target group";
                    let error = refused(binding, Code::W_ADMISSION, message, Severity::Warning);
                    loaded.diagnostics.push(error.expected("`multiClusterTargetGroup: true` on all of them"));
                }
                group.load_balancer_arns = users(&loaded.model, &arn);
                let origin = Origin { object: object(binding), location: binding.meta.at.location() };
                loaded.provenance.groups.entry(arn.clone()).or_insert(origin);
                match loaded.model.target_groups.iter_mut().find(|g| g.target_group_arn == arn) {
                    Some(known) => {
                        known.target_health_descriptions.extend(group.target_health_descriptions);
                    }
                    None => loaded.model.target_groups.push(group),
                }
            }
        }
    }
}

fn object(binding: &TargetGroupBinding) -> String {
    format!("TargetGroupBinding {}", binding.meta.key())
}

fn refused(
    binding: &TargetGroupBinding,
    code: Code,
    message: impl Into<String>,
    severity: Severity,
) -> Diagnostic {
    Diagnostic::new(severity, code, message).object(object(binding)).at(binding.meta.at.location())
}

/// The load balancers whose actions forward to a group.
fn users(model: &Model, arn: &str) -> Vec<String> {
    use crate::model::ActionConfig::Forward;
    let names = |action: &crate::model::Action| match &action.config {
        Forward(config) => config.target_groups.iter().any(|t| t.target_group_arn == arn),
        _ => false,
    };
    let uses = |l: &crate::model::Listener| {
        l.default_actions.iter().chain(l.rules.iter().flat_map(|r| &r.actions)).any(names)
    };
    let users = model.load_balancers.iter().filter(|b| b.listeners.iter().any(uses));
    users.map(|b| b.load_balancer_arn.clone()).collect()
}

fn group(
    binding: &TargetGroupBinding,
    objects: &Lookup<'_>,
    settings: &Settings,
    told: &mut Vec<Diagnostic>,
) -> Result<TargetGroup, Diagnostic> {
    let error = |code, message: String| refused(binding, code, message, Severity::Error);
    let Some(text) = &binding.target_type else {
        let missing = error(Code::E_TGB_TYPE, "the binding names no target type".to_owned());
        return Err(missing.expected("`spec.targetType`, `instance` or `ip`"));
    };
    let target_type = match text.text.as_str() {
        "instance" => TargetType::Instance,
        "ip" => TargetType::Ip,
        other => {
            let unknown = error(Code::E_TARGET_TYPE, format!("unknown target type `{other}`")).value(other);
            return Err(unknown.expected("`instance` or `ip`").at(text.at.location()));
        }
    };
    let arn = arn(binding);
    if arn.is_empty() {
        let unnamed = error(Code::E_OBJECT, "the binding names no target group".to_owned());
        return Err(unnamed.expected("`spec.targetGroupARN` or `spec.targetGroupName`"));
    }
    let name = match &binding.group_name {
        Some(name) => name.text.clone(),
        // arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID
        None => arn.split('/').nth(1).unwrap_or(&binding.meta.name).to_owned(),
    };
    let (port, numeric) = &binding.port;
    let mut group = TargetGroup {
        target_group_arn: arn,
        target_group_name: name,
        target_type,
        protocol: match binding.protocol.as_ref().map(|p| p.text.as_str()) {
            Some("HTTPS") => Protocol::Https,
            _ => Protocol::Http,
        },
        ip_address_type: if binding.ipv6 { TargetIpAddressType::Ipv6 } else { TargetIpAddressType::Ipv4 },
        service_ref: Some(ServiceRef {
            namespace: binding.meta.namespace.clone(),
            name: binding.service.text.clone(),
            port: port.clone(),
        }),
        ..TargetGroup::default()
    };
    if binding.node_selector.is_some() && target_type == TargetType::Ip {
        let message = "a binding of target type ip has no use for a `nodeSelector`";
        told.push(refused(binding, Code::W_ADMISSION, message, Severity::Warning));
    }
    let service = objects.service(&binding.meta.namespace, &binding.service.text);
    let found = service.and_then(|s| Some((s, service_port(s, port, *numeric)?)));
    let Some((service, service_port)) = found else {
        // §9.9: the group stays, its targets go.
        let message = format!(
            "there is no Service `{}/{}` with port `{port}`: the target group is empty",
            binding.meta.namespace, binding.service.text
        );
        let warning = refused(binding, Code::W_SVC_MISSING, message, Severity::Warning);
        told.push(warning.at(binding.service.at.location()));
        return Ok(group);
    };
    let everything = Selector::default();
    let selector = binding.node_selector.as_ref().unwrap_or(&everything);
    let selected = |labels: &_| selector.matches(labels) == Some(true);
    told.extend(targets::register(&mut group, objects, service, service_port, selected, settings).err());
    Ok(group)
}
