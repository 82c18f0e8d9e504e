//! The load balancer of a group (§10): name, scheme, address type, attributes, tags, and the settings that
//! only AWS sees, whose conflicts are errors all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::Settings;
use super::group::{Group, Member};
use super::listener::merge_maps;
use super::names;
use super::target_group::to_tags;
use crate::error::{Code, Diagnostic};
use crate::model::{LoadBalancer, LoadBalancerIpAddressType, Scheme};

pub(crate) fn load_balancer(group: &Group<'_>, settings: &Settings) -> Result<LoadBalancer, Diagnostic> {
    let members = &group.members;
    let params = |get: fn(&super::objects::ClassParams) -> &Option<String>| {
        move |m: &Member<'_>| m.params.and_then(|p| get(p).clone())
    };
    let scheme_names = [("internal", Scheme::Internal), ("internet-facing", Scheme::InternetFacing)];
    let scheme = exclusive(members, "scheme", Code::E_CONFLICT_SCHEME, params(|p| &p.scheme))?;
    let scheme =
        choose(members, "scheme", scheme, Code::E_SCHEME, &scheme_names)?.unwrap_or(settings.default_scheme);
    let types = [
        ("ipv4", LoadBalancerIpAddressType::Ipv4),
        ("dualstack", LoadBalancerIpAddressType::Dualstack),
        ("dualstack-without-public-ipv4", LoadBalancerIpAddressType::DualstackWithoutPublicIpv4),
    ];
    let ip_type =
        exclusive(members, "ip-address-type", Code::E_CONFLICT_IPTYPE, params(|p| &p.ip_address_type))?;
    let ip_address_type =
        choose(members, "ip-address-type", ip_type, Code::E_IPTYPE, &types)?.unwrap_or_default();
    let named =
        exclusive(members, "load-balancer-name", Code::E_CONFLICT_NAME, params(|p| &p.load_balancer_name))?;
    let load_balancer_name = match named {
        Some((name, i)) if name.len() > 32 => {
            let error = |m: &Member<'_>| match m.annotations().get("load-balancer-name") {
                Some(a) => {
                    a.error(Code::E_LB_NAME_LEN, format!("the name `{name}` has {} bytes", name.len()))
                }
                None => m.error(Code::E_LB_NAME_LEN, format!("the name `{name}` has {} bytes", name.len())),
            };
            return Err(members.get(i).map_or_else(
                || Diagnostic::error(Code::E_LB_NAME_LEN, "the name is too long"),
                |m| error(m).expected("at most 32"),
            ));
        }
        Some((name, _)) => name,
        None => {
            let implicit = group.members.first().filter(|_| !group.explicit);
            let implicit =
                implicit.map(|m| (m.ingress.meta.namespace.as_str(), m.ingress.meta.name.as_str()));
            names::load_balancer(&settings.cluster_name, &group.id, implicit, scheme.as_str())
        }
    };
    infrastructure(members)?;
    let first = members.first().and_then(|m| m.params);
    let fixed: BTreeMap<String, String> =
        first.map(|p| p.load_balancer_attributes.iter().cloned().collect()).unwrap_or_default();
    let attributes = merge_maps(members.iter(), "load-balancer-attributes", fixed, Code::E_CONFLICT_LB_ATTR)?;
    let identity = [settings.cluster_name.as_str(), "/", &group.id];
    Ok(LoadBalancer {
        load_balancer_arn: names::arn(&format!("loadbalancer/app/{load_balancer_name}"), &identity),
        dns_name: names::dns_name(&load_balancer_name, scheme == Scheme::Internal, &identity),
        load_balancer_name,
        scheme,
        ip_address_type,
        attributes,
        tags: to_tags(tags(members.iter(), settings)?),
        ingresses: members.iter().map(|m| m.ingress.meta.key()).collect(),
        ..LoadBalancer::default()
    })
}

/// Tags of what all of `members` share (§10.6).
pub(crate) fn tags<'a>(
    members: impl Iterator<Item = &'a Member<'a>> + Clone,
    settings: &Settings,
) -> Result<BTreeMap<String, String>, Diagnostic> {
    let mut merged: BTreeMap<String, String> = BTreeMap::new();
    for member in members {
        let mut own = member.annotations().map("tags")?.unwrap_or_default();
        own.extend(member.params.map(|p| p.tags.clone()).unwrap_or_default());
        for (key, value) in own {
            let known = merged.entry(key.clone()).or_insert_with(|| value.clone());
            if *known != value {
                let message = format!("the tag `{key}` is `{value}` here and `{known}` in another member");
                return Err(match member.annotations().get("tags") {
                    Some(annotation) => annotation.error(Code::E_CONFLICT_TAG, message),
                    None => member.error(Code::E_CONFLICT_TAG, message),
                });
            }
        }
    }
    merged.extend(settings.default_tags.clone());
    Ok(merged)
}

