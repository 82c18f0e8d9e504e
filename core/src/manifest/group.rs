//! Which Ingresses become a load balancer together: class selection (§2) and groups (§3).

use std::collections::BTreeMap;

use super::Settings;
use super::annotations::{Annotation, Annotations, PREFIX};
use super::objects::{ClassParams, Ingress, IngressClass, Meta, Objects};
use super::yaml::Text;
use crate::error::{Code, Diagnostic, Location, Severity};

/// An Ingress of a group, with the parameters of its class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) ingress: &'a Ingress,
    pub(crate) params: Option<&'a ClassParams>,
    order: i32,
}

/// A setting of a member, where it was found: an annotation, or a field of the IngressClassParams, which
/// then stands in the annotation's place (§1.7).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    Annotation(Annotation<'a>),
    Params { ingress: &'a Ingress, params: &'a ClassParams, field: &'static str, value: &'a Text },
}

impl<'a> Given<'a> {
    pub(crate) fn value(&self) -> &'a str {
        match self {
            Given::Annotation(annotation) => annotation.value(),
            Given::Params { value, .. } => &value.text,
        }
    }

    /// An error about this setting.
    pub(crate) fn error(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        match self {
            Given::Annotation(annotation) => annotation.error(code, message),
            Given::Params { ingress, params, field, value } => Diagnostic::error(code, message)
                .object(format!("Ingress {}", ingress.meta.key()))
                .annotation(format!("spec.{field} of IngressClassParams {}", params.meta.name))
                .value(&value.text)
                .at(value.at.location()),
        }
    }
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

    /// An error about an annotation of the Ingress, or about the Ingress where it has none of that name.
    pub(crate) fn error_at(&self, suffix: &str, code: Code, message: impl Into<String>) -> Diagnostic {
        match self.annotations().get(suffix) {
            Some(annotation) => annotation.error(code, message),
            None => self.error(code, message).annotation(format!("{PREFIX}{suffix}")),
        }
    }

    /// A field of the member's IngressClassParams, by its name there.
    pub(crate) fn params_field(&self, field: &'static str, value: &'a Text) -> Option<Given<'a>> {
        self.params.map(|params| Given::Params { ingress: self.ingress, params, field, value })
    }

    /// The field of the IngressClassParams where it is set, else the annotation.
    pub(crate) fn given(
        &self,
        suffix: &str,
        field: &'static str,
        get: impl Fn(&'a ClassParams) -> &'a Option<Text>,
    ) -> Option<Given<'a>> {
        let fixed = self.params.and_then(|p| get(p).as_ref()).and_then(|v| self.params_field(field, v));
        fixed.or_else(|| self.annotations().get(suffix).map(Given::Annotation))
    }
}

/// A group in its order.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The name of an explicit group, `namespace/name` of an implicit one.
    pub(crate) id: String,
    pub(crate) explicit: bool,
    pub(crate) members: Vec<Member<'a>>,
    /// Errors that keep the group from being loaded or built, whatever its members say.
    pub(crate) errors: Vec<Diagnostic>,
}

const CONTROLLER: &str = "ingress.k8s.aws/alb";
pub(crate) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
const EXPLICIT_FINALIZER: &str = "group.ingress.k8s.aws/";
const IMPLICIT_FINALIZER: &str = "ingress.k8s.aws/resources";

/// What class selection says of an Ingress.
enum Selected<'a> {
    Managed(Option<&'a ClassParams>),
    /// Another controller's, and why.
    Not(String),
    /// Its class cannot be used: code, why, what would be right, where.
    Invalid(Code, String, &'static str, Option<Location>),
}

/// All groups while they are being filled, by whether their name is explicit, and their id.
#[derive(Default)]
struct Groups<'a>(BTreeMap<(bool, String), Group<'a>>);

impl<'a> Groups<'a> {
    fn entry(&mut self, explicit: bool, id: &str) -> &mut Group<'a> {
        self.0.entry((explicit, id.to_owned())).or_insert_with(|| Group {
            id: id.to_owned(),
            explicit,
            members: Vec::new(),
            errors: Vec::new(),
        })
    }

    /// The groups whose finalizer an object carries: it was a member of those (§3.2).
    fn left_behind(meta: &Meta) -> Vec<(bool, String)> {
        meta.finalizers
            .iter()
            .filter_map(|f| match f.strip_prefix(EXPLICIT_FINALIZER) {
                Some(name) => Some((true, name.to_owned())),
                None => (f == IMPLICIT_FINALIZER).then(|| (false, meta.key())),
            })
            .collect()
    }
}

