//! Settings that only AWS acts on, checked as the controller checks them: members of a group that disagree
//! are refused all the same (§10.3, §10.4, §10.7).

use std::collections::{BTreeMap, BTreeSet};

use super::Settings;
use super::annotations::Annotation;
use super::group::{Given, Member};
use super::listener::merge_maps;
use super::load_balancer::exclusive;
use super::objects::SubnetsParams;
use crate::error::{Code, Diagnostic};

pub(crate) fn check(members: &[Member<'_>], settings: &Settings) -> Result<(), Diagnostic> {
    security_groups(members, settings)?;
    subnets(members)?;
    pools(members)?;
    capacity(members, settings)?;
    web_acls(members)?;
    exclusive_bool(members, "shield-advanced-protection", Code::E_CONFLICT_SHIELD).map(drop)
}

/// §10.3. `manage-backend-security-group-rules` is read only where some member sets `security-groups`.
fn security_groups(members: &[Member<'_>], settings: &Settings) -> Result<(), Diagnostic> {
    let Some(first) = exclusive_list(members, "security-groups", Code::E_CONFLICT_SGS)? else {
        return Ok(());
    };
    let name = "manage-backend-security-group-rules";
    let said = exclusive_bool(members, name, Code::E_CONFLICT_MANAGE_SG)?;
    let managed = said.map_or(settings.enable_manage_backend_security_group_rules, |(managed, _)| managed);
    if managed && !settings.enable_backend_security_group {
        let at = said.map_or(first, |(_, annotation)| annotation);
        return Err(at
            .error(
                Code::E_BACKEND_SG_OFF,
                "the rules of backend security groups are to be managed, and that feature is off",
            )
            .expected("`--enable-backend-security-group`, or no management of rules"));
    }
    Ok(())
}

/// EXCL-SEQ (§1.7): lists that must be equal, order included. Empty ones count as absent.
pub(crate) fn exclusive_list<'a>(
    members: &[Member<'a>],
    suffix: &str,
    code: Code,
) -> Result<Option<Annotation<'a>>, Diagnostic> {
    exclusive_by(members, suffix, code, |list| (!list.is_empty()).then_some(list))
}

/// EXCL-SET: lists that must be equal as sets.
pub(crate) fn exclusive_set<'a>(
    members: &[Member<'a>],
    suffix: &str,
    code: Code,
) -> Result<Option<Annotation<'a>>, Diagnostic> {
    exclusive_by(members, suffix, code, |list| Some(list.into_iter().collect::<BTreeSet<_>>()))
}

fn exclusive_by<'a, T: PartialEq>(
    members: &[Member<'a>],
    suffix: &str,
    code: Code,
    shape: impl Fn(Vec<String>) -> Option<T>,
) -> Result<Option<Annotation<'a>>, Diagnostic> {
    let mut found: Option<(T, Annotation<'a>, &Member<'_>)> = None;
    for member in members {
        let annotations = member.annotations();
        let Some(annotation) = annotations.get(suffix) else { continue };
        let Some(list) = annotations.list(suffix).and_then(&shape) else { continue };
        match &found {
            Some((known, _, whose)) if *known != list => {
                return Err(
                    annotation.error(code, format!("{} in the same group has others", whose.object()))
                );
            }
            Some(_) => {}
            None => found = Some((list, annotation, member)),
        }
    }
    Ok(found.map(|(_, annotation, _)| annotation))
}

