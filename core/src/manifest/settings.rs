//! What the controller is told by flags and gates (§0.4), and what it asks AWS for: the things beside the
//! manifests that decide what they become.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Code, Diagnostic, Error};
use crate::model::{Scheme, TargetType};

/// Settings of the controller, with its defaults (spec: controller §0.4). In JSON the fields have their own
/// names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// `--cluster-name`: goes into hashed names. Default `local`.
    pub cluster_name: String,
    /// `--ingress-class`: what the legacy class annotation must say. Default `alb`; empty also takes
    /// Ingresses without any class.
    pub ingress_class: String,
    /// `--watch-namespace`: the only namespace whose objects count. Default all.
    pub watch_namespace: Option<String>,
    /// `--default-target-type`. Default `instance`.
    pub default_target_type: TargetType,
    /// `--default-load-balancer-scheme`. Default `internal`.
    pub default_scheme: Scheme,
    /// `--default-ssl-policy`. Default `ELBSecurityPolicy-2016-08`.
    pub default_ssl_policy: String,
    /// `--default-tags`. Default none.
    pub default_tags: BTreeMap<String, String>,
    /// Gate `EnableDefaultTagsLowPriority`: default tags only fill gaps, where they win otherwise. Default
    /// false.
    pub default_tags_low_priority: bool,
    /// `--external-managed-tags`: keys that no annotation may set. Default none.
    pub external_managed_tags: BTreeSet<String>,
    /// `--tolerate-non-existent-backend-service`. Default true.
    pub tolerate_non_existent_backend_service: bool,
    /// `--tolerate-non-existent-backend-action`. Default true.
    pub tolerate_non_existent_backend_action: bool,
    /// `--disable-ingress-class-annotation`: using it is told as a warning. Default false.
    pub disable_ingress_class_annotation: bool,
    /// `--disable-ingress-group-name-annotation`: using it is told as a warning. Default false.
    pub disable_ingress_group_name_annotation: bool,
    /// `--allowed-certificate-authority-arns`: of which authority a certificate that is discovered must be.
    /// Default any.
    pub allowed_certificate_authority_arns: Vec<String>,
    /// `--default-pca-arn`: the authority of managed certificates. Default none, which is Amazon's own.
    pub default_pca_arn: Option<String>,
    /// Gate `EnableCertificateManagement`: `create-acm-cert` is read. Default false.
    pub enable_certificate_management: bool,
    /// `--enable-endpoint-slices`: targets come from EndpointSlices, not from Endpoints. Default true.
    pub enable_endpoint_slices: bool,
    /// `--enable-backend-security-group`. Default true.
    pub enable_backend_security_group: bool,
    /// `--enable-manage-backend-security-group-rules`. Default false.
    pub enable_manage_backend_security_group_rules: bool,
    /// `--max-targets-per-target-group`; 0, the default, is no limit.
    pub max_targets_per_target_group: usize,
    /// `--required-secrets-label`: the label that OIDC Secrets must carry, key and value. Default none.
    pub required_secrets_label: Option<(String, String)>,
    /// Gate `EndpointsFailOpen`: where nothing is ready, what is unknown takes its place. Default true.
    pub endpoints_fail_open: bool,
    /// Gate `EnableIPTargetType`. Default true.
    pub enable_ip_target_type: bool,
    /// Gate `LBCapacityReservation`: `minimum-load-balancer-capacity` is read. Default true.
    pub lb_capacity_reservation: bool,
    /// Certificates that discovery may find by host. Without any, HTTPS listeners have none.
    pub certificates: Vec<KnownCertificate>,
    /// Names and ARNs of target groups that actions may name and the controller does not make.
    pub target_groups: BTreeMap<String, String>,
    /// What AWS allows, for the warnings about it.
    pub quotas: Quotas,
    /// Leave a broken member out, where the controller gives up its whole group. Default false.
    pub skip_broken: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_name: "local".to_owned(),
            ingress_class: "alb".to_owned(),
            watch_namespace: None,
            default_target_type: TargetType::Instance,
            default_scheme: Scheme::Internal,
            default_ssl_policy: "ELBSecurityPolicy-2016-08".to_owned(),
            default_tags: BTreeMap::new(),
            default_tags_low_priority: false,
            external_managed_tags: BTreeSet::new(),
            tolerate_non_existent_backend_service: true,
            tolerate_non_existent_backend_action: true,
            disable_ingress_class_annotation: false,
            disable_ingress_group_name_annotation: false,
            allowed_certificate_authority_arns: Vec::new(),
            default_pca_arn: None,
            enable_certificate_management: false,
            enable_endpoint_slices: true,
            enable_backend_security_group: true,
            enable_manage_backend_security_group_rules: false,
            max_targets_per_target_group: 0,
            required_secrets_label: None,
            endpoints_fail_open: true,
            enable_ip_target_type: true,
            lb_capacity_reservation: true,
            certificates: Vec::new(),
            target_groups: BTreeMap::new(),
            quotas: Quotas::default(),
            skip_broken: false,
        }
    }
}

