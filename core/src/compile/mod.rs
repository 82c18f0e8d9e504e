//! Model to [`Table`]: order, intern, build the index; collect all that is wrong. Everything that a
//! decision does not have to do is done here, allocation included.
//!
//! # Why this index
//!
//! Rule sets of a load balancer are hosts times literal path heads, and the first match by priority is
//! wanted, not the longest. So:
//!
//! - A hash leads from the host to a trie; `*.example.com` is found by its ends, as many as the pattern of
//!   the most dots has. Names are read eight bytes at a time.
//! - A radix trie of the literal heads of a host's patterns meets every pattern that the path can match in
//!   one pass, however many rules there are. Nodes are 16 bytes and lie beside their siblings, so that a step
//!   is one look at their first bytes and one at the node. `P/*`, which every path of type Prefix has beside
//!   `P`, needs no node of its own. A regex such as `^/api/v[12]/` has a head too.
//! - A place keeps the lowest rank of the rules it proves, and of the others only those that come before it:
//!   what comes after can never win there. Those are asked last, when it is known what they have to beat.
//! - A glob such as `/*/users/*` has no head that tells it from its neighbours. Its pairs of neighbouring
//!   bytes are folded into two sets of 64 bits; a path that lacks one of them (found in one pass, once per
//!   request) need not be asked about. No pattern is fused with another: automata over all of them would take one pass
//!   too, but a few `*word*` blow them up to tens of megabytes.
//!
//! # What it costs and where it loses
//!
//! Figures are in `benches/README.md`. One decision does not grow with the rules where host and head tell
//! them apart (100 to 100,000 rules: 1.0 to 1.2 times, but for cache misses when all are asked in turn). It
//! loses
//! - to a bare route look-up, by the price of the rest: parsing the target, the group, the target and its
//!   two counters;
//! - where every rule is a glob that begins with a wildcard: they all stand at one place and are gone
//!   through, three times the cost at 100 rules in one host and growing with them. The same holds for rules
//!   with nothing but header, query, source-ip or headless regex conditions;
//! - where every rule is a regex of its own: each has an automaton, and asking many of them in turn misses
//!   the caches on every byte.

mod actions;
mod attributes;
mod check;
mod conditions;
mod groups;
mod index;

use std::collections::{BTreeSet, HashMap, HashSet};

pub(crate) use conditions::{grpc_patterns, residual as compile_condition};

use crate::error::{Code, Diagnostic, Error, Severity};
use crate::model::{
    ActionConfig, Listener, LoadBalancer, Model, Priority, ProtocolVersion, Rule, RuleCondition, TargetGroup,
};
use crate::options::Options;
use crate::table::{
    ActionEntry, ForwardEntry, GroupEntry, ListenerEntry, RuleEntry, StickinessAttributes, Table, Told,
};

/// Compiles a model.
pub(crate) fn compile(model: &Model, options: &Options) -> Result<Table, Error> {
    if options.strict {
        let mut refused = model.validate(options);
        refused.retain(|d| d.severity == Severity::Error);
        if !refused.is_empty() {
            return Err(Error::Model(refused));
        }
    }
    let mut compiler = Compiler {
        options,
        groups: HashMap::new(),
        grpc_groups: grpc_groups(model, options),
        actions: Vec::new(),
        forwarding: HashMap::new(),
        forwards: Vec::new(),
        single_forwards: HashMap::new(),
        problems: Vec::new(),
    };
    let all = compiler.number_groups(model);
    let listeners = compiler.listeners(model);
    let in_use: HashSet<u32> =
        compiler.forwards.iter().flat_map(|f| f.groups.iter().map(|(group, _)| *group)).collect();
    let (groups, targets) = groups::compile_groups(&all, &in_use, &mut compiler.problems);
    if compiler.problems.is_empty() {
        let header_names = header_names(model, &compiler.forwards, &groups);
        let Compiler { actions, forwards, .. } = compiler;
        Ok(Table { listeners, actions, forwards, groups, targets, header_names })
    } else {
        Err(Error::Model(compiler.problems))
    }
}

fn grpc_groups(model: &Model, options: &Options) -> HashSet<String> {
    let grpc = |g: &&TargetGroup| options.grpc_path_prefix && g.protocol_version == ProtocolVersion::Grpc;
    model.target_groups.iter().filter(grpc).map(|g| g.target_group_arn.clone()).collect()
}

