//! Rules that can never match, because rules before them take everything they would.
//!
//! A rule covers another by hosts and paths alone; headers, methods and the like on the later rule only
//! narrow it. Found by look-ups, not by comparing rules in pairs: a host is covered by itself, by the
//! wildcards of its suffixes and by rules without hosts; a path pattern by itself and by patterns that are
//! a prefix of it with a `*` behind.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Rule, RuleCondition};

/// For each rule of a listener, in their order, the rules before it that together leave it nothing;
/// empty for a rule that can match.
pub(super) fn shadowed(rules: &[Rule]) -> Vec<Vec<usize>> {
    let mut seen = Seen::default();
    let mut out = Vec::with_capacity(rules.len());
    for (i, rule) in rules.iter().enumerate() {
        let simple = Simple::of(rule);
        out.push(seen.covering(&simple).unwrap_or_default());
        if simple.exact {
            seen.add(i, &simple);
        }
    }
    out
}

/// What a rule asks of host and path, as far as it is asked with plain values.
struct Simple<'a> {
    /// In lower case; empty for any host.
    hosts: Vec<String>,
    /// Empty for any path.
    paths: Vec<&'a str>,
    /// Whether that is all it asks, so that it takes everything of its hosts and paths.
    exact: bool,
    /// Whether regexes stand in the place of values: then only "any" covers them.
    host_regex: bool,
    path_regex: bool,
}

impl<'a> Simple<'a> {
    fn of(rule: &'a Rule) -> Self {
        let mut simple = Simple {
            hosts: Vec::new(),
            paths: Vec::new(),
            exact: true,
            host_regex: false,
            path_regex: false,
        };
        let mut twice = (false, false);
        for condition in &rule.conditions {
            match condition {
                RuleCondition::HostHeader { values, regex_values } => {
                    simple.host_regex |= !regex_values.is_empty();
                    simple.hosts.extend(values.iter().map(|v| v.to_ascii_lowercase()));
                    simple.exact &= !std::mem::replace(&mut twice.0, true) && regex_values.is_empty();
                }
                RuleCondition::PathPattern { values, regex_values } => {
                    simple.path_regex |= !regex_values.is_empty();
                    simple.paths.extend(values.iter().map(String::as_str));
                    simple.exact &= !std::mem::replace(&mut twice.1, true) && regex_values.is_empty();
                }
                _ => simple.exact = false,
            }
        }
        simple
    }
}

/// The first rules that take hosts and paths, by what covers a host.
#[derive(Default)]
struct Seen {
    any: Paths,
    exact: HashMap<String, Paths>,
    /// `*.example.com`, by what stands behind the star.
    suffix: HashMap<String, Paths>,
}

/// The first rule that takes a path pattern.
#[derive(Default)]
struct Paths {
    exact: HashMap<String, usize>,
    /// Patterns that end in their only `*`, by what stands before it.
    prefix: HashMap<String, usize>,
    /// How long those are.
    lengths: BTreeSet<usize>,
}

impl Seen {
    fn add(&mut self, rule: usize, simple: &Simple<'_>) {
        if simple.hosts.is_empty() {
            self.any.add(rule, &simple.paths);
        }
        for host in &simple.hosts {
            let suffix = host.strip_prefix('*').filter(|rest| !rest.contains(['*', '?']));
            let paths = match suffix {
                Some(suffix) => self.suffix.entry(suffix.to_owned()),
                None => self.exact.entry(host.clone()),
            };
            paths.or_default().add(rule, &simple.paths);
        }
    }

    /// The rules that take every host and path of `simple`; `None` where one is left over.
    fn covering(&self, simple: &Simple<'_>) -> Option<Vec<usize>> {
        let any_path = ["/*"];
        let paths = if simple.paths.is_empty() || simple.path_regex { &any_path[..] } else { &simple.paths };
        let mut by = BTreeSet::new();
        for path in paths {
            if simple.hosts.is_empty() || simple.host_regex {
                by.insert(self.any.first(path)?);
            } else {
                for host in &simple.hosts {
                    by.insert(self.first(host, path)?);
                }
            }
        }
        Some(by.into_iter().collect())
    }

