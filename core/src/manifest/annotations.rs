//! Annotation values: the controller's grammars with their quirks (§1.2–§1.5), and which of a Service's
//! and an Ingress' annotations counts (§1.6).

use std::collections::BTreeMap;

use serde_json::Value;

use super::objects::{Ingress, Meta, Service};
use super::yaml::Text;
use crate::error::{Code, Diagnostic};

/// What every annotation of the controller starts with.
pub(crate) const PREFIX: &str = "alb.ingress.kubernetes.io/";

/// An annotation where it stands: whose it is, its key and its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Annotation<'a> {
    kind: &'static str,
    meta: &'a Meta,
    key: &'a str,
    value: &'a Text,
}

/// The annotations of an Ingress alone, or with a Service's over them, key by key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Annotations<'a> {
    ingress: &'a Meta,
    service: Option<&'a Meta>,
}

impl<'a> Annotations<'a> {
    pub(crate) fn of(ingress: &'a Ingress) -> Self {
        Annotations { ingress: &ingress.meta, service: None }
    }

    pub(crate) fn with(ingress: &'a Ingress, service: &'a Service) -> Self {
        Annotations { ingress: &ingress.meta, service: Some(&service.meta) }
    }

    /// A Service's annotations alone.
    pub(crate) fn of_service(service: &'a Service) -> Self {
        // Looked up in the Service's place, so that errors name it.
        Annotations { ingress: &service.meta, service: Some(&service.meta) }
    }

    pub(crate) fn get(self, suffix: &str) -> Option<Annotation<'a>> {
        debug_assert!(super::known::find(suffix).is_some(), "`{suffix}` is not in the table of annotations");
        let find = |kind, meta: &'a Meta| {
            let (key, value) = meta.annotations.get_key_value(&format!("{PREFIX}{suffix}"))?;
            Some(Annotation { kind, meta, key, value })
        };
        self.service.and_then(|meta| find("Service", meta)).or_else(|| find("Ingress", self.ingress))
    }

    pub(crate) fn text(self, suffix: &str) -> Option<&'a str> {
        self.get(suffix).map(|a| a.value.text.as_str())
    }

    pub(crate) fn boolean(self, suffix: &str) -> Result<Option<bool>, Diagnostic> {
        self.get(suffix).map(Annotation::boolean).transpose()
    }

    pub(crate) fn int32(self, suffix: &str) -> Result<Option<i32>, Diagnostic> {
        let Some(annotation) = self.get(suffix) else { return Ok(None) };
        let n = annotation.integer()?;
        i32::try_from(n).map(Some).map_err(|_| annotation.not_an_integer())
    }

    pub(crate) fn int64(self, suffix: &str) -> Result<Option<i64>, Diagnostic> {
        self.get(suffix).map(Annotation::integer).transpose()
    }

    pub(crate) fn list(self, suffix: &str) -> Option<Vec<String>> {
        self.get(suffix).map(|a| list(&a.value.text))
    }

    pub(crate) fn map(self, suffix: &str) -> Result<Option<BTreeMap<String, String>>, Diagnostic> {
        self.get(suffix).map(Annotation::map).transpose()
    }

    pub(crate) fn json(self, suffix: &str) -> Result<Option<(Annotation<'a>, Value)>, Diagnostic> {
        let Some(annotation) = self.get(suffix) else { return Ok(None) };
        Ok(Some((annotation, annotation.json()?)))
    }

    /// A value out of a fixed set, compared byte by byte.
    pub(crate) fn choice<T: Copy>(
        self,
        suffix: &str,
        code: Code,
        all: &[(&str, T)],
    ) -> Result<Option<T>, Diagnostic> {
        let Some(annotation) = self.get(suffix) else { return Ok(None) };
        annotation.choose(code, all).map(Some)
    }
}

