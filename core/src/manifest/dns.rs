//! The records that external-dns would make for an Ingress (§11): alias records to its load balancer for
//! hosts of rules, of `tls`, and of the hostname annotation.

use std::collections::BTreeSet;

use super::objects::Ingress;
use crate::model::{AliasTarget, LoadBalancer, RecordSet};

/// Current prefix first: where both stand it wins.
const PREFIXES: [&str; 2] = ["external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"];

pub(crate) fn record_sets(ingress: &Ingress, balancer: &LoadBalancer) -> Vec<RecordSet> {
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
        names.extend(ingress.tls.iter().flat_map(|t| t.hosts.iter().cloned()).filter(|h| !h.is_empty()));
    }
    if annotated {
        let text = annotation("hostname").unwrap_or_default().replace(' ', "");
        names.extend(text.split(',').filter(|h| !h.is_empty()).map(str::to_owned));
    }
    // `target` sends the names elsewhere; only an alias to this load balancer is a record of ours.
    if annotation("target").is_some_and(|t| !t.is_empty()) {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for name in names {
        let name = name.trim_end_matches('.').to_owned();
        if !seen.insert(name.clone()) {
            continue;
        }
        for r#type in ["A", "AAAA"] {
            out.push(RecordSet {
                name: name.clone(),
                r#type: r#type.to_owned(),
                alias_target: AliasTarget { dns_name: balancer.dns_name.to_ascii_lowercase() },
                ingress: ingress.meta.key(),
            });
        }
    }
    out
}
