//! The Kubernetes objects that a load balancer is made of, read field by field out of the YAML tree, so
//! that each text that can be wrong knows where it stands. Unknown kinds and fields are passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read::{Reader, Refused};
use super::source::Source;
use super::yaml::{self, At, Text};
use crate::error::{Code, Diagnostic, Error};

/// Everything that was read, in the order of the input.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub(crate) ingresses: Vec<Ingress>,
    pub(crate) classes: Vec<IngressClass>,
    pub(crate) class_params: Vec<ClassParams>,
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
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
    pub(crate) hosts: Vec<String>,
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
}

#[derive(Clone, Debug, Default)]
pub(crate) struct IngressClass {
    pub(crate) meta: Meta,
    pub(crate) controller: String,
    /// apiGroup, kind and name of `spec.parameters`.
    pub(crate) parameters: Option<(String, String, String)>,
}

/// `IngressClassParams` (§2.5).
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassParams {
    pub(crate) meta: Meta,
    pub(crate) load_balancer_name: Option<String>,
    pub(crate) certificate_arn: Vec<String>,
    pub(crate) namespace_selector: Option<Selector>,
    pub(crate) group: Option<Text>,
    pub(crate) scheme: Option<String>,
    pub(crate) inbound_cidrs: Vec<String>,
    pub(crate) ssl_policy: Option<String>,
    pub(crate) ssl_redirect_port: Option<String>,
    pub(crate) subnets: bool,
    pub(crate) ip_address_type: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) target_type: Option<String>,
    pub(crate) load_balancer_attributes: Vec<(String, String)>,
    /// Protocol, port and attributes.
    pub(crate) listeners: Vec<ListenerParams>,
    pub(crate) prefix_lists: Vec<String>,
}

/// Protocol, port and attributes of a listener in `IngressClassParams`.
pub(crate) type ListenerParams = (String, i64, Vec<(String, String)>);

/// A label selector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) labels: BTreeMap<String, String>,
    /// Key, operator and values.
    pub(crate) expressions: Vec<(String, String, Vec<String>)>,
}