/// The headers that a decision may look at: those of conditions, and the one that carries cookies where a
/// forward or a group is sticky.
fn header_names(model: &Model, forwards: &[ForwardEntry], groups: &[GroupEntry]) -> Vec<String> {
    let conditions = model
        .load_balancers
        .iter()
        .flat_map(|b| &b.listeners)
        .flat_map(|l| &l.rules)
        .flat_map(|r| &r.conditions);
    let mut names: BTreeSet<String> = conditions
        .filter_map(|condition| match condition {
            RuleCondition::HttpHeader { http_header_name, .. } => Some(http_header_name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    let sticky = forwards.iter().any(|f| f.stickiness_seconds.is_some())
        || groups.iter().any(|g| g.attributes.stickiness != StickinessAttributes::Off);
    if sticky {
        names.insert("cookie".to_owned());
    }
    names.into_iter().collect()
}

struct Compiler<'a> {
    options: &'a Options,
    /// By ARN.
    groups: HashMap<String, u32>,
    /// ARNs of groups of protocol version gRPC, where K-23 asks for them.
    grpc_groups: HashSet<String>,
    actions: Vec<ActionEntry>,
    /// Forwards to the action that is nothing else.
    forwarding: HashMap<u32, u32>,
    forwards: Vec<ForwardEntry>,
    /// Forwards to one group without stickiness, to their number.
    single_forwards: HashMap<Vec<(u32, u32)>, u32>,
    problems: Vec<Diagnostic>,
}

impl Compiler<'_> {
    /// Numbers the groups of the model, and after them those that only actions name: such a group is known
    /// to AWS and not to us, so it has no targets.
    fn number_groups<'m>(&mut self, model: &'m Model) -> Vec<std::borrow::Cow<'m, TargetGroup>> {
        let mut all = Vec::new();
        for group in &model.target_groups {
            let number = self.groups.len() as u32;
            if self.groups.insert(group.target_group_arn.clone(), number).is_some() {
                self.problems.push(Diagnostic::error(
                    Code::DuplicateTargetGroupName,
                    format!("two target groups have the ARN `{}`", group.target_group_arn),
                ));
            }
            all.push(std::borrow::Cow::Borrowed(group));
        }
        let actions = model
            .load_balancers
            .iter()
            .flat_map(|b| &b.listeners)
            .flat_map(|l| l.default_actions.iter().chain(l.rules.iter().flat_map(|r| &r.actions)));
        for action in actions {
            let ActionConfig::Forward(config) = &action.config else { continue };
            for tuple in &config.target_groups {
                let arn = &tuple.target_group_arn;
                if !self.groups.contains_key(arn) {
                    self.groups.insert(arn.clone(), self.groups.len() as u32);
                    all.push(std::borrow::Cow::Owned(TargetGroup {
                        target_group_arn: arn.clone(),
                        target_group_name: groups::name_of_arn(arn).to_owned(),
                        ..TargetGroup::default()
                    }));
                }
            }
        }
        all
    }

    fn listeners(&mut self, model: &Model) -> Vec<ListenerEntry> {
        let mut seen = HashSet::new();
        let mut out = Vec::new();
        for balancer in &model.load_balancers {
            for listener in &balancer.listeners {
                if !seen.insert((&balancer.load_balancer_arn, listener.port)) {
                    self.problems.push(
                        Diagnostic::error(
                            Code::DuplicateListener,
                            format!("two listeners on port {}", listener.port),
                        )
                        .object(format!("load balancer {}", balancer.load_balancer_name)),
                    );
                    continue;
                }
                out.extend(self.listener(balancer, listener));
            }
        }
        out
    }

    fn listener(&mut self, balancer: &LoadBalancer, listener: &Listener) -> Option<ListenerEntry> {
        let place = format!("listener {}:{}", balancer.load_balancer_name, listener.port);
        let mut rules: Vec<&Rule> = listener.rules.iter().collect();
        rules.sort_by_key(|r| r.priority);
        for pair in rules.windows(2) {
            if let [a, b] = pair
                && a.priority == b.priority
            {
                self.problems.push(
                    Diagnostic::error(Code::PriorityInUse, format!("priority is in use: {}", a.priority))
                        .object(place.clone()),
                );
            }
        }
        let shown_port = self.shown_port(listener.port);
        let mut entries = Vec::with_capacity(rules.len());
        let mut told = Vec::with_capacity(rules.len());
        let mut builder = index::Builder::new(self.options);
        for rule in rules {
            let object = || format!("{place} rule {}", rule.priority);
            let grpc = self.forwards_to_grpc(rule);
            if let Err(problem) = builder.add(entries.len() as u32, &rule.conditions, grpc) {
                self.problems.push(problem.object(object()));
            }
            told.push((rule.priority, Told { conditions: rule.conditions.as_slice().into(), grpc }));
            entries.extend(self.rule(rule.priority, &rule.actions, &rule.transforms, &object()));
        }
        let default = self.rule(
            Priority::Default,
            &listener.default_actions,
            &listener.default_transforms,
            &format!("{place} default"),
        )?;
        Some(ListenerEntry {
            load_balancer_arn: balancer.load_balancer_arn.clone(),
            load_balancer_name: balancer.load_balancer_name.clone(),
            dns_name: balancer.dns_name.clone(),
            port: listener.port,
            shown_port,
            protocol: listener.protocol,
            rules: entries,
            default,
            index: builder.build(),
            told,
        })
    }

    fn rule(
        &mut self,
        priority: Priority,
        actions: &[crate::model::Action],
        transforms: &[crate::model::RuleTransform],
        object: &str,
    ) -> Option<RuleEntry> {
        match self.rule_entry(priority, actions, transforms) {
            Ok(entry) => Some(entry),
            Err(problem) => {
                self.problems.push(problem.object(object));
                None
            }
        }
    }

    /// The port that a Location names for a listener's port.
    fn shown_port(&self, port: u16) -> u16 {
        self.options.port_map.iter().find(|(from, _)| *from == port).map_or(port, |(_, to)| *to)
    }

    /// Whether a rule's path patterns are gRPC methods, where K-23 asks for them.
    fn forwards_to_grpc(&self, rule: &Rule) -> bool {
        rule.actions.iter().any(|action| match &action.config {
            ActionConfig::Forward(config) => {
                config.target_groups.iter().any(|t| self.grpc_groups.contains(&t.target_group_arn))
            }
            _ => false,
        })
    }
}
