//! Certificates of a local run: the user's, the manifests' TLS Secrets, or one made at start.

use std::path::Path;

use crate::forwarder::{CertificatePem, StartError};
use crate::manifest::Loaded;
use crate::model::RuleCondition;

/// The user's own.
pub(super) fn from_files(cert: &Path, key: &Path) -> Result<Vec<CertificatePem>, StartError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| StartError::Tls(format!("cannot read `{}`: {e}", path.display())))
    };
    Ok(vec![CertificatePem { hosts: Vec::new(), chain: read(cert)?, key: read(key)?, arn: None }])
}

/// The Secrets that Ingresses name in `tls`, and a certificate of our own for every other host.
pub(super) fn for_manifests(loaded: &Loaded) -> Result<Vec<CertificatePem>, StartError> {
    let mut all: Vec<CertificatePem> = loaded
        .tls_secrets
        .iter()
        .map(|s| CertificatePem {
            hosts: s.hosts.clone(),
            chain: s.certificate_pem.clone(),
            key: s.private_key_pem.clone(),
            arn: None,
        })
        .collect();
    let covered = |host: &str| all.iter().any(|c| c.hosts.iter().any(|h| h.eq_ignore_ascii_case(host)));
    let hosts: Vec<String> = hosts(loaded).into_iter().filter(|h| !covered(h)).collect();
    all.push(made(hosts)?);
    Ok(all)
}

/// Every name that clients may ask for.
fn hosts(loaded: &Loaded) -> Vec<String> {
    let model = &loaded.model;
    let mut out: Vec<String> = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    out.extend(model.record_sets.iter().map(|r| r.name.clone()));
    out.extend(model.load_balancers.iter().map(|b| b.dns_name.clone()));
    let conditions = model
        .load_balancers
        .iter()
        .flat_map(|b| &b.listeners)
        .flat_map(|l| &l.rules)
        .flat_map(|r| &r.conditions);
    for condition in conditions {
        if let RuleCondition::HostHeader { values, .. } = condition {
            // A certificate can have a wildcard for its first label and nowhere else.
            let fits = |v: &&String| !v.strip_prefix("*.").unwrap_or(v).contains(['*', '?']);
            out.extend(values.iter().filter(fits).cloned());
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

fn made(hosts: Vec<String>) -> Result<CertificatePem, StartError> {
    let certified = rcgen::generate_simple_self_signed(hosts.clone())
        .map_err(|e| StartError::Tls(format!("cannot make a certificate: {e}")))?;
    Ok(CertificatePem {
        hosts,
        chain: certified.cert.pem().into_bytes(),
        key: certified.signing_key.serialize_pem().into_bytes(),
        arn: None,
    })
}
