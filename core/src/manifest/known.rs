//! Every annotation of the controller in one table (§13): who may carry it, its grammar, its default, how
//! members of a group share it, and what podway does with it. The reader of annotations, the warning about
//! misspelt ones and `core/docs/annotations.md` all go by it; so do the attribute keys below.

/// Which objects the controller reads an annotation from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationScope {
    /// Ingresses only; a copy on a Service has no effect.
    Ingress,
    /// Ingresses and Services; the Service's one counts, as a whole.
    IngressAndService,
}

/// The grammar of an annotation's value (spec: controller §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationType {
    /// Raw text, never trimmed.
    String,
    /// `true`, `false` and the controller's other spellings of them.
    Bool,
    /// A base-10 number of 32 bits.
    Int32,
    /// A base-10 number of 64 bits.
    Int64,
    /// Texts with commas between them.
    StringList,
    /// `key=value` pairs with commas between them.
    StringMap,
    /// One JSON document.
    Json,
    /// One of these, compared byte by byte.
    Enum(&'static [&'static str]),
}

impl std::fmt::Display for AnnotationType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AnnotationType::String => "string",
            AnnotationType::Bool => "bool",
            AnnotationType::Int32 => "int32",
            AnnotationType::Int64 => "int64",
            AnnotationType::StringList => "stringList",
            AnnotationType::StringMap => "stringMap",
            AnnotationType::Json => "json",
            AnnotationType::Enum(all) => {
                let all: Vec<String> = all.iter().map(|v| format!("`{v}`")).collect();
                return f.write_str(&all.join(" or "));
            }
        })
    }
}

/// What podway does with an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationUse {
    /// It decides where requests go, or how.
    Applied,
    /// It is checked, and members of a group must agree, as the controller asks; AWS alone acts on it.
    Checked,
    /// The controller writes it and never reads it.
    Output,
}

/// An annotation the controller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownAnnotation {
    /// The key behind `alb.ingress.kubernetes.io/`; a part in braces stands for any text.
    pub suffix: &'static str,
    /// Which objects may carry it.
    pub scope: AnnotationScope,
    /// The grammar of its value.
    pub r#type: AnnotationType,
    /// What holds where nobody sets it.
    pub default: &'static str,
    /// How the members of a group share it.
    pub merge: &'static str,
    /// Whether podway acts on it.
    pub r#use: AnnotationUse,
    /// What podway does with it, for the documentation.
    pub note: &'static str,
}

use AnnotationScope::{Ingress as I, IngressAndService as IS};
use AnnotationType::{Bool, Enum, Int32, Int64, Json, String as Str, StringList, StringMap};
use AnnotationUse::{Applied, Checked, Output};

