//! What is written and has no effect: misspelt annotations and attribute keys, annotations on the wrong
//! object, text that was to be replaced before it got here.

use std::collections::BTreeSet;

use super::super::Settings;
use super::super::annotations::{Annotations, PREFIX};
use super::super::group::{CLASS_ANNOTATION, Given, Member};
use super::super::known::{self, AnnotationScope};
use super::super::objects::{Meta, Objects, Service};
use super::super::yaml::Text;
use crate::error::{Code, Diagnostic};

/// Where the names of external-dns start.
const DNS_PREFIXES: [&str; 2] = ["external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"];

/// Warnings about the members of a group.
pub(in super::super) fn members(members: &[Member<'_>], settings: &Settings, told: &mut Vec<Diagnostic>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for member in members {
        let meta = &member.ingress.meta;
        let object = member.object();
        spelling("Ingress", meta, told);
        unreferenced(member, told);
        let annotations = member.annotations();
        attributes(annotations, "load-balancer-attributes", known::LOAD_BALANCER_ATTRIBUTES, told);
        target_group_attributes(annotations, told);
        for suffix in meta.annotations.keys().filter_map(|k| k.strip_prefix(PREFIX)) {
            if suffix.starts_with("listener-attributes.") {
                attributes(annotations, suffix, known::LISTENER_ATTRIBUTES, told);
            }
        }
        for host in member.ingress.rules.iter().map(|r| &r.host) {
            placeholder(&object, "the host", host, told);
        }
        admission(member, settings, told);
        if let Some(params) = member.params
            && seen.insert(&params.meta.name)
        {
            class_params(member, told);
        }
    }
}

/// Warnings about the annotations of Services.
pub(in super::super) fn services(objects: &Objects, told: &mut Vec<Diagnostic>) {
    for service in &objects.services {
        if service.meta.annotations.is_empty() {
            continue;
        }
        spelling("Service", &service.meta, told);
        wrong_object(service, told);
        target_group_attributes(Annotations::of_service(service), told);
    }
}

fn warning(kind: &str, meta: &Meta, key: &str, value: &Text, code: Code, message: String) -> Diagnostic {
    Diagnostic::warning(code, message)
        .object(format!("{kind} {}", meta.key()))
        .annotation(key)
        .value(&value.text)
        .at(value.at.location())
}

/// Keys that nobody reads, and values that nobody filled in.
fn spelling(kind: &str, meta: &Meta, told: &mut Vec<Diagnostic>) {
    for (key, value) in &meta.annotations {
        let ours = key.strip_prefix(PREFIX);
        if let Some(suffix) = ours {
            if known::find(suffix).is_none() {
                let message = "the controller knows no such annotation and ignores it".to_owned();
                let unknown = warning(kind, meta, key, value, Code::W_ANNOTATION_UNKNOWN, message);
                told.push(match nearest_annotation(suffix) {
                    Some(near) => unknown.expected(format!("`{PREFIX}{near}`")),
                    None => unknown,
                });
            }
        } else if let Some((prefix, suffix)) = key.split_once('/')
            && format!("{prefix}/") != PREFIX
            && strsim::damerau_levenshtein(&format!("{prefix}/"), PREFIX) <= 2
        {
            let message = "the prefix is not the controller's: it ignores this annotation".to_owned();
            let unknown = warning(kind, meta, key, value, Code::W_ANNOTATION_UNKNOWN, message);
            told.push(unknown.expected(format!("`{PREFIX}{suffix}`")));
        }
        let filled_in = ours.is_some() || DNS_PREFIXES.iter().any(|p| key.starts_with(p));
        if filled_in
            && !ours.is_some_and(|s| s.starts_with("transforms."))
            && let Some(found) = unexpanded(&value.text)
        {
            let message = format!("`{found}` looks like a placeholder that nothing replaced");
            told.push(warning(kind, meta, key, value, Code::W_PLACEHOLDER, message));
        }
    }
}

/// The annotation that was meant, its variable part kept.
fn nearest_annotation(suffix: &str) -> Option<String> {
    let (head, tail) = match suffix.split_once('.') {
        Some((head, tail)) => (head, Some(tail)),
        None => (suffix, None),
    };
    // `action.web` was to be `actions.web`: compare what stands before the variable part.
    if let Some(tail) = tail {
        let heads = known::ANNOTATIONS.iter().filter_map(|a| Some(a.suffix.split_once(".{")?.0));
        if let Some(near) = known::nearest(head, heads) {
            return Some(format!("{near}.{tail}"));
        }
    }
    let plain = known::ANNOTATIONS.iter().map(|a| a.suffix).filter(|s| !s.contains('{'));
    known::nearest(suffix, plain).map(str::to_owned)
}

