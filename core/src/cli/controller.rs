//! The flags of the controller that change what manifests become, under their own names, and what it would
//! ask AWS for.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::error::{Code, Diagnostic, Error};
use crate::manifest::{KnownCertificate, Quotas, Settings};
use crate::model::{Scheme, TargetType};

/// Flags of the AWS Load Balancer Controller.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings of the controller")]
pub(crate) struct ControllerArgs {
    /// What the annotation kubernetes.io/ingress.class must say; empty also takes Ingresses of no class
    #[arg(long, value_name = "NAME", default_value = "alb")]
    ingress_class: String,
    /// Look at this namespace only
    #[arg(long, value_name = "NAMESPACE")]
    watch_namespace: Option<String>,
    /// `instance` or `ip`
    #[arg(long, value_name = "TYPE", default_value = "instance", value_parser = target_type)]
    default_target_type: TargetType,
    /// `internal` or `internet-facing`
    #[arg(long, value_name = "SCHEME", default_value = "internal", value_parser = scheme)]
    default_load_balancer_scheme: Scheme,
    /// The security policy of HTTPS listeners that name none
    #[arg(long, value_name = "POLICY", default_value = "ELBSecurityPolicy-2016-08")]
    default_ssl_policy: String,
    /// Tags of everything, as `key=value,key=value`
    #[arg(long, value_name = "TAGS", value_delimiter = ',', value_parser = pair)]
    default_tags: Vec<(String, String)>,
    /// Tag keys that no annotation may set
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    external_managed_tags: Vec<String>,
    /// Whether a Service that is missing becomes a 503 instead of an error
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    tolerate_non_existent_backend_service: bool,
    /// Whether an action annotation that is missing becomes a 503 instead of an error
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    tolerate_non_existent_backend_action: bool,
    /// Warn of the annotation kubernetes.io/ingress.class
    #[arg(long)]
    disable_ingress_class_annotation: bool,
    /// Warn of the annotation group.name
    #[arg(long)]
    disable_ingress_group_name_annotation: bool,
    /// Discover only certificates of these authorities
    #[arg(long, value_name = "ARNS", value_delimiter = ',')]
    allowed_certificate_authority_arns: Vec<String>,
    /// The authority of certificates that the controller makes
    #[arg(long, value_name = "ARN")]
    default_pca_arn: Option<String>,
    /// Whether targets come from EndpointSlices instead of Endpoints
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    enable_endpoint_slices: bool,
    /// Whether the controller has a security group of its own for backends
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    enable_backend_security_group: bool,
    /// Manage the rules of backend security groups beside `security-groups`
    #[arg(long)]
    enable_manage_backend_security_group_rules: bool,
    /// At most this many targets in a target group; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_targets_per_target_group: usize,
    /// The label that OIDC Secrets must carry, as `key=value`
    #[arg(long, value_name = "LABEL", value_parser = pair)]
    required_secrets_label: Option<(String, String)>,
    /// Feature gates, as `Name=true,Name=false`: EndpointsFailOpen, EnableIPTargetType,
    /// EnableDefaultTagsLowPriority, LBCapacityReservation, EnableCertificateManagement
    #[arg(long, value_name = "GATES", value_delimiter = ',', value_parser = gate)]
    feature_gates: Vec<(Gate, bool)>,
    /// Certificates that may be discovered by host: the JSON of `aws acm list-certificates`
    #[arg(long, value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// A target group that actions name and the controller does not make
    #[arg(long = "target-group", value_name = "NAME=ARN", value_parser = pair)]
    target_groups: Vec<(String, String)>,
    /// A quota of the account, as `rules=200`: rules, target-groups, targets, listeners, certificates,
    /// condition-values, wildcards, target-groups-per-action
    #[arg(long = "quota", value_name = "NAME=N", value_parser = quota)]
    quotas: Vec<(Quota, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Gate {
    EndpointsFailOpen,
    IpTargetType,
    DefaultTagsLowPriority,
    LbCapacityReservation,
    CertificateManagement,
}

/// A field of the quotas.
type Quota = fn(&mut Quotas) -> &mut usize;

impl ControllerArgs {
    /// Sets what the flags say.
    ///
    /// # Errors
    /// Where the file of certificates cannot be used.
    pub(crate) fn apply(&self, settings: &mut Settings) -> Result<(), Error> {
        settings.ingress_class.clone_from(&self.ingress_class);
        settings.watch_namespace.clone_from(&self.watch_namespace);
        settings.default_target_type = self.default_target_type;
        settings.default_scheme = self.default_load_balancer_scheme;
        settings.default_ssl_policy.clone_from(&self.default_ssl_policy);
        settings.default_tags = self.default_tags.iter().cloned().collect();
        settings.external_managed_tags = self.external_managed_tags.iter().cloned().collect();
        settings.tolerate_non_existent_backend_service = self.tolerate_non_existent_backend_service;
        settings.tolerate_non_existent_backend_action = self.tolerate_non_existent_backend_action;
        settings.disable_ingress_class_annotation = self.disable_ingress_class_annotation;
        settings.disable_ingress_group_name_annotation = self.disable_ingress_group_name_annotation;
        settings.allowed_certificate_authority_arns.clone_from(&self.allowed_certificate_authority_arns);
        settings.default_pca_arn.clone_from(&self.default_pca_arn);
        settings.enable_endpoint_slices = self.enable_endpoint_slices;
        settings.enable_backend_security_group = self.enable_backend_security_group;
        settings.enable_manage_backend_security_group_rules = self.enable_manage_backend_security_group_rules;
        settings.max_targets_per_target_group = self.max_targets_per_target_group;
        settings.required_secrets_label.clone_from(&self.required_secrets_label);
        settings.target_groups = self.target_groups.iter().cloned().collect();
        for (gate, on) in &self.feature_gates {
            *match gate {
                Gate::EndpointsFailOpen => &mut settings.endpoints_fail_open,
                Gate::IpTargetType => &mut settings.enable_ip_target_type,
                Gate::DefaultTagsLowPriority => &mut settings.default_tags_low_priority,
                Gate::LbCapacityReservation => &mut settings.lb_capacity_reservation,
                Gate::CertificateManagement => &mut settings.enable_certificate_management,
            } = *on;
        }
        for (field, limit) in &self.quotas {
            *field(&mut settings.quotas) = *limit;
        }
        for file in &self.certificates {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|e| {
                Diagnostic::error(
                    Code::E_READ,
                    format!("cannot read `{name}`: {}", e.to_string().to_lowercase()),
                )
            })?;
            settings.certificates.extend(KnownCertificate::from_json(&name, &text)?);
        }
        Ok(())
    }
}

fn target_type(text: &str) -> Result<TargetType, &'static str> {
    match text {
        "instance" => Ok(TargetType::Instance),
        "ip" => Ok(TargetType::Ip),
        _ => Err("expected `instance` or `ip`"),
    }
}

