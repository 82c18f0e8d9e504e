//! The cluster that manifests leave to a cluster to make: nodes, pods, EndpointSlices and NodePorts, the
//! same ones at every run. What the input has is used, and nothing of its kind is made up.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::{Code, Diagnostic, Error};
use crate::manifest::lookup::by_service;
use crate::manifest::objects::{
    Endpoint, EndpointSlice, IngressClass, K8sNode, Meta, Objects, Pod, Service, TargetPort,
};
use crate::manifest::{At, Loaded, Settings, Source, build};

/// The size of a made-up cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalCluster {
    /// How many nodes. Default 3.
    pub nodes: usize,
}

impl Default for LocalCluster {
    fn default() -> Self {
        LocalCluster { nodes: 3 }
    }
}

/// The most nodes a made-up cluster can have: an address octet.
const MAX_NODES: usize = 250;

/// The most pods: enough for any manifest that means it, and a typing error in `replicas` costs no more.
const MAX_PODS: usize = 10_000;

/// Reads manifests, makes up what they leave to a cluster, and builds their model: what the command and
/// the bindings call. An IngressClass that Ingresses name as the controller's chart does (`alb`) is made up too, with
/// a warning.
///
/// ```
/// use podway::local::{LocalCluster, load};
/// use podway::manifest::{Settings, Source};
///
/// let manifests = Source::new("web.yml", r#"
/// apiVersion: networking.k8s.io/v1
/// kind: Ingress
/// metadata:
///   name: web
///   annotations: {kubernetes.io/ingress.class: alb, alb.ingress.kubernetes.io/target-type: ip}
/// spec:
///   defaultBackend: {service: {name: web, port: {number: 80}}}
/// ---
/// apiVersion: v1
/// kind: Service
/// metadata: {name: web}
/// spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
/// ---
/// apiVersion: apps/v1
/// kind: Deployment
/// metadata: {name: web}
/// spec: {replicas: 2, template: {metadata: {labels: {app: web}}}}
/// "#);
/// let loaded = load(&[manifests], &Settings::default(), &LocalCluster::default())?;
/// let targets = &loaded.model.target_groups[0].target_health_descriptions;
/// assert_eq!(targets[0].target.id, "127.16.1.2");
/// assert_eq!(targets.len(), 2);
/// # Ok::<(), podway::Error>(())
/// ```
///
/// # Errors
/// As [`Objects::parse`] and [`build`].
pub fn load(sources: &[Source], settings: &Settings, cluster: &LocalCluster) -> Result<Loaded, Error> {
    let mut objects = Objects::parse(sources)?;
    ingress_class(&mut objects, settings);
    complete(&mut objects, cluster);
    build(&objects, settings)
}

/// The IngressClass that the controller's Helm chart installs, for Ingresses that name it and bring none:
/// most do, as it belongs to the cluster and not to the application.
fn ingress_class(objects: &mut Objects, settings: &Settings) {
    let name = settings.ingress_class.as_str();
    let known = objects.classes.iter().any(|c| c.meta.name == name);
    let wanted = objects.ingresses.iter().filter_map(|i| i.class_name.as_ref()).find(|c| c.text == name);
    let Some(wanted) = wanted.filter(|_| !known && !name.is_empty()) else { return };
    objects.warnings.push(
        Diagnostic::warning(
            Code::W_CLASS_ASSUMED,
            format!("the IngressClass `{name}` is not in the input: it is taken as the controller's Helm chart makes it, without parameters"),
        )
        .at(wanted.at.location()),
    );
    objects.classes.push(IngressClass {
        meta: Meta { name: name.to_owned(), ..Meta::default() },
        controller: "ingress.k8s.aws/alb".to_owned(),
        parameters: None,
    });
}

/// Adds to `objects` what a cluster would make of them.
pub fn complete(objects: &mut Objects, cluster: &LocalCluster) {
    node_ports(objects);
    mirror(objects);
    if objects.nodes.is_empty() {
        objects.nodes = (1..=cluster.nodes.clamp(1, MAX_NODES)).map(node).collect();
    }
    let (made_up, cut) = pods(objects);
    objects.warnings.extend(cut);
    let sliced = by_service(&objects.slices);
    let all: Vec<&Pod> = objects.pods.iter().chain(&made_up).collect();
    let by_label = ByLabel::new(all.iter().copied());
    let slices: Vec<EndpointSlice> = objects
        .services
        .iter()
        .filter(|s| !s.selector.is_empty() && !sliced.contains_key(&name(&s.meta)))
        .map(|s| {
            let chosen = by_label.selected(&s.meta.namespace, &s.selector);
            slice(s, &chosen.filter_map(|i| all.get(i).copied()).collect::<Vec<_>>())
        })
        .collect();
    objects.pods.extend(made_up);
    objects.slices.extend(slices);
}