const fn known(
    suffix: &'static str,
    scope: AnnotationScope,
    r#type: AnnotationType,
    default: &'static str,
    merge: &'static str,
    r#use: AnnotationUse,
    note: &'static str,
) -> KnownAnnotation {
    KnownAnnotation { suffix, scope, r#type, default, merge, r#use, note }
}

const SCHEMES: &[&str] = &["internal", "internet-facing"];
const HTTP: &[&str] = &["HTTP", "HTTPS"];
const AGREE: &str = "members that set it must agree";
const AGREE_PARAMS: &str = "members that set it must agree; IngressClassParams win";
const PORT: &str = "members on one port must agree";
const PORT_PARAMS: &str = "members on one port must agree; IngressClassParams win";
const KEYS: &str = "merged key by key; the first member's IngressClassParams win";
const OWN: &str = "each member its own";
const NLB: &str = "members must agree for each port of the NLB";

/// The table, in the order of the documentation.
#[rustfmt::skip]
pub(crate) static ANNOTATIONS: &[KnownAnnotation] = &[
    known("group.name", I, Str, "the Ingress alone", "IngressClassParams win", Applied, "joins Ingresses into one load balancer"),
    known("group.order", I, Int32, "0", OWN, Applied, "orders the members, and so their rules; -1000 to 1000"),
    known("load-balancer-name", I, Str, "hashed", AGREE_PARAMS, Applied, "names the load balancer; at most 32 bytes"),
    known("scheme", I, Enum(SCHEMES), "`--default-load-balancer-scheme`", AGREE_PARAMS, Applied, "goes into the hashed name and the DNS name"),
    known("ip-address-type", I, Enum(&["ipv4", "dualstack", "dualstack-without-public-ipv4"]), "ipv4", AGREE_PARAMS, Applied, "IPv6 Services need a dualstack load balancer"),
    known("subnets", I, StringList, "discovered by AWS", "members that set it must agree as sets; IngressClassParams win", Checked, "not resolved"),
    known("security-groups", I, StringList, "a managed group", "members that set it must agree, order included", Checked, "not resolved, nothing is filtered"),
    known("manage-backend-security-group-rules", I, Bool, "`--enable-manage-backend-security-group-rules`", AGREE, Checked, "read only beside `security-groups`"),
    known("inbound-cidrs", I, StringList, "open", PORT_PARAMS, Checked, "AWS enforces it in a security group; podway filters nobody"),
    known("security-group-prefix-lists", I, StringList, "none", PORT_PARAMS, Checked, "as `inbound-cidrs`"),
    known("customer-owned-ipv4-pool", I, Str, "none", AGREE, Checked, "must not be empty"),
    known("ipam-ipv4-pool-id", I, Str, "none", "members that set it must agree; the first member's IngressClassParams win", Checked, ""),
    known("load-balancer-attributes", I, StringMap, "none", KEYS, Applied, "attributes of the load balancer"),
    known("minimum-load-balancer-capacity", I, StringMap, "none", KEYS, Checked, "only the key `CapacityUnits`"),
    known("tags", IS, StringMap, "none", "merged key by key where a resource is shared", Applied, "tags of the load balancer, listeners, rules and target groups"),
    known("wafv2-acl-arn", I, Str, "unchanged", AGREE_PARAMS, Checked, "no web ACL is evaluated"),
    known("wafv2-acl-name", I, Str, "unchanged", AGREE_PARAMS, Checked, "no web ACL is evaluated"),
    known("waf-acl-id", I, Str, "unchanged", AGREE, Checked, "no web ACL is evaluated"),
    known("web-acl-id", I, Str, "unchanged", AGREE, Checked, "the old name of `waf-acl-id`"),
    known("shield-advanced-protection", I, Bool, "unchanged", AGREE, Checked, ""),
    known("listen-ports", I, Json, "HTTP 80, or HTTPS 443 with certificates", "union", Applied, "listeners"),
    known("ssl-redirect", I, Int32, "off", "one port for the whole group; IngressClassParams win", Applied, "every HTTP listener of the group redirects, and has no rules"),
    known("certificate-arn", I, StringList, "discovered by host", "union; IngressClassParams win", Applied, "certificates of HTTPS listeners, the default one first"),
    known("create-acm-cert", I, Bool, "false", OWN, Applied, "with `--enable-certificate-management`: a certificate with a made-up ARN"),
    known("acm-pca-arn", I, Str, "`--default-pca-arn`", OWN, Checked, "the authority of a made-up certificate"),
    known("ssl-policy", I, Str, "`--default-ssl-policy`", PORT_PARAMS, Applied, "security policy of HTTPS listeners"),
    known("mutual-authentication", I, Json, "none", PORT, Applied, "mutual TLS of HTTPS listeners; trust stores are not fetched"),
    known("listener-attributes.{PROTOCOL}-{port}", I, StringMap, "none", KEYS, Applied, "attributes of that listener"),
    known("actions.{name}", I, Json, "503 where it is missing", OWN, Applied, "the action of backends with port name `use-annotation`"),
    known("conditions.{name}", I, Json, "none", OWN, Applied, "further conditions of rules to that backend"),
    known("transforms.{name}", I, Json, "none", OWN, Applied, "rewrites of rules to that backend"),
    known("use-regex-path-match", I, Bool, "false", OWN, Applied, "ImplementationSpecific paths are regexes"),
    known("target-type", IS, Enum(&["instance", "ip"]), "`--default-target-type`", "each member its own; IngressClassParams win", Applied, "targets are nodes or pods"),
    known("backend-protocol", IS, Enum(HTTP), "HTTP", OWN, Applied, "spoken to targets"),
    known("backend-protocol-version", IS, Enum(&["HTTP1", "HTTP2", "GRPC"]), "HTTP1", OWN, Applied, "spoken to targets"),
    known("target-group-attributes", IS, StringMap, "none", OWN, Applied, "attributes of target groups: stickiness, slow start, algorithm, draining"),
    known("target-node-labels", IS, StringMap, "none", OWN, Applied, "which nodes are targets, in target type instance"),
    known("target-control-port.{serviceName}.{servicePort}", IS, Int32, "none", OWN, Applied, "goes into the group's name; no agent is asked"),
    known("multi-cluster-target-group", IS, Bool, "false", "true on the Ingress wins", Checked, "podway sees one cluster"),
    known("healthcheck-port", IS, Str, "traffic-port", OWN, Applied, "health checks"),
    known("healthcheck-protocol", IS, Enum(HTTP), "as `backend-protocol`", OWN, Applied, "health checks"),
    known("healthcheck-path", IS, Str, "`/`, GRPC `/AWS.ALB/healthcheck`", OWN, Applied, "health checks"),
    known("healthcheck-interval-seconds", IS, Int32, "15", OWN, Applied, "health checks"),
    known("healthcheck-timeout-seconds", IS, Int32, "5", OWN, Applied, "health checks"),
    known("healthy-threshold-count", IS, Int32, "2", OWN, Applied, "health checks"),
    known("unhealthy-threshold-count", IS, Int32, "2", OWN, Applied, "health checks"),
    known("success-codes", IS, Str, "200, GRPC 12", OWN, Applied, "health checks"),
    known("auth-type", IS, Enum(&["none", "oidc", "cognito"]), "none", OWN, Applied, "authentication on HTTPS listeners"),
    known("auth-idp-cognito", IS, Json, "none", OWN, Applied, "authentication"),
    known("auth-idp-oidc", IS, Json, "none", OWN, Applied, "authentication; the Secret must be in the input"),
    known("auth-on-unauthenticated-request", IS, Str, "authenticate", OWN, Applied, "authentication"),
    known("auth-scope", IS, Str, "openid", OWN, Applied, "authentication"),
    known("auth-session-cookie", IS, Str, "AWSELBAuthSessionCookie", OWN, Applied, "authentication"),
    known("auth-session-timeout", IS, Int64, "604800", OWN, Applied, "authentication"),
    known("jwt-validation", I, Json, "none", OWN, Applied, "JWT validation on HTTPS listeners"),
    known("enable-frontend-nlb", I, Bool, "false", AGREE, Checked, "the NLB is named and its ports are told; podway serves the load balancer behind it"),
    known("frontend-nlb-scheme", I, Enum(SCHEMES), "`--default-load-balancer-scheme`", AGREE, Checked, ""),
    known("frontend-nlb-subnets", I, StringList, "discovered by AWS", "members that set it must agree as sets", Checked, "not resolved"),
    known("frontend-nlb-security-groups", I, StringList, "the load balancer's", "members that set it must agree, order included", Checked, "not resolved"),
    known("frontend-nlb-listener-port-mapping", I, StringMap, "the same ports", "union; one port of the NLB leads to one port", Checked, "told beside the NLB's name"),
    known("frontend-nlb-eip-allocations", I, StringList, "none", "members that set it must agree as sets", Checked, "internet-facing only, one for each subnet"),
    known("frontend-nlb-attributes", I, StringMap, "none", "the same on all members after the first that sets it", Checked, ""),
    known("frontend-nlb-tags", I, StringMap, "the load balancer's", AGREE, Checked, ""),
    known("frontend-nlb-healthcheck-port", I, Str, "traffic-port", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-protocol", I, Enum(HTTP), "HTTP", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-path", I, Str, "/", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-interval-seconds", I, Int32, "15", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-timeout-seconds", I, Int32, "5", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-healthy-threshold-count", I, Int32, "2", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-unhealthy-threshold-count", I, Int32, "2", NLB, Checked, ""),
    known("frontend-nlb-healthcheck-success-codes", I, Str, "200", NLB, Checked, ""),
    known("dry-run-plan", I, Json, "", "on the first member", Output, "never read on an Ingress; the document itself is an input of every verb"),
];

/// All annotations the controller knows, in the order of `core/docs/annotations.md`.
///
/// ```
/// let scheme = podway::manifest::known_annotations().iter().find(|a| a.suffix == "scheme").unwrap();
/// assert_eq!(scheme.r#type.to_string(), "`internal` or `internet-facing`");
/// ```
pub fn known_annotations() -> &'static [KnownAnnotation] {
    ANNOTATIONS
}

