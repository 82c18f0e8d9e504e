//! Kubernetes manifests as a source of the model: what the AWS Load Balancer Controller would build, file
//! by file a chapter of its semantics. Slow path: everything is checked here, and every error says where.

mod actions;
mod annotations;
mod auth;
mod build;
mod dns;
mod group;
mod json;
mod listener;
mod load_balancer;
mod names;
pub(crate) mod objects;
mod optimizer;
mod read;
mod rules;
mod source;
mod target_group;
mod targets;
mod yaml;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use objects::Objects;
pub use source::{Source, read_paths};
pub(crate) use yaml::At;

use crate::error::{Code, Diagnostic, Error, Location, Severity};
use crate::model::{Model, Scheme, TargetType};

/// Settings of the controller, with its defaults (§0.4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `--cluster-name`: goes into hashed names. Default `local`.
    pub cluster_name: String,
    /// `--ingress-class`: what the legacy class annotation must say. Default `alb`.
    pub ingress_class: String,
    /// `--default-target-type`. Default `instance`.
    pub default_target_type: TargetType,
    /// `--default-load-balancer-scheme`. Default `internal`.
    pub default_scheme: Scheme,
    /// `--default-ssl-policy`. Default `ELBSecurityPolicy-2016-08`.
    pub default_ssl_policy: String,
    /// `--default-tags`: win over all others. Default none.
    pub default_tags: BTreeMap<String, String>,
    /// `--tolerate-non-existent-backend-service`. Default true.
    pub tolerate_non_existent_backend_service: bool,
    /// `--tolerate-non-existent-backend-action`. Default true.
    pub tolerate_non_existent_backend_action: bool,
    /// Certificates that discovery may find by host. Without any, HTTPS listeners have none.
    pub certificates: Vec<KnownCertificate>,
    /// Names and ARNs of target groups that actions may name and the controller does not make.
    pub target_groups: Vec<(String, String)>,
    /// Leave a broken member out, where the controller gives up its whole group. Default false.
    pub skip_broken: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_name: "local".to_owned(),
            ingress_class: "alb".to_owned(),
            default_target_type: TargetType::Instance,
            default_scheme: Scheme::Internal,
            default_ssl_policy: "ELBSecurityPolicy-2016-08".to_owned(),
            default_tags: BTreeMap::new(),
            tolerate_non_existent_backend_service: true,
            tolerate_non_existent_backend_action: true,
            certificates: Vec::new(),
            target_groups: Vec::new(),
            skip_broken: false,
        }
    }
}

/// A certificate with the domains it covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownCertificate {
    /// The ARN.
    pub arn: String,
    /// Names, may start with `*.`.
    pub domains: Vec<String>,
}

/// What manifests become.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Warnings, and the errors of members that were left out.
    pub diagnostics: Vec<Diagnostic>,
    /// Where each rule and target group comes from.
    pub provenance: Provenance,
    /// Nodes and pods, found or made up.
    pub cluster: Cluster,
    /// TLS Secrets that Ingresses name: the controller never uses them, a local run does.
    pub tls_secrets: Vec<TlsSecret>,
}

/// Where parts of a model come from, beside the model: decisions never see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    rules: BTreeMap<(String, u16, u32), Origin>,
    groups: BTreeMap<String, Origin>,
}

impl Provenance {
    /// The Ingress path of a rule, by load balancer ARN, listener port and priority.
    pub fn rule(&self, load_balancer_arn: &str, port: u16, priority: u32) -> Option<&Origin> {
        self.rules.get(&(load_balancer_arn.to_owned(), port, priority))
    }

    /// The Service of a target group, by ARN.
    pub fn target_group(&self, arn: &str) -> Option<&Origin> {
        self.groups.get(arn)
    }
}

/// An object and a place in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `Kind namespace/name`.
    pub object: String,
    /// Where it stands.
    pub location: Option<Location>,
}

/// The cluster behind a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub name: String,
    /// The internal address.
    pub address: Option<IpAddr>,
    /// Whether the input did not have it.
    pub made_up: bool,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// The ports its containers listen on.
    pub ports: Vec<u16>,
    /// Whether the input did not have it.
    pub made_up: bool,
}

