//! The JSON of `aws elbv2 describe-*` as a source of the model. Documents are recognised by their keys,
//! in any split of files; what `podway plan -o json` prints is one of them. Imports model and error only.
//!
//! Some answers do not say whom they belong to: attributes and target health carry no ARN. They belong
//! to the only resource of their kind, to the one whose ARN stands beside them (`TargetGroupArn`, …), or
//! to the one whose name is part of the file's name.

mod assemble;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Code, Diagnostic, Error, Location};
use crate::model::{
    Attribute, Listener, LoadBalancer, Model, RecordSet, Rule, TargetGroup, TargetHealthDescription,
};

/// The keys by which a document is recognised.
const KEYS: [&str; 6] =
    ["LoadBalancers", "Listeners", "Rules", "TargetGroups", "Attributes", "TargetHealthDescriptions"];

/// Whether `text` is JSON with a key of an ELBv2 answer at its top.
///
/// ```
/// assert!(podway::elbv2::recognise(r#"{"TargetGroups": []}"#));
/// assert!(!podway::elbv2::recognise(r#"{"kind": "Ingress"}"#));
/// ```
pub fn recognise(text: &str) -> bool {
    // A manifest may be JSON too, so a brace alone proves nothing; a YAML file is not worth a parse.
    if !text.trim_start().starts_with('{') {
        return false;
    }
    let first = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
    match first {
        Some(Ok(Value::Object(map))) => KEYS.iter().any(|key| map.contains_key(*key)),
        _ => false,
    }
}

/// Reads documents, each a file's name and its text (one JSON object or several in a row), into one model.
///
/// # Errors
/// `E_SYNTAX` for text that is not JSON, `E_OBJECT` for a field of the wrong shape and for an answer that
/// cannot be told whom it belongs to; both with file, line and column.
///
/// ```
/// let model = podway::elbv2::read(&[
///     ("groups.json", r#"{"TargetGroups": [{"TargetGroupArn": "arn:a", "TargetGroupName": "a"}]}"#),
///     ("health.json", r#"{"TargetHealthDescriptions": [
///         {"Target": {"Id": "10.0.0.1", "Port": 80}, "TargetHealth": {"State": "healthy"}}]}"#),
/// ]).unwrap();
/// assert_eq!(model.target_groups[0].target_health_descriptions[0].target.id, "10.0.0.1");
/// ```
pub fn read(documents: &[(&str, &str)]) -> Result<Model, Error> {
    let mut answers = Vec::new();
    for (name, text) in documents {
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
    assemble::assemble(answers)
}

/// One answer, or several in one object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    load_balancers: Vec<Supported<LoadBalancerAnswer>>,
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
}

#[derive(Deserialize)]
struct LoadBalancerAnswer {
    #[serde(flatten)]
    load_balancer: LoadBalancer,
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

/// A resource of an Application Load Balancer; those of other kinds of load balancer are passed over, so
/// that an account's whole answer can be read.
struct Supported<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Supported<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(d)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let other = text("Type").is_some_and(|t| t == "network" || t == "gateway")
            || text("Protocol").is_some_and(|p| !matches!(p, "HTTP" | "HTTPS"));
        if other {
            return Ok(Supported(None));
        }
        T::deserialize(value).map(|t| Supported(Some(t))).map_err(serde::de::Error::custom)
    }
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
