//! Builds the [`Index`]: where each rule stands, and the tries in flat arrays.

use std::collections::BTreeMap;

use super::conditions::{globs, residual};
use crate::error::Diagnostic;
use crate::matcher::{Case, Condition, Glob, literal_head};
use crate::model::RuleCondition;
use crate::options::Options;
use crate::table::{Entry, HostMap, Index, Node};

/// A rule with more hosts times paths than this stands under its hosts only, and its paths are asked.
const PLACES: usize = 4096;

/// Where in a trie an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    head: Vec<u8>,
    exact: bool,
}

/// The entries of a head: of patterns that are exactly it, and of those that go on.
type Lists = (Vec<Entry>, Vec<Entry>);

/// The tries before they are flattened: lists by head.
type Trie = BTreeMap<Vec<u8>, Lists>;

/// A place for a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostKey {
    Exact(Vec<u8>),
    Suffix(Vec<u8>),
    Any,
}

pub(super) struct Builder<'a> {
    options: &'a Options,
    tries: BTreeMap<HostKey, Trie>,
    checks: Vec<u32>,
    conditions: Vec<Condition>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Builder { options, tries: BTreeMap::new(), checks: Vec::new(), conditions: Vec::new() }
    }

    /// Adds a rule; rules come in the order of their ranks.
    pub(super) fn add(
        &mut self,
        rank: u32,
        conditions: &[RuleCondition],
        grpc: bool,
    ) -> Result<(), Diagnostic> {
        // One host and one path condition lead to the rule's places; all others are asked there.
        let mut others: Vec<u32> = Vec::new();
        let (mut hosts, mut paths): (Option<&[String]>, Option<&[String]>) = (None, None);
        for condition in conditions {
            match condition {
                RuleCondition::HostHeader { values, regex_values }
                    if hosts.is_none() && regex_values.is_empty() =>
                {
                    hosts = Some(values);
                }
                RuleCondition::PathPattern { values, regex_values }
                    if paths.is_none() && regex_values.is_empty() =>
                {
                    paths = Some(values);
                }
                other => {
                    let residual = residual(other, self.options)?;
                    others.push(self.condition(residual));
                }
            }
        }
        // K-23: `/package` also stands for `/package.Service/Method`.
        let grpc_paths: Vec<String>;
        if let (true, Some(values)) = (grpc, paths) {
            grpc_paths =
                values.iter().flat_map(|v| [v.clone(), format!("{v}.*"), format!("{v}/*")]).collect();
            paths = Some(&grpc_paths);
        }
        if hosts.map_or(1, <[_]>::len).saturating_mul(paths.map_or(1, <[_]>::len)) > PLACES
            && let Some(values) = paths.take()
        {
            let all = Condition::PathGlobs(globs(values, Case::Sensitive));
            others.push(self.condition(all));
        }
        let shared = self.check_list(&others);
        for (host, host_check) in self.host_places(hosts) {
            for (key, path_check) in self.path_places(paths) {
                let checks = if host_check.is_none() && path_check.is_none() {
                    shared
                } else {
                    let list: Vec<u32> =
                        host_check.iter().chain(&path_check).chain(&others).copied().collect();
                    self.check_list(&list)
                };
                let entry = Entry { rank, checks };
                let lists = self.tries.entry(host.clone()).or_default().entry(key.head).or_default();
                let list = if key.exact { &mut lists.0 } else { &mut lists.1 };
                list.push(entry);
            }
        }
        Ok(())
    }

    fn condition(&mut self, condition: Condition) -> u32 {
        self.conditions.push(condition);
        self.conditions.len() as u32 - 1
    }

    fn check_list(&mut self, list: &[u32]) -> (u32, u32) {
        let start = self.checks.len() as u32;
        self.checks.extend_from_slice(list);
        (start, self.checks.len() as u32)
    }

    /// The places of a rule's hosts, and what is left to ask there.
    fn host_places(&mut self, hosts: Option<&[String]>) -> Vec<(HostKey, Option<u32>)> {
        let Some(values) = hosts else { return vec![(HostKey::Any, None)] };
        let mut out = Vec::new();
        for value in values {
            let lower = value.to_ascii_lowercase();
            out.push(match lower.strip_prefix('*') {
                _ if !lower.contains(['*', '?']) => (HostKey::Exact(lower.into_bytes()), None),
                Some(suffix) if suffix.starts_with('.') && !suffix.contains(['*', '?']) => {
                    (HostKey::Suffix(suffix.as_bytes().to_vec()), None)
                }
                _ => {
                    let glob = Condition::HostGlobs(vec![Glob::new(value, Case::Insensitive)]);
                    (HostKey::Any, Some(self.condition(glob)))
                }
            });
        }
        out
    }

    /// The places of a rule's paths, and what is left to ask there.
    fn path_places(&mut self, paths: Option<&[String]>) -> Vec<(Key, Option<u32>)> {
        let prefix = |head: &str| Key { head: head.as_bytes().to_vec(), exact: false };
        let Some(values) = paths else { return vec![(prefix(""), None)] };
        let mut out = Vec::new();
        for value in values {
            match literal_head(value) {
                (head, "") => out.push((Key { head: head.as_bytes().to_vec(), exact: true }, None)),
                (head, "*") => out.push((prefix(head), None)),
                (head, _) => {
                    let glob = Condition::PathGlobs(vec![Glob::new(value, Case::Sensitive)]);
                    let check = self.condition(glob);
                    out.push((prefix(head), Some(check)));
                }
            }
        }
        out
    }

    pub(super) fn build(self) -> Index {
        let mut index = Index { checks: self.checks, conditions: self.conditions, ..Index::default() };
        let (mut hosts, mut suffixes) = (Vec::new(), Vec::new());
        for (host, trie) in self.tries {
            let root = flatten(&mut index, trie);
            match host {
                HostKey::Exact(name) => hosts.push((name, root)),
                HostKey::Suffix(name) => suffixes.push((name, root)),
                HostKey::Any => index.any_host = Some(root),
            }
        }
        index.hosts = HostMap::new(hosts.iter().map(|(name, root)| (name.as_slice(), *root)));
        index.suffixes = HostMap::new(suffixes.iter().map(|(name, root)| (name.as_slice(), *root)));
        index
    }
}

