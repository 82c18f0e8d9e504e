//! The controller's rule optimizer (§5.8): redirects that lead to themselves go, and so do rules behind a
//! redirect that covers them. It looks at host values and paths only, which §16 H2 calls a hazard; rules
//! it drops are told as warnings.

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
    for rule in rules {
        let covering = |k: &&T| redirect(*k).is_some() && covers(k.conditions(), rule.conditions());
        if is_loop(&rule, port, protocol) {
            let blindly = is_no_loop(&rule);
            dropped.push(Dropped { rule, blindly });
        } else if let Some(k) = kept.iter().find(covering) {
            let blindly = has_host_regex(k.conditions())
                && !k.conditions().iter().all(|c| rule.conditions().contains(c));
            dropped.push(Dropped { rule, blindly });
        } else {
            kept.push(rule);
        }
    }
    (kept, dropped)
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
