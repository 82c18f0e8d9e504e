//! Answers to one model: listeners under their load balancers, rules under their listeners, attributes
//! and target health with whom they belong to.

use super::{Answer, ListenerAnswer, RuleAnswer};
use crate::error::{Code, Diagnostic, Error};
use crate::model::{Attribute, LoadBalancer, Model, Priority, TargetHealthDescription};

/// Where an answer without an ARN of its own came from.
struct Origin<'a> {
    file: &'a str,
    arn: Option<String>,
}

pub(super) fn assemble(answers: Vec<(&str, Answer)>) -> Result<Model, Error> {
    let mut model = Model::default();
    let mut listeners: Vec<ListenerAnswer> = Vec::new();
    let mut rules: Vec<RuleAnswer> = Vec::new();
    let mut attributes: Vec<(Origin<'_>, Vec<Attribute>)> = Vec::new();
    let mut health: Vec<(Origin<'_>, Vec<TargetHealthDescription>)> = Vec::new();
    for (file, answer) in answers {
        model
            .load_balancers
            .extend(answer.load_balancers.into_iter().filter_map(|b| b.0).map(|b| b.load_balancer));
        model.target_groups.extend(answer.target_groups.into_iter().filter_map(|g| g.0));
        model.record_sets.extend(answer.record_sets);
        listeners.extend(answer.listeners.into_iter().filter_map(|l| l.0));
        rules.extend(answer.rules);
        let arn = answer.target_group_arn.or(answer.load_balancer_arn).or(answer.listener_arn);
        if let Some(list) = answer.attributes {
            attributes.push((Origin { file, arn: arn.clone() }, list));
        }
        if let Some(list) = answer.target_health_descriptions {
            health.push((Origin { file, arn }, list));
        }
    }
    place_listeners(&mut model, listeners)?;
    place_rules(&mut model, rules)?;
    for (origin, list) in attributes {
        place_attributes(&mut model, &origin, list)?;
    }
    for (origin, list) in health {
        place_health(&mut model, &origin, list)?;
    }
    for balancer in &mut model.load_balancers {
        balancer.listeners.sort_by_key(|l| l.port);
        for listener in &mut balancer.listeners {
            listener.rules.sort_by_key(|r| r.priority);
        }
    }
    Ok(model)
}

fn place_listeners(model: &mut Model, listeners: Vec<ListenerAnswer>) -> Result<(), Error> {
    for answer in listeners {
        let arn = &answer.load_balancer_arn;
        let only = model.load_balancers.len() == 1 && arn.is_empty();
        let found = model.load_balancers.iter_mut().find(|b| only || b.load_balancer_arn == *arn);
        match found {
            Some(balancer) => balancer.listeners.push(answer.listener),
            None if arn.is_empty() => {
                return Err(stray(&format!("listener `{}`", answer.listener.listener_arn)));
            }
            // Listeners without `describe-load-balancers` still route; the ARN tells the name.
            None => model.load_balancers.push(LoadBalancer {
                load_balancer_name: arn.rsplit('/').nth(1).unwrap_or(arn).to_owned(),
                load_balancer_arn: arn.clone(),
                listeners: vec![answer.listener],
                ..LoadBalancer::default()
            }),
        }
    }
    Ok(())
}

fn place_rules(model: &mut Model, rules: Vec<RuleAnswer>) -> Result<(), Error> {
    for answer in rules {
        // A rule's ARN is its listener's with one more part:
        // …:listener-rule/app/LB/LB-ID/LISTENER-ID/RULE-ID
        let listener = answer.listener_arn.clone().or_else(|| {
            let (head, _) = answer.rule.rule_arn.rsplit_once('/')?;
            Some(head.replacen(":listener-rule/", ":listener/", 1))
        });
        let count: usize = model.load_balancers.iter().map(|b| b.listeners.len()).sum();
        let found = model
            .load_balancers
            .iter_mut()
            .flat_map(|b| &mut b.listeners)
            .find(|l| count == 1 || Some(&l.listener_arn) == listener.as_ref());
        let Some(found) = found else {
            return Err(stray(&format!("rule `{}`", answer.rule.rule_arn)));
        };
        if answer.rule.priority == Priority::Default {
            found.default_rule_arn = Some(answer.rule.rule_arn).filter(|arn| !arn.is_empty());
            found.default_actions = answer.rule.actions;
            found.default_transforms = answer.rule.transforms;
        } else {
            found.rules.push(answer.rule);
        }
    }
    Ok(())
}

fn place_attributes(model: &mut Model, origin: &Origin<'_>, list: Vec<Attribute>) -> Result<(), Error> {
    // Keys tell the kind: these stand on load balancers and listeners, all others on target groups.
    let has = |prefixes: &[&str]| list.iter().any(|a| prefixes.iter().any(|p| a.key.starts_with(p)));
    let listener = has(&["routing.http.request.", "routing.http.response."]);
    let balancer =
        has(&["routing.", "idle_timeout.", "deletion_protection.", "access_logs.", "client_keep_alive."]);
    if listener {
        let all = model.load_balancers.iter_mut().flat_map(|b| &mut b.listeners);
        let found = pick(all, origin, |l| (&l.listener_arn, &l.listener_arn))
            .ok_or_else(|| unplaced(origin, "listener attributes", "ListenerArn"))?;
        found.attributes = list;
    } else if balancer {
        let found =
            pick(model.load_balancers.iter_mut(), origin, |b| (&b.load_balancer_arn, &b.load_balancer_name))
                .ok_or_else(|| unplaced(origin, "load balancer attributes", "LoadBalancerArn"))?;
        found.attributes = list;
    } else {
        let found =
            pick(model.target_groups.iter_mut(), origin, |g| (&g.target_group_arn, &g.target_group_name))
                .ok_or_else(|| unplaced(origin, "target group attributes", "TargetGroupArn"))?;
        found.attributes = list;
    }
    Ok(())
}

fn place_health(
    model: &mut Model,
    origin: &Origin<'_>,
    list: Vec<TargetHealthDescription>,
) -> Result<(), Error> {
    let found = pick(model.target_groups.iter_mut(), origin, |g| (&g.target_group_arn, &g.target_group_name))
        .ok_or_else(|| unplaced(origin, "target health", "TargetGroupArn"))?;
    found.target_health_descriptions = list;
    Ok(())
}

/// The resource an answer belongs to: by ARN, else the only one, else by the file's name; of several
/// names in a file's name the longest counts.
fn pick<'m, T>(
    all: impl Iterator<Item = &'m mut T>,
    origin: &Origin<'_>,
    names: impl Fn(&T) -> (&str, &str),
) -> Option<&'m mut T> {
    let mut all: Vec<&mut T> = all.collect();
    let at = match &origin.arn {
        Some(arn) => all.iter().position(|t| names(t).0 == arn),
        None if all.len() == 1 => Some(0),
        None => all
            .iter()
            .enumerate()
            .filter(|(_, t)| !names(t).1.is_empty() && origin.file.contains(names(t).1))
            .max_by_key(|(_, t)| names(t).1.len())
            .map(|(i, _)| i),
    };
    at.map(|i| all.swap_remove(i))
}

fn stray(what: &str) -> Error {
    Diagnostic::error(Code::E_OBJECT, format!("{what} belongs to nothing in the input"))
        .expected("the answer of the describe call for what it hangs on")
        .into()
}

fn unplaced(origin: &Origin<'_>, what: &str, key: &str) -> Error {
    let file = origin.file;
    Diagnostic::error(Code::E_OBJECT, format!("cannot tell whom the {what} in `{file}` belong to"))
        .expected(format!("a `{key}` beside them, or the resource's name in the file's name"))
        .into()
}