/// A part of a trie that becomes a node: keys that share their first `depth` bytes.
struct Task {
    node: usize,
    from: usize,
    to: usize,
    depth: usize,
}

/// Lays a trie out in the index's arrays; gives back its root. Keys are sorted, so the keys of a subtree
/// are neighbours and the first and the last of them tell what all share. A stack of our own: heads may be
/// as deep as the configuration is long.
fn flatten(index: &mut Index, trie: Trie) -> u32 {
    let keys: Vec<(Vec<u8>, Lists)> = trie.into_iter().collect();
    let root = index.nodes.len();
    index.nodes.push(Node::default());
    let mut tasks = vec![Task { node: root, from: 0, to: keys.len(), depth: 0 }];
    while let Some(Task { node, from, to, depth }) = tasks.pop() {
        let Some(all) = keys.get(from..to) else { continue };
        let (Some((first, _)), Some((last, _))) = (all.first(), all.last()) else { continue };
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        // The root has no label: what its keys share belongs to a child, or stands at the root itself.
        let end = if node == root && depth == 0 && !first.is_empty() { 0 } else { shared };
        let mut built = Node {
            label: bytes(&mut index.labels, first.get(depth..end).unwrap_or_default()),
            ..Node::default()
        };
        let mut at = from;
        if first.len() == end {
            if let Some((_, (exact, prefix))) = keys.get(at) {
                built.exact = list(&mut index.entries, exact);
                built.prefix = list(&mut index.entries, prefix);
            }
            at += 1;
        }
        let start = index.children.len() as u32;
        let mut groups = Vec::new();
        while at < to {
            let byte = keys.get(at).and_then(|(k, _)| k.get(end)).copied().unwrap_or_default();
            let group_from = at;
            while at < to && keys.get(at).is_some_and(|(k, _)| k.get(end) == Some(&byte)) {
                at += 1;
            }
            at = at.max(group_from + 1);
            groups.push((byte, group_from, at));
        }
        for (byte, group_from, group_to) in groups {
            let child = index.nodes.len();
            index.nodes.push(Node::default());
            index.child_bytes.push(byte);
            index.children.push(child as u32);
            tasks.push(Task { node: child, from: group_from, to: group_to, depth: end });
        }
        built.children = (start, index.children.len() as u32);
        if let Some(slot) = index.nodes.get_mut(node) {
            *slot = built;
        }
    }
    root as u32
}

fn bytes(all: &mut Vec<u8>, more: &[u8]) -> (u32, u32) {
    let start = all.len() as u32;
    all.extend_from_slice(more);
    (start, all.len() as u32)
}

/// Entries came in rank order; a rule that stands twice at one place needs to be asked once per check list.
fn list(all: &mut Vec<Entry>, more: &[Entry]) -> (u32, u32) {
    let start = all.len() as u32;
    all.extend_from_slice(more);
    (start, all.len() as u32)
}
