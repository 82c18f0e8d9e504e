//! Pure predicates over a request: one file per kind of condition. A condition is compiled once and then
//! asked without allocating. Inputs are a [`Subject`] (the request, taken apart once) and the request
//! itself for headers; nothing here knows priorities, actions or targets (spec: dataplane §1.3–§1.7).

mod glob;
mod header;
mod host;
mod method;
mod path;
mod query;
mod regex;
mod rewrite;
mod source_ip;
mod subject;

pub(crate) use glob::{Case, Glob};
pub(crate) use header::Header;
pub(crate) use path::{Pairs, literal_head, needs, signature};
pub(crate) use query::{Pair, Query};
pub(crate) use regex::{Regex, RegexError, regex_head};
pub(crate) use rewrite::Rewrite;
pub(crate) use source_ip::SourceIp;
pub(crate) use subject::{BadTarget, Subject, without_port};

use crate::options::Options;
use crate::request::RequestView;

/// A compiled condition; its values are alternatives.
#[derive(Debug)]
pub(crate) enum Condition {
    HostGlobs(Vec<Glob>),
    HostRegexes(Vec<Regex>),
    PathGlobs(Vec<Glob>),
    PathRegexes(Vec<Regex>),
    Header(Header),
    Methods(Vec<Box<[u8]>>),
    Query(Query),
    SourceIp(SourceIp),
}

impl Condition {
    /// Whether the request fulfils the condition.
    #[inline]
    pub(crate) fn holds<R: RequestView>(
        &self,
        subject: &Subject<'_>,
        request: &R,
        options: &Options,
    ) -> bool {
        match self {
            Condition::HostGlobs(globs) => host::any_glob(globs, subject, options),
            Condition::HostRegexes(regexes) => host::any_regex(regexes, subject, options),
            Condition::PathGlobs(globs) => globs.iter().any(|g| g.matches(subject.path)),
            Condition::PathRegexes(regexes) => regexes.iter().any(|r| r.is_match(subject.path)),
            Condition::Header(header) => header.holds(request),
            Condition::Methods(methods) => method::any(methods, request.method()),
            Condition::Query(query) => query.holds(subject.query, options),
            Condition::SourceIp(source_ip) => source_ip.holds(request.peer().ip()),
        }
    }
}
