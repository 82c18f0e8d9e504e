//! Reading fields out of the YAML tree: what is missing is empty, what has another type is missing, and
//! every place can be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::yaml::{At, Node, Text, Value};
use crate::error::{Code, Diagnostic};

/// A node of the tree, or the place where one would be.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    node: Option<&'a Node>,
    file: &'a Arc<str>,
    /// Where the nearest node above stands.
    line: u32,
    column: u32,
}

/// An object that cannot be read.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Diagnostic);

impl<'a> Reader<'a> {
    pub(crate) fn new(node: &'a Node, file: &'a Arc<str>) -> Self {
        Reader { node: Some(node), file, line: node.line, column: node.column }
    }

    fn child(self, node: Option<&'a Node>) -> Self {
        match node {
            Some(node) => Reader { node: Some(node), line: node.line, column: node.column, ..self },
            None => Reader { node: None, ..self },
        }
    }

    /// The field `key`.
    pub(crate) fn at(self, key: &str) -> Self {
        self.child(self.node.and_then(|n| n.get(key)))
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(self, key: &str) -> bool {
        self.node.and_then(|n| n.get(key)).is_some_and(|n| !matches!(n.value, Value::Null))
    }

    /// Where this stands.
    pub(crate) fn place(self) -> At {
        At { file: self.file.clone(), line: self.line, column: self.column }
    }

    /// A scalar as text: numbers and booleans as they were most likely written.
    pub(crate) fn scalar(self) -> Option<Text> {
        let text = match &self.node?.value {
            Value::Text(text) => text.clone(),
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Float(f) => f.to_string(),
            Value::Null => String::new(),
            Value::Seq(_) | Value::Map(_) => return None,
        };
        Some(Text { text, at: self.place() })
    }

    /// The text of a field; empty where it is missing.
    pub(crate) fn text(self, key: &str) -> String {
        self.at(key).scalar().map(|t| t.text).unwrap_or_default()
    }

    /// A whole number.
    pub(crate) fn number(self) -> Option<i64> {
        match &self.node?.value {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match &self.node?.value {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The items of a list.
    pub(crate) fn list(self, key: &str) -> impl Iterator<Item = Reader<'a>> {
        let items = match self.node.and_then(|n| n.get(key)).map(|n| &n.value) {
            Some(Value::Seq(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().map(move |item| self.child(Some(item)))
    }

    /// The texts of a list.
    pub(crate) fn texts(self, key: &str) -> Vec<String> {
        self.list(key).filter_map(|item| item.scalar().map(|t| t.text)).collect()
    }

    /// The entries of a mapping.
    pub(crate) fn entries(self, key: &str) -> impl Iterator<Item = (&'a str, Reader<'a>)> {
        let entries = match self.node.and_then(|n| n.get(key)).map(|n| &n.value) {
            Some(Value::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(move |(key, value)| (key.text.as_str(), self.child(Some(value))))
    }

    /// A mapping of texts.
    pub(crate) fn text_map(self, key: &str) -> BTreeMap<String, String> {
        self.entries(key).filter_map(|(k, v)| Some((k.to_owned(), v.scalar()?.text))).collect()
    }

    /// An error at this place.
    pub(crate) fn refuse(self, message: impl Into<String>, expected: &str) -> Refused {
        Refused(Diagnostic::error(Code::E_OBJECT, message).expected(expected).at(self.place().location()))
    }
}
