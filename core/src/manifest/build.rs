//! From a group to its load balancer: listeners, rules, actions, target groups (§3.5, §4.11, §5.1, §7).

use std::collections::BTreeMap;

use super::actions::{self, Routing, To};
use super::annotations::Annotations;
use super::auth::{self, Auth};
use super::group::{Group, Member};
use super::listener::{self, Port};
use super::objects::{Backend, Objects, Service};
use super::optimizer::{Ruled, optimize};
use super::target_group::{service_port, target_group, to_tags};
use super::{Origin, Provenance, Settings, dns, load_balancer, names, rules, targets};
use crate::error::{Code, Diagnostic, Severity};
use crate::model::{
    Action, ActionConfig, FixedResponseConfig, ForwardConfig, JwtValidationConfig, Listener, LoadBalancer,
    Priority, Protocol, RecordSet, RedirectConfig, Rule, RuleCondition, RuleTransform, TargetGroup,
    TargetGroupTuple,
};

/// What a group becomes.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) load_balancer: LoadBalancer,
    pub(crate) target_groups: Vec<TargetGroup>,
    pub(crate) record_sets: Vec<RecordSet>,
    pub(crate) provenance: Provenance,
    pub(crate) warnings: Vec<Diagnostic>,
}

pub(crate) fn build(group: &Group<'_>, objects: &Objects, settings: &Settings) -> Result<Built, Diagnostic> {
    if let Some(error) = group.errors.first() {
        return Err(error.clone());
    }
    let mut warnings = Vec::new();
    let ports = listener::ports(&group.members, objects, settings, &mut warnings)?;
    let balancer = load_balancer::load_balancer(group, settings)?;
    let redirect = listener::ssl_redirect(&group.members, &ports)?;
    let mut builder = Builder {
        group,
        objects,
        settings,
        built: Built { load_balancer: balancer, warnings, ..Built::default() },
        numbers: BTreeMap::new(),
    };
    for (number, port) in &ports {
        let listener = builder.listener(*number, port, redirect)?;
        builder.built.load_balancer.listeners.push(listener);
    }
    let mut built = builder.built;
    for member in &group.members {
        built.record_sets.extend(dns::record_sets(member.ingress, &built.load_balancer));
    }
    for tg in &mut built.target_groups {
        tg.load_balancer_arns.push(built.load_balancer.load_balancer_arn.clone());
    }
    Ok(built)
}

struct Builder<'a> {
    group: &'a Group<'a>,
    objects: &'a Objects,
    settings: &'a Settings,
    built: Built,
    /// Target groups by Ingress, Service and port as written.
    numbers: BTreeMap<(String, String, String), usize>,
}

/// A rule before it has a priority, with the Ingress path it came from.
struct Draft {
    conditions: Vec<RuleCondition>,
    actions: Vec<Action>,
    transforms: Vec<RuleTransform>,
    origin: Origin,
    member: usize,
}

impl Ruled for Draft {
    fn conditions(&self) -> &[RuleCondition] {
        &self.conditions
    }

    fn actions(&self) -> &[Action] {
        &self.actions
    }
}

/// What a backend asks for (§7.1), in the order in which the controller works it out.
struct Resolved {
    conditions: Vec<RuleCondition>,
    transforms: Vec<RuleTransform>,
    routing: Routing,
    auth: Auth,
    jwt: Option<JwtValidationConfig>,
    /// Whether the backend's port was written as a number.
    numeric: bool,
}

