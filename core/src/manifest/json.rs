//! JSON as the controller reads it (§1.5): keys of structures match without regard to case, unknown ones
//! are passed over, of repeated ones the last counts, `null` is absent, types are strict.

use serde_json::{Map, Value};

/// What is wrong with a document, as a sentence.
pub(crate) type Wrong = String;

/// A structure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a>(Option<&'a Map<String, Value>>);

impl<'a> Object<'a> {
    /// `null` is a structure with nothing in it.
    pub(crate) fn new(value: &'a Value) -> Result<Self, Wrong> {
        match value {
            Value::Object(map) => Ok(Object(Some(map))),
            Value::Null => Ok(Object(None)),
            other => Err(format!("expected an object, found {}", kind(other))),
        }
    }

    /// The last field of that name that is not null; the map keeps the order of the document.
    fn get(self, key: &str) -> Option<&'a Value> {
        let mut all = self.0?.iter().filter(|(k, v)| k.eq_ignore_ascii_case(key) && !v.is_null());
        all.next_back().map(|(_, v)| v)
    }

    pub(crate) fn text(self, key: &str) -> Result<Option<String>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("`{key}` must be a string, not {}", kind(other))),
        }
    }

    pub(crate) fn boolean(self, key: &str) -> Result<Option<bool>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(format!("`{key}` must be a boolean, not {}", kind(other))),
        }
    }

    pub(crate) fn int32(self, key: &str) -> Result<Option<i32>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(n)) => match n.as_i64().and_then(|n| i32::try_from(n).ok()) {
                Some(n) => Ok(Some(n)),
                None => Err(format!("`{key}` must be a whole number of 32 bits, not {n}")),
            },
            Some(other) => Err(format!("`{key}` must be a number, not {}", kind(other))),
        }
    }

    /// A number or a string, as text.
    pub(crate) fn int_or_text(self, key: &str) -> Result<Option<String>, Wrong> {
        match self.get(key) {
            Some(Value::Number(_)) => Ok(self.int32(key)?.map(|n| n.to_string())),
            _ => self.text(key),
        }
    }

    pub(crate) fn object(self, key: &str) -> Result<Option<Object<'a>>, Wrong> {
        self.get(key).map(Object::new).transpose()
    }

    pub(crate) fn list(self, key: &str) -> Result<Vec<&'a Value>, Wrong> {
        self.get(key).map_or(Ok(Vec::new()), array)
    }

    pub(crate) fn texts(self, key: &str) -> Result<Vec<String>, Wrong> {
        let text = |v: &Value| match v {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            other => Err(format!("`{key}` must hold strings, not {}", kind(other))),
        };
        self.list(key)?.into_iter().map(text).collect()
    }

    /// A map of texts; its keys keep their case.
    pub(crate) fn text_map(self, key: &str) -> Result<Vec<(String, String)>, Wrong> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(k, v)| match v {
                    Value::String(text) => Ok((k.clone(), text.clone())),
                    other => Err(format!("`{key}` must hold strings, not {}", kind(other))),
                })
                .collect(),
            Some(other) => Err(format!("`{key}` must be an object, not {}", kind(other))),
        }
    }
}

/// The items of a list; `null` is an empty one.
pub(crate) fn array(value: &Value) -> Result<Vec<&Value>, Wrong> {
    match value {
        Value::Array(items) => Ok(items.iter().collect()),
        Value::Null => Ok(Vec::new()),
        other => Err(format!("expected a list, found {}", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_without_case_and_types_do_not() {
        let value = serde_json::json!({"TYPE": "forward", "weight": "20", "port": 80.5, "x": null});
        let object = Object::new(&value).unwrap();
        assert_eq!(object.text("type").unwrap().as_deref(), Some("forward"));
        assert!(object.int32("Weight").is_err());
        assert!(object.int32("port").is_err());
        assert_eq!(object.text("x"), Ok(None));
        assert!(Object::new(&serde_json::json!([])).is_err());
    }
}