/// Sorts the Ingresses into groups; tells which are left out, and why.
pub(crate) fn groups<'a>(
    objects: &'a Objects,
    settings: &Settings,
    told: &mut Vec<Diagnostic>,
) -> Vec<Group<'a>> {
    let mut groups = Groups::default();
    for ingress in &objects.ingresses {
        if settings.watch_namespace.as_ref().is_some_and(|n| *n != ingress.meta.namespace) {
            continue;
        }
        if ingress.meta.deleting {
            if let Some(error) = deletion_protected(ingress) {
                for (explicit, id) in Groups::left_behind(&ingress.meta) {
                    groups.entry(explicit, &id).errors.push(error.clone());
                }
            }
            continue;
        }
        let about = |severity, code, why: String| {
            Diagnostic::new(severity, code, why).object(format!("Ingress {}", ingress.meta.key()))
        };
        let params = match select(ingress, objects, settings) {
            Selected::Managed(params) => params,
            Selected::Not(why) => {
                let warning = about(Severity::Warning, Code::W_NOT_MANAGED, why);
                told.push(warning.at(class_place(ingress)));
                continue;
            }
            Selected::Invalid(code, why, expected, at) => {
                let error = about(Severity::Error, code, why).expected(expected);
                let error = error.at(at.or_else(|| class_place(ingress)));
                // An Ingress without a group's finalizer simply is no member of it; one with it holds the
                // group back, so that nothing is torn down by a typing error.
                let behind = Groups::left_behind(&ingress.meta);
                for (explicit, id) in &behind {
                    groups.entry(*explicit, id).errors.push(error.clone());
                }
                if behind.is_empty() {
                    told.push(error);
                }
                continue;
            }
        };
        let member = Member { ingress, params, order: 0 };
        let explicit = params
            .and_then(|p| p.group.as_ref())
            .and_then(|name| member.params_field("group.name", name))
            .or_else(|| member.annotations().get("group.name").map(Given::Annotation));
        if let Some(name) = &explicit
            && !is_group_name(name.value())
        {
            let error = name.error(Code::E_GROUP_NAME, format!("`{}` is not a group name", name.value()));
            told.push(error.expected("at most 63 lower-case letters, digits, `-` and `.`"));
            continue;
        }
        let group = match &explicit {
            Some(name) => groups.entry(true, name.value()),
            None => groups.entry(false, &ingress.meta.key()),
        };
        let order = match order(ingress) {
            Ok(order) => order,
            Err(error) => {
                group.errors.push(error);
                0
            }
        };
        group.members.push(Member { order, ..member });
    }
    let mut groups: Vec<_> = groups.0.into_values().collect();
    for group in &mut groups {
        group.members.sort_by_key(|m| (m.order, m.ingress.meta.key()));
    }
    groups
}

/// §3.4: only the Ingress' own annotation is looked at.
fn deletion_protected(ingress: &Ingress) -> Option<Diagnostic> {
    let annotation = Annotations::of(ingress).get("load-balancer-attributes")?;
    let attributes = match Annotations::of(ingress).map("load-balancer-attributes") {
        Ok(attributes) => attributes?,
        Err(error) => return Some(error),
    };
    match super::annotations::parse_bool(attributes.get("deletion_protection.enabled")?) {
        Some(false) => None,
        Some(true) => Some(
            annotation
                .error(
                    Code::E_DELETION_PROTECTED,
                    "the Ingress is being deleted and asks for deletion protection",
                )
                .expected("`deletion_protection.enabled=false` before it is deleted"),
        ),
        None => Some(
            annotation.error(Code::E_DELETION_PROTECTED, "`deletion_protection.enabled` is not a boolean"),
        ),
    }
}

fn class_place(ingress: &Ingress) -> Option<Location> {
    let annotation = ingress.meta.annotations.get(CLASS_ANNOTATION);
    let said = annotation.or(ingress.class_name.as_ref());
    said.map_or(&ingress.meta.at, |t| &t.at).location()
}