/// A TLS Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsSecret {
    /// `namespace/name`.
    pub name: String,
    /// The hosts that Ingresses use it for.
    pub hosts: Vec<String>,
    /// The certificate chain, PEM.
    pub certificate_pem: Vec<u8>,
    /// The private key, PEM.
    pub private_key_pem: Vec<u8>,
}

impl std::fmt::Debug for TlsSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSecret")
            .field("name", &self.name)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// Builds the model of all groups.
///
/// # Errors
/// `E_NO_INGRESS` where nothing in the input becomes a load balancer. [`Error::Manifest`] with one error
/// for each group that the controller would refuse; with [`Settings::skip_broken`] broken members are left
/// out instead, and their errors are among [`Loaded::diagnostics`].
pub fn build(objects: &Objects, settings: &Settings) -> Result<Loaded, Error> {
    let mut loaded = Loaded { diagnostics: objects.warnings.clone(), ..Loaded::default() };
    if objects.ingresses.is_empty() {
        return Err(Diagnostic::error(Code::E_NO_INGRESS, "there is no Ingress in the input")
            .expected("an Ingress of an IngressClass with controller `ingress.k8s.aws/alb`")
            .into());
    }
    let mut errors = Vec::new();
    for mut group in group::groups(objects, settings, &mut loaded.diagnostics) {
        let mut built = build::build(&group, objects, settings);
        while let (Err(error), true) = (&built, settings.skip_broken) {
            let broken = group.members.iter().position(|m| error.object == m.object());
            let before = group.members.len();
            match broken {
                Some(i) => drop(group.members.remove(i)),
                None => group.members.clear(),
            }
            group.errors.clear();
            let others: Vec<String> = group.members.iter().map(group::Member::object).collect();
            let mut told = error.clone();
            if before > 1 {
                told.message = format!(
                    "{} (left out; the controller would also hold back {})",
                    told.message,
                    others.join(", ")
                );
            }
            loaded.diagnostics.push(told);
            if group.members.is_empty() {
                break;
            }
            built = build::build(&group, objects, settings);
        }
        match built {
            Ok(built) => {
                loaded.model.load_balancers.push(built.load_balancer);
                loaded.model.target_groups.extend(built.target_groups);
                loaded.model.record_sets.extend(built.record_sets);
                loaded.provenance.rules.extend(built.provenance.rules);
                loaded.provenance.groups.extend(built.provenance.groups);
                loaded.diagnostics.extend(built.warnings);
            }
            Err(_) if settings.skip_broken => {}
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Error::Manifest(errors));
    }
    loaded.diagnostics.sort_by_key(|d| d.severity != Severity::Error);
    loaded.cluster = cluster(objects);
    loaded.tls_secrets = tls_secrets(objects);
    Ok(loaded)
}

fn cluster(objects: &Objects) -> Cluster {
    let address = |text: &Option<String>| text.as_ref().and_then(|a| a.parse().ok());
    Cluster {
        nodes: objects
            .nodes
            .iter()
            .map(|n| Node { name: n.meta.name.clone(), address: address(&n.address), made_up: n.made_up })
            .collect(),
        pods: objects
            .pods
            .iter()
            .map(|p| Pod {
                namespace: p.meta.namespace.clone(),
                name: p.meta.name.clone(),
                node: p.node.clone(),
                address: address(&p.address),
                ports: p.ports.iter().map(|(_, port)| *port).collect(),
                made_up: p.made_up,
            })
            .collect(),
    }
}

fn tls_secrets(objects: &Objects) -> Vec<TlsSecret> {
    let mut out: Vec<TlsSecret> = Vec::new();
    for ingress in &objects.ingresses {
        for tls in &ingress.tls {
            let of = |s: &&objects::Secret| {
                s.meta.namespace == ingress.meta.namespace && s.meta.name == tls.secret
            };
            let Some(secret) = objects.secrets.iter().find(of) else { continue };
            let part = |key: &str| secret.data.get(key).cloned();
            if let (Some(certificate_pem), Some(private_key_pem)) = (part("tls.crt"), part("tls.key")) {
                let (name, hosts) = (secret.meta.key(), tls.hosts.clone());
                out.push(TlsSecret { name, hosts, certificate_pem, private_key_pem });
            }
        }
    }
    out
}