/// The entry that a suffix belongs to.
pub(crate) fn find(suffix: &str) -> Option<&'static KnownAnnotation> {
    ANNOTATIONS.iter().find(|a| match a.suffix.split_once('{') {
        Some((head, _)) => suffix.len() > head.len() && suffix.starts_with(head),
        None => a.suffix == suffix,
    })
}

/// The known text that `text` was most likely meant to be, if one is near enough to say so.
pub(crate) fn nearest<'a>(text: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let score = |known: &str| {
        // A word too many in front (`healthcheck-success-codes`) is nearer than its length says.
        let apart = strsim::normalized_damerau_levenshtein(&text.to_lowercase(), known);
        if known.len() > 5 && text.ends_with(known) { apart.max(0.9) } else { apart }
    };
    all.map(|known| (score(known), known))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Attributes of a load balancer (§10.5).
pub(crate) const LOAD_BALANCER_ATTRIBUTES: &[&str] = &[
    "deletion_protection.enabled",
    "access_logs.s3.enabled",
    "access_logs.s3.bucket",
    "access_logs.s3.prefix",
    "connection_logs.s3.enabled",
    "connection_logs.s3.bucket",
    "connection_logs.s3.prefix",
    "health_check_logs.s3.enabled",
    "health_check_logs.s3.bucket",
    "health_check_logs.s3.prefix",
    "ipv6.deny_all_igw_traffic",
    "zonal_shift.config.enabled",
    "idle_timeout.timeout_seconds",
    "client_keep_alive.seconds",
    "routing.http.desync_mitigation_mode",
    "routing.http.drop_invalid_header_fields.enabled",
    "routing.http.preserve_host_header.enabled",
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
    "routing.http.xff_client_port.enabled",
    "routing.http.xff_header_processing.mode",
    "routing.http2.enabled",
    "waf.fail_open.enabled",
    "load_balancing.cross_zone.enabled",
];

