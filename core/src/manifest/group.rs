//! Which Ingresses become a load balancer together: class selection (§2) and groups (§3).

use std::collections::BTreeMap;

use super::Settings;
use super::annotations::Annotations;
use super::objects::{ClassParams, Ingress, Objects};
use crate::error::{Code, Diagnostic};

/// An Ingress of a group, with the parameters of its class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) ingress: &'a Ingress,
    pub(crate) params: Option<&'a ClassParams>,
    order: i32,
}

impl<'a> Member<'a> {
    pub(crate) fn annotations(&self) -> Annotations<'a> {
        Annotations::of(self.ingress)
    }

    /// `Ingress namespace/name`, for messages.
    pub(crate) fn object(&self) -> String {
        format!("Ingress {}", self.ingress.meta.key())
    }

    /// An error about the Ingress as a whole.
    pub(crate) fn error(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).object(self.object()).at(self.ingress.meta.at.location())
    }
}

/// A group in its order.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The name of an explicit group, `namespace/name` of an implicit one.
    pub(crate) id: String,
    pub(crate) explicit: bool,
    pub(crate) members: Vec<Member<'a>>,
    /// Errors that keep the group from being loaded.
    pub(crate) errors: Vec<Diagnostic>,
}

const CONTROLLER: &str = "ingress.k8s.aws/alb";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// What class selection says of an Ingress.
enum Selected<'a> {
    Managed(Option<&'a ClassParams>),
    /// Not ours, and why.
    Not(String),
}

/// Sorts the Ingresses into groups; tells which are left out, and why, as warnings.
pub(crate) fn groups<'a>(
    objects: &'a Objects,
    settings: &Settings,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(bool, String), Group<'a>> = BTreeMap::new();
    for ingress in &objects.ingresses {
        let object = format!("Ingress {}", ingress.meta.key());
        let left_out = |code, why: String, at| Diagnostic::warning(code, why).object(object.clone()).at(at);
        if ingress.meta.deleting {
            continue;
        }
        let params = match select(ingress, objects, settings) {
            Selected::Managed(params) => params,
            Selected::Not(why) => {
                warnings.push(left_out(Code::W_NOT_MANAGED, why, ingress.meta.at.location()));
                continue;
            }
        };
        let annotations = Annotations::of(ingress);
        let explicit = params.and_then(|p| p.group.as_ref()).map(|g| (g.text.as_str(), g.at.location()));
        let explicit = explicit
            .or_else(|| annotations.text("group.name").map(|name| (name, ingress.meta.at.location())));
        if let Some((name, at)) = &explicit
            && !is_group_name(name)
        {
            warnings.push(left_out(Code::E_GROUP_NAME, format!("`{name}` is not a group name"), at.clone()));
            continue;
        }
        let id = explicit.as_ref().map_or_else(|| ingress.meta.key(), |(name, _)| (*name).to_owned());
        let group = groups.entry((explicit.is_some(), id.clone())).or_insert_with(|| Group {
            id,
            explicit: explicit.is_some(),
            members: Vec::new(),
            errors: Vec::new(),
        });
        let order = match order(ingress) {
            Ok(order) => order,
            Err(error) => {
                group.errors.push(error);
                0
            }
        };
        group.members.push(Member { ingress, params, order });
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        group.members.sort_by_key(|m| (m.order, m.ingress.meta.key()));
    }
    groups
}

fn order(ingress: &Ingress) -> Result<i32, Diagnostic> {
    let annotations = Annotations::of(ingress);
    let range = |annotation: super::annotations::Annotation<'_>| {
        let value = annotation.value();
        annotation
            .error(Code::E_GROUP_ORDER, format!("`{value}` is not a group order"))
            .expected("a whole number from -1000 to 1000")
    };
    match (annotations.get("group.order"), annotations.int32("group.order")) {
        (Some(annotation), Err(_)) => Err(range(annotation)),
        (Some(annotation), Ok(Some(n))) if !(-1000..=1000).contains(&n) => Err(range(annotation)),
        (_, Ok(n)) => Ok(n.unwrap_or(0)),
        (None, Err(error)) => Err(error),
    }
}

/// §2.1.
fn select<'a>(ingress: &'a Ingress, objects: &'a Objects, settings: &Settings) -> Selected<'a> {
    let wanted = settings.ingress_class.as_str();
    if let Some(value) = ingress.meta.annotations.get(CLASS_ANNOTATION) {
        let managed = value.text == wanted || wanted.is_empty() && value.text == "alb";
        return if managed {
            Selected::Managed(None)
        } else {
            Selected::Not(format!("its class annotation is `{}`, not `{wanted}`", value.text))
        };
    }
    let default = || {
        let is_default = |c: &&super::objects::IngressClass| {
            c.meta.annotations.get(DEFAULT_CLASS).is_some_and(|v| v.text == "true")
        };
        let mut all = objects.classes.iter().filter(is_default);
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(Some(one.meta.name.as_str())),
            (None, _) => Ok(None),
            // §16 H5: only Ingresses that would take the default are affected.
            (Some(_), Some(_)) => Err("there are two default IngressClasses".to_owned()),
        }
    };
    let name = match ingress.class_name.as_ref().map(|t| t.text.as_str()) {
        Some(name) => name,
        None => match default() {
            Ok(Some(name)) => name,
            Ok(None) if wanted.is_empty() => return Selected::Managed(None),
            Ok(None) => {
                return Selected::Not("it names no class, and no IngressClass is the default".to_owned());
            }
            Err(why) => return Selected::Not(why),
        },
    };
    let Some(class) = objects.classes.iter().find(|c| c.meta.name == name) else {
        return Selected::Not(format!("its IngressClass `{name}` is not in the input"));
    };
    if class.controller != CONTROLLER {
        return Selected::Not(format!(
            "the controller of its IngressClass `{name}` is `{}`, not `{CONTROLLER}`",
            class.controller
        ));
    }
    let Some((api_group, kind, params)) = &class.parameters else { return Selected::Managed(None) };
    if api_group != "elbv2.k8s.aws" || kind != "IngressClassParams" {
        return Selected::Not(format!("the parameters of its IngressClass `{name}` are of another kind"));
    }
    let Some(params) = objects.class_params.iter().find(|p| p.meta.name == *params) else {
        return Selected::Not(format!("the IngressClassParams `{params}` are not in the input"));
    };
    if let Some(selector) = &params.namespace_selector {
        let namespace = objects.namespaces.iter().find(|n| n.name == ingress.meta.namespace);
        let empty = selector.labels.is_empty() && selector.expressions.is_empty();
        if !empty && namespace.and_then(|n| selector.matches(&n.labels)) != Some(true) {
            return Selected::Not(format!(
                "the namespace selector of `{}` does not select `{}`",
                params.meta.name, ingress.meta.namespace
            ));
        }
    }
    Selected::Managed(Some(params))
}

/// §3.1: lower-case letters, digits, dots and dashes, a letter or digit at both ends, at most 63.
fn is_group_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 63 && name.bytes().all(inner) && edge(name.bytes().next()) && edge(name.bytes().last())
}
