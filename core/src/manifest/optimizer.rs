//! The controller's rule optimizer (§5.8): redirects that lead to themselves go, and so do rules behind a
//! redirect that covers them. It looks at host values and paths only, which §16 H2 calls a hazard; rules
//! it drops are told as warnings.

use std::collections::HashMap;

use crate::model::{Action, ActionConfig, Protocol, RedirectConfig, RuleCondition};

/// What the optimizer looks at.
pub(crate) trait Ruled {
    fn conditions(&self) -> &[RuleCondition];
    fn actions(&self) -> &[Action];
}

/// A rule that goes.
pub(crate) struct Dropped<T> {
    pub(crate) rule: T,
    /// Whether it goes although it could have matched: a condition that decides was not looked at.
    pub(crate) blindly: bool,
}

/// The rules that stay, in order, and those that go.
pub(crate) fn optimize<T: Ruled>(rules: Vec<T>, port: u16, protocol: Protocol) -> (Vec<T>, Vec<Dropped<T>>) {
    let (mut kept, mut dropped): (Vec<T>, Vec<Dropped<T>>) = (Vec::new(), Vec::new());
    let mut redirects = Redirects::default();
    for rule in rules {
        let covering = || redirects.covering(&kept, rule.conditions()).and_then(|i| kept.get(i));
        if is_loop(&rule, port, protocol) {
            let blindly = is_no_loop(&rule);
            dropped.push(Dropped { rule, blindly });
        } else if let Some(k) = covering() {
            let blindly = has_host_regex(k.conditions())
                && !k.conditions().iter().all(|c| rule.conditions().contains(c));
            dropped.push(Dropped { rule, blindly });
        } else {
            if redirect(&rule).is_some() {
                redirects.add(kept.len(), rule.conditions());
            }
            kept.push(rule);
        }
    }
    (kept, dropped)
}

/// The redirects among the kept rules by each of their hosts and paths, so that a rule is compared only with
/// those that name its own.
#[derive(Default)]
struct Redirects(HashMap<(Option<String>, Option<String>), Vec<usize>>);

impl Redirects {
    fn add(&mut self, place: usize, conditions: &[RuleCondition]) {
        let named =
            |all: Vec<&String>| -> Vec<Option<String>> { all.into_iter().cloned().map(Some).collect() };
        let any = || vec![None];
        let (hosts, paths) = (hosts(conditions), paths(conditions));
        let all_paths = paths.is_empty() || paths.iter().any(|p| *p == "/*");
        let hosts = if hosts.is_empty() { any() } else { named(hosts) };
        let paths = if all_paths { any() } else { named(paths) };
        for host in &hosts {
            for path in &paths {
                self.0.entry((host.clone(), path.clone())).or_default().push(place);
            }
        }
    }

    /// The first kept redirect that covers a rule: one that does names its first host or none, and its first
    /// path or all.
    fn covering<T: Ruled>(&self, kept: &[T], conditions: &[RuleCondition]) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let either = |first: Option<&&String>| [None, first.map(|t| (*t).clone())];
        let (hosts, paths) = (either(hosts(conditions).first()), either(paths(conditions).first()));
        let keys = hosts.iter().flat_map(|h| paths.iter().map(move |p| (h.clone(), p.clone())));
        let places = keys.filter_map(|key| self.0.get(&key)).flatten().copied();
        places.filter(|i| kept.get(*i).is_some_and(|k| covers(k.conditions(), conditions))).min()
    }
}

/// Whether a rule that was taken for a loop answers requests once: it has a condition that the request it
/// redirects to need not meet, or several hosts or paths and leads to one of them.
fn is_no_loop(rule: &impl Ruled) -> bool {
    let conditions = rule.conditions();
    let Some(config) = redirect(rule) else { return false };
    let to_one =
        |value: &Option<String>, of: usize| of > 1 && value.as_ref().is_some_and(|v| !v.contains("#{"));
    let further = |c: &RuleCondition| {
        !matches!(c, RuleCondition::HostHeader { .. } | RuleCondition::PathPattern { .. })
    };
    conditions.iter().any(further)
        || has_host_regex(conditions) && config.host.as_ref().is_some_and(|h| h != "#{host}")
        || to_one(&config.host, hosts(conditions).len())
        || to_one(&config.path, paths(conditions).len())
}

fn has_host_regex(conditions: &[RuleCondition]) -> bool {
    conditions
        .iter()
        .any(|c| matches!(c, RuleCondition::HostHeader { regex_values, .. } if !regex_values.is_empty()))
}

fn redirect(rule: &impl Ruled) -> Option<&RedirectConfig> {
    rule.actions().iter().find_map(|a| match &a.config {
        ActionConfig::Redirect(config) => Some(config),
        _ => None,
    })
}

fn hosts(conditions: &[RuleCondition]) -> Vec<&String> {
    let values = conditions.iter().filter_map(|c| match c {
        RuleCondition::HostHeader { values, .. } => Some(values),
        _ => None,
    });
    values.flatten().collect()
}

/// Values, and in their place regexes where there are any.
fn paths(conditions: &[RuleCondition]) -> Vec<&String> {
    let values = conditions.iter().filter_map(|c| match c {
        RuleCondition::PathPattern { values, regex_values } => {
            Some(if regex_values.is_empty() { values } else { regex_values })
        }
        _ => None,
    });
    values.flatten().collect()
}

fn is_loop(rule: &impl Ruled, port: u16, protocol: Protocol) -> bool {
    let Some(config) = redirect(rule) else { return false };
    let conditions = rule.conditions();
    let regex = conditions
        .iter()
        .any(|c| matches!(c, RuleCondition::PathPattern { regex_values, .. } if !regex_values.is_empty()));
    let same = |value: &Option<String>, placeholder: &str, own: &dyn Fn(&String) -> bool| {
        value.as_ref().is_none_or(|v| v == placeholder || own(v))
    };
    !regex
        && same(&config.host, "#{host}", &|v| hosts(conditions).contains(&v))
        && same(&config.path, "/#{path}", &|v| paths(conditions).contains(&v))
        && same(&config.port, "#{port}", &|v| *v == port.to_string())
        && same(&config.protocol, "#{protocol}", &|v| v == protocol.as_str())
        && same(&config.query, "#{query}", &|_| false)
}

/// Whether `k` holds wherever `r` does, as far as the optimizer sees.
fn covers(k: &[RuleCondition], r: &[RuleCondition]) -> bool {
    let plain =
        |c: &RuleCondition| matches!(c, RuleCondition::HostHeader { .. } | RuleCondition::PathPattern { .. });
    let superset = |k: &[&String], r: &[&String]| !r.is_empty() && r.iter().all(|v| k.contains(v));
    let (kh, kp) = (hosts(k), paths(k));
    k.iter().all(plain)
        && (kh.is_empty() || superset(&kh, &hosts(r)))
        && (kp.is_empty() || kp.iter().any(|p| *p == "/*") || superset(&kp, &paths(r)))
}
