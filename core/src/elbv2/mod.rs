//! The JSON of `aws elbv2 describe-*` as a source of the model. Documents are recognised by their keys,
//! in any split of files; what `podway plan -o json` prints is one of them. Imports model and error only.
//!
//! Read are the answers of `describe-load-balancers`, `-listeners`, `-rules`, `-target-groups`,
//! `-load-balancer-attributes`, `-listener-attributes`, `-target-group-attributes` and `-target-health`: a
//! file may hold one, several in a row, or several in one object. Fields that do not decide where a request
//! goes (`VpcId`, `AvailabilityZones`, `SecurityGroups`, `CreatedTime`, …) are passed over; Network and
//! Gateway Load Balancers with their listeners and target groups are left out with a warning. A resource
//! that stands in two files counts once where both say the same, and is refused where they do not.
//!
//! # Whose attributes, whose health
//! The answers with `Attributes` and `TargetHealthDescriptions` do not say whom they belong to. It is found
//! out in this order:
//! 1. an ARN beside them: `{"TargetGroupArn": "arn:…", "Attributes": […]}`, or `LoadBalancerArn`, or
//!    `ListenerArn`. A shell adds it with `jq --arg a "$ARN" '. + {TargetGroupArn: $a}'`;
//! 2. the only resource of their kind in the same object;
//! 3. the file's name, or else the name of a folder above it: it contains the last part of the ARN, or the
//!    resource's name as a word (`health-web.json`, `web/attributes.json`; for a listener the load balancer's
//!    name, and the port where there are several: `web-443.json`). Of several names the longest counts;
//! 4. the only resource of their kind in the whole input.
//!
//! Keys tell the attributes of load balancers, listeners and target groups apart. What stays open is refused.
//!
//! # Keys of our own
//! In what is written, these keys are not the API's: `Listeners`, `Attributes` and `Ingresses` of a load
//! balancer; `Rules` and `Attributes` of a listener; `Attributes`, `TargetHealthDescriptions`, `ServiceRef`
//! and `NodePort` of a target group; `Tags` of all of them and of rules; `RecordSets` and, in a plan,
//! `Diagnostics` beside them. The values of `Attributes`, `Tags` and `TargetHealthDescriptions` have the
//! API's shape.

mod assemble;
mod owner;

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Code, Diagnostic, Error, Location};
use crate::model::{
    Attribute, Listener, LoadBalancer, Model, RecordSet, Rule, TargetGroup, TargetHealthDescription,
};

/// The keys by which a document is recognised.
const KEYS: [&str; 6] =
    ["LoadBalancers", "Listeners", "Rules", "TargetGroups", "Attributes", "TargetHealthDescriptions"];

/// What documents become.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Described {
    /// The model.
    pub model: Model,
    /// Warnings: what was left out, and answers that stop before their last page.
    pub diagnostics: Vec<Diagnostic>,
}

/// Whether `text` is JSON with a key of an ELBv2 answer at its top. A text that breaks off behind such a
/// key counts, so that its reader may say where.
///
/// ```
/// assert!(podway::elbv2::recognise(r#"{"TargetGroups": []}"#));
/// assert!(!podway::elbv2::recognise(r#"{"kind": "Ingress"}"#));
/// ```
pub fn recognise(text: &str) -> bool {
    // A manifest may be JSON too, so a brace alone proves nothing; a YAML file is not worth a parse.
    let text = without_mark(text);
    if !text.trim_start().starts_with('{') {
        return false;
    }
    let found = Cell::new(false);
    // Syntax errors are the reader's business.
    let _ = TopKeys(&found).deserialize(&mut serde_json::Deserializer::from_str(text));
    found.get()
}

/// Reads documents, each a file's name and its text (one JSON object or several in a row), into one model.
///
/// # Errors
/// `E_SYNTAX` for text that is not JSON; `E_OBJECT` for a field of the wrong shape, for an answer of which
/// it cannot be told whom it belongs to, and for a resource that stands there twice in different words. All
/// name the file, and where it is known line and column.
///
/// ```
/// let described = podway::elbv2::read(&[
///     ("groups.json", r#"{"TargetGroups": [{"TargetGroupArn": "arn:a", "TargetGroupName": "a"}]}"#),
///     ("health.json", r#"{"TargetHealthDescriptions": [
///         {"Target": {"Id": "10.0.0.1", "Port": 80}, "TargetHealth": {"State": "healthy"}}]}"#),
/// ]).unwrap();
/// assert_eq!(described.model.target_groups[0].target_health_descriptions[0].target.id, "10.0.0.1");
/// ```
pub fn read(documents: &[(&str, &str)]) -> Result<Described, Error> {
    join(Model::default(), documents)
}