/// Annotations of a Service that are read on Ingresses only (§1.6).
fn wrong_object(service: &Service, told: &mut Vec<Diagnostic>) {
    for (key, value) in &service.meta.annotations {
        let entry = key.strip_prefix(PREFIX).and_then(known::find);
        if entry.is_some_and(|a| a.scope == AnnotationScope::Ingress) {
            let message = "the controller reads this annotation on Ingresses only".to_owned();
            told.push(warning("Service", &service.meta, key, value, Code::W_IGNORED, message));
        }
    }
}

/// `actions.NAME` and its like that no backend of the Ingress names (§5.7).
fn unreferenced(member: &Member<'_>, told: &mut Vec<Diagnostic>) {
    let ingress = member.ingress;
    let paths = ingress.rules.iter().flat_map(|r| r.paths.iter().flatten()).map(|p| &p.backend);
    let backends: Vec<_> = paths.chain(&ingress.default_backend).collect();
    for (key, value) in &ingress.meta.annotations {
        let Some((kind, name)) = key.strip_prefix(PREFIX).and_then(|s| s.split_once('.')) else { continue };
        let is_action = kind == "actions";
        if !is_action && kind != "conditions" && kind != "transforms" {
            continue;
        }
        let named = |b: &&&super::super::objects::Backend| b.service.as_ref().is_some_and(|s| s.text == name);
        let by_annotation =
            |b: &&super::super::objects::Backend| b.port_name.as_deref() == Some("use-annotation");
        let mut named = backends.iter().filter(named);
        let used = if is_action { named.any(by_annotation) } else { named.next().is_some() };
        if used {
            continue;
        }
        let expected = if is_action {
            format!("a backend with service name `{name}` and port name `use-annotation`")
        } else {
            format!("a backend with service name `{name}`")
        };
        let message = format!("no backend of this Ingress names `{name}`: the annotation has no effect");
        told.push(warning("Ingress", &ingress.meta, key, value, Code::W_IGNORED, message).expected(expected));
    }
}

/// Attribute keys of an annotation that AWS does not know.
fn attributes(annotations: Annotations<'_>, suffix: &str, all: &[&str], told: &mut Vec<Diagnostic>) {
    let Some(annotation) = annotations.get(suffix) else { return };
    // A text that is no map is an error of its own.
    for key in annotations.map(suffix).ok().flatten().unwrap_or_default().keys() {
        if let Some((message, near)) = unknown_attribute(key, all) {
            let unknown = annotation.error(Code::W_ATTRIBUTE_UNKNOWN, message).into_warning();
            told.push(match near {
                Some(near) => unknown.expected(format!("`{near}`")),
                None => unknown,
            });
        }
    }
}

fn target_group_attributes(annotations: Annotations<'_>, told: &mut Vec<Diagnostic>) {
    attributes(annotations, "target-group-attributes", known::TARGET_GROUP_ATTRIBUTES, told);
}

/// What is wrong with an attribute key, and the nearest right one.
fn unknown_attribute<'a>(key: &str, all: &[&'a str]) -> Option<(String, Option<&'a str>)> {
    if all.contains(&key) {
        return None;
    }
    if known::FOREIGN_TARGET_GROUP_ATTRIBUTES.contains(&key) {
        return Some((
            format!("the attribute `{key}` is of another kind of target group: AWS would refuse it"),
            None,
        ));
    }
    let near = known::nearest(key, all.iter().copied());
    Some((format!("AWS knows no attribute `{key}`, and would refuse it"), near))
}

/// Attribute keys and CIDR blocks of IngressClassParams, and what their webhook refuses (§2.5).
fn class_params(member: &Member<'_>, told: &mut Vec<Diagnostic>) {
    let Some(params) = member.params else { return };
    let object = format!("IngressClassParams {}", params.meta.name);
    let mut add = |given: Option<Given<'_>>, code, message: String, expected: Option<String>| {
        let Some(given) = given else { return };
        let mut said = given.error(code, message).into_warning().object(&object);
        said.annotation = None;
        said.expected = expected;
        told.push(said);
    };
    let balancer = params.load_balancer_attributes.iter().map(|(k, _)| (k, known::LOAD_BALANCER_ATTRIBUTES));
    let listeners =
        params.listeners.iter().flat_map(|l| &l.attributes).map(|(k, _)| (k, known::LISTENER_ATTRIBUTES));
    for (key, all) in balancer.chain(listeners) {
        if let Some((message, near)) = unknown_attribute(&key.text, all) {
            let near = near.map(|n| format!("`{n}`"));
            add(member.params_field("loadBalancerAttributes", key), Code::W_ATTRIBUTE_UNKNOWN, message, near);
        }
    }
    for cidr in &params.inbound_cidrs {
        let Ok(net) = cidr.text.parse::<ipnet::IpNet>() else { continue };
        if net.trunc() != net {
            let message = format!("`{cidr}` has bits behind its mask: the webhook refuses it");
            let right = Some(format!("`{}`", net.trunc()));
            add(member.params_field("inboundCIDRs", cidr), Code::W_ADMISSION, message, right);
        }
    }
    if let Some(subnets) = &params.subnets {
        let mut ids = subnets.ids.clone();
        ids.sort();
        ids.dedup();
        let why = if subnets.ids.is_empty() == subnets.tags.is_empty() {
            Some("`subnets` needs exactly one of `ids` and `tags`")
        } else if ids.len() < subnets.ids.len() {
            Some("a subnet stands twice in `subnets.ids`")
        } else {
            None
        };
        if let Some(why) = why {
            let said = Diagnostic::warning(Code::W_ADMISSION, format!("{why}: the webhook refuses it"));
            told.push(said.object(&object).at(subnets.at.location()));
        }
    }
}

