//! http-header (spec: dataplane §1.5.3): each line of the header is one subject, outer white space cut
//! off; an absent header matches nothing, not even `*`.

use super::{Case, Glob, Regex};
use crate::request::RequestView;

/// A header name with the values, or the regexes, that a line of it may match.
#[derive(Debug)]
pub(crate) struct Header {
    name: Box<str>,
    globs: Vec<Glob>,
    regexes: Vec<Regex>,
}

impl Header {
    pub(crate) fn new(name: &str, values: &[String], regexes: Vec<Regex>) -> Self {
        Header {
            name: name.to_ascii_lowercase().into_boxed_str(),
            globs: values.iter().map(|v| Glob::new(v, Case::Insensitive)).collect(),
            regexes,
        }
    }

    pub(super) fn holds<R: RequestView>(&self, request: &R) -> bool {
        request.any_header(&self.name, |line| {
            let line = line.trim_ascii();
            self.globs.iter().any(|g| g.matches(line)) || self.regexes.iter().any(|r| r.is_match(line))
        })
    }
}
