//! The table of annotations: every one that the controller knows is in it, and `core/docs/annotations.md` is
//! what it says. `BLESS=1 cargo test -p podway-tests --test annotations` writes the document again.

use std::collections::BTreeSet;
use std::path::Path;

use podway::manifest::{AnnotationScope, AnnotationUse, KnownAnnotation, known_annotations};

/// Every annotation that the controller's sources read, by scope (spec: controller §13).
const INGRESS: &[&str] = &[
    "group.name",
    "group.order",
    "load-balancer-name",
    "scheme",
    "ip-address-type",
    "subnets",
    "security-groups",
    "manage-backend-security-group-rules",
    "inbound-cidrs",
    "security-group-prefix-lists",
    "customer-owned-ipv4-pool",
    "ipam-ipv4-pool-id",
    "load-balancer-attributes",
    "minimum-load-balancer-capacity",
    "wafv2-acl-arn",
    "wafv2-acl-name",
    "waf-acl-id",
    "web-acl-id",
    "shield-advanced-protection",
    "listen-ports",
    "ssl-redirect",
    "certificate-arn",
    "create-acm-cert",
    "acm-pca-arn",
    "ssl-policy",
    "mutual-authentication",
    "listener-attributes.{PROTOCOL}-{port}",
    "actions.{name}",
    "conditions.{name}",
    "transforms.{name}",
    "use-regex-path-match",
    "jwt-validation",
    "enable-frontend-nlb",
    "frontend-nlb-scheme",
    "frontend-nlb-subnets",
    "frontend-nlb-security-groups",
    "frontend-nlb-listener-port-mapping",
    "frontend-nlb-eip-allocations",
    "frontend-nlb-attributes",
    "frontend-nlb-tags",
    "frontend-nlb-healthcheck-port",
    "frontend-nlb-healthcheck-protocol",
    "frontend-nlb-healthcheck-path",
    "frontend-nlb-healthcheck-interval-seconds",
    "frontend-nlb-healthcheck-timeout-seconds",
    "frontend-nlb-healthcheck-healthy-threshold-count",
    "frontend-nlb-healthcheck-unhealthy-threshold-count",
    "frontend-nlb-healthcheck-success-codes",
    "dry-run-plan",
];

const INGRESS_AND_SERVICE: &[&str] = &[
    "tags",
    "target-type",
    "backend-protocol",
    "backend-protocol-version",
    "target-group-attributes",
    "target-node-labels",
    "target-control-port.{serviceName}.{servicePort}",
    "multi-cluster-target-group",
    "healthcheck-port",
    "healthcheck-protocol",
    "healthcheck-path",
    "healthcheck-interval-seconds",
    "healthcheck-timeout-seconds",
    "healthy-threshold-count",
    "unhealthy-threshold-count",
    "success-codes",
    "auth-type",
    "auth-idp-cognito",
    "auth-idp-oidc",
    "auth-on-unauthenticated-request",
    "auth-scope",
    "auth-session-cookie",
    "auth-session-timeout",
];

#[test]
fn the_table_has_every_annotation_of_the_controller_once() {
    let of = |scope| {
        let all: Vec<&str> =
            known_annotations().iter().filter(|a| a.scope == scope).map(|a| a.suffix).collect();
        let set: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(set.len(), all.len(), "one stands twice");
        set
    };
    assert_eq!(of(AnnotationScope::Ingress), INGRESS.iter().copied().collect());
    assert_eq!(of(AnnotationScope::IngressAndService), INGRESS_AND_SERVICE.iter().copied().collect());
}

#[test]
fn the_document_is_generated_from_the_table() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/docs/annotations.md");
    let generated = document();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(committed.parent().expect("a folder")).expect("the folder of the document");
        std::fs::write(&committed, &generated).expect("the document can be written");
    }
    let text = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        text == generated,
        "core/docs/annotations.md is stale: BLESS=1 cargo test -p podway-tests --test annotations"
    );
}

fn document() -> String {
    let mut out = String::from(
        "# Annotations\n\n\
         Every annotation under `alb.ingress.kubernetes.io/` that the AWS Load Balancer Controller knows, and what podway does\n\
         with it. Generated from the table that podway reads annotations by (`core/src/manifest/known.rs`); do not edit.\n\n\
         *Applied*: it decides where requests go, or how. *Checked*: a wrong value, or members of a group that disagree, are\n\
         refused as the controller refuses them; AWS alone acts on it. Any other key under the prefix has no effect, and\n\
         is told as `W_ANNOTATION_UNKNOWN` with the nearest right one.\n\n\
         | annotation | on | value | default | in a group | podway |\n|---|---|---|---|---|---|\n",
    );
    for a in known_annotations() {
        out.push_str(&row(a));
    }
    out
}

fn row(a: &KnownAnnotation) -> String {
    let on = match a.scope {
        AnnotationScope::Ingress => "Ingress",
        AnnotationScope::IngressAndService => "Ingress, Service",
    };
    let how = match a.r#use {
        AnnotationUse::Applied => "applied",
        AnnotationUse::Checked => "checked",
        AnnotationUse::Output => "output",
    };
    let note = if a.note.is_empty() { String::new() } else { format!(": {}", a.note) };
    format!("| `{}` | {on} | {} | {} | {} | {how}{note} |\n", a.suffix, a.r#type, a.default, a.merge)
}
