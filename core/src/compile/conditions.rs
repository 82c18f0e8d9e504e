//! Conditions of the model to predicates.

use crate::error::{Code, Diagnostic};
use crate::matcher::{Case, Condition, Glob, Header, Pair, Query, Regex, RegexError, SourceIp};
use crate::model::RuleCondition;
use crate::options::Options;

/// K-23: what a path pattern stands for in front of a gRPC group: `/package` also for `/package.Service/Method`.
pub(crate) fn grpc_patterns(value: &str) -> [String; 3] {
    [value.to_owned(), format!("{value}.*"), format!("{value}/*")]
}

pub(super) fn globs(values: &[String], case: Case) -> Vec<Glob> {
    values.iter().map(|v| Glob::new(v, case)).collect()
}

pub(super) fn regexes(
    values: &[String],
    path: bool,
    options: &Options,
    field: &str,
) -> Result<Vec<Regex>, Diagnostic> {
    // K-03: the path's case counts whatever the knob says.
    let case = if options.regex_ignores_case && !path { Case::Insensitive } else { Case::Sensitive };
    values
        .iter()
        .map(|v| {
            Regex::new(v, case, options.regex_anchored, options.regex_size_limit).map_err(
                |RegexError(why)| {
                    Diagnostic::error(Code::ValidationError, format!("the regex `{v}` cannot be used: {why}"))
                        .annotation(field)
                        .value(v)
                },
            )
        })
        .collect()
}

/// A condition that is asked. Host-header and path-pattern are mostly not: the index takes them apart.
pub(crate) fn residual(condition: &RuleCondition, options: &Options) -> Result<Condition, Diagnostic> {
    Ok(match condition {
        RuleCondition::HostHeader { values, regex_values } => {
            if regex_values.is_empty() {
                Condition::HostGlobs(globs(values, Case::Insensitive))
            } else {
                Condition::HostRegexes(regexes(regex_values, false, options, condition.field())?)
            }
        }
        RuleCondition::PathPattern { values, regex_values } => {
            if regex_values.is_empty() {
                Condition::PathGlobs(globs(values, Case::Sensitive))
            } else {
                Condition::PathRegexes(regexes(regex_values, true, options, condition.field())?)
            }
        }
        RuleCondition::HttpHeader { http_header_name, values, regex_values } => Condition::Header(
            Header::new(http_header_name, values, regexes(regex_values, false, options, condition.field())?),
        ),
        RuleCondition::HttpRequestMethod { values } => {
            Condition::Methods(values.iter().map(|m| m.as_bytes().into()).collect())
        }
        RuleCondition::QueryString { values } => Condition::Query(Query::new(
            values
                .iter()
                .map(|p| {
                    Pair::new(p.key.as_deref(), p.value.as_deref().unwrap_or_default(), options.query_decode)
                })
                .collect(),
        )),
        RuleCondition::SourceIp { values } => Condition::SourceIp(SourceIp::new(values).map_err(|bad| {
            Diagnostic::error(Code::ValidationError, format!("`{bad}` is not a CIDR block"))
                .annotation(condition.field())
                .value(bad)
                .expected("a block such as `192.0.2.0/24`")
        })?),
    })
}
