//! Kubernetes manifests as a source of the model: what the AWS Load Balancer Controller would build, file
//! by file a chapter of its semantics. Slow path: everything is checked here, and every error says where.

mod actions;
mod annotations;
mod auth;
mod bindings;
mod build;
mod certificates;
mod decode;
mod dns;
mod frontend_nlb;
mod group;
mod infrastructure;
mod json;
mod known;
mod lint;
mod listener;
mod load_balancer;
pub(crate) mod lookup;
mod names;
pub(crate) mod objects;
mod optimizer;
mod read;
mod readiness;
mod rules;
mod settings;
mod source;
mod stack;
mod target_group;
mod targets;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use known::{AnnotationScope, AnnotationType, AnnotationUse, KnownAnnotation, known_annotations};
pub use objects::Objects;
pub use readiness::{
    GateBinding, PodCondition, READINESS_GATE_PREFIX, readiness_condition, readiness_gates,
    readiness_of_deleted, readiness_patch,
};
pub use settings::{KnownCertificate, Quotas, Settings};
pub use source::{Source, read_paths};
pub(crate) use yaml::At;

use crate::error::{Code, Diagnostic, Error, Location, Severity};
use crate::model::Model;

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
/// `E_NO_INGRESS` where nothing in the input becomes a load balancer, `E_ARGUMENT` for settings that the
/// controller would not start with. [`Error::Manifest`] with one error for each group that the controller
/// would refuse; with [`Settings::skip_broken`] broken members are left out instead, and their errors are
/// among [`Loaded::diagnostics`].
pub fn build(objects: &Objects, settings: &Settings) -> Result<Loaded, Error> {
    settings.check()?;
    let mut loaded = Loaded { diagnostics: objects.warnings.clone(), ..Loaded::default() };
    if objects.ingresses.is_empty() && objects.stacks.is_empty() {
        return Err(Diagnostic::error(Code::E_NO_INGRESS, "there is no Ingress in the input")
            .expected("an Ingress of an IngressClass with controller `ingress.k8s.aws/alb`")
            .into());
    }
    let objects = &lookup::Lookup::new(objects);
    for (stack, at) in &objects.stacks {
        stack::add(stack, at, objects, settings, &mut loaded)?;
    }
    let mut errors = Vec::new();
    lint::services(objects, &mut loaded.diagnostics);
    lint::without_pods(objects, &mut loaded.diagnostics);
    for mut group in group::groups(objects, settings, &mut loaded.diagnostics) {
        lint::members(&group.members, settings, &mut loaded.diagnostics);
        match build_group(&mut group, objects, settings, &mut loaded.diagnostics) {
            Ok(Some(built)) => {
                loaded.model.load_balancers.push(built.load_balancer);
                loaded.model.target_groups.extend(built.target_groups);
                loaded.model.record_sets.extend(built.record_sets);
                loaded.provenance.rules.extend(built.provenance.rules);
                loaded.provenance.groups.extend(built.provenance.groups);
                loaded.diagnostics.extend(built.warnings);
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Error::Manifest(errors));
    }
    dns::settle(&mut loaded.model.record_sets, &mut loaded.diagnostics);
    bindings::add(objects, settings, &mut loaded);
    lint::out_of_reach(objects, &loaded.model.target_groups, &mut loaded.diagnostics);
    loaded.diagnostics.sort_by_key(|d| d.severity != Severity::Error);
    // One annotation may be read for several target groups.
    let mut seen = BTreeSet::new();
    loaded.diagnostics.retain(|d| seen.insert(d.to_string()));
    loaded.cluster = cluster(objects);
    loaded.tls_secrets = tls_secrets(objects);
    Ok(loaded)
}

/// Builds one group: as the controller does, or without the members that are broken. `None` where nothing
/// of it is left.
fn build_group(
    group: &mut group::Group<'_>,
    objects: &lookup::Lookup<'_>,
    settings: &Settings,
    told: &mut Vec<Diagnostic>,
) -> Result<Option<build::Built>, Diagnostic> {
    loop {
        if group.members.is_empty() && group.errors.is_empty() {
            return Ok(None);
        }
        let build::Broken { error, member } = match build::build(group, objects, settings) {
            Ok(built) => return Ok(Some(built)),
            Err(broken) if settings.skip_broken => {
                wrong_by_itself(group, &broken.error, objects, settings).unwrap_or(broken)
            }
            Err(broken) => broken,
        };
        let broken = member.or_else(|| group.members.iter().position(|m| m.object() == error.object));
        let others = || -> Vec<String> {
            let but = |(i, m): (usize, &group::Member<'_>)| (Some(i) != broken).then(|| m.object());
            group.members.iter().enumerate().filter_map(but).collect()
        };
        let mut error = error;
        let held = others();
        if !settings.skip_broken {
            if !held.is_empty() {
                error.message = format!("{} (this holds back {} too)", error.message, held.join(", "));
            }
            return Err(error);
        }
        let blocks = if held.is_empty() {
            String::new()
        } else {
            format!("; the controller would hold back {} too", held.join(", "))
        };
        match broken {
            Some(i) => {
                let gone = group.members.remove(i);
                error.message = format!("{} (left out: {}{blocks})", error.message, gone.object());
                group.errors.retain(|e| e.object != gone.object());
            }
            // The error is of an Ingress that is no member any more; without it the members can be built.
            None if group.errors.contains(&error) => {
                group.errors.retain(|e| *e != error);
                error.message = format!("{} (passed over{blocks})", error.message);
            }
            None => group.members.clear(),
        }
        told.push(error);
    }
}

/// Of a conflict between members, the one whose own value would be refused without the others too: it is
/// the broken one, not whom it disagrees with.
fn wrong_by_itself(
    group: &group::Group<'_>,
    conflict: &Diagnostic,
    objects: &lookup::Lookup<'_>,
    settings: &Settings,
) -> Option<build::Broken> {
    if !conflict.code.as_str().starts_with("E_CONFLICT") {
        return None;
    }
    group.members.iter().enumerate().find_map(|(i, member)| {
        let alone = group::Group {
            id: group.id.clone(),
            explicit: group.explicit,
            members: vec![*member],
            errors: Vec::new(),
        };
        let error = build::build(&alone, objects, settings).err()?.error;
        (error.annotation == conflict.annotation).then(|| build::Broken::of(i, error))
    })
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
                let hosts = tls.hosts.iter().map(|h| h.text.clone()).collect();
                let name = secret.meta.key();
                out.push(TlsSecret { name, hosts, certificate_pem, private_key_pem });
            }
        }
    }
    out
}