fn order(ingress: &Ingress) -> Result<i32, Diagnostic> {
    let annotations = Annotations::of(ingress);
    let Some(annotation) = annotations.get("group.order") else { return Ok(0) };
    match annotations.int32("group.order") {
        Ok(Some(n)) if (-1000..=1000).contains(&n) => Ok(n),
        _ => Err(annotation
            .error(Code::E_GROUP_ORDER, format!("`{}` is not a group order", annotation.value()))
            .expected("a whole number from -1000 to 1000")),
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
    let name = match ingress.class_name.as_ref().map(|t| t.text.as_str()) {
        Some(name) => name,
        None => match default_class(objects) {
            Ok(Some(class)) => class.meta.name.as_str(),
            Ok(None) if wanted.is_empty() => return Selected::Managed(None),
            Ok(None) => {
                return Selected::Not("it names no class, and no IngressClass is the default".to_owned());
            }
            // §16 H5: only Ingresses that would take the default are affected.
            Err(second) => {
                return Selected::Invalid(
                    Code::E_CLASS_MULTI_DEFAULT,
                    format!("it names no class, and `{}` is a second default IngressClass", second.meta.name),
                    "one default IngressClass, or an `ingressClassName`",
                    second.meta.at.location(),
                );
            }
        },
    };
    let Some(class) = objects.classes.iter().find(|c| c.meta.name == name) else {
        return Selected::Invalid(
            Code::E_CLASS_INVALID,
            format!("its IngressClass `{name}` is not in the input"),
            "an IngressClass with `controller: ingress.k8s.aws/alb`",
            None,
        );
    };
    if class.controller != CONTROLLER {
        return Selected::Not(format!(
            "the controller of its IngressClass `{name}` is `{}`, not `{CONTROLLER}`",
            class.controller
        ));
    }
    parameters(ingress, class, objects)
}

/// The default IngressClass; an error with the second one where there are several (§2.3).
fn default_class(objects: &Objects) -> Result<Option<&IngressClass>, &IngressClass> {
    let is_default =
        |c: &&IngressClass| c.meta.annotations.get(DEFAULT_CLASS).is_some_and(|v| v.text == "true");
    let mut all = objects.classes.iter().filter(is_default);
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(second)) => Err(second),
    }
}

/// §2.4.
fn parameters<'a>(ingress: &Ingress, class: &'a IngressClass, objects: &'a Objects) -> Selected<'a> {
    let Some(reference) = &class.parameters else { return Selected::Managed(None) };
    let invalid = |why: String, expected, at: &super::yaml::At| {
        Selected::Invalid(Code::E_CLASS_INVALID, why, expected, at.location())
    };
    let name = &class.meta.name;
    if reference.api_group != "elbv2.k8s.aws" || reference.kind != "IngressClassParams" {
        return invalid(
            format!("the parameters of its IngressClass `{name}` are of another kind"),
            "apiGroup `elbv2.k8s.aws` and kind `IngressClassParams`",
            &reference.at,
        );
    }
    let Some(params) = objects.class_params.iter().find(|p| p.meta.name == reference.name) else {
        return invalid(
            format!("the IngressClassParams `{}` of its IngressClass are not in the input", reference.name),
            "that object beside the IngressClass",
            &reference.at,
        );
    };
    let Some(selector) = &params.namespace_selector else { return Selected::Managed(Some(params)) };
    if selector.is_empty() {
        return Selected::Managed(Some(params));
    }
    let own = &ingress.meta.namespace;
    let why = match objects.namespaces.iter().find(|n| n.name == *own) {
        None => format!(
            "`{}` selects namespaces, and the Namespace `{own}` is not in the input",
            params.meta.name
        ),
        Some(namespace) => match selector.matches(&namespace.labels) {
            Some(true) => return Selected::Managed(Some(params)),
            Some(false) => {
                format!("the namespace selector of `{}` does not select `{own}`", params.meta.name)
            }
            None => format!("the namespace selector of `{}` cannot be understood", params.meta.name),
        },
    };
    invalid(why, "a Namespace that `namespaceSelector` selects", &params.meta.at)
}

/// §3.1: lower-case letters, digits, dots and dashes, a letter or digit at both ends, at most 63.
fn is_group_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 63 && name.bytes().all(inner) && edge(name.bytes().next()) && edge(name.bytes().last())
}
