//! The Kubernetes objects that a load balancer is made of, in which each text that can be wrong knows
//! where it stands. Unknown kinds are passed over; `decode.rs` reads the fields of the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::decode;
use super::read::Reader;
use super::source::Source;
use super::yaml::{self, At, Text};
use crate::error::{Code, Diagnostic, Error, Location};

/// Everything that was read, in the order of the input.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub(crate) ingresses: Vec<Ingress>,
    pub(crate) classes: Vec<IngressClass>,
    pub(crate) class_params: Vec<ClassParams>,
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
    /// `Endpoints`, as slices: read where EndpointSlices are switched off (§9.3).
    pub(crate) endpoints: Vec<EndpointSlice>,
    pub(crate) bindings: Vec<TargetGroupBinding>,
    /// Plans that the controller wrote (§12.3), with their place.
    pub(crate) stacks: Vec<(serde_json::Value, At)>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) nodes: Vec<K8sNode>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) namespaces: Vec<Meta>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// `metadata` of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// By full key; of repeated keys the last one counts.
    pub(crate) annotations: BTreeMap<String, Text>,
    pub(crate) finalizers: Vec<String>,
    pub(crate) deleting: bool,
    pub(crate) at: At,
}

impl Meta {
    /// `namespace/name`.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Ingress {
    pub(crate) meta: Meta,
    pub(crate) class_name: Option<Text>,
    pub(crate) default_backend: Option<Backend>,
    pub(crate) tls: Vec<Tls>,
    pub(crate) rules: Vec<IngressRule>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    pub(crate) hosts: Vec<Text>,
    pub(crate) secret: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct IngressRule {
    pub(crate) host: Text,
    /// `None` for a rule without `http`, which becomes nothing.
    pub(crate) paths: Option<Vec<IngressPath>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct IngressPath {
    pub(crate) path: Text,
    pub(crate) path_type: Option<Text>,
    pub(crate) backend: Backend,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Backend {
    pub(crate) service: Option<Text>,
    pub(crate) port_number: Option<i64>,
    pub(crate) port_name: Option<String>,
    pub(crate) resource: bool,
    pub(crate) at: At,
    /// Where its port stands.
    pub(crate) port_at: At,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct IngressClass {
    pub(crate) meta: Meta,
    pub(crate) controller: String,
    pub(crate) parameters: Option<ParametersReference>,
}

/// `spec.parameters` of an IngressClass.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParametersReference {
    pub(crate) api_group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) at: At,
}

/// `IngressClassParams` (§2.5).
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassParams {
    pub(crate) meta: Meta,
    pub(crate) load_balancer_name: Option<Text>,
    pub(crate) certificate_arn: Vec<Text>,
    pub(crate) namespace_selector: Option<Selector>,
    pub(crate) group: Option<Text>,
    pub(crate) scheme: Option<Text>,
    pub(crate) inbound_cidrs: Vec<Text>,
    pub(crate) ssl_policy: Option<Text>,
    pub(crate) ssl_redirect_port: Option<Text>,
    pub(crate) subnets: Option<SubnetsParams>,
    pub(crate) ip_address_type: Option<Text>,
    pub(crate) tags: Vec<(Text, String)>,
    pub(crate) target_type: Option<Text>,
    pub(crate) load_balancer_attributes: Vec<(Text, String)>,
    pub(crate) listeners: Vec<ListenerParams>,
    pub(crate) minimum_load_balancer_capacity: Option<i64>,
    pub(crate) ipam_pool: Option<Text>,
    pub(crate) prefix_lists: Vec<Text>,
    pub(crate) wafv2_acl_arn: Option<Text>,
    pub(crate) wafv2_acl_name: Option<Text>,
}

/// A listener in `IngressClassParams`: attributes only.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerParams {
    pub(crate) protocol: String,
    pub(crate) port: i64,
    pub(crate) attributes: Vec<(Text, String)>,
}

/// How `IngressClassParams` choose subnets.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubnetsParams {
    pub(crate) ids: Vec<String>,
    pub(crate) tags: BTreeMap<String, Vec<String>>,
    pub(crate) at: At,
}