/// EndpointSlices for `Endpoints` of Services without selector, as a cluster mirrors them.
fn mirror(objects: &mut Objects) {
    let sliced = by_service(&objects.slices);
    let unselecting: HashSet<(&str, &str)> =
        objects.services.iter().filter(|s| s.selector.is_empty()).map(|s| name(&s.meta)).collect();
    let by_hand = |e: &&EndpointSlice| {
        let of = (e.namespace.as_str(), e.service.as_str());
        unselecting.contains(&of) && !sliced.contains_key(&of)
    };
    let mirrored: Vec<EndpointSlice> = objects.endpoints.iter().filter(by_hand).cloned().collect();
    objects.slices.extend(mirrored);
}

fn node(number: usize) -> K8sNode {
    let name = format!("local-node-{number}");
    let zone = ["local-a", "local-b", "local-c"].get((number - 1) % 3).copied().unwrap_or("local-a");
    K8sNode {
        meta: Meta {
            name: name.clone(),
            labels: [
                ("kubernetes.io/hostname".to_owned(), name),
                ("topology.kubernetes.io/zone".to_owned(), zone.to_owned()),
            ]
            .into(),
            ..Meta::default()
        },
        provider_id: format!("aws:///{zone}/i-{number:017x}"),
        ready: Some("True".to_owned()),
        taints: Vec::new(),
        address: Some(format!("127.18.0.{number}")),
        pod_cidrs: Vec::new(),
        made_up: true,
    }
}

/// The pods of every workload that has none in the input, spread over the nodes in turn; and the warning
/// where these are more than a made-up cluster holds.
fn pods(objects: &Objects) -> (Vec<Pod>, Option<Diagnostic>) {
    let nodes = &objects.nodes;
    let found = ByLabel::new(objects.pods.iter());
    let mut next = 0usize;
    let mut on_node = vec![1u32; nodes.len()];
    let mut out = Vec::new();
    let mut cut = None;
    for workload in &objects.workloads {
        if found.selected(&workload.meta.namespace, &workload.labels).next().is_some() {
            continue;
        }
        let namespace = &workload.meta.namespace;
        let replicas = workload.replicas.unwrap_or(nodes.len());
        let made = replicas.min(MAX_PODS - out.len());
        if made < replicas {
            cut.get_or_insert_with(|| {
                Diagnostic::warning(
                    Code::W_IGNORED,
                    format!("of its {replicas} pods {made} are made up: a made-up cluster holds {MAX_PODS}"),
                )
                .object(format!("workload {}", workload.meta.key()))
                .at(workload.meta.at.location())
            });
        }
        for i in 0..made {
            let place = next % nodes.len().max(1);
            next += 1;
            let (Some(node), Some(count)) = (nodes.get(place), on_node.get_mut(place)) else { continue };
            *count += 1;
            // 127.16.NODE.POD; a node with more pods than an octet has runs over into the next range.
            let (high, low) = (16 + *count / 250, *count % 250);
            let hash = fingerprint(&[namespace, &workload.meta.name]);
            let own = fingerprint(&[namespace, &workload.meta.name, &i.to_string()]);
            out.push(Pod {
                meta: Meta {
                    namespace: namespace.clone(),
                    name: format!("{}-{}-{}", workload.meta.name, letters(hash, 9), letters(own, 5)),
                    labels: workload.labels.clone(),
                    at: At::default(),
                    ..Meta::default()
                },
                node: node.meta.name.clone(),
                address: Some(format!("127.{high}.{}.{low}", place + 1)),
                ready: true,
                containers_ready: true,
                ports: workload.ports.clone(),
                host_network: false,
                made_up: true,
            });
        }
    }
    // A pod listens on what Services send it to, whether its template says so or not.
    let by_label = ByLabel::new(out.iter());
    let mut asked: Vec<(usize, u16)> = Vec::new();
    for service in &objects.services {
        for i in by_label.selected(&service.meta.namespace, &service.selector) {
            let ports = |pod| service.ports.iter().filter_map(move |p| target_port(&p.target, pod));
            asked.extend(out.get(i).into_iter().flat_map(ports).map(|port| (i, port)));
        }
    }
    for (i, port) in asked {
        if let Some(pod) = out.get_mut(i).filter(|p| !p.ports.iter().any(|(_, known)| *known == port)) {
            pod.ports.push((String::new(), port));
        }
    }
    (out, cut)
}