impl Selector {
    /// Whether it selects these labels; `None` for a selector that cannot be.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let mut all = self.labels.iter().all(|(k, v)| labels.get(k) == Some(v));
        for (key, operator, values) in &self.expressions {
            let value = labels.get(key);
            all &= match operator.as_str() {
                "In" => value.is_some_and(|v| values.contains(v)),
                "NotIn" => value.is_none_or(|v| !values.contains(v)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
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
    pub(crate) ipv6: bool,
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
    /// templates, `E_OBJECT` for a known object with a field of the wrong type.
    pub fn parse(sources: &[Source]) -> Result<Self, Error> {
        let mut objects = Objects::default();
        let mut problems = Vec::new();
        for source in sources {
            let file: Arc<str> = source.name.as_str().into();
            match yaml::parse(source) {
                Ok(documents) => {
                    for document in &documents {
                        objects.add(Reader::new(document, &file), source, &mut problems);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(objects) } else { Err(Error::Input(problems)) }
    }

    fn add(&mut self, object: Reader<'_>, source: &Source, problems: &mut Vec<Diagnostic>) {
        let kind = object.text("kind");
        if kind.ends_with("List") && object.has("items") {
            for item in object.list("items") {
                self.add(item, source, problems);
            }
            return;
        }
        let added = match kind.as_str() {
            "Ingress" => ingress(object).map(|i| {
                self.api_version(object, &i.meta);
                self.ingresses.push(i);
            }),
            "IngressClass" => meta(object).map(|meta| {
                let meta = Meta { namespace: String::new(), ..meta };
                let spec = object.at("spec");
                let p = spec.at("parameters");
                let parameters =
                    spec.has("parameters").then(|| (p.text("apiGroup"), p.text("kind"), p.text("name")));
                self.classes.push(IngressClass { meta, controller: spec.text("controller"), parameters });
            }),
            "IngressClassParams" => {
                meta(object).map(|m| self.class_params.push(class_params(m, object.at("spec"))))
            }
            "Service" => service(object).map(|s| self.services.push(s)),
            "EndpointSlice" => meta(object).map(|m| self.slices.push(slice(&m, object))),
            "Endpoints" => Ok(()),
            "Pod" => meta(object).map(|m| self.pods.push(pod(m, object))),
            "Node" => meta(object).map(|m| self.nodes.push(node(m, object))),
            "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
                workload(object, &kind).map(|w| self.workloads.push(w))
            }
            "Secret" => meta(object).map(|m| self.secrets.push(secret(m, object))),
            "Namespace" => meta(object).map(|m| self.namespaces.push(m)),
            "" => match yaml::template_at(source) {
                Some(at) => Err(Refused(yaml::template_error(Some(at)))),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(Refused(problem)) = added {
            // A template often still is YAML; then the braces are what is wrong.
            problems.push(match yaml::template_at(source) {
                Some(at) => yaml::template_error(Some(at)),
                None => problem,
            });
        }
    }

    fn api_version(&mut self, object: Reader<'_>, meta: &Meta) {
        let version = object.text("apiVersion");
        if matches!(version.as_str(), "extensions/v1beta1" | "networking.k8s.io/v1beta1") {
            self.warnings.push(
                Diagnostic::warning(
                    Code::W_API_VERSION,
                    format!("apiVersion `{version}` was removed in Kubernetes 1.22"),
                )
                .object(format!("Ingress {}", meta.key()))
                .expected("`networking.k8s.io/v1`")
                .at(object.at("apiVersion").place().location()),
            );
        }
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.meta.namespace == namespace && s.meta.name == name)
    }
}

fn meta(object: Reader<'_>) -> Result<Meta, Refused> {
    let m = object.at("metadata");
    let name = m.text("name");
    let kind = object.text("kind");
    if name.is_empty() {
        return Err(object.refuse(format!("a {kind} has no name"), "metadata.name"));
    }
    if name.contains("{{") {
        return Err(Refused(yaml::template_error(m.at("name").place().location())));
    }
    let namespace = m.text("namespace");
    let annotations = m
        .entries("annotations")
        .map(|(key, value)| {
            value.scalar().map(|text| (key.to_owned(), text)).ok_or_else(|| {
                value.refuse(format!("the annotation `{key}` is not a text"), "a text, in quotes if need be")
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Meta {
        namespace: if namespace.is_empty() { "default".to_owned() } else { namespace },
        uid: m.text("uid"),
        labels: m.text_map("labels"),
        annotations,
        deleting: m.has("deletionTimestamp"),
        at: m.at("name").place(),
        name,
    })
}

fn ingress(object: Reader<'_>) -> Result<Ingress, Refused> {
    let spec = object.at("spec");
    let backend_of = |r: Reader<'_>, key: &str| r.has(key).then(|| backend(r.at(key))).transpose();
    let default_backend = match backend_of(spec, "defaultBackend")? {
        Some(backend) => Some(backend),
        None => backend_of(spec, "backend")?, // v1beta1
    };
    let mut rules = Vec::new();
    for rule in spec.list("rules") {
        let paths = if rule.has("http") {
            let mut paths = Vec::new();
            for path in rule.at("http").list("paths") {
                paths.push(IngressPath {
                    path: path
                        .at("path")
                        .scalar()
                        .unwrap_or_else(|| Text { text: String::new(), at: path.place() }),
                    path_type: path.at("pathType").scalar().filter(|t| !t.is_empty()),
                    backend: backend(path.at("backend"))?,
                });
            }
            Some(paths)
        } else {
            None
        };
        rules.push(IngressRule { host: rule.at("host").scalar().unwrap_or_default(), paths });
    }
    let tls =
        spec.list("tls").map(|t| Tls { hosts: t.texts("hosts"), secret: t.text("secretName") }).collect();
    Ok(Ingress {
        meta: meta(object)?,
        class_name: spec.at("ingressClassName").scalar().filter(|t| !t.is_empty()),
        default_backend,
        tls,
        rules,
    })
}

fn backend(r: Reader<'_>) -> Result<Backend, Refused> {
    let at = r.place();
    if r.has("resource") {
        return Ok(Backend { resource: true, at, ..Backend::default() });
    }
    if let Some(service) = r.at("serviceName").scalar() {
        // v1beta1: a number or a name in one field
        let port = r.at("servicePort");
        return Ok(Backend {
            service: Some(service),
            port_number: port.number(),
            port_name: if port.number().is_none() { port.scalar().map(|t| t.text) } else { None },
            resource: false,
            at,
        });
    }
    let s = r.at("service");
    let Some(service) = s.at("name").scalar().filter(|t| !t.is_empty()) else {
        return Err(r.refuse("a backend names no service", "`service.name` and `service.port`"));
    };
    let port = s.at("port");
    let name = port.at("name").scalar().map(|t| t.text).filter(|t| !t.is_empty());
    let number = port.at("number").number();
    if name.is_none() && number.is_none() {
        return Err(s.refuse("a backend names no service port", "`port.number` or `port.name`"));
    }
    Ok(Backend { service: Some(service), port_number: number, port_name: name, resource: false, at })
}

fn class_params(meta: Meta, spec: Reader<'_>) -> ClassParams {
    let some = |key: &str| Some(spec.text(key)).filter(|t| !t.is_empty());
    let pairs = |r: Reader<'_>, key: &str| -> Vec<(String, String)> {
        r.list(key).map(|p| (p.text("key"), p.text("value"))).collect()
    };
    let selector = spec.at("namespaceSelector");
    let lists = spec.texts("prefixListsIDs");
    ClassParams {
        meta: Meta { namespace: String::new(), ..meta },
        load_balancer_name: some("loadBalancerName"),
        certificate_arn: spec.texts("certificateArn"),
        namespace_selector: spec.has("namespaceSelector").then(|| Selector {
            labels: selector.text_map("matchLabels"),
            expressions: selector
                .list("matchExpressions")
                .map(|e| (e.text("key"), e.text("operator"), e.texts("values")))
                .collect(),
        }),
        group: if spec.has("group") {
            spec.at("group").at("name").scalar().or_else(|| Some(Text::default()))
        } else {
            None
        },
        scheme: some("scheme"),
        inbound_cidrs: spec.texts("inboundCIDRs"),
        ssl_policy: some("sslPolicy"),
        ssl_redirect_port: some("sslRedirectPort"),
        subnets: spec.has("subnets"),
        ip_address_type: some("ipAddressType"),
        tags: pairs(spec, "tags"),
        target_type: some("targetType"),
        load_balancer_attributes: pairs(spec, "loadBalancerAttributes"),
        listeners: spec
            .list("listeners")
            .map(|l| (l.text("protocol"), l.at("port").number().unwrap_or(0), pairs(l, "listenerAttributes")))
            .collect(),
        prefix_lists: if lists.is_empty() { spec.texts("PrefixListsIDs") } else { lists },
    }
}

fn service(object: Reader<'_>) -> Result<Service, Refused> {
    let spec = object.at("spec");
    let kind = spec.text("type");
    let ports = spec
        .list("ports")
        .map(|p| {
            let port = p.at("port").number().unwrap_or(0);
            let target = p.at("targetPort");
            ServicePort {
                name: p.text("name"),
                port,
                target: match (target.number(), target.scalar()) {
                    (Some(n), _) => TargetPort::Number(n),
                    (None, Some(t)) if !t.is_empty() => TargetPort::Name(t.text),
                    _ => TargetPort::Number(port), // as the API server defaults it
                },
                node_port: p.at("nodePort").number().unwrap_or(0),
            }
        })
        .collect();
    let affinity = spec.text("sessionAffinity") == "ClientIP";
    let seconds = spec.at("sessionAffinityConfig").at("clientIP").at("timeoutSeconds").number();
    let port = |key: &str| spec.at(key).number().and_then(|n| u16::try_from(n).ok());
    Ok(Service {
        meta: meta(object)?,
        r#type: if kind.is_empty() { "ClusterIP".to_owned() } else { kind },
        ports,
        selector: spec.text_map("selector"),
        local_policy: spec.text("externalTrafficPolicy") == "Local",
        affinity_s: affinity.then(|| seconds.and_then(|s| u32::try_from(s).ok()).unwrap_or(10_800)),
        health_check_node_port: port("healthCheckNodePort"),
        ipv6: spec.texts("ipFamilies").iter().any(|f| f == "IPv6"),
        publish_not_ready: spec.at("publishNotReadyAddresses").boolean() == Some(true),
    })
}

fn slice(meta: &Meta, object: Reader<'_>) -> EndpointSlice {
    let ports = object
        .list("ports")
        .filter_map(|p| Some((p.text("name"), u16::try_from(p.at("port").number()?).ok()?)))
        .collect();
    let endpoints = object
        .list("endpoints")
        .map(|e| {
            let (conditions, target) = (e.at("conditions"), e.at("targetRef"));
            let namespace = target.text("namespace");
            let namespace = if namespace.is_empty() { meta.namespace.clone() } else { namespace };
            Endpoint {
                address: e.texts("addresses").into_iter().next(),
                ready: conditions.at("ready").boolean(),
                serving: conditions.at("serving").boolean(),
                terminating: conditions.at("terminating").boolean() == Some(true),
                pod: (target.text("kind") == "Pod").then(|| (namespace, target.text("name"))),
                node: e.text("nodeName"),
            }
        })
        .collect();
    EndpointSlice {
        namespace: meta.namespace.clone(),
        service: meta.labels.get("kubernetes.io/service-name").cloned().unwrap_or_default(),
        ipv6: object.text("addressType") == "IPv6",
        ports,
        endpoints,
    }
}

/// The status of a condition of an object.
fn condition(status: Reader<'_>, r#type: &str) -> Option<String> {
    status.list("conditions").find(|c| c.text("type") == r#type).map(|c| c.text("status"))
}

fn container_ports(spec: Reader<'_>) -> Vec<(String, u16)> {
    spec.list("containers")
        .flat_map(|c| c.list("ports"))
        .filter_map(|p| Some((p.text("name"), u16::try_from(p.at("containerPort").number()?).ok()?)))
        .collect()
}

fn pod(meta: Meta, object: Reader<'_>) -> Pod {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let is_true = |t: &str| condition(status, t).as_deref() == Some("True");
    Pod {
        meta,
        node: spec.text("nodeName"),
        address: Some(status.text("podIP")).filter(|a| !a.is_empty()),
        ready: is_true("Ready"),
        containers_ready: is_true("ContainersReady"),
        ports: container_ports(spec),
        made_up: false,
    }
}

fn node(meta: Meta, object: Reader<'_>) -> K8sNode {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let address =
        status.list("addresses").find(|a| a.text("type") == "InternalIP").map(|a| a.text("address"));
    K8sNode {
        meta,
        provider_id: spec.text("providerID"),
        ready: condition(status, "Ready"),
        taints: spec.list("taints").map(|t| (t.text("key"), t.text("effect"))).collect(),
        address,
        made_up: false,
    }
}

fn workload(object: Reader<'_>, kind: &str) -> Result<Workload, Refused> {
    let spec = object.at("spec");
    let template = spec.at("template");
    let replicas = spec.at("replicas").number().map_or(1, |n| usize::try_from(n).unwrap_or(0));
    Ok(Workload {
        meta: meta(object)?,
        replicas: (kind != "DaemonSet").then_some(replicas),
        labels: template.at("metadata").text_map("labels"),
        ports: container_ports(template.at("spec")),
    })
}

fn secret(meta: Meta, object: Reader<'_>) -> Secret {
    use base64::Engine;
    let decode = |text: String| {
        let clean: String = text.split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(clean).ok()
    };
    let mut data: BTreeMap<String, Vec<u8>> =
        object.text_map("data").into_iter().filter_map(|(k, v)| Some((k, decode(v)?))).collect();
    data.extend(object.text_map("stringData").into_iter().map(|(k, v)| (k, v.into_bytes())));
    Secret { meta, data }
}