impl PartialEq for SubnetsParams {
    fn eq(&self, other: &Self) -> bool {
        self.ids == other.ids && self.tags == other.tags
    }
}

/// A `TargetGroupBinding` (§9.1): a Service whose endpoints become targets of a group made elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetGroupBinding {
    pub(crate) meta: Meta,
    pub(crate) arn: Option<Text>,
    pub(crate) group_name: Option<Text>,
    pub(crate) target_type: Option<Text>,
    pub(crate) protocol: Option<Text>,
    pub(crate) ipv6: bool,
    pub(crate) service: Text,
    /// The port as written, and whether it is a number.
    pub(crate) port: (String, bool),
    pub(crate) node_selector: Option<Selector>,
    pub(crate) multi_cluster: bool,
}

/// A label selector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) labels: BTreeMap<String, String>,
    /// Key, operator and values.
    pub(crate) expressions: Vec<(String, String, Vec<String>)>,
}

impl Selector {
    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    /// Whether it selects these labels; `None` for a selector that cannot be.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let mut all = self.labels.iter().all(|(k, v)| labels.get(k) == Some(v));
        for (key, operator, values) in &self.expressions {
            let value = labels.get(key);
            all &= match operator.as_str() {
                "In" if !values.is_empty() => value.is_some_and(|v| values.contains(v)),
                "NotIn" if !values.is_empty() => value.is_none_or(|v| !values.contains(v)),
                "Exists" if values.is_empty() => value.is_some(),
                "DoesNotExist" if values.is_empty() => value.is_none(),
                _ => return None,
            };
        }
        Some(all)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) meta: Meta,
    pub(crate) r#type: String,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) local_policy: bool,
    /// Seconds of `sessionAffinity: ClientIP`.
    pub(crate) affinity_s: Option<u32>,
    pub(crate) health_check_node_port: Option<u16>,
    pub(crate) ipv6: bool,
    pub(crate) publish_not_ready: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) port: i64,
    pub(crate) target: TargetPort,
    pub(crate) node_port: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetPort {
    Number(i64),
    Name(String),
}

impl Default for TargetPort {
    fn default() -> Self {
        TargetPort::Number(0)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointSlice {
    pub(crate) namespace: String,
    pub(crate) service: String,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub(crate) address_type: String,
    /// Name and number.
    pub(crate) ports: Vec<(String, u16)>,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) address: Option<String>,
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: bool,
    /// Namespace and name of the pod.
    pub(crate) pod: Option<(String, String)>,
    pub(crate) node: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) node: String,
    pub(crate) address: Option<String>,
    pub(crate) ready: bool,
    pub(crate) containers_ready: bool,
    pub(crate) ports: Vec<(String, u16)>,
    /// It has no network of its own, but its node's.
    pub(crate) host_network: bool,
    pub(crate) made_up: bool,
}

/// A Kubernetes node.
#[derive(Clone, Debug, Default)]
pub(crate) struct K8sNode {
    pub(crate) meta: Meta,
    pub(crate) provider_id: String,
    /// The status of its Ready condition.
    pub(crate) ready: Option<String>,
    /// Key and effect.
    pub(crate) taints: Vec<(String, String)>,
    pub(crate) address: Option<String>,
    /// The addresses that the cluster gives its pods, where it does that itself.
    pub(crate) pod_cidrs: Vec<String>,
    pub(crate) made_up: bool,
}

/// A Deployment, StatefulSet, ReplicaSet or DaemonSet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workload {
    pub(crate) meta: Meta,
    /// `None` for a DaemonSet: one a node.
    pub(crate) replicas: Option<usize>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) ports: Vec<(String, u16)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Secret {
    pub(crate) meta: Meta,
    pub(crate) data: BTreeMap<String, Vec<u8>>,
}