    fn first(&self, host: &str, path: &str) -> Option<usize> {
        let dots = host.match_indices('.').filter_map(|(at, _)| host.get(at..));
        let wider = dots.chain([""]).filter_map(|suffix| self.suffix.get(suffix));
        let all = self.exact.get(host).into_iter().chain(wider).chain([&self.any]);
        all.filter_map(|paths| paths.first(path)).min()
    }
}

impl Paths {
    fn add(&mut self, rule: usize, paths: &[&str]) {
        if paths.is_empty() {
            self.add_one(rule, "*");
        }
        for path in paths {
            self.add_one(rule, path);
        }
    }

    fn add_one(&mut self, rule: usize, path: &str) {
        match path.strip_suffix('*').filter(|p| !p.contains(['*', '?'])) {
            Some(prefix) => {
                self.lengths.insert(prefix.len());
                self.prefix.entry(prefix.to_owned()).or_insert(rule);
            }
            None => {
                self.exact.entry(path.to_owned()).or_insert(rule);
            }
        }
    }

    fn first(&self, path: &str) -> Option<usize> {
        let literal = path.find(['*', '?']).unwrap_or(path.len());
        let lengths = self.lengths.iter().take_while(|n| **n <= literal);
        let wider = lengths.filter_map(|n| self.prefix.get(path.get(..*n)?));
        self.exact.get(path).into_iter().chain(wider).copied().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Priority;

    fn rule(hosts: &[&str], paths: &[&str]) -> Rule {
        let values = |all: &[&str]| all.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let mut conditions = Vec::new();
        if !hosts.is_empty() {
            conditions.push(RuleCondition::HostHeader { values: values(hosts), regex_values: Vec::new() });
        }
        if !paths.is_empty() {
            conditions.push(RuleCondition::PathPattern { values: values(paths), regex_values: Vec::new() });
        }
        Rule {
            rule_arn: String::new(),
            priority: Priority::Rule(1),
            conditions,
            actions: Vec::new(),
            transforms: Vec::new(),
            tags: Vec::new(),
        }
    }

    fn by(rules: &[Rule]) -> Vec<usize> {
        shadowed(rules).pop().unwrap()
    }

    #[test]
    fn what_stands_before_takes_it_all() {
        assert_eq!(by(&[rule(&[], &["/*"]), rule(&["a.com"], &["/x"])]), [0]);
        assert_eq!(by(&[rule(&["A.com"], &["/a", "/a/*"]), rule(&["a.com"], &["/a/b", "/a/b/*"])]), [0]);
        assert_eq!(by(&[rule(&["*.a.com"], &[]), rule(&["x.a.com"], &["/q?"])]), [0]);
        assert_eq!(by(&[rule(&[], &["/a"]), rule(&[], &["/b"]), rule(&[], &["/a", "/b"])]), [0, 1]);
        assert_eq!(
            by(&[rule(&["a.com"], &[]), rule(&["b.com"], &["/*"]), rule(&["a.com", "b.com"], &["/z"])]),
            [0, 1]
        );
    }

    #[test]
    fn what_can_match_is_left_alone() {
        let nothing: [usize; 0] = [];
        assert_eq!(by(&[rule(&["a.com"], &["/*"]), rule(&[], &["/x"])]), nothing);
        assert_eq!(by(&[rule(&[], &["/a/*"]), rule(&[], &["/a", "/a/*"])]), nothing);
        assert_eq!(by(&[rule(&[], &["/a?"]), rule(&[], &["/ab"])]), nothing);
        assert_eq!(by(&[rule(&["x.a.com"], &[]), rule(&["*.a.com"], &[])]), nothing);
        let mut narrow = rule(&[], &["/*"]);
        narrow.conditions.push(RuleCondition::HttpRequestMethod { values: vec!["GET".into()] });
        assert_eq!(by(&[narrow.clone(), rule(&[], &["/x"])]), nothing);
        assert_eq!(by(&[rule(&[], &["/*"]), narrow]), [0]);
    }
}
