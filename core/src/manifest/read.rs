//! Reading fields out of the YAML tree as the API server does: what is missing or null is empty, and what
//! has another type is a problem with a place. Problems are gathered, so that reading goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::yaml::{At, Node, Text, Value};
use crate::error::{Code, Diagnostic};

/// A node of the tree, or the place where one would be.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    node: Option<&'a Node>,
    file: &'a Arc<str>,
    /// What has the wrong type or is missing.
    wrong: &'a RefCell<Vec<Diagnostic>>,
    /// The field this stands under; that of the list for an item.
    key: &'a str,
    /// Where the nearest node above stands.
    line: u32,
    column: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(node: &'a Node, file: &'a Arc<str>, wrong: &'a RefCell<Vec<Diagnostic>>) -> Self {
        Reader { node: Some(node), file, wrong, key: "", line: node.line, column: node.column }
    }

    fn child(self, key: &'a str, node: Option<&'a Node>) -> Self {
        match node {
            Some(node) => Reader { node: Some(node), key, line: node.line, column: node.column, ..self },
            None => Reader { node: None, key, ..self },
        }
    }

    /// The node itself.
    pub(crate) fn node(self) -> Option<&'a Node> {
        self.node
    }

    /// The field `key`.
    pub(crate) fn at(self, key: &'a str) -> Self {
        if let Some(node) = self.node
            && !matches!(node.value, Value::Map(_) | Value::Null)
        {
            self.mistyped(node, "a mapping");
        }
        self.child(key, self.node.and_then(|n| n.get(key)))
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(self, key: &str) -> bool {
        self.node.and_then(|n| n.get(key)).is_some_and(|n| !matches!(n.value, Value::Null))
    }

    /// Where this stands.
    pub(crate) fn place(self) -> At {
        At { file: self.file.clone(), line: self.line, column: self.column }
    }

    /// A text of a document that may be anything: empty where it is no text.
    pub(crate) fn glance(self, key: &str) -> &'a str {
        match self.node.and_then(|n| n.get(key)).map(|n| &n.value) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// This node as a text with its place; `None` where it is missing or null.
    pub(crate) fn string(self) -> Option<Text> {
        let node = self.node?;
        match &node.value {
            Value::Text(text) => Some(Text { text: text.clone(), at: self.place() }),
            Value::Null => None,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                self.mistyped(node, "a text, in quotes");
                None
            }
            Value::Seq(_) | Value::Map(_) => {
                self.mistyped(node, "a text");
                None
            }
        }
    }

    /// The text of a field with its place; `None` where it is missing, null or empty.
    pub(crate) fn field(self, key: &'a str) -> Option<Text> {
        self.at(key).string().filter(|t| !t.is_empty())
    }

    /// The text of a field; empty where it is missing.
    pub(crate) fn text(self, key: &'a str) -> String {
        self.at(key).string().map(|t| t.text).unwrap_or_default()
    }

    /// A whole number.
    pub(crate) fn number(self, key: &'a str) -> Option<i64> {
        let field = self.at(key);
        let node = field.node?;
        match node.value {
            Value::Int(n) => Some(n),
            Value::Null => None,
            _ => {
                field.mistyped(node, "a whole number, without quotes");
                None
            }
        }
    }

    pub(crate) fn boolean(self, key: &'a str) -> Option<bool> {
        let field = self.at(key);
        let node = field.node?;
        match node.value {
            Value::Bool(b) => Some(b),
            Value::Null => None,
            _ => {
                field.mistyped(node, "`true` or `false`, without quotes");
                None
            }
        }
    }

    /// A number or a text, whichever it is.
    pub(crate) fn int_or_text(self, key: &'a str) -> Result<Option<i64>, Text> {
        match self.at(key).node.map(|n| &n.value) {
            Some(Value::Int(n)) => Ok(Some(*n)),
            _ => self.field(key).map_or(Ok(None), Err),
        }
    }

    /// The items of a list.
    pub(crate) fn list(self, key: &'a str) -> impl Iterator<Item = Reader<'a>> {
        let field = self.at(key);
        let items = match field.node.map(|n| (n, &n.value)) {
            Some((_, Value::Seq(items))) => items.as_slice(),
            None | Some((_, Value::Null)) => &[],
            Some((node, _)) => {
                field.mistyped(node, "a list");
                &[]
            }
        };
        items.iter().map(move |item| self.child(key, Some(item)))
    }

    /// The texts of a list.
    pub(crate) fn texts(self, key: &'a str) -> Vec<String> {
        self.list(key).filter_map(|item| item.string().map(|t| t.text)).collect()
    }

    /// The texts of a list with their places.
    pub(crate) fn fields(self, key: &'a str) -> Vec<Text> {
        self.list(key).filter_map(Reader::string).collect()
    }

    /// The entries of a mapping.
    pub(crate) fn entries(self, key: &'a str) -> impl Iterator<Item = (&'a str, Reader<'a>)> {
        let field = self.at(key);
        let entries = match field.node.map(|n| (n, &n.value)) {
            Some((_, Value::Map(entries))) => entries.as_slice(),
            None | Some((_, Value::Null)) => &[],
            Some((node, _)) => {
                field.mistyped(node, "a mapping");
                &[]
            }
        };
        entries.iter().map(move |(key, value)| (key.text.as_str(), self.child(&key.text, Some(value))))
    }

    /// A mapping of texts.
    pub(crate) fn text_map(self, key: &'a str) -> BTreeMap<String, String> {
        self.entries(key).filter_map(|(k, v)| Some((k.to_owned(), v.string()?.text))).collect()
    }

    /// Notes a problem at this place.
    pub(crate) fn refuse(self, message: impl Into<String>, expected: &str) {
        self.note(Diagnostic::error(Code::E_OBJECT, message).expected(expected));
    }

    fn mistyped(self, node: &Node, expected: &str) {
        let (found, value) = match &node.value {
            Value::Null => ("null", None),
            Value::Bool(b) => ("a boolean", Some(b.to_string())),
            Value::Int(n) => ("a number", Some(n.to_string())),
            Value::Float(f) => ("a number", Some(f.to_string())),
            Value::Text(text) => ("a text", Some(text.clone())),
            Value::Seq(_) => ("a list", None),
            Value::Map(_) => ("a mapping", None),
        };
        let what = if self.key.is_empty() { "an object" } else { self.key };
        let mut problem =
            Diagnostic::error(Code::E_OBJECT, format!("`{what}` is {found}")).expected(expected);
        if let Some(value) = value {
            problem = problem.value(value);
        }
        self.note(problem);
    }

    /// A field may be read more than once; its problem is one.
    fn note(self, problem: Diagnostic) {
        let problem = problem.at(self.place().location());
        let mut wrong = self.wrong.borrow_mut();
        if !wrong.contains(&problem) {
            wrong.push(problem);
        }
    }
}
