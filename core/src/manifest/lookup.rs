//! Objects by name: a folder of a thousand Ingresses asks for its Services and their endpoints tens of
//! thousands of times.

use std::collections::HashMap;
use std::ops::Deref;

use super::objects::{EndpointSlice, K8sNode, Meta, Objects, Pod, Service};

/// Namespace and name.
type Name<'a> = (&'a str, &'a str);

/// Objects that do not change any more, with indexes over them.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    objects: &'a Objects,
    services: HashMap<Name<'a>, &'a Service>,
    pods: HashMap<Name<'a>, &'a Pod>,
    nodes: HashMap<&'a str, &'a K8sNode>,
    /// By Service, in the order of the input.
    slices: HashMap<Name<'a>, Vec<&'a EndpointSlice>>,
    endpoints: HashMap<Name<'a>, Vec<&'a EndpointSlice>>,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(objects: &'a Objects) -> Self {
        Lookup {
            objects,
            services: by_name(&objects.services, |s| &s.meta),
            pods: by_name(&objects.pods, |p| &p.meta),
            nodes: objects.nodes.iter().rev().map(|n| (n.meta.name.as_str(), n)).collect(),
            slices: by_service(&objects.slices),
            endpoints: by_service(&objects.endpoints),
        }
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&'a Service> {
        self.services.get(&(namespace, name)).copied()
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<&'a Pod> {
        self.pods.get(&(namespace, name)).copied()
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'a K8sNode> {
        self.nodes.get(name).copied()
    }

    /// The EndpointSlices of a Service, or its `Endpoints` where `sliced` is false.
    pub(crate) fn endpoints<'s>(&'s self, service: &'s Service, sliced: bool) -> &'s [&'a EndpointSlice] {
        let from = if sliced { &self.slices } else { &self.endpoints };
        from.get(&(service.meta.namespace.as_str(), service.meta.name.as_str())).map_or(&[], Vec::as_slice)
    }
}

impl Deref for Lookup<'_> {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        self.objects
    }
}

/// The first of each name.
fn by_name<T>(all: &[T], meta: fn(&T) -> &Meta) -> HashMap<Name<'_>, &T> {
    let key = |object| {
        let meta: &Meta = meta(object);
        ((meta.namespace.as_str(), meta.name.as_str()), object)
    };
    all.iter().rev().map(key).collect()
}

pub(crate) fn by_service(all: &[EndpointSlice]) -> HashMap<Name<'_>, Vec<&EndpointSlice>> {
    let mut out: HashMap<Name<'_>, Vec<&EndpointSlice>> = HashMap::new();
    for slice in all {
        out.entry((slice.namespace.as_str(), slice.service.as_str())).or_default().push(slice);
    }
    out
}
