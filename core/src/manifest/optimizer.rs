//! The controller's rule optimizer (§5.8): redirects that lead to themselves go, and so do rules behind a
//! redirect that covers them. It looks at host values and paths only, which §16 H2 calls a hazard; rules
//! it drops are told as warnings.

use crate::model::{Action, ActionConfig, Protocol, RedirectConfig, RuleCondition};

/// What the optimizer looks at.
pub(crate) trait Ruled {
    fn conditions(&self) -> &[RuleCondition];
    fn actions(&self) -> &[Action];
}

/// The rules that stay, in order, and those that go.
pub(crate) fn optimize<T: Ruled>(rules: Vec<T>, port: u16, protocol: Protocol) -> (Vec<T>, Vec<T>) {
    let (mut kept, mut dropped): (Vec<T>, Vec<T>) = (Vec::new(), Vec::new());
    for rule in rules {
        let gone = is_loop(&rule, port, protocol)
            || kept.iter().any(|k| redirect(k).is_some() && covers(k.conditions(), rule.conditions()));
        if gone { dropped.push(rule) } else { kept.push(rule) }
    }
    (kept, dropped)
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
