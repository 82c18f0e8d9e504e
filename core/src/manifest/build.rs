//! From a group to its load balancer: listeners, rules, actions, target groups (§3.5, §4.11, §5.1, §7).

use std::collections::{BTreeMap, HashSet};

use super::actions::{self, Routing, To};
use super::annotations::{Annotation, Annotations};
use super::auth::{self, Auth};
use super::group::{Group, Member};
use super::listener::{self, Port};
use super::lookup::Lookup;
use super::objects::{Backend, Service};
use super::optimizer::{Ruled, optimize};
use super::target_group::{service_port, target_group, to_tags};
use super::{
    Origin, Provenance, Settings, bindings, dns, frontend_nlb, lint, load_balancer, names, rules, targets,
};
use crate::error::{Code, Diagnostic, Severity};
use crate::model::{
    Action, ActionConfig, FixedResponseConfig, ForwardConfig, JwtValidationConfig, Listener, LoadBalancer,
    Priority, Protocol, RecordSet, RedirectConfig, Rule, RuleCondition, RuleTransform, TargetGroup,
    TargetGroupTuple, TargetType,
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

/// What keeps a group from being built, and the member it comes from where that can be told.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) error: Diagnostic,
    pub(crate) member: Option<usize>,
}

impl Broken {
    pub(crate) fn of(member: usize, error: Diagnostic) -> Self {
        Broken { error, member: Some(member) }
    }
}

impl From<Diagnostic> for Broken {
    fn from(error: Diagnostic) -> Self {
        Broken { error, member: None }
    }
}

pub(crate) fn build(group: &Group<'_>, objects: &Lookup<'_>, settings: &Settings) -> Result<Built, Broken> {
    if let Some(error) = group.errors.first() {
        return Err(error.clone().into());
    }
    let mut warnings = Vec::new();
    let ports = listener::ports(&group.members, objects, settings, &mut warnings)?;
    let balancer = load_balancer::load_balancer(group, settings)?;
    let redirect = listener::ssl_redirect(&group.members, &ports, &mut warnings)?;
    let mut builder = Builder {
        group,
        objects,
        settings,
        built: Built { load_balancer: balancer, warnings, ..Built::default() },
        numbers: BTreeMap::new(),
        taken: HashSet::new(),
        warned: HashSet::new(),
        current: None,
    };
    for (number, port) in &ports {
        builder.current = None;
        match builder.listener(*number, port, redirect) {
            Ok(listener) => builder.built.load_balancer.listeners.push(listener),
            Err(error) => return Err(Broken { error, member: builder.current }),
        }
    }
    let mut built = builder.built;
    built.warnings.extend(frontend_nlb::check(&group.members, &ports, &built.load_balancer, settings)?);
    built.record_sets = dns::record_sets(&group.members, &built.load_balancer);
    let review = lint::group(group, &ports, redirect, &built, settings);
    built.warnings.extend(review);
    for tg in &mut built.target_groups {
        tg.load_balancer_arns.push(built.load_balancer.load_balancer_arn.clone());
    }
    Ok(built)
}

struct Builder<'a> {
    group: &'a Group<'a>,
    objects: &'a Lookup<'a>,
    settings: &'a Settings,
    built: Built,
    /// Target groups by Ingress, Service and port as written.
    numbers: BTreeMap<(String, String, String), usize>,
    /// The names of target groups.
    taken: HashSet<String>,
    /// Warnings that were told, as text.
    warned: HashSet<String>,
    /// The member that is being worked on.
    current: Option<usize>,
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

/// Where the Service and the port of a backend are written: in the path, or in an action annotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    pub(crate) member: &'a Member<'a>,
    backend: &'a Backend,
    action: Option<Annotation<'a>>,
}

impl Written<'_> {
    /// An error about the Service that is named.
    pub(crate) fn service(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        let at = self.backend.service.as_ref().map_or(&self.backend.at, |s| &s.at);
        self.error(code, message.into(), at)
    }

    /// An error about the port that is named.
    pub(crate) fn port(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        self.error(code, message.into(), &self.backend.port_at)
    }

    fn error(&self, code: Code, message: String, at: &super::yaml::At) -> Diagnostic {
        match self.action {
            Some(annotation) => annotation.error(code, message),
            None => self.member.error(code, message).at(at.location()),
        }
    }
}

/// What a backend asks for (§7.1), in the order in which the controller works it out.
struct Resolved<'a> {
    written: Written<'a>,
    conditions: Vec<RuleCondition>,
    transforms: Vec<RuleTransform>,
    routing: Routing,
    auth: Auth<'a>,
    jwt: Option<JwtValidationConfig>,
    /// Whether the backend's port was written as a number.
    numeric: bool,
}

