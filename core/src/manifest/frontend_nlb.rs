//! The network load balancer in front (§10.8): named and checked, never run, as the load balancer behind
//! it answers the same requests.

use std::collections::BTreeMap;

use super::Settings;
use super::group::{Given, Member};
use super::infrastructure::{exclusive_bool, exclusive_list, exclusive_set};
use super::listener::Port;
use super::load_balancer::{SCHEMES, choose, exclusive};
use crate::error::{Code, Diagnostic};
use crate::model::{LoadBalancer, Scheme};

const POLICY: &str = "dns_record.client_routing_policy";
const POLICIES: [&str; 3] =
    ["availability_zone_affinity", "partial_availability_zone_affinity", "any_availability_zone"];

/// Checks the settings of a frontend NLB, and tells its name and ports where one is asked for.
pub(crate) fn check(
    members: &[Member<'_>],
    ports: &BTreeMap<u16, Port>,
    balancer: &LoadBalancer,
    settings: &Settings,
) -> Result<Option<Diagnostic>, Diagnostic> {
    let conflict = Code::E_CONFLICT_NLB;
    let Some((true, enabled)) = exclusive_bool(members, "enable-frontend-nlb", conflict)? else {
        return Ok(None);
    };
    let scheme = exclusive(members, conflict, |m| annotation(m, "frontend-nlb-scheme"))?;
    let scheme = choose(scheme, Code::E_SCHEME, &SCHEMES)?.unwrap_or(settings.default_scheme);
    let subnets = exclusive_set(members, "frontend-nlb-subnets", conflict)?;
    exclusive_list(members, "frontend-nlb-security-groups", conflict)?;
    if let Some(addresses) = exclusive_set(members, "frontend-nlb-eip-allocations", conflict)? {
        let count = |text: &str| super::annotations::list(text).len();
        if scheme != Scheme::InternetFacing {
            return Err(addresses
                .error(Code::E_FRONTEND_NLB, "an internal NLB has no elastic addresses")
                .expected("`frontend-nlb-scheme: internet-facing`"));
        }
        if let Some(subnets) = subnets
            && count(subnets.value()) != count(addresses.value())
        {
            return Err(addresses
                .error(Code::E_FRONTEND_NLB, "the elastic addresses are not one for each subnet")
                .expected(format!("{} of them", count(subnets.value()))));
        }
    }
    same_maps(members, "frontend-nlb-attributes", true)?;
    same_maps(members, "frontend-nlb-tags", false)?;
    let listeners = listeners(members, ports)?;
    health_check(members)?;
    let name: String = balancer.load_balancer_name.chars().take(28).collect();
    let told: Vec<String> = listeners.iter().map(|(nlb, alb)| format!("{nlb} to {alb}")).collect();
    let note = enabled.error(
        Code::W_FRONTEND_NLB,
        format!(
            "on AWS the {} network load balancer `{name}-nlb` stands in front (TCP {}); podway serves the load balancer behind it",
            scheme.as_str(),
            told.join(", ")
        ),
    );
    Ok(Some(note.into_warning()))
}

fn annotation<'a>(member: &Member<'a>, suffix: &str) -> Option<Given<'a>> {
    member.annotations().get(suffix).map(Given::Annotation)
}

/// Maps that are the same on all members; `after_first` members before the first that sets it are free.
fn same_maps(members: &[Member<'_>], suffix: &str, after_first: bool) -> Result<(), Diagnostic> {
    let mut known: Option<(BTreeMap<String, String>, &Member<'_>)> = None;
    for member in members {
        let Some(own) = member.annotations().map(suffix)? else {
            if after_first && let Some((_, whose)) = &known {
                let message = format!("{} sets it, and this member of its group does not", whose.object());
                return Err(member.error_at(suffix, Code::E_CONFLICT_NLB, message));
            }
            continue;
        };
        if let Some(policy) = own.get(POLICY).filter(|p| after_first && !POLICIES.contains(&p.as_str())) {
            let error =
                member.error_at(suffix, Code::E_FRONTEND_NLB, format!("unknown `{POLICY}` `{policy}`"));
            return Err(error.expected(POLICIES.map(|p| format!("`{p}`")).join(", ")));
        }
        match &known {
            Some((before, whose)) if *before != own => {
                let message = format!("{} in the same group has others", whose.object());
                return Err(member.error_at(suffix, Code::E_CONFLICT_NLB, message));
            }
            Some(_) => {}
            None => known = Some((own, member)),
        }
    }
    Ok(())
}

/// The ports of the NLB, and the port of the load balancer that each leads to.
fn listeners(members: &[Member<'_>], ports: &BTreeMap<u16, Port>) -> Result<BTreeMap<u16, u16>, Diagnostic> {
    let suffix = "frontend-nlb-listener-port-mapping";
    let mut out: BTreeMap<u16, u16> = BTreeMap::new();
    for (i, member) in members.iter().enumerate() {
        let own: Vec<u16> = ports.iter().filter(|(_, p)| p.members.contains(&i)).map(|(n, _)| *n).collect();
        let mut pairs: Vec<(u16, u16)> = own.iter().map(|n| (*n, *n)).collect();
        if let Some(map) = member.annotations().map(suffix)?.filter(|m| !m.is_empty()) {
            pairs.clear();
            for (from, to) in map {
                let (Ok(from_port), Ok(to_port)) = (from.parse::<u16>(), to.parse::<u16>()) else {
                    let message = format!("`{from}={to}` is not a pair of ports");
                    let error = member.error_at(suffix, Code::E_FRONTEND_NLB, message);
                    return Err(error.expected("such as `8443=443`"));
                };
                pairs.extend(own.contains(&to_port).then_some((from_port, to_port)));
            }
        }
        for (from, to) in pairs {
            let known = *out.entry(from).or_insert(to);
            if known != to {
                let message =
                    format!("port {from} of the NLB leads to {known} in another member and to {to} here");
                return Err(member.error_at(suffix, Code::E_CONFLICT_NLB, message));
            }
        }
    }
    Ok(out)
}

/// Explicit values must agree; §16 H7: success codes are compared by what they say.
fn health_check(members: &[Member<'_>]) -> Result<(), Diagnostic> {
    const NUMBERS: [&str; 4] = [
        "frontend-nlb-healthcheck-interval-seconds",
        "frontend-nlb-healthcheck-timeout-seconds",
        "frontend-nlb-healthcheck-healthy-threshold-count",
        "frontend-nlb-healthcheck-unhealthy-threshold-count",
    ];
    const TEXTS: [&str; 4] = [
        "frontend-nlb-healthcheck-port",
        "frontend-nlb-healthcheck-protocol",
        "frontend-nlb-healthcheck-path",
        "frontend-nlb-healthcheck-success-codes",
    ];
    for member in members {
        for suffix in NUMBERS {
            member.annotations().int32(suffix)?;
        }
        let protocol = annotation(member, "frontend-nlb-healthcheck-protocol");
        choose(protocol, Code::E_HC_PROTO, &[("HTTP", ()), ("HTTPS", ())])?;
    }
    for suffix in NUMBERS.iter().chain(&TEXTS) {
        exclusive(members, Code::E_CONFLICT_NLB, |m| annotation(m, suffix))?;
    }
    Ok(())
}