impl<'a> Annotation<'a> {
    pub(crate) fn value(self) -> &'a str {
        &self.value.text
    }

    /// An error about this annotation.
    pub(crate) fn error(self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message)
            .object(format!("{} {}", self.kind, self.meta.key()))
            .annotation(self.key)
            .value(&self.value.text)
            .at(self.value.at.location())
    }

    fn boolean(self) -> Result<bool, Diagnostic> {
        let text = &self.value.text;
        parse_bool(text).ok_or_else(|| {
            self.error(Code::E_ANN_BOOL, format!("`{text}` is not a boolean")).expected("`true` or `false`")
        })
    }

    fn integer(self) -> Result<i64, Diagnostic> {
        // Rust's grammar is the controller's: a sign, digits, nothing else.
        self.value.text.parse().map_err(|_| self.not_an_integer())
    }

    fn not_an_integer(self) -> Diagnostic {
        self.error(Code::E_ANN_INT, format!("`{}` is not a number that fits", self.value.text))
            .expected("a whole number without spaces")
    }

    fn map(self) -> Result<BTreeMap<String, String>, Diagnostic> {
        string_map(&self.value.text).ok_or_else(|| {
            self.error(Code::E_ANN_MAP, format!("`{}` is not a list of pairs", self.value.text))
                .expected("`key=value,key=value`, a comma in a value written `\\,`")
        })
    }

    fn json(self) -> Result<Value, Diagnostic> {
        serde_json::from_str(&self.value.text).map_err(|e| self.not_json(&e))
    }

    pub(crate) fn not_json(self, why: &dyn std::fmt::Display) -> Diagnostic {
        self.error(Code::E_ANN_JSON, format!("not the JSON that belongs here: {why}"))
    }

    fn choose<T: Copy>(self, code: Code, all: &[(&str, T)]) -> Result<T, Diagnostic> {
        all.iter().find(|(name, _)| *name == self.value.text).map(|(_, v)| *v).ok_or_else(|| {
            let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.error(code, format!("unknown value `{}`", self.value.text)).expected(names.join(" or "))
        })
    }
}

/// The controller's spellings of a boolean (§1.2).
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Comma list: items trimmed, empty ones dropped (§1.2).
pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The controller's pairs with escapes (§1.3); `None` where it refuses them.
pub(crate) fn string_map(text: &str) -> Option<BTreeMap<String, String>> {
    let mut items: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => current.push(chars.next().map_or('\\', |(_, next)| next)),
            ',' => {
                let rest = text.get(at + 1..).unwrap_or_default().trim();
                if rest.contains('=') {
                    items.push(std::mem::take(&mut current).trim().to_owned());
                } else if rest.is_empty() {
                    current.push(',');
                } else {
                    return None; // two items of which the second has no `=`
                }
            }
            other => current.push(other),
        }
    }
    if !current.is_empty() {
        items.push(current.trim().to_owned());
    }
    let mut map = BTreeMap::new();
    for item in items {
        let (key, value) = item.split_once('=')?;
        let key = key.trim();
        if key.is_empty() {
            return None;
        }
        map.insert(key.to_owned(), value.trim().to_owned());
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Option<Vec<(String, String)>> {
        string_map(text).map(|m| m.into_iter().collect())
    }

    #[test]
    fn pairs_follow_the_controllers_grammar() {
        let is = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(map(""), is(&[]));
        assert_eq!(map("  "), None);
        assert_eq!(map("a=b,"), is(&[("a", "b,")]));
        for bad in ["a=b,,c=d", ",a=b", "a=b,,", "a=x,y", "a=x,y,b=z", "=a", "a"] {
            assert_eq!(map(bad), None, "{bad}");
        }
        assert_eq!(map(r"a=x\,y"), is(&[("a", "x,y")]));
        assert_eq!(map("a=Zg==, b=q=0=Z"), is(&[("a", "Zg=="), ("b", "q=0=Z")]));
        assert_eq!(map("a="), is(&[("a", "")]));
        assert_eq!(map(r"a=b\"), is(&[("a", r"b\")]));
        assert_eq!(map("a=1, a=2"), is(&[("a", "2")]));
    }

    #[test]
    fn lists_drop_what_is_empty() {
        assert_eq!(list(" a, ,b,,a "), ["a", "b", "a"]);
        assert!(list("").is_empty());
    }
}