/// §10.4: from IngressClassParams or from annotations, not both in one group.
fn subnets(members: &[Member<'_>]) -> Result<(), Diagnostic> {
    let mut fixed: Option<(&SubnetsParams, &Member<'_>)> = None;
    let mut annotated: Option<(BTreeSet<String>, &Member<'_>)> = None;
    for member in members {
        let annotations = member.annotations();
        if let Some(params) = member.params.and_then(|p| p.subnets.as_ref()) {
            let error = |code, message: String| {
                member
                    .error(code, message)
                    .annotation("spec.subnets of its IngressClassParams")
                    .at(params.at.location())
            };
            match &fixed {
                Some((known, whose)) if *known != params => {
                    let message = format!("{} in the same group has other subnets", whose.object());
                    return Err(error(Code::E_CONFLICT_SUBNETS, message));
                }
                _ => fixed = Some((params, member)),
            }
            if let Some((_, whose)) = &annotated {
                let message = format!("{} in the same group names its subnets by annotation", whose.object());
                return Err(error(Code::E_CONFLICT_SUBNET_SOURCE, message));
            }
        } else if let Some((annotation, list)) = annotations.get("subnets").zip(annotations.list("subnets")) {
            if list.is_empty() {
                return Err(annotation
                    .error(Code::E_SUBNETS_EMPTY, "the list of subnets is empty")
                    .expected("at least one subnet, or no annotation"));
            }
            let set: BTreeSet<String> = list.into_iter().collect();
            match &annotated {
                Some((known, whose)) if *known != set => {
                    let message = format!("{} in the same group has other subnets", whose.object());
                    return Err(annotation.error(Code::E_CONFLICT_SUBNETS, message));
                }
                _ => annotated = Some((set, member)),
            }
            if let Some((_, whose)) = &fixed {
                let message =
                    format!("{} in the same group has its subnets from IngressClassParams", whose.object());
                return Err(annotation.error(Code::E_CONFLICT_SUBNET_SOURCE, message));
            }
        }
    }
    Ok(())
}

/// §10.7: address pools.
fn pools(members: &[Member<'_>]) -> Result<(), Diagnostic> {
    let mut given = members.iter().filter_map(|m| m.annotations().get("customer-owned-ipv4-pool"));
    if let Some(empty) = given.find(|a| a.value().is_empty()) {
        return Err(empty.error(Code::E_COIP_EMPTY, "the pool is empty").expected("an id, or no annotation"));
    }
    exclusive(members, Code::E_CONFLICT_COIP, |m| {
        m.annotations().get("customer-owned-ipv4-pool").map(Given::Annotation)
    })?;
    if members.first().and_then(|m| m.params).is_some_and(|p| p.ipam_pool.is_some()) {
        return Ok(());
    }
    exclusive(members, Code::E_CONFLICT_IPAM, |m| filled(m, "ipam-ipv4-pool-id")).map(drop)
}

/// An annotation that counts as absent where it is empty (§1.4).
fn filled<'a>(member: &Member<'a>, suffix: &str) -> Option<Given<'a>> {
    member.annotations().get(suffix).filter(|a| !a.value().is_empty()).map(Given::Annotation)
}

/// §10.7: `CapacityUnits` and nothing else.
fn capacity(members: &[Member<'_>], settings: &Settings) -> Result<(), Diagnostic> {
    let fixed =
        members.first().and_then(|m| m.params).is_some_and(|p| p.minimum_load_balancer_capacity.is_some());
    if fixed || !settings.lb_capacity_reservation {
        return Ok(());
    }
    let suffix = "minimum-load-balancer-capacity";
    merge_maps(members.iter(), suffix, BTreeMap::new(), Code::E_CONFLICT_CAPACITY)?;
    for member in members {
        for (key, value) in member.annotations().map(suffix)?.unwrap_or_default() {
            if key != "CapacityUnits" {
                let error = member.error_at(suffix, Code::E_CAPACITY_KEY, format!("unknown key `{key}`"));
                return Err(error.expected("`CapacityUnits`"));
            }
            if value.parse::<i32>().is_err() {
                let message = format!("`{value}` is not a number of units");
                return Err(member
                    .error_at(suffix, Code::E_CAPACITY_VALUE, message)
                    .expected("a whole number"));
            }
        }
    }
    Ok(())
}

/// §10.7: names are looked at first; ARNs only where no member gives a name.
fn web_acls(members: &[Member<'_>]) -> Result<(), Diagnostic> {
    let named = exclusive(members, Code::E_CONFLICT_WAFV2, |m| {
        m.given("wafv2-acl-name", "wafv2AclName", |p| &p.wafv2_acl_name).filter(|g| !g.value().is_empty())
    })?;
    if named.is_none() {
        exclusive(members, Code::E_CONFLICT_WAFV2, |m| {
            m.given("wafv2-acl-arn", "wafv2AclArn", |p| &p.wafv2_acl_arn)
        })?;
    }
    exclusive(members, Code::E_CONFLICT_WAF, |m| filled(m, "waf-acl-id").or_else(|| filled(m, "web-acl-id")))
        .map(drop)
}

/// A boolean that members must agree on, with who said it first.
pub(crate) fn exclusive_bool<'a>(
    members: &[Member<'a>],
    suffix: &str,
    code: Code,
) -> Result<Option<(bool, Annotation<'a>)>, Diagnostic> {
    let mut known: Option<(bool, Annotation<'a>, &Member<'_>)> = None;
    for member in members {
        let annotations = member.annotations();
        let Some((annotation, value)) = annotations.get(suffix).zip(annotations.boolean(suffix)?) else {
            continue;
        };
        match &known {
            Some((before, _, whose)) if *before != value => {
                return Err(
                    annotation.error(code, format!("{} in the same group says otherwise", whose.object()))
                );
            }
            Some(_) => {}
            None => known = Some((value, annotation, member)),
        }
    }
    Ok(known.map(|(value, annotation, _)| (value, annotation)))
}
