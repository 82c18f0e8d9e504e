//! The plan that the controller writes into the annotation `dry-run-plan` (§12.3) as an input: its resources
//! are ELBv2's in other spelling, tied together by references.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::lookup::Lookup;
use super::target_group::{service_port, to_tags};
use super::yaml::At;
use super::{Loaded, Settings, names, targets};
use crate::error::{Code, Diagnostic};
use crate::model::{
    Action, Attribute, Certificate, Listener, LoadBalancer, Matcher, Priority, Protocol, ProtocolVersion,
    Rule, RuleCondition, RuleTransform, Scheme, ServiceRef, Tag, TargetGroup, TargetIpAddressType,
    TargetType,
};

const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
const LISTENER: &str = "AWS::ElasticLoadBalancingV2::Listener";
const RULE: &str = "AWS::ElasticLoadBalancingV2::ListenerRule";
const GROUP: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
const BINDING: &str = "K8S::ElasticLoadBalancingV2::TargetGroupBinding";

/// Adds the load balancer of a plan, and its target groups with the targets that `objects` know.
pub(crate) fn add(
    stack: &Value,
    at: &At,
    objects: &Lookup<'_>,
    settings: &Settings,
    loaded: &mut Loaded,
) -> Result<(), Diagnostic> {
    let stack = Stack { id: stack["id"].as_str().unwrap_or_default(), resources: &stack["resources"] };
    stack.add(objects, settings, loaded).map_err(|why| {
        Diagnostic::error(Code::E_OBJECT, format!("the plan `{}` cannot be read: {why}", stack.id))
            .expected("what the controller writes into the annotation `dry-run-plan`")
            .at(at.location())
    })
}

struct Stack<'a> {
    id: &'a str,
    resources: &'a Value,
}

impl<'a> Stack<'a> {
    fn of(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.resources[kind].as_object().into_iter().flatten().map(|(id, r)| (id.as_str(), r))
    }

    fn add(&self, objects: &Lookup<'_>, settings: &Settings, loaded: &mut Loaded) -> Result<(), String> {
        let Some((_, resource)) = self.of(BALANCER).find(|(id, _)| *id == "LoadBalancer") else {
            return Err(format!("it has no `{BALANCER}`"));
        };
        let (spec, status) = (&resource["spec"], &resource["status"]);
        let name = text(spec, "name")?;
        let scheme: Scheme = plain(spec, "scheme")?.unwrap_or_default();
        let identity = [settings.cluster_name.as_str(), "/", self.id];
        let said = |key: &str| status[key].as_str().map(str::to_owned);
        let mut balancer = LoadBalancer {
            load_balancer_arn: said("loadBalancerARN")
                .unwrap_or_else(|| names::arn(&format!("loadbalancer/app/{name}"), &identity)),
            dns_name: said("dnsName")
                .unwrap_or_else(|| names::dns_name(&name, scheme == Scheme::Internal, &identity)),
            load_balancer_name: name,
            scheme,
            ip_address_type: plain(spec, "ipAddressType")?.unwrap_or_default(),
            attributes: attributes(&spec["loadBalancerAttributes"])?,
            tags: tags(spec)?,
            ingresses: if self.id.contains('/') { vec![self.id.to_owned()] } else { Vec::new() },
            ..LoadBalancer::default()
        };
        let mut rules: BTreeMap<u16, Vec<Rule>> = BTreeMap::new();
        for (id, resource) in self.of(RULE) {
            let port = id.split(':').next().and_then(|p| p.parse().ok());
            let port = port.ok_or_else(|| format!("`{id}` is not the id of a rule"))?;
            rules.entry(port).or_default().push(self.rule(&balancer, id, &resource["spec"])?);
        }
        for (id, resource) in self.of(LISTENER) {
            // The listeners of a frontend NLB have ids that are no ports.
            let Ok(port) = id.parse::<u16>() else { continue };
            let mut listener = self.listener(&balancer, port, &resource["spec"])?;
            listener.rules = rules.remove(&port).unwrap_or_default();
            listener.rules.sort_by_key(|r| r.priority);
            balancer.listeners.push(listener);
        }
        balancer.listeners.sort_by_key(|l| l.port);
        for (id, resource) in self.of(GROUP).filter(|(id, _)| !id.starts_with("FrontendNlb-")) {
            let mut group = self.group(id, &resource["spec"])?;
            self.bind(id, &mut group, objects, settings, loaded);
            group.load_balancer_arns.push(balancer.load_balancer_arn.clone());
            loaded.model.target_groups.push(group);
        }
        loaded.model.load_balancers.push(balancer);
        Ok(())
    }

