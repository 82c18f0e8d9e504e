//! Rules of a listener (§5): path order, path patterns, conditions.

use super::group::Member;
use super::objects::IngressPath;
use crate::error::{Code, Diagnostic};
use crate::model::RuleCondition;

/// Exact first, then Prefix by length, then the rest as they stand (§5.2). Sorting is local to one rule.
pub(crate) fn sorted<'a>(
    member: &Member<'_>,
    paths: &'a [IngressPath],
) -> Result<Vec<&'a IngressPath>, Diagnostic> {
    let (mut exact, mut prefix, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        match path.path_type.as_ref().map(|t| t.text.as_str()) {
            Some("Exact") => exact.push(path),
            Some("Prefix") => prefix.push(path),
            None | Some("ImplementationSpecific") => rest.push(path),
            Some(other) => {
                let at = path.path_type.as_ref().and_then(|t| t.at.location());
                return Err(member
                    .error(Code::E_PATHTYPE, format!("unknown path type `{other}`"))
                    .value(other)
                    .expected("`Exact`, `Prefix` or `ImplementationSpecific`")
                    .at(at));
            }
        }
    }
    prefix.sort_by_key(|p| std::cmp::Reverse(p.path.text.len()));
    exact.extend(prefix);
    exact.extend(rest);
    Ok(exact)
}

/// The values and the regexes of a path (§5.3).
pub(crate) fn patterns(
    member: &Member<'_>,
    path: &IngressPath,
) -> Result<(Vec<String>, Vec<String>), Diagnostic> {
    let text = path.path.text.as_str();
    if text.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let kind = path.path_type.as_ref().map_or("ImplementationSpecific", |t| t.text.as_str());
    if kind == "ImplementationSpecific" {
        return Ok(if member.annotations().boolean("use-regex-path-match")?.unwrap_or(false) {
            (Vec::new(), vec![text.chars().skip(1).collect()])
        } else {
            (vec![text.to_owned()], Vec::new())
        });
    }
    if text.contains(['*', '?']) {
        return Err(member
            .error(Code::E_PATH_WILDCARD, format!("the {kind} path `{text}` has a wildcard"))
            .value(text)
            .expected("no `*` or `?`, or path type `ImplementationSpecific`")
            .at(path.path.at.location()));
    }
    Ok(match (kind, text) {
        ("Prefix", "/") => (vec!["/*".to_owned()], Vec::new()),
        ("Prefix", _) => {
            let base = text.strip_suffix('/').unwrap_or(text);
            (vec![base.to_owned(), format!("{base}/*")], Vec::new())
        }
        _ => (vec![text.to_owned()], Vec::new()),
    })
}

/// Host, path and the annotation's conditions as one list (§5.4): the annotation widens host and path.
pub(crate) fn conditions(
    member: &Member<'_>,
    service: &str,
    host: &str,
    (mut paths, mut path_regexes): (Vec<String>, Vec<String>),
    extra: &[RuleCondition],
) -> Result<Vec<RuleCondition>, Diagnostic> {
    let mut hosts: Vec<String> = Some(host.to_owned()).filter(|h| !h.is_empty()).into_iter().collect();
    let mut host_regexes = Vec::new();
    let mut out = Vec::new();
    for condition in extra {
        match condition {
            RuleCondition::HostHeader { values, regex_values } => {
                hosts.extend(values.iter().cloned());
                host_regexes.extend(regex_values.iter().cloned());
            }
            RuleCondition::PathPattern { values, regex_values } => {
                paths.extend(values.iter().cloned());
                path_regexes.extend(regex_values.iter().cloned());
            }
            other => out.push(other.clone()),
        }
    }
    if !hosts.is_empty() && !host_regexes.is_empty() {
        let message = "a rule has host values and host regexes";
        return Err(member.error_at(&format!("conditions.{service}"), Code::E_HOST_MIXED, message));
    }
    if !paths.is_empty() && !path_regexes.is_empty() {
        let message = "a rule has path values and path regexes";
        return Err(member.error_at(&format!("conditions.{service}"), Code::E_PATH_MIXED, message));
    }
    if !hosts.is_empty() || !host_regexes.is_empty() {
        out.push(RuleCondition::HostHeader { values: hosts, regex_values: host_regexes });
    }
    if !paths.is_empty() || !path_regexes.is_empty() {
        out.push(RuleCondition::PathPattern { values: paths, regex_values: path_regexes });
    }
    if out.is_empty() {
        out.push(RuleCondition::PathPattern { values: vec!["/*".to_owned()], regex_values: Vec::new() });
    }
    Ok(out)
}
