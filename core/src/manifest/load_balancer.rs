//! The load balancer of a group (§10): name, scheme, address type, attributes, tags.

use std::collections::BTreeMap;

use super::Settings;
use super::group::{Given, Group, Member};
use super::listener::merge_maps;
use super::target_group::to_tags;
use super::{infrastructure, names};
use crate::error::{Code, Diagnostic};
use crate::model::{LoadBalancer, LoadBalancerIpAddressType, Scheme};

pub(crate) const SCHEMES: [(&str, Scheme); 2] =
    [("internal", Scheme::Internal), ("internet-facing", Scheme::InternetFacing)];

pub(crate) fn load_balancer(group: &Group<'_>, settings: &Settings) -> Result<LoadBalancer, Diagnostic> {
    let members = &group.members;
    let scheme = exclusive(members, Code::E_CONFLICT_SCHEME, |m| m.given("scheme", "scheme", |p| &p.scheme))?;
    let scheme = choose(scheme, Code::E_SCHEME, &SCHEMES)?.unwrap_or(settings.default_scheme);
    let types = [
        ("ipv4", LoadBalancerIpAddressType::Ipv4),
        ("dualstack", LoadBalancerIpAddressType::Dualstack),
        ("dualstack-without-public-ipv4", LoadBalancerIpAddressType::DualstackWithoutPublicIpv4),
    ];
    let ip_type = exclusive(members, Code::E_CONFLICT_IPTYPE, |m| {
        m.given("ip-address-type", "ipAddressType", |p| &p.ip_address_type)
    })?;
    let ip_address_type = choose(ip_type, Code::E_IPTYPE, &types)?.unwrap_or_default();
    let named = exclusive(members, Code::E_CONFLICT_NAME, |m| {
        m.given("load-balancer-name", "loadBalancerName", |p| &p.load_balancer_name)
    })?;
    let load_balancer_name = match named.map(|given| (given, given.value())) {
        Some((given, name)) if name.len() > 32 => {
            let message = format!("the name `{name}` has {} bytes", name.len());
            return Err(given.error(Code::E_LB_NAME_LEN, message).expected("at most 32"));
        }
        Some((_, name)) => name.to_owned(),
        None => {
            let implicit = group.members.first().filter(|_| !group.explicit);
            let implicit =
                implicit.map(|m| (m.ingress.meta.namespace.as_str(), m.ingress.meta.name.as_str()));
            names::load_balancer(&settings.cluster_name, &group.id, implicit, scheme.as_str())
        }
    };
    infrastructure::check(members, settings)?;
    let fixed = members.first().and_then(|m| m.params).map(|p| p.load_balancer_attributes.as_slice());
    let attributes = merge_maps(
        members.iter(),
        "load-balancer-attributes",
        pairs(fixed.unwrap_or_default()),
        Code::E_CONFLICT_LB_ATTR,
    )?;
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

/// Key and value pairs of IngressClassParams as a map.
pub(crate) fn pairs(of: &[(super::yaml::Text, String)]) -> BTreeMap<String, String> {
    of.iter().map(|(k, v)| (k.text.clone(), v.clone())).collect()
}

/// Tags of what all of `members` share (§10.6).
pub(crate) fn tags<'a>(
    members: impl Iterator<Item = &'a Member<'a>> + Clone,
    settings: &Settings,
) -> Result<BTreeMap<String, String>, Diagnostic> {
    let mut merged: BTreeMap<String, (String, &Member<'_>)> = BTreeMap::new();
    for member in members {
        let mut own = member.annotations().map("tags")?.unwrap_or_default();
        own.extend(member.params.map(|p| pairs(&p.tags)).unwrap_or_default());
        for (key, value) in own {
            let error = |code, message| tag_error(member, &key, code, message);
            if settings.external_managed_tags.contains(&key) {
                let message =
                    format!("the tag `{key}` is managed elsewhere: `--external-managed-tags` names it");
                return Err(error(Code::E_TAG_EXTERNAL, message));
            }
            let (known, whose) = merged.entry(key.clone()).or_insert_with(|| (value.clone(), member));
            if *known != value {
                let message =
                    format!("the tag `{key}` is `{value}` here and `{known}` in {}", whose.object());
                return Err(error(Code::E_CONFLICT_TAG, message));
            }
        }
    }
    Ok(with_default_tags(merged.into_iter().map(|(k, (v, _))| (k, v)).collect(), settings))
}

fn tag_error(member: &Member<'_>, key: &str, code: Code, message: String) -> Diagnostic {
    let in_params = member.params.and_then(|p| p.tags.iter().find(|(k, _)| k.text == key));
    match in_params.and_then(|(k, _)| member.params_field("tags", k)) {
        Some(given) => given.error(code, message),
        None => member.error_at("tags", code, message),
    }
}

/// Default tags win, unless the gate gives them the last word only.
pub(crate) fn with_default_tags(
    mut tags: BTreeMap<String, String>,
    settings: &Settings,
) -> BTreeMap<String, String> {
    for (key, value) in &settings.default_tags {
        if settings.default_tags_low_priority {
            tags.entry(key.clone()).or_insert_with(|| value.clone());
        } else {
            tags.insert(key.clone(), value.clone());
        }
    }
    tags
}

/// EXCL (§1.7): what all members that set it agree on, as the first one says it.
pub(crate) fn exclusive<'a>(
    members: &'a [Member<'a>],
    code: Code,
    get: impl Fn(&Member<'a>) -> Option<Given<'a>>,
) -> Result<Option<Given<'a>>, Diagnostic> {
    let mut found: Option<(Given<'a>, &Member<'a>)> = None;
    for member in members {
        let Some(given) = get(member) else { continue };
        match &found {
            None => found = Some((given, member)),
            Some((known, first)) if known.value() != given.value() => {
                return Err(given.error(
                    code,
                    format!(
                        "`{}` here and `{}` in {}, which is in the same group",
                        given.value(),
                        known.value(),
                        first.object()
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(found.map(|(given, _)| given))
}

/// One of a fixed set of values.
pub(crate) fn choose<T: Copy>(
    given: Option<Given<'_>>,
    code: Code,
    all: &[(&str, T)],
) -> Result<Option<T>, Diagnostic> {
    let Some(given) = given else { return Ok(None) };
    if let Some((_, v)) = all.iter().find(|(name, _)| *name == given.value()) {
        return Ok(Some(*v));
    }
    let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
    Err(given.error(code, format!("unknown value `{}`", given.value())).expected(names.join(" or ")))
}