impl Objects {
    /// Reads manifests: YAML with any number of documents, JSON, `kind: List`, dumps of `kubectl get`.
    ///
    /// # Errors
    /// [`Error::Input`] with every problem found: `E_SYNTAX` for text that is no YAML, `E_TEMPLATE` for
    /// templates, `E_OBJECT` for a known object with a field that is missing or of the wrong type.
    pub fn parse(sources: &[Source]) -> Result<Self, Error> {
        let mut objects = Objects::default();
        let mut problems = Vec::new();
        for source in sources {
            let file: Arc<str> = source.name.as_str().into();
            match yaml::parse(source) {
                Ok(documents) => {
                    let wrong = RefCell::new(Vec::new());
                    for document in &documents {
                        objects.add(Reader::new(document, &file, &wrong), source, &wrong, &mut problems);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(Error::Input(one_template(problems)));
        }
        objects.last_of_each();
        Ok(objects)
    }

    /// Adds an object, or those of a list.
    fn add(
        &mut self,
        object: Reader<'_>,
        source: &Source,
        wrong: &RefCell<Vec<Diagnostic>>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let kind = object.glance("kind");
        if kind.ends_with("List") && object.has("items") {
            for item in object.list("items") {
                self.add(item, source, wrong, problems);
            }
            return;
        }
        if kind.is_empty() {
            if object.has("resources") && object.has("id") {
                self.stacks.extend(object.node().map(|n| (n.to_json(), object.place())));
            } else if let Some(at) = yaml::template_at(source) {
                problems.push(yaml::template_error(Some(at)));
            }
            return;
        }
        let Some(version) = decode::version(kind, object.glance("apiVersion")) else { return };
        let meta = decode::meta(object);
        let name = match &meta {
            Some(meta) if decode::CLUSTER_SCOPED.contains(&kind) => format!("{kind} {}", meta.name),
            Some(meta) => format!("{kind} {}", meta.key()),
            None => kind.to_owned(),
        };
        if let Some(meta) = meta {
            self.take(kind, meta, object);
        }
        self.oddities(&name, version, object);
        problems.extend(wrong.take().into_iter().map(|problem| {
            let line = problem.location.as_ref().map_or(0, |l| l.line);
            // A template often still is YAML; then the braces are what is wrong.
            match yaml::template_on(source, line) {
                Some(at) => yaml::template_error(Some(at)),
                None => problem.object(name.clone()),
            }
        }));
    }

    fn take(&mut self, kind: &str, meta: Meta, object: Reader<'_>) {
        match kind {
            "Ingress" => self.ingresses.push(decode::ingress(meta, object)),
            "IngressClass" => self.classes.push(decode::ingress_class(meta, object)),
            "IngressClassParams" => self.class_params.push(decode::class_params(meta, object.at("spec"))),
            "TargetGroupBinding" => self.bindings.push(decode::binding(meta, object.at("spec"))),
            "Service" => self.services.push(decode::service(meta, object)),
            "EndpointSlice" => self.slices.push(decode::slice(&meta, object)),
            "Endpoints" => self.endpoints.extend(decode::endpoints(&meta, object)),
            "Pod" => self.pods.push(decode::pod(meta, object)),
            "Node" => self.nodes.push(decode::node(meta, object)),
            "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
                self.workloads.push(decode::workload(meta, object, kind));
            }
            "Secret" => self.secrets.push(decode::secret(meta, object)),
            "Namespace" => self.namespaces.push(decode::namespace(meta)),
            _ => {}
        }
    }

    /// Warns of an old apiVersion and of keys that stand twice.
    fn oddities(&mut self, name: &str, version: decode::Version, object: Reader<'_>) {
        let said = match version {
            decode::Version::Current(_) => None,
            decode::Version::Removed(now) => {
                Some(("was removed from Kubernetes; it is read as the current one", now))
            }
            decode::Version::Missing(now) => {
                Some(("is missing; the API server would refuse the object", now))
            }
            decode::Version::Unknown(now) => Some(("is not known; it is read as the current one", now)),
        };
        if let Some((what, now)) = said {
            let version = object.glance("apiVersion");
            let subject = if version.is_empty() { String::new() } else { format!(" `{version}`") };
            self.warnings.push(
                Diagnostic::warning(Code::W_API_VERSION, format!("apiVersion{subject} {what}"))
                    .object(name)
                    .expected(format!("`{now}`"))
                    .at(object.at("apiVersion").place().location()),
            );
        }
        let place = object.place();
        let mut found = |key: &str, line, column| {
            let at = Location { file: place.file.to_string(), line, column };
            self.warnings.push(
                Diagnostic::warning(
                    Code::W_DUPLICATE_KEY,
                    format!("the key `{key}` stands twice; this last value counts"),
                )
                .object(name)
                .at(Some(at)),
            );
        };
        if let Some(node) = object.node() {
            node.duplicate_keys(&mut found);
        }
    }

    /// Of an object that stands twice the last one counts, as it does for `kubectl apply`.
    fn last_of_each(&mut self) {
        let warnings = &mut self.warnings;
        keep_last(&mut self.ingresses, "Ingress", |o| &o.meta, warnings);
        keep_last(&mut self.classes, "IngressClass", |o| &o.meta, warnings);
        keep_last(&mut self.class_params, "IngressClassParams", |o| &o.meta, warnings);
        keep_last(&mut self.bindings, "TargetGroupBinding", |o| &o.meta, warnings);
        keep_last(&mut self.services, "Service", |o| &o.meta, warnings);
        keep_last(&mut self.pods, "Pod", |o| &o.meta, warnings);
        keep_last(&mut self.nodes, "Node", |o| &o.meta, warnings);
        keep_last(&mut self.secrets, "Secret", |o| &o.meta, warnings);
        keep_last(&mut self.namespaces, "Namespace", |o| o, warnings);
    }
}

fn keep_last<T>(all: &mut Vec<T>, kind: &str, meta: fn(&T) -> &Meta, warnings: &mut Vec<Diagnostic>) {
    let mut last: HashMap<(&str, &str), usize> = HashMap::with_capacity(all.len());
    let mut gone: Vec<usize> = Vec::new();
    for (i, object) in all.iter().enumerate() {
        let m = meta(object);
        let Some(before) = last.insert((&m.namespace, &m.name), i) else { continue };
        gone.push(before);
        let first = all.get(before).and_then(|o| meta(o).at.location());
        let first = first.map(|l| format!(" and at {l}")).unwrap_or_default();
        warnings.push(
            Diagnostic::warning(
                Code::W_DUPLICATE_OBJECT,
                format!("the object stands here{first}; this last one counts"),
            )
            .object(if m.namespace.is_empty() {
                format!("{kind} {}", m.name)
            } else {
                format!("{kind} {}", m.key())
            })
            .at(m.at.location()),
        );
    }
    if gone.is_empty() {
        return;
    }
    let mut i = 0;
    gone.sort_unstable();
    all.retain(|_| {
        let keep = gone.binary_search(&i).is_err();
        i += 1;
        keep
    });
}

/// A folder of templates is one mistake, not one for each file.
fn one_template(problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let (templates, mut others): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|p| p.code == Code::E_TEMPLATE);
    let mut files: Vec<_> = templates.iter().filter_map(|t| Some(&t.location.as_ref()?.file)).collect();
    files.dedup();
    let more = files.len().saturating_sub(1);
    if let Some(mut first) = templates.first().cloned() {
        if more > 0 {
            first.message =
                format!("{}; and so {} {more} more", first.message, if more == 1 { "is" } else { "are" });
        }
        others.insert(0, first);
    }
    others
}