impl<'a> Builder<'a> {
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
        let group = self.group;
        for i in &port.members {
            if let Some(member) = group.members.get(*i) {
                self.drafts(*i, member, port.protocol, &mut drafts)?;
            }
        }
        let (kept, dropped) = optimize(drafts, number, port.protocol);
        for draft in dropped {
            // Where it looked at less than decides (§16 H2), requests go elsewhere than the manifest says.
            if !draft.blindly {
                continue;
            }
            self.built.warnings.push(
                Diagnostic::warning(
                    Code::W_RULE_DROPPED,
                    format!("the controller leaves this rule out on port {number}: its optimizer takes it for covered by a redirect, though it looks at host values and paths only"),
                )
                .object(draft.rule.origin.object)
                .at(draft.rule.origin.location),
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
            .filter_map(|i| Some((*i, group.members.get(*i)?)))
            .filter_map(|(i, m)| Some((i, m, m.ingress.default_backend.as_ref()?)));
        match (with.next(), with.next()) {
            (None, _) => Ok(vec![Action::new(ActionConfig::FixedResponse(FixedResponseConfig {
                message_body: None,
                status_code: "404".to_owned(),
                content_type: Some("text/plain".to_owned()),
            }))]),
            (Some((i, member, backend)), None) => {
                self.current = Some(i);
                let resolved = self.resolve(member, backend)?;
                self.actions(member, &resolved, port.protocol)
            }
            (Some((_, first, _)), Some((i, second, backend))) => {
                self.current = Some(i);
                let message = format!("a default backend on port {number} here and in {}", first.object());
                Err(second.error(Code::E_MULTI_DEFAULT_BACKEND, message).at(backend.at.location()))
            }
        }
    }

    /// The rules of one member (§5.1).
    fn drafts(
        &mut self,
        number: usize,
        member: &'a Member<'a>,
        protocol: Protocol,
        out: &mut Vec<Draft>,
    ) -> Result<(), Diagnostic> {
        self.current = Some(number);
        for rule in &member.ingress.rules {
            let Some(paths) = &rule.paths else { continue };
            for path in rules::sorted(member, paths)? {
                let resolved = self.resolve(member, &path.backend)?;
                let patterns = rules::patterns(member, path)?;
                let service = path.backend.service.as_ref().map_or("", |s| s.text.as_str());
                let extra = &resolved.conditions;
                let conditions = rules::conditions(member, service, &rule.host.text, patterns, extra)?;
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
    fn resolve(&mut self, member: &'a Member<'a>, backend: &'a Backend) -> Result<Resolved<'a>, Diagnostic> {
        if backend.resource {
            return Err(member
                .error(Code::E_BACKEND_RESOURCE, "a resource backend cannot be a target")
                .expected("a `service`")
                .at(backend.at.location()));
        }
        let annotations = member.annotations();
        let name = backend.service.as_ref().map(|t| t.text.as_str()).unwrap_or_default();
        let (conditions, unknown) = actions::conditions(annotations, name)?;
        if let Some(warning) = unknown {
            self.warn(warning);
        }
        let transforms = actions::transforms(annotations, name)?;
        let by_annotation = backend.port_name.as_deref() == Some("use-annotation");
        let action = by_annotation.then(|| annotations.get(&format!("actions.{name}"))).flatten();
        let written = Written { member, backend, action };
        let mut routing = if by_annotation {
            match actions::action(annotations, name)? {
                Some(routing) => routing,
                None if self.settings.tolerate_non_existent_backend_action => {
                    let message = format!("there is no annotation `actions.{name}`: the rule answers 503");
                    self.warn(written.service(Code::W_ACTION_MISSING, message));
                    Routing::unavailable("Backend action does not exist")
                }
                None => {
                    let message = format!("there is no annotation `actions.{name}`");
                    return Err(written.service(Code::E_ACTION_MISSING, message));
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
                        let message = format!("the Service `{namespace}/{name}` is not in the input");
                        return Err(written.service(Code::E_SVC_MISSING, message).value(name));
                    }
                    None => {
                        let message = format!(
                            "the Service `{namespace}/{name}` is not in the input: the rule answers 503"
                        );
                        self.warn(written.service(Code::W_SVC_MISSING, message).value(name));
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
        Ok(Resolved { written, conditions, transforms, routing, auth, jwt, numeric })
    }

    fn warn(&mut self, mut warning: Diagnostic) {
        warning.severity = Severity::Warning;
        if self.warned.insert(warning.to_string()) {
            self.built.warnings.push(warning);
        }
    }

    /// §5.6.
    fn actions(
        &mut self,
        member: &Member<'_>,
        resolved: &Resolved<'_>,
        protocol: Protocol,
    ) -> Result<Vec<Action>, Diagnostic> {
        let mut configs = Vec::new();
        if protocol == Protocol::Https {
            configs.extend(resolved.auth.action(member, self.objects, self.settings)?);
            if let Some(jwt) = &resolved.jwt {
                if !configs.is_empty() {
                    let message = "a rule cannot have authentication and JWT validation";
                    return Err(member.error_at("jwt-validation", Code::E_AUTH_AND_JWT, message));
                }
                configs.push(ActionConfig::JwtValidation(jwt.clone()));
            }
        } else if resolved.auth.is_on() || resolved.jwt.is_some() {
            let suffix = if resolved.jwt.is_some() { "jwt-validation" } else { "auth-type" };
            self.warn(member.error_at(
                suffix,
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
                        To::Name(name) => self.named_group(&resolved.written, name)?,
                        To::Service { name, port } => {
                            self.service_group(&resolved.written, name, port, resolved.numeric)?
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

    fn named_group(&self, written: &Written<'_>, name: &str) -> Result<String, Diagnostic> {
        let known = self.settings.target_groups.get(name);
        let bound =
            || self.objects.bindings.iter().find(|b| b.group_name.as_ref().is_some_and(|n| n.text == name));
        known.cloned().or_else(|| bound().map(bindings::arn)).ok_or_else(|| {
            written
                .service(Code::E_TG_NAME, format!("no target group named `{name}` is known"))
                .expected("a TargetGroupBinding with that `targetGroupName`, or `--target-group NAME=ARN`")
        })
    }

    /// The target group of a Service port, made on first use (§8.1).
    fn service_group(
        &mut self,
        written: &Written<'_>,
        name: &str,
        port: &str,
        numeric: bool,
    ) -> Result<String, Diagnostic> {
        let member = written.member;
        let namespace = &member.ingress.meta.namespace;
        let Some(service): Option<&Service> = self.objects.service(namespace, name) else {
            let message = format!("the Service `{namespace}/{name}` is not in the input");
            return Err(written.service(Code::E_SVC_MISSING, message));
        };
        let key = (member.ingress.meta.key(), service.meta.key(), port.to_owned());
        if let Some(known) = self.numbers.get(&key).and_then(|i| self.built.target_groups.get(*i)) {
            return Ok(known.target_group_arn.clone());
        }
        let ip_type = self.built.load_balancer.ip_address_type;
        let mut tg = target_group(self.group, written, service, port, numeric, ip_type, self.settings)?;
        let annotations = Annotations::with(member.ingress, service);
        let labels = match tg.target_type {
            TargetType::Instance => annotations.map("target-node-labels")?.unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        // §9.11: true on the Ingress wins; neither changes what one cluster registers.
        if member.annotations().boolean("multi-cluster-target-group")? != Some(true) {
            annotations.boolean("multi-cluster-target-group")?;
        }
        if let Some(service_port) = service_port(service, port, numeric) {
            let selected =
                |node: &BTreeMap<String, String>| labels.iter().all(|(k, v)| node.get(k) == Some(v));
            let nothing =
                targets::register(&mut tg, self.objects, service, service_port, selected, self.settings);
            self.built.warnings.extend(nothing.err());
        }
        for warning in lint::health_check(&tg, annotations) {
            self.warn(warning);
        }
        let sticky = crate::model::attribute(&tg.attributes, "stickiness.enabled") == Some("true");
        if sticky && tg.target_type == TargetType::Instance {
            self.warn(member.error(
                Code::W_STICKY_INSTANCE,
                format!("stickiness of Service `{}` pins a node, not a pod: kube-proxy draws a pod for each connection", service.meta.key()),
            ).expected("target type `ip` for sessions that stay on a pod"));
        }
        // §16 H13: without UIDs two Services can come to one name.
        if self.taken.contains(&tg.target_group_name) {
            let base: String = tg.target_group_name.chars().take(30).collect();
            let unique = (2..).map(|i| format!("{base}{i}")).find(|n| !self.taken.contains(n));
            self.warn(member.error(
                Code::W_TG_NAME_COLLISION,
                format!(
                    "two target groups would be named `{}`; a cluster's UIDs keep them apart",
                    tg.target_group_name
                ),
            ));
            tg.target_group_name = unique.unwrap_or_default();
        }
        self.taken.insert(tg.target_group_name.clone());
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