/// Tags that the controller keeps for itself (§10.6).
const TRACKING: [&str; 3] = ["elbv2.k8s.aws/cluster", "ingress.k8s.aws/stack", "ingress.k8s.aws/resource"];

impl Settings {
    /// What the controller would not start with.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Diagnostic::error(Code::E_ARGUMENT, what).into());
        if self.cluster_name.is_empty() {
            return wrong("the cluster has no name: `--cluster-name` is empty".to_owned());
        }
        if !matches!(self.default_target_type, TargetType::Instance | TargetType::Ip) {
            return wrong(format!("`{}` cannot be the default target type", self.default_target_type));
        }
        if self.enable_manage_backend_security_group_rules && !self.enable_backend_security_group {
            return wrong(
                "`--enable-manage-backend-security-group-rules` needs `--enable-backend-security-group`"
                    .to_owned(),
            );
        }
        for key in self.default_tags.keys().chain(&self.external_managed_tags) {
            if TRACKING.contains(&key.as_str()) {
                return wrong(format!("the tag `{key}` is the controller's own"));
            }
        }
        match self.default_tags.keys().find(|k| self.external_managed_tags.contains(*k)) {
            Some(key) => wrong(format!("the tag `{key}` is a default tag and managed elsewhere")),
            None => Ok(()),
        }
    }
}

/// A certificate with the domains it covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnownCertificate {
    /// The ARN.
    pub arn: String,
    /// Names, may start with `*.`.
    pub domains: Vec<String>,
    /// The ARN of the private authority that issued it, if one did.
    pub certificate_authority_arn: Option<String>,
}

/// Quotas of Elastic Load Balancing, by which manifests are measured for warnings; an account may have
/// others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Quotas {
    /// Values of all conditions of a rule. Default 5.
    pub condition_values_per_rule: usize,
    /// Wildcards in all conditions of a rule. Default 5.
    pub condition_wildcards_per_rule: usize,
    /// Rules of a load balancer, without default rules. Default 100.
    pub rules_per_load_balancer: usize,
    /// Target groups of a load balancer. Default 100.
    pub target_groups_per_load_balancer: usize,
    /// Target groups of one action. Default 5.
    pub target_groups_per_action: usize,
    /// Targets of a load balancer. Default 1,000.
    pub targets_per_load_balancer: usize,
    /// Listeners of a load balancer. Default 50.
    pub listeners_per_load_balancer: usize,
    /// Certificates of a load balancer, without default ones. Default 25.
    pub certificates_per_load_balancer: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Quotas {
            condition_values_per_rule: 5,
            condition_wildcards_per_rule: 5,
            rules_per_load_balancer: 100,
            target_groups_per_load_balancer: 100,
            target_groups_per_action: 5,
            targets_per_load_balancer: 1000,
            listeners_per_load_balancer: 50,
            certificates_per_load_balancer: 25,
        }
    }
}