    fn listener(&self, balancer: &LoadBalancer, port: u16, spec: &Value) -> Result<Listener, String> {
        let arn = &balancer.load_balancer_arn;
        let resource = format!("listener/app/{}", balancer.load_balancer_name);
        let certificates = spec["certificates"].as_array().into_iter().flatten();
        // Certificates that the controller did not make are references that name nothing.
        let certificates = certificates.filter_map(|c| c["certificateARN"].as_str()).enumerate();
        Ok(Listener {
            listener_arn: names::arn(&resource, &[arn, "/", &port.to_string()]),
            port,
            protocol: plain(spec, "protocol")?.unwrap_or_default(),
            ssl_policy: plain(spec, "sslPolicy")?,
            certificates: certificates
                .map(|(i, arn)| Certificate { certificate_arn: arn.to_owned(), is_default: Some(i == 0) })
                .collect(),
            mutual_authentication: self.parsed(spec, "mutualAuthentication")?,
            attributes: attributes(&spec["listenerAttributes"])?,
            tags: tags(spec)?,
            default_actions: self.actions(spec, "defaultActions")?,
            ..Listener::default()
        })
    }

    fn rule(&self, balancer: &LoadBalancer, id: &str, spec: &Value) -> Result<Rule, String> {
        let priority = spec["priority"].as_u64().and_then(|p| u32::try_from(p).ok());
        let resource = format!("listener-rule/app/{}", balancer.load_balancer_name);
        Ok(Rule {
            rule_arn: names::arn(&resource, &[&balancer.load_balancer_arn, "/", id]),
            priority: Priority::Rule(priority.ok_or_else(|| format!("rule `{id}` has no priority"))?),
            conditions: self.parsed::<Vec<RuleCondition>>(spec, "conditions")?.unwrap_or_default(),
            actions: self.actions(spec, "actions")?,
            transforms: self.parsed::<Vec<RuleTransform>>(spec, "transforms")?.unwrap_or_default(),
            tags: tags(spec)?,
        })
    }

    fn group(&self, id: &str, spec: &Value) -> Result<TargetGroup, String> {
        let check = &spec["healthCheckConfig"];
        let (version, protocol) = (plain(spec, "protocolVersion")?, plain(spec, "protocol")?);
        let default = TargetGroup::default();
        let number = |v: &Value, or: i32| v.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(or);
        let matcher: Matcher = self.parsed(check, "matcher")?.unwrap_or_default();
        Ok(TargetGroup {
            target_group_arn: self.group_arn(id),
            target_group_name: text(spec, "name")?,
            target_type: plain::<TargetType>(spec, "targetType")?.unwrap_or_default(),
            port: number(&spec["port"], default.port),
            protocol: protocol.unwrap_or_default(),
            protocol_version: version.unwrap_or(ProtocolVersion::Http1),
            ip_address_type: plain(spec, "ipAddressType")?.unwrap_or(TargetIpAddressType::Ipv4),
            health_check_protocol: plain(check, "protocol")?.unwrap_or(Protocol::Http),
            health_check_port: match &check["port"] {
                Value::Number(n) => n.to_string(),
                Value::String(port) => port.clone(),
                _ => default.health_check_port.clone(),
            },
            health_check_path: plain(check, "path")?.unwrap_or_else(|| default.health_check_path.clone()),
            health_check_interval_seconds: number(
                &check["intervalSeconds"],
                default.health_check_interval_seconds,
            ),
            health_check_timeout_seconds: number(
                &check["timeoutSeconds"],
                default.health_check_timeout_seconds,
            ),
            healthy_threshold_count: number(&check["healthyThresholdCount"], default.healthy_threshold_count),
            unhealthy_threshold_count: number(
                &check["unhealthyThresholdCount"],
                default.unhealthy_threshold_count,
            ),
            matcher,
            target_control_port: plain(spec, "targetControlPort")?,
            attributes: attributes(&spec["targetGroupAttributes"])?,
            tags: tags(spec)?,
            ..default
        })
    }

