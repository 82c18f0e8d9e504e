//! The records that external-dns would make for an Ingress (§11): alias records to its load balancer for
//! hosts of rules, of `tls`, and of the hostname annotation.

use std::collections::{BTreeMap, BTreeSet};

use super::group::Member;
use super::objects::Ingress;
use crate::error::{Code, Diagnostic};
use crate::model::{AliasTarget, LoadBalancer, RecordSet};

/// Current prefix first: where both stand it wins.
const PREFIXES: [&str; 2] = ["external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"];

/// The records of a group's Ingresses. Members that name one host share its record, as they share the load
/// balancer it leads to (§11.5).
pub(crate) fn record_sets(members: &[Member<'_>], balancer: &LoadBalancer) -> Vec<RecordSet> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for member in members {
        for name in names(member.ingress) {
            if !seen.insert(name.clone()) {
                continue;
            }
            for r#type in ["A", "AAAA"] {
                out.push(RecordSet {
                    name: name.clone(),
                    r#type: r#type.to_owned(),
                    alias_target: AliasTarget { dns_name: balancer.dns_name.to_ascii_lowercase() },
                    ingress: member.ingress.meta.key(),
                });
            }
        }
    }
    out
}

/// Of records of one name that lead to different load balancers, the lexicographically smallest target
/// stays, as where external-dns makes a new name (§11.5).
pub(crate) fn settle(records: &mut Vec<RecordSet>, told: &mut Vec<Diagnostic>) {
    let mut winner: BTreeMap<String, String> = BTreeMap::new();
    for record in records.iter() {
        let target = &record.alias_target.dns_name;
        let known = winner.entry(record.name.clone()).or_insert_with(|| target.clone());
        if *target < *known {
            known.clone_from(target);
        }
    }
    records.retain(|record| {
        let kept = winner.get(&record.name) == Some(&record.alias_target.dns_name);
        if !kept && record.r#type == "A" {
            let to = winner.get(&record.name).map_or("", String::as_str);
            told.push(
                Diagnostic::warning(
                    Code::W_RECORD_CONFLICT,
                    format!("the name `{}` already leads to another load balancer, `{to}`", record.name),
                )
                .object(format!("Ingress {}", record.ingress))
                .value(&record.name)
                .expected("a name of its own, or one group for both Ingresses"),
            );
        }
        kept
    });
}

/// The names that external-dns takes from an Ingress.
fn names(ingress: &Ingress) -> Vec<String> {
    let annotation = |name: &str| {
        PREFIXES
            .iter()
            .find_map(|p| ingress.meta.annotations.get(&format!("{p}{name}")))
            .map(|t| t.text.as_str())
    };
    if annotation("controller").is_some_and(|c| c != "dns-controller") {
        return Vec::new();
    }
    let source = annotation("ingress-hostname-source").map(str::to_lowercase);
    let (defined, annotated) = match source.as_deref() {
        None => (true, true),
        Some("annotation-only") => (false, true),
        Some("defined-hosts-only") => (true, false),
        Some(_) => (false, false),
    };
    let mut names: Vec<String> = Vec::new();
    if defined {
        names.extend(ingress.rules.iter().map(|r| r.host.text.clone()).filter(|h| !h.is_empty()));
        names.extend(
            ingress.tls.iter().flat_map(|t| t.hosts.iter().map(|h| h.text.clone())).filter(|h| !h.is_empty()),
        );
    }
    if annotated {
        let text = annotation("hostname").unwrap_or_default().replace(' ', "");
        names.extend(text.split(',').filter(|h| !h.is_empty()).map(str::to_owned));
    }
    // `target` sends the names elsewhere; only an alias to this load balancer is a record of ours.
    if annotation("target").is_some_and(|t| !t.is_empty()) {
        return Vec::new();
    }
    names.into_iter().map(|name| name.trim_end_matches('.').to_owned()).collect()
}