/// EXCL (§1.7): the value that all members that set it agree on, and who set it first.
fn exclusive(
    members: &[Member<'_>],
    suffix: &str,
    code: Code,
    fixed: impl Fn(&Member<'_>) -> Option<String>,
) -> Result<Option<(String, usize)>, Diagnostic> {
    let mut found: Option<(String, usize)> = None;
    for (i, member) in members.iter().enumerate() {
        let value = fixed(member).or_else(|| member.annotations().text(suffix).map(str::to_owned));
        let Some(value) = value else { continue };
        match &found {
            None => found = Some((value, i)),
            Some((known, first)) if *known != value => {
                let whose = members.get(*first).map(Member::object).unwrap_or_default();
                let message = format!("`{value}` here and `{known}` in {whose}, which is in the same group");
                return Err(match member.annotations().get(suffix) {
                    Some(annotation) => annotation.error(code, message),
                    None => member.error(code, message),
                });
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

fn choose<T: Copy>(
    members: &[Member<'_>],
    suffix: &str,
    found: Option<(String, usize)>,
    code: Code,
    all: &[(&str, T)],
) -> Result<Option<T>, Diagnostic> {
    let Some((value, i)) = found else { return Ok(None) };
    if let Some((_, v)) = all.iter().find(|(name, _)| *name == value) {
        return Ok(Some(*v));
    }
    let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
    let message = format!("unknown value `{value}`");
    let error = members.get(i).map(|m| match m.annotations().get(suffix) {
        Some(annotation) => annotation.error(code, message.clone()),
        None => m.error(code, message.clone()),
    });
    Err(error.unwrap_or_else(|| Diagnostic::error(code, message)).expected(names.join(" or ")))
}

/// Settings that decide nothing here, but refuse the group where its members disagree (§10.3, §10.4, §10.7).
fn infrastructure(members: &[Member<'_>]) -> Result<(), Diagnostic> {
    let none = |_: &Member<'_>| None;
    let mut subnets: Option<BTreeSet<String>> = None;
    let mut groups: Option<Vec<String>> = None;
    let mut from_params = false;
    for member in members {
        let annotations = member.annotations();
        let conflict = |suffix: &str, code| match annotations.get(suffix) {
            Some(annotation) => annotation.error(code, "another member of the group has other ones"),
            None => member.error(code, "another member of the group has other ones"),
        };
        if member.params.is_some_and(|p| p.subnets) {
            from_params = true;
        } else if let Some(list) = annotations.list("subnets") {
            let set: BTreeSet<String> = list.into_iter().collect();
            if set.is_empty() {
                return Err(conflict("subnets", Code::E_SUBNETS_EMPTY).expected("at least one subnet"));
            }
            if *subnets.get_or_insert_with(|| set.clone()) != set {
                return Err(conflict("subnets", Code::E_CONFLICT_SUBNETS));
            }
        }
        if from_params && subnets.is_some() {
            return Err(conflict("subnets", Code::E_CONFLICT_SUBNET_SOURCE));
        }
        if let Some(list) = annotations.list("security-groups").filter(|l| !l.is_empty())
            && *groups.get_or_insert_with(|| list.clone()) != list
        {
            return Err(conflict("security-groups", Code::E_CONFLICT_SGS));
        }
        if let Some(annotation) = annotations.get("customer-owned-ipv4-pool")
            && annotation.value().is_empty()
        {
            return Err(annotation.error(Code::E_COIP_EMPTY, "the pool is empty"));
        }
        if let Some(capacity) = annotations.map("minimum-load-balancer-capacity")? {
            let error = |code, message: String| match annotations.get("minimum-load-balancer-capacity") {
                Some(annotation) => annotation.error(code, message),
                None => member.error(code, message),
            };
            for (key, value) in capacity {
                if key != "CapacityUnits" {
                    return Err(error(Code::E_CAPACITY_KEY, format!("unknown key `{key}`"))
                        .expected("`CapacityUnits`"));
                }
                if value.parse::<i32>().is_err() {
                    return Err(error(Code::E_CAPACITY_VALUE, format!("`{value}` is not a number")));
                }
            }
        }
    }
    if groups.is_some() {
        exclusive_bool(members, "manage-backend-security-group-rules", Code::E_CONFLICT_MANAGE_SG)?;
    }
    exclusive(members, "customer-owned-ipv4-pool", Code::E_CONFLICT_COIP, none)?;
    exclusive(members, "ipam-ipv4-pool-id", Code::E_CONFLICT_IPAM, none)?;
    exclusive(members, "wafv2-acl-arn", Code::E_CONFLICT_WAFV2, none)?;
    exclusive(members, "wafv2-acl-name", Code::E_CONFLICT_WAFV2, none)?;
    let waf = |m: &Member<'_>| m.annotations().text("waf-acl-id").map(str::to_owned);
    exclusive(members, "web-acl-id", Code::E_CONFLICT_WAF, waf)?;
    exclusive_bool(members, "shield-advanced-protection", Code::E_CONFLICT_SHIELD)?;
    exclusive_bool(members, "enable-frontend-nlb", Code::E_CONFLICT_NLB)
}

fn exclusive_bool(members: &[Member<'_>], suffix: &str, code: Code) -> Result<(), Diagnostic> {
    let mut known = None;
    for member in members {
        let Some(value) = member.annotations().boolean(suffix)? else { continue };
        if *known.get_or_insert(value) != value {
            return Err(match member.annotations().get(suffix) {
                Some(annotation) => annotation.error(code, "another member of the group says otherwise"),
                None => member.error(code, "another member of the group says otherwise"),
            });
        }
    }
    Ok(())
}