fn scheme(text: &str) -> Result<Scheme, &'static str> {
    match text {
        "internal" => Ok(Scheme::Internal),
        "internet-facing" => Ok(Scheme::InternetFacing),
        _ => Err("expected `internal` or `internet-facing`"),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected `key=value`")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn gate(text: &str) -> Result<(Gate, bool), String> {
    let (name, on) = text.split_once('=').ok_or("expected `Name=true` or `Name=false`")?;
    let gate = match name.trim() {
        "EndpointsFailOpen" => Gate::EndpointsFailOpen,
        "EnableIPTargetType" => Gate::IpTargetType,
        "EnableDefaultTagsLowPriority" => Gate::DefaultTagsLowPriority,
        "LBCapacityReservation" => Gate::LbCapacityReservation,
        "EnableCertificateManagement" => Gate::CertificateManagement,
        other => return Err(format!("the gate `{other}` changes nothing here")),
    };
    let on = on.trim().parse().map_err(|_| "expected `true` or `false` behind the `=`".to_owned())?;
    Ok((gate, on))
}

fn quota(text: &str) -> Result<(Quota, usize), String> {
    let (name, limit) = text.split_once('=').ok_or("expected `NAME=N`")?;
    let field: Quota = match name {
        "rules" => |q| &mut q.rules_per_load_balancer,
        "target-groups" => |q| &mut q.target_groups_per_load_balancer,
        "targets" => |q| &mut q.targets_per_load_balancer,
        "listeners" => |q| &mut q.listeners_per_load_balancer,
        "certificates" => |q| &mut q.certificates_per_load_balancer,
        "condition-values" => |q| &mut q.condition_values_per_rule,
        "wildcards" => |q| &mut q.condition_wildcards_per_rule,
        "target-groups-per-action" => |q| &mut q.target_groups_per_action,
        other => return Err(format!("there is no quota `{other}`")),
    };
    let limit = limit.parse().map_err(|_| format!("`{limit}` is not a number"))?;
    Ok((field, limit))
}