    /// The Service that a group's binding names, and its targets where the input has that Service.
    fn bind(
        &self,
        id: &str,
        group: &mut TargetGroup,
        objects: &Lookup<'_>,
        settings: &Settings,
        loaded: &mut Loaded,
    ) {
        let Some((_, binding)) = self.of(BINDING).find(|(binding, _)| *binding == id) else { return };
        let template = &binding["spec"]["template"];
        let reference = &template["spec"]["serviceRef"];
        let of = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (of(&template["metadata"]["namespace"]), of(&reference["name"]));
        let numeric = reference["port"].is_number();
        let port = if numeric { reference["port"].to_string() } else { of(&reference["port"]) };
        if let Some(service) = objects.service(&namespace, &name)
            && let Some(service_port) = service_port(service, &port, numeric)
        {
            let labels = template["spec"]["nodeSelector"]["matchLabels"].as_object();
            let selected = |node: &BTreeMap<String, String>| {
                labels.into_iter().flatten().all(|(k, v)| node.get(k).map(String::as_str) == v.as_str())
            };
            let failed = targets::register(group, objects, service, service_port, selected, settings);
            loaded.diagnostics.extend(failed.err());
        }
        group.service_ref = Some(ServiceRef { namespace, name, port });
    }

    fn group_arn(&self, id: &str) -> String {
        let name = self.resources[GROUP][id]["spec"]["name"].as_str().unwrap_or(id);
        let said = self.resources[GROUP][id]["status"]["targetGroupARN"].as_str();
        said.map_or_else(|| names::arn(&format!("targetgroup/{name}"), &[self.id, "/", id]), str::to_owned)
    }

    fn actions(&self, spec: &Value, key: &str) -> Result<Vec<Action>, String> {
        let mut actions = self.parsed::<Vec<Action>>(spec, key)?.unwrap_or_default();
        if actions.len() > 1 {
            for (order, action) in (1..).zip(&mut actions) {
                action.order.get_or_insert(order);
            }
        }
        Ok(actions)
    }

    /// A field in ELBv2's spelling, read as what it is there.
    fn parsed<T: serde::de::DeserializeOwned>(&self, spec: &Value, key: &str) -> Result<Option<T>, String> {
        let value = self.respelt(&spec[key], false);
        if value.is_null() {
            return Ok(None);
        }
        serde_json::from_value(value).map(Some).map_err(|e| format!("`{key}`: {e}"))
    }

    /// `targetGroupARN` becomes `TargetGroupArn`, references become the ARN they stand for. The keys of
    /// maps are data and stay.
    fn respelt(&self, value: &Value, is_map: bool) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.respelt(item, false)).collect(),
            Value::Object(fields) => match fields.get("$ref").and_then(Value::as_str) {
                Some(reference) => self.referred(reference).into(),
                None => fields
                    .iter()
                    .map(|(key, value)| {
                        let inner_map = key == "authenticationRequestExtraParams";
                        let name = if is_map { key.clone() } else { pascal(key) };
                        (name, self.respelt(value, inner_map))
                    })
                    .collect::<Map<_, _>>()
                    .into(),
            },
            other => other.clone(),
        }
    }

    fn referred(&self, reference: &str) -> String {
        let id = reference.strip_prefix("#/resources/").and_then(|r| r.strip_prefix(GROUP));
        let id = id.and_then(|r| r.strip_prefix('/')).and_then(|r| r.strip_suffix("/status/targetGroupARN"));
        id.map(|id| self.group_arn(id)).unwrap_or_default()
    }
}

fn pascal(key: &str) -> String {
    let key = key.replace("ARN", "Arn").replace("OIDC", "Oidc").replace("ID", "Id").replace("IP", "Ip");
    let mut chars = key.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn text(spec: &Value, key: &str) -> Result<String, String> {
    spec[key].as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` is missing"))
}

fn plain<T: serde::de::DeserializeOwned>(spec: &Value, key: &str) -> Result<Option<T>, String> {
    match &spec[key] {
        Value::Null => Ok(None),
        value => serde_json::from_value(value.clone()).map(Some).map_err(|e| format!("`{key}`: {e}")),
    }
}

/// Attributes, in the two spellings that a plan has.
fn attributes(list: &Value) -> Result<Vec<Attribute>, String> {
    let of = |item: &Value, keys: [&str; 2]| keys.iter().find_map(|k| item[*k].as_str()).map(str::to_owned);
    let mut out = Vec::new();
    for item in list.as_array().into_iter().flatten() {
        let key = of(item, ["key", "Key"]).ok_or("an attribute has no key")?;
        out.push(Attribute::new(key, of(item, ["value", "Value"]).unwrap_or_default()));
    }
    out.sort();
    Ok(out)
}

fn tags(spec: &Value) -> Result<Vec<Tag>, String> {
    Ok(to_tags(plain::<BTreeMap<String, String>>(spec, "tags")?.unwrap_or_default()))
}