/// Reads documents as [`read`] does into a model that is there already, for example of manifests: attributes
/// and target health may belong to its resources too, and then take the place of what stood there.
///
/// # Errors
/// As [`read`].
pub fn join(model: Model, documents: &[(&str, &str)]) -> Result<Described, Error> {
    let mut answers = Vec::new();
    for (name, text) in documents {
        let text = without_mark(text);
        let mut from = 0;
        while text.get(from..).is_some_and(|rest| !rest.trim().is_empty()) {
            let rest = text.get(from..).unwrap_or_default();
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Answer>();
            match stream.next() {
                Some(Ok(answer)) => {
                    from += stream.byte_offset();
                    answers.push((*name, answer));
                }
                Some(Err(e)) => return Err(refusal(name, text, from, &e)),
                None => break,
            }
        }
    }
    assemble::assemble(model, answers)
}

/// Text without the mark that some editors and shells put in front of it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Looks for [`KEYS`] at the top of a document.
struct TopKeys<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for TopKeys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TopKeys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if KEYS.contains(&key.as_str()) {
                self.0.set(true);
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// One answer, or several in one object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    load_balancers: Vec<Supported<LoadBalancer>>,
    listeners: Vec<Supported<ListenerAnswer>>,
    rules: Vec<RuleAnswer>,
    target_groups: Vec<Supported<TargetGroup>>,
    attributes: Option<Vec<Attribute>>,
    target_health_descriptions: Option<Vec<TargetHealthDescription>>,
    record_sets: Vec<RecordSet>,
    /// Beside `Attributes` or `TargetHealthDescriptions`: whom they belong to.
    target_group_arn: Option<String>,
    load_balancer_arn: Option<String>,
    listener_arn: Option<String>,
    /// A page with another one behind it: the API's word, and the command's with `--max-items`.
    next_marker: Option<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct ListenerAnswer {
    #[serde(rename = "LoadBalancerArn", default)]
    load_balancer_arn: String,
    #[serde(flatten)]
    listener: Listener,
}

#[derive(Deserialize)]
struct RuleAnswer {
    #[serde(rename = "ListenerArn", default)]
    listener_arn: Option<String>,
    #[serde(flatten)]
    rule: Rule,
}

/// A resource of an Application Load Balancer, or one of another kind of load balancer, so that an account's
/// whole answer can be read.
enum Supported<T> {
    Yes(Box<T>),
    No { arn: String, name: String },
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Supported<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(d)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let any = |keys: [&str; 3]| keys.into_iter().find_map(text).unwrap_or_default().to_owned();
        // A listener of a Gateway Load Balancer has no protocol at all.
        let hangs_on_other =
            ["LoadBalancerArn", "ListenerArn"].into_iter().filter_map(text).any(is_other_arn);
        let is_other = hangs_on_other
            || text("Type").is_some_and(|t| t == "network" || t == "gateway")
            || text("TargetType") == Some("alb")
            || text("Protocol").is_some_and(|p| {
                matches!(p, "TCP" | "TLS" | "UDP" | "TCP_UDP" | "GENEVE" | "QUIC" | "TCP_QUIC")
            });
        if is_other {
            // The resource's own ARN comes first: a listener names its load balancer too.
            return Ok(Supported::No {
                arn: any(["ListenerArn", "TargetGroupArn", "LoadBalancerArn"]),
                name: any(["TargetGroupName", "LoadBalancerName", ""]),
            });
        }
        T::deserialize(value).map(|t| Supported::Yes(Box::new(t))).map_err(serde::de::Error::custom)
    }
}

/// Whether an ARN of a load balancer, listener or rule is one of a Network or Gateway Load Balancer.
fn is_other_arn(arn: &str) -> bool {
    let kind = arn.split(':').nth(5).unwrap_or_default().split('/').nth(1);
    matches!(kind, Some("net" | "gwy"))
}

/// A serde error with its place in the whole text, of which `from` bytes were read before.
fn refusal(name: &str, text: &str, from: usize, e: &serde_json::Error) -> Error {
    let before = text.get(..from).unwrap_or_default();
    let lines = before.matches('\n').count() as u32;
    let indent =
        if e.line() == 1 { before.rsplit('\n').next().unwrap_or_default().chars().count() } else { 0 };
    let location = Location {
        file: name.to_owned(),
        line: lines + e.line() as u32,
        column: (indent + e.column()).max(1) as u32,
    };
    let said = e.to_string();
    let message = said.split(" at line ").next().unwrap_or_default().to_owned();
    let code = if e.is_data() { Code::E_OBJECT } else { Code::E_SYNTAX };
    Diagnostic::error(code, message).at(Some(location)).into()
}

#[cfg(test)]
mod tests;