/// What the webhook for Ingresses refuses (§2.6), and the API server.
fn admission(member: &Member<'_>, settings: &Settings, told: &mut Vec<Diagnostic>) {
    let meta = &member.ingress.meta;
    let mut refused = |key: &str, value: &Text, message: &str| {
        told.push(warning("Ingress", meta, key, value, Code::W_ADMISSION, message.to_owned()));
    };
    if let Some(value) = meta.annotations.get(CLASS_ANNOTATION) {
        if settings.disable_ingress_class_annotation {
            refused(
                CLASS_ANNOTATION,
                value,
                "the class annotation is disabled: the webhook refuses new Ingresses with it",
            );
        }
        if member.ingress.class_name.is_some() {
            let message =
                "the API server refuses a new Ingress with this annotation and `spec.ingressClassName`";
            refused(CLASS_ANNOTATION, value, message);
        }
    }
    let key = format!("{PREFIX}group.name");
    if let Some(value) = meta.annotations.get(&key)
        && settings.disable_ingress_group_name_annotation
    {
        refused(&key, value, "the annotation is disabled: the webhook refuses new Ingresses with it");
    }
}

fn placeholder(object: &str, what: &str, text: &Text, told: &mut Vec<Diagnostic>) {
    if let Some(found) = unexpanded(&text.text) {
        let message = format!("{what} has `{found}`, which looks like a placeholder that nothing replaced");
        let said = Diagnostic::warning(Code::W_PLACEHOLDER, message);
        told.push(said.object(object).value(&text.text).at(text.at.location()));
    }
}

/// The part of a text that looks as if a tool was to replace it: `$NAME`, `${name}`, `{{ name }}`, `<name>`
/// as the whole text, a row of x in an ARN. `#{host}` is AWS's own, `$1` belongs to a regex.
fn unexpanded(text: &str) -> Option<&str> {
    for (at, _) in text.match_indices('$') {
        let rest = text.get(at..).unwrap_or_default();
        let name = rest.get(1..).unwrap_or_default();
        if let Some(inner) = name.strip_prefix('{') {
            let end = inner
                .find('}')
                .filter(|end| *end > 0 && inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
            if let Some(end) = end {
                return rest.get(..end + 3);
            }
        }
        let length =
            name.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_').count();
        if length > 1 && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') {
            return rest.get(..=length);
        }
    }
    if let Some(at) = text.find("{{") {
        let rest = text.get(at..).unwrap_or_default();
        return rest.get(..rest.find("}}").map_or(2, |end| end + 2));
    }
    let whole = text.trim();
    let inner = whole.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    if inner.is_some_and(|t| !t.is_empty() && !t.contains(['<', '>', '"'])) {
        return Some(whole);
    }
    if text.starts_with("arn:") {
        let row = |c: char| !matches!(c, 'x' | 'X');
        return text.split(row).find(|part| part.len() >= 4);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for (text, found) in [
            ("$HOST", Some("$HOST")),
            ("arn:${ACCOUNT}:x", Some("${ACCOUNT}")),
            ("a.{{ .Values.host }}", Some("{{ .Values.host }}")),
            ("<certificate-arn>", Some("<certificate-arn>")),
            ("arn:aws:acm:us-west-2:xxxxx:certificate/xxxxxxx", Some("xxxxx")),
            (r##"{"Type":"redirect","RedirectConfig":{"Host":"#{host}","Query":"#{query}"}}"##, None),
            ("^/v[0-9]+$", None),
            ("/$1/x", None),
            ("<h1>Hello</h1>", None),
            ("costs $5", None),
            ("xxxxx", None),
        ] {
            assert_eq!(unexpanded(text), found, "{text}");
        }
    }

    #[test]
    fn the_variable_part_of_a_misspelt_annotation_is_kept() {
        assert_eq!(nearest_annotation("action.web").as_deref(), Some("actions.web"));
        assert_eq!(
            nearest_annotation("listener-attribute.HTTP-80").as_deref(),
            Some("listener-attributes.HTTP-80")
        );
        assert_eq!(nearest_annotation("sheme").as_deref(), Some("scheme"));
        assert_eq!(nearest_annotation("zzz"), None);
    }
}
