//! YAML and JSON text as a tree in which every node knows its line and column.
//!
//! Objects are read out of this tree by hand instead of by derived structs: a known object may then say
//! exactly which field is wrong and where, an unknown one costs nothing, and `kind: List` needs no second
//! pass. Booleans follow YAML 1.2 (`yes` stays text), as nobody means a boolean by it.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::error::{Code, Diagnostic, Location};

use super::source::Source;

/// A place in a source; line 0 means that it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl At {
    /// The place as the error type has it.
    pub(crate) fn location(&self) -> Option<Location> {
        (self.line > 0).then(|| Location {
            file: self.file.to_string(),
            line: self.line,
            column: self.column,
        })
    }
}

/// A text of the input that knows where it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) at: At,
}

impl Text {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A node of a document.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Seq(Vec<Node>),
    /// In the order of the input, repeated keys included.
    Map(Vec<(Key, Node)>),
}

/// A mapping key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
}

impl Node {
    /// The value under `key`; of repeated keys the last one counts.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().rev().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

impl Node {
    /// Calls `found` with every key that stands twice in one mapping, and the place of its second value.
    /// What the API server keeps for itself (`status`, `managedFields`) is passed over.
    pub(crate) fn duplicate_keys(&self, found: &mut impl FnMut(&str, u32, u32)) {
        match &self.value {
            Value::Seq(items) => items.iter().for_each(|item| item.duplicate_keys(found)),
            Value::Map(entries) => {
                // Mappings are small, but for the data of a Secret or a hostile one.
                let mut seen = std::collections::HashSet::new();
                for (i, (key, value)) in entries.iter().enumerate() {
                    let before = entries.get(..i).unwrap_or_default();
                    let twice = if entries.len() > 16 {
                        !seen.insert(key.text.as_str())
                    } else {
                        before.iter().any(|(k, _)| k.text == key.text)
                    };
                    if twice {
                        found(&key.text, value.line, value.column);
                    }
                    if !matches!(key.text.as_str(), "status" | "managedFields") {
                        value.duplicate_keys(found);
                    }
                }
            }
            _ => {}
        }
    }

    /// The same tree as JSON; of repeated keys the last one counts.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Float(f) => (*f).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Seq(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(k, v)| (k.text.clone(), v.to_json())).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node {
            line: narrow(spanned.referenced.line()),
            column: narrow(spanned.referenced.column()),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Key { text })
    }
}

fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        // No field that is read here reaches this far; as a float it is refused where it matters.
        Ok(i64::try_from(v).map_or(Value::Float(v as f64), Value::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::Text(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

/// All documents of a source, empty ones left out. The error says what is wrong where: `E_SYNTAX`, or
/// `E_TEMPLATE` where the text is a template.
pub(crate) fn parse(source: &Source) -> Result<Vec<Node>, Diagnostic> {
    let options = serde_saphyr::options! {
        // Generated manifests are large, and depth and aliases stay limited.
        budget: serde_saphyr::budget! {
            max_events: 200_000_000,
            max_nodes: 100_000_000,
            max_total_scalar_bytes: 1 << 32,
            max_documents: 10_000_000,
            max_depth: 100,
        },
        // kubectl tells them apart with a warning; so do the objects.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    serde_saphyr::from_multiple_with_options::<Node>(text, options).or_else(|error| {
        // JSON may be indented with tabs, which YAML forbids.
        match serde_json::from_str::<Node>(text) {
            Ok(node) => Ok(vec![node]),
            Err(_) => Err(syntax_error(source, &error)),
        }
    })
}

fn syntax_error(source: &Source, error: &serde_saphyr::Error) -> Diagnostic {
    if let Some(location) = template_at(source) {
        return template_error(Some(location));
    }
    let location = error.location().map(|l| Location {
        file: source.name.clone(),
        line: narrow(l.line()),
        column: narrow(l.column()),
    });
    let text = error.render();
    let line = text.lines().next().unwrap_or_default();
    // The place stands in front of the message already.
    let line = match line.rfind(" at line ").or_else(|| line.find(": line ")) {
        Some(at) if location.is_some() => &line[..at],
        _ => line,
    };
    Diagnostic::error(Code::E_SYNTAX, format!("not valid YAML: {}", line.trim_start_matches("error: ")))
        .at(location)
}

/// The error for a template in the place of a manifest.
pub(crate) fn template_error(location: Option<Location>) -> Diagnostic {
    Diagnostic::error(Code::E_TEMPLATE, "this is a template, not a manifest")
        .expected("rendered YAML, for example the output of `helm template`")
        .at(location)
}

/// Where line `number` of a source has a `{{`.
pub(crate) fn template_on(source: &Source, number: u32) -> Option<Location> {
    let line = source.text.lines().nth((number as usize).checked_sub(1)?)?;
    let at = line.find("{{")?;
    let column = narrow(line.get(..at)?.chars().count() as u64 + 1);
    Some(Location { file: source.name.clone(), line: number, column })
}

/// Where a source has its first `{{`.
pub(crate) fn template_at(source: &Source) -> Option<Location> {
    source.text.lines().enumerate().find_map(|(i, line)| {
        let at = line.find("{{")?;
        // A comment that mentions templates does not make one.
        (!line[..at].contains('#')).then(|| Location {
            file: source.name.clone(),
            line: narrow(i as u64 + 1),
            column: narrow(line[..at].chars().count() as u64 + 1),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "a.yml".into(), text: text.into() }
    }

    #[test]
    fn nodes_know_their_place() {
        let docs = parse(&source("a:\n  b: yes\n---\n---\nc: ['x', 2]\n")).unwrap();
        assert_eq!(docs.len(), 2);
        let b = docs[0].get("a").and_then(|a| a.get("b")).unwrap();
        assert_eq!((b.line, b.column), (2, 6));
        assert!(matches!(&b.value, Value::Text(t) if t == "yes"));
        let Value::Seq(c) = &docs[1].get("c").unwrap().value else { panic!("a list") };
        assert!(matches!(c[1].value, Value::Int(2)));
    }

    #[test]
    fn the_last_of_two_keys_counts() {
        let docs = parse(&source("a: 1\na: 2\n")).unwrap();
        assert!(matches!(docs[0].get("a").unwrap().value, Value::Int(2)));
    }

    #[test]
    fn json_indented_with_tabs_is_read() {
        let docs = parse(&source("{\n\t\"a\": {\n\t\t\"b\": [1, null, true, 1.5]\n\t}\n}")).unwrap();
        assert!(docs[0].get("a").and_then(|a| a.get("b")).is_some());
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = parse(&source("a: b\n  c: [\n")).unwrap_err();
        assert_eq!(error.code, Code::E_SYNTAX);
        assert_eq!(error.location.unwrap().file, "a.yml");
        assert!(!error.message.contains(" at line "), "{}", error.message);
    }

    #[test]
    fn a_template_is_told_apart_from_bad_yaml() {
        let error = parse(&source("a: 1\nb: {{ .Values.b }}: x\n")).unwrap_err();
        assert_eq!(error.code, Code::E_TEMPLATE);
        assert_eq!(error.location.unwrap().line, 2);
    }
}