/// Attributes of a target group with nodes or pods behind an Application Load Balancer (§8.8).
pub(crate) const TARGET_GROUP_ATTRIBUTES: &[&str] = &[
    "deregistration_delay.timeout_seconds",
    "stickiness.enabled",
    "stickiness.type",
    "stickiness.lb_cookie.duration_seconds",
    "stickiness.app_cookie.cookie_name",
    "stickiness.app_cookie.duration_seconds",
    "slow_start.duration_seconds",
    "load_balancing.algorithm.type",
    "load_balancing.algorithm.anomaly_mitigation",
    "load_balancing.cross_zone.enabled",
    "target_group_health.dns_failover.minimum_healthy_targets.count",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
];

/// Attributes that exist for target groups of other kinds (§8.8).
pub(crate) const FOREIGN_TARGET_GROUP_ATTRIBUTES: &[&str] = &[
    "lambda.multi_value_headers.enabled",
    "deregistration_delay.connection_termination.enabled",
    "preserve_client_ip.enabled",
    "proxy_protocol_v2.enabled",
    "target_health_state.unhealthy.connection_termination.enabled",
    "target_health_state.unhealthy.draining_interval_seconds",
    "target_failover.on_deregistration",
    "target_failover.on_unhealthy",
];

/// Attributes of a listener (§4.8).
pub(crate) const LISTENER_ATTRIBUTES: &[&str] = &[
    "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
    "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
    "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
    "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
    "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name",
    "routing.http.request.x_amzn_mtls_clientcert.header_name",
    "routing.http.request.x_amzn_tls_version.header_name",
    "routing.http.request.x_amzn_tls_cipher_suite.header_name",
    "routing.http.response.server.enabled",
    "routing.http.response.strict_transport_security.header_value",
    "routing.http.response.access_control_allow_origin.header_value",
    "routing.http.response.access_control_allow_methods.header_value",
    "routing.http.response.access_control_allow_headers.header_value",
    "routing.http.response.access_control_allow_credentials.header_value",
    "routing.http.response.access_control_expose_headers.header_value",
    "routing.http.response.access_control_max_age.header_value",
    "routing.http.response.content_security_policy.header_value",
    "routing.http.response.x_content_type_options.header_value",
    "routing.http.response.x_frame_options.header_value",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_finds_its_entry() {
        assert_eq!(find("actions.ssl-redirect").map(|a| a.suffix), Some("actions.{name}"));
        assert_eq!(find("scheme").map(|a| a.suffix), Some("scheme"));
        assert_eq!(find("actions.").map(|a| a.suffix), None);
        assert_eq!(find("Scheme").map(|a| a.suffix), None);
    }

    #[test]
    fn the_nearest_is_near() {
        let of = |text| nearest(text, ANNOTATIONS.iter().map(|a| a.suffix));
        assert_eq!(of("shceme"), Some("scheme"));
        assert_eq!(of("healthcheck-success-codes"), Some("success-codes"));
        assert_eq!(of("listen-port"), Some("listen-ports"));
        assert_eq!(of("banana"), None);
        let key = |text| nearest(text, TARGET_GROUP_ATTRIBUTES.iter().copied());
        assert_eq!(key("stickness.enabled"), Some("stickiness.enabled"));
    }
}