impl Builder<'_> {
    fn listener(&mut self, number: u16, port: &Port, redirect: Option<u16>) -> Result<Listener, Diagnostic> {
        let arn = self.built.load_balancer.load_balancer_arn.clone();
        let listener_arn = names::arn(
            &format!("listener/app/{}", self.built.load_balancer.load_balancer_name),
            &[&arn, "/", &number.to_string()],
        );
        let members = port.members.iter().filter_map(|i| self.group.members.get(*i));
        let mut listener = Listener {
            listener_arn,
            port: number,
            protocol: port.protocol,
            ssl_policy: port.ssl_policy.clone(),
            certificates: certificates(&port.certificates),
            mutual_authentication: port.mutual_authentication.clone(),
            attributes: port.attributes.clone(),
            tags: to_tags(load_balancer::tags(members, self.settings)?),
            ..Listener::default()
        };
        if let (Some(to), Protocol::Http) = (redirect, port.protocol) {
            listener.default_actions = vec![Action::new(ActionConfig::Redirect(RedirectConfig {
                protocol: Some("HTTPS".to_owned()),
                port: Some(to.to_string()),
                status_code: "HTTP_301".to_owned(),
                ..RedirectConfig::default()
            }))];
            return Ok(listener);
        }
        listener.default_actions = self.default_actions(number, port)?;
        let mut drafts = Vec::new();
        for i in &port.members {
            if let Some(member) = self.group.members.get(*i) {
                self.drafts(*i, member, port.protocol, &mut drafts)?;
            }
        }
        let (kept, dropped) = optimize(drafts, number, port.protocol);
        for draft in dropped {
            self.built.warnings.push(
                Diagnostic::warning(
                    Code::W_RULE_DROPPED,
                    format!("the controller leaves this rule out on port {number}: a redirect covers it, or it leads to itself"),
                )
                .object(draft.origin.object)
                .at(draft.origin.location),
            );
        }
        for (priority, draft) in (1u32..).zip(kept) {
            let rule_arn = names::arn(
                &format!("listener-rule/app/{}", self.built.load_balancer.load_balancer_name),
                &[&listener.listener_arn, "/", &priority.to_string()],
            );
            self.built.provenance.rules.insert((arn.clone(), number, priority), draft.origin);
            let member = self.group.members.get(draft.member);
            listener.rules.push(Rule {
                rule_arn,
                priority: Priority::Rule(priority),
                conditions: draft.conditions,
                actions: draft.actions,
                transforms: draft.transforms,
                tags: to_tags(load_balancer::tags(member.into_iter(), self.settings)?),
            });
        }
        Ok(listener)
    }

    /// §4.11.
    fn default_actions(&mut self, number: u16, port: &Port) -> Result<Vec<Action>, Diagnostic> {
        let group = self.group;
        let mut with = port
            .members
            .iter()
            .filter_map(|i| group.members.get(*i))
            .filter_map(|m| Some((m, m.ingress.default_backend.as_ref()?)));
        match (with.next(), with.next()) {
            (None, _) => Ok(vec![Action::new(ActionConfig::FixedResponse(FixedResponseConfig {
                message_body: None,
                status_code: "404".to_owned(),
                content_type: Some("text/plain".to_owned()),
            }))]),
            (Some((member, backend)), None) => {
                let resolved = self.resolve(member, backend)?;
                self.actions(member, &resolved, port.protocol)
            }
            (Some((first, _)), Some((second, _))) => Err(second.error(
                Code::E_MULTI_DEFAULT_BACKEND,
                format!("a default backend on port {number} here and in {}", first.object()),
            )),
        }
    }

    /// The rules of one member (§5.1).
    fn drafts(
        &mut self,
        number: usize,
        member: &Member<'_>,
        protocol: Protocol,
        out: &mut Vec<Draft>,
    ) -> Result<(), Diagnostic> {
        for rule in &member.ingress.rules {
            let Some(paths) = &rule.paths else { continue };
            for path in rules::sorted(member, paths)? {
                let resolved = self.resolve(member, &path.backend)?;
                let patterns = rules::patterns(member, path)?;
                let conditions = rules::conditions(member, &rule.host.text, patterns, &resolved.conditions)?;
                out.push(Draft {
                    conditions,
                    actions: self.actions(member, &resolved, protocol)?,
                    transforms: resolved.transforms,
                    origin: Origin { object: member.object(), location: path.path.at.location() },
                    member: number,
                });
            }
        }
        Ok(())
    }

    /// §7.1: conditions, transforms, action, Service, auth, jwt; the first that fails is the error.
    fn resolve(&mut self, member: &Member<'_>, backend: &Backend) -> Result<Resolved, Diagnostic> {
        if backend.resource {
            return Err(member
                .error(Code::E_BACKEND_RESOURCE, "a resource backend cannot be a target")
                .expected("a `service`")
                .at(backend.at.location()));
        }
        let annotations = member.annotations();
        let name = backend.service.as_ref().map(|t| t.text.as_str()).unwrap_or_default();
        let conditions = actions::conditions(annotations, name)?;
        let transforms = actions::transforms(annotations, name)?;
        let by_annotation = backend.port_name.as_deref() == Some("use-annotation");
        let mut routing = if by_annotation {
            match actions::action(annotations, name)? {
                Some(routing) => routing,
                None if self.settings.tolerate_non_existent_backend_action => {
                    self.warn(
                        member
                            .error(
                                Code::W_ACTION_MISSING,
                                format!("there is no annotation `actions.{name}`: the rule answers 503"),
                            )
                            .at(backend.at.location()),
                    );
                    Routing::unavailable("Backend action does not exist")
                }
                None => {
                    return Err(member
                        .error(Code::E_ACTION_MISSING, format!("there is no annotation `actions.{name}`"))
                        .at(backend.at.location()));
                }
            }
        } else {
            let port = backend.port_name.clone().or(backend.port_number.map(|n| n.to_string()));
            Routing::service(name, port.unwrap_or_default())
        };
        let mut only_service = None;
        if let Routing::Forward { tuples, .. } = &routing {
            let several = tuples.len() > 1;
            let namespace = &member.ingress.meta.namespace;
            for tuple in tuples {
                let To::Service { name, .. } = &tuple.to else { continue };
                match self.objects.service(namespace, name) {
                    Some(service) => only_service = Some(service).filter(|_| !several),
                    None if several || !self.settings.tolerate_non_existent_backend_service => {
                        return Err(member
                            .error(
                                Code::E_SVC_MISSING,
                                format!("the Service `{namespace}/{name}` is not in the input"),
                            )
                            .value(name)
                            .at(backend.at.location()));
                    }
                    None => {
                        self.warn(
                            member
                                .error(Code::W_SVC_MISSING, format!("the Service `{namespace}/{name}` is not in the input: the rule answers 503"))
                                .value(name)
                                .at(backend.at.location()),
                        );
                        routing = Routing::unavailable("Backend service does not exist");
                        break;
                    }
                }
            }
        }
        let auth = auth::auth(match only_service {
            Some(service) => Annotations::with(member.ingress, service),
            None => annotations,
        })?;
        let jwt = actions::jwt(annotations)?;
        let numeric = by_annotation || backend.port_name.is_none();
        Ok(Resolved { conditions, transforms, routing, auth, jwt, numeric })
    }

    fn warn(&mut self, mut warning: Diagnostic) {
        warning.severity = Severity::Warning;
        if !self.built.warnings.contains(&warning) {
            self.built.warnings.push(warning);
        }
    }

    /// §5.6.
    fn actions(
        &mut self,
        member: &Member<'_>,
        resolved: &Resolved,
        protocol: Protocol,
    ) -> Result<Vec<Action>, Diagnostic> {
        let mut configs = Vec::new();
        if protocol == Protocol::Https {
            configs.extend(resolved.auth.action(member, self.objects)?);
            if let Some(jwt) = &resolved.jwt {
                if !configs.is_empty() {
                    return Err(member.error(
                        Code::E_AUTH_AND_JWT,
                        "a rule cannot have authentication and JWT validation",
                    ));
                }
                configs.push(ActionConfig::JwtValidation(jwt.clone()));
            }
        } else if resolved.auth.is_on() || resolved.jwt.is_some() {
            self.warn(member.error(
                Code::W_AUTH_ON_HTTP,
                "an HTTP listener drops the authentication: the backend is open there",
            ));
        }
        configs.push(match &resolved.routing {
            Routing::Redirect(config) => ActionConfig::Redirect(config.clone()),
            Routing::Fixed(config) => ActionConfig::FixedResponse(config.clone()),
            Routing::Forward { tuples, stickiness } => {
                let mut target_groups = Vec::with_capacity(tuples.len());
                for tuple in tuples {
                    let target_group_arn = match &tuple.to {
                        To::Arn(arn) => arn.clone(),
                        To::Name(name) => self.named_group(member, name)?,
                        To::Service { name, port } => {
                            self.service_group(member, name, port, resolved.numeric)?
                        }
                    };
                    target_groups.push(TargetGroupTuple { target_group_arn, weight: tuple.weight });
                }
                ActionConfig::Forward(ForwardConfig {
                    target_groups,
                    target_group_stickiness_config: stickiness.clone(),
                })
            }
        });
        let several = configs.len() > 1;
        let order = |i: i32| several.then_some(i);
        Ok((1..).zip(configs).map(|(i, config)| Action { order: order(i), config }).collect())
    }

    fn named_group(&self, member: &Member<'_>, name: &str) -> Result<String, Diagnostic> {
        let known = self.settings.target_groups.iter().find(|(known, _)| known == name);
        known.map(|(_, arn)| arn.clone()).ok_or_else(|| {
            member.error(Code::E_TG_NAME, format!("no target group named `{name}` is known")).value(name)
        })
    }

    /// The target group of a Service port, made on first use (§8.1).
    fn service_group(
        &mut self,
        member: &Member<'_>,
        name: &str,
        port: &str,
        numeric: bool,
    ) -> Result<String, Diagnostic> {
        let namespace = &member.ingress.meta.namespace;
        let Some(service): Option<&Service> = self.objects.service(namespace, name) else {
            let message = format!("the Service `{namespace}/{name}` is not in the input");
            return Err(member.error(Code::E_SVC_MISSING, message));
        };
        let key = (member.ingress.meta.key(), service.meta.key(), port.to_owned());
        if let Some(known) = self.numbers.get(&key).and_then(|i| self.built.target_groups.get(*i)) {
            return Ok(known.target_group_arn.clone());
        }
        let ip_type = self.built.load_balancer.ip_address_type;
        let mut tg = target_group(self.group, member, service, port, numeric, ip_type, self.settings)?;
        let labels =
            Annotations::with(member.ingress, service).map("target-node-labels")?.unwrap_or_default();
        if let Some(service_port) = service_port(service, port, numeric) {
            targets::register(&mut tg, self.objects, service, service_port, &labels)?;
        }
        let sticky = crate::model::attribute(&tg.attributes, "stickiness.enabled") == Some("true");
        if sticky && tg.target_type == crate::model::TargetType::Instance {
            self.warn(member.error(
                Code::W_STICKY_INSTANCE,
                format!("stickiness of Service `{}` pins a node, not a pod: kube-proxy draws a pod for each connection", service.meta.key()),
            ).expected("target type `ip` for sessions that stay on a pod"));
        }
        // §16 H13: without UIDs two Services can come to one name.
        let taken = |n: &str, all: &[TargetGroup]| all.iter().any(|g| g.target_group_name == n);
        if taken(&tg.target_group_name, &self.built.target_groups) {
            let base: String = tg.target_group_name.chars().take(30).collect();
            let unique = (2..).map(|i| format!("{base}{i}")).find(|n| !taken(n, &self.built.target_groups));
            self.warn(member.error(
                Code::W_TG_NAME_COLLISION,
                format!(
                    "two target groups would be named `{}`; a cluster's UIDs keep them apart",
                    tg.target_group_name
                ),
            ));
            tg.target_group_name = unique.unwrap_or_default();
        }
        let arn = tg.target_group_arn.clone();
        let origin = Origin {
            object: format!("Service {}", service.meta.key()),
            location: service.meta.at.location(),
        };
        self.built.provenance.groups.insert(arn.clone(), origin);
        self.numbers.insert(key, self.built.target_groups.len());
        self.built.target_groups.push(tg);
        Ok(arn)
    }
}

fn certificates(arns: &[String]) -> Vec<crate::model::Certificate> {
    let certificate = |(i, arn): (usize, &String)| crate::model::Certificate {
        certificate_arn: arn.clone(),
        is_default: Some(i == 0),
    };
    arns.iter().enumerate().map(certificate).collect()
}