/// A label in a namespace: namespace, key and value.
type Label<'a> = (&'a str, &'a str, &'a str);

/// Pods, with their numbers, by each of their labels.
struct ByLabel<'a>(HashMap<Label<'a>, Vec<(usize, &'a Pod)>>);

impl<'a> ByLabel<'a> {
    fn new(pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for (i, pod) in pods.enumerate() {
            for (key, value) in &pod.meta.labels {
                let key = (pod.meta.namespace.as_str(), key.as_str(), value.as_str());
                all.entry(key).or_default().push((i, pod));
            }
        }
        ByLabel(all)
    }

    /// The numbers of the pods that have all these labels, ascending; none where there are no labels.
    fn selected<'s>(
        &'s self,
        namespace: &'s str,
        labels: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = usize> + use<'s, 'a> {
        let of = |(key, value): (&'s String, &'s String)| {
            self.0.get(&(namespace, key.as_str(), value.as_str())).map_or(&[][..], Vec::as_slice)
        };
        // The rarest label leaves the least to look at.
        let fewest = labels.iter().map(of).min_by_key(|pods| pods.len()).unwrap_or_default();
        let fits = move |pod: &Pod| labels.iter().all(|(k, v)| pod.meta.labels.get(k) == Some(v));
        fewest.iter().filter(move |(_, pod)| fits(pod)).map(|(i, _)| *i)
    }
}

/// Namespace and name.
fn name(meta: &Meta) -> (&str, &str) {
    (&meta.namespace, &meta.name)
}

fn target_port(target: &TargetPort, pod: &Pod) -> Option<u16> {
    match target {
        TargetPort::Number(n) => u16::try_from(*n).ok().filter(|n| *n > 0),
        TargetPort::Name(name) => pod.ports.iter().find(|(known, _)| known == name).map(|(_, port)| *port),
    }
}

fn slice(service: &Service, chosen: &[&Pod]) -> EndpointSlice {
    let port = |p: &crate::manifest::objects::ServicePort| {
        let number = match (&p.target, chosen.first()) {
            (_, Some(pod)) => target_port(&p.target, pod),
            (TargetPort::Number(n), None) => u16::try_from(*n).ok(),
            (TargetPort::Name(_), None) => None,
        };
        number.map(|n| (p.name.clone(), n))
    };
    EndpointSlice {
        namespace: service.meta.namespace.clone(),
        service: service.meta.name.clone(),
        address_type: "IPv4".to_owned(),
        ports: service.ports.iter().filter_map(port).collect(),
        endpoints: chosen
            .iter()
            .map(|pod| Endpoint {
                address: pod.address.clone(),
                ready: Some(pod.ready),
                serving: Some(pod.ready),
                terminating: false,
                pod: Some((pod.meta.namespace.clone(), pod.meta.name.clone())),
                node: pod.node.clone(),
            })
            .collect(),
    }
}

/// NodePorts for Services that should have some and name none: by name, so that they stay the same while
/// other Services come and go.
fn node_ports(objects: &mut Objects) {
    let mut taken: BTreeSet<i64> =
        objects.services.iter().flat_map(|s| s.ports.iter().map(|p| p.node_port)).collect();
    for service in
        objects.services.iter_mut().filter(|s| matches!(s.r#type.as_str(), "NodePort" | "LoadBalancer"))
    {
        let key = service.meta.key();
        for port in service.ports.iter_mut().filter(|p| p.node_port == 0) {
            let start = fingerprint(&[&key, &port.port.to_string()]) % 2768;
            let free = (0..2768).map(|i| 30_000 + ((start + i) % 2768) as i64).find(|n| !taken.contains(n));
            port.node_port = free.unwrap_or(0);
            taken.insert(port.node_port);
        }
    }
}

/// A number for names that is the same at every run, which is all that is asked of it.
fn fingerprint(texts: &[&str]) -> u64 {
    let hash = crate::mix::fnv(texts);
    hash ^ hash >> 31
}

/// Letters and digits as Kubernetes draws them for names: no vowels, nothing to misread.
fn letters(mut n: u64, count: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..count)
        .map(|_| {
            let letter = ALPHABET.get((n % ALPHABET.len() as u64) as usize).copied().unwrap_or(b'x');
            n = n / ALPHABET.len() as u64 + (n % 7) * 0x9e37_79b9;
            char::from(letter)
        })
        .collect()
}
