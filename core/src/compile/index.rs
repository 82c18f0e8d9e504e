//! Builds the [`Index`]: where each rule stands, and the tries in flat arrays.

use std::collections::{BTreeMap, HashMap};

use super::conditions::{globs, grpc_patterns, regexes, residual};
use crate::error::Diagnostic;
use crate::matcher::{Case, Condition, Glob, Pairs, literal_head, needs, regex_head};
use crate::model::RuleCondition;
use crate::options::Options;
use crate::table::{APART, Asks, BELOW, EXACT, Ends, Entry, HostMap, Index, NONE, Node, PREFIX};

/// A rule with more hosts times paths than this stands under its hosts only, and its paths are asked.
const PLACES: usize = 4096;

/// A place for a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostKey {
    Exact(Vec<u8>),
    Suffix(Vec<u8>),
    Any,
}

/// A rule under a host and a head.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// An index into `Builder::hosts`.
    host: u32,
    /// A range of `Builder::heads`.
    head: (u32, u32),
    /// Whether the pattern is exactly the head, or goes on after it.
    exact: bool,
    entry: Entry,
}

/// A head of a rule's paths, and what is left to ask there.
struct Head {
    text: Vec<u8>,
    exact: bool,
    check: Option<u32>,
    /// What the path has to have for it.
    needs: Pairs,
}

impl Head {
    /// One that leaves nothing to ask.
    fn proven(text: &str, exact: bool) -> Self {
        Head { text: text.into(), exact, check: None, needs: Pairs::default() }
    }
}

/// The values of a rule's path condition.
#[derive(Clone, Copy)]
enum Paths<'a> {
    Any,
    Globs(&'a [String]),
    Regexes(&'a [String]),
}

impl Paths<'_> {
    fn len(self) -> usize {
        match self {
            Paths::Any => 1,
            Paths::Globs(values) | Paths::Regexes(values) => values.len(),
        }
    }
}

pub(super) struct Builder<'a> {
    options: &'a Options,
    host_numbers: HashMap<HostKey, u32>,
    hosts: Vec<HostKey>,
    heads: Vec<u8>,
    places: Vec<Place>,
    checks: Vec<u32>,
    conditions: Vec<Condition>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Builder {
            options,
            host_numbers: HashMap::new(),
            hosts: Vec::new(),
            heads: Vec::new(),
            places: Vec::new(),
            checks: Vec::new(),
            conditions: Vec::new(),
        }
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
        let (mut hosts, mut paths): (Option<&[String]>, Paths<'_>) = (None, Paths::Any);
        for condition in conditions {
            match condition {
                RuleCondition::HostHeader { values, regex_values }
                    if hosts.is_none() && regex_values.is_empty() =>
                {
                    hosts = Some(values);
                }
                RuleCondition::PathPattern { values, regex_values } if matches!(paths, Paths::Any) => {
                    paths = if regex_values.is_empty() {
                        Paths::Globs(values)
                    } else {
                        Paths::Regexes(regex_values)
                    };
                }
                other => {
                    let residual = residual(other, self.options)?;
                    others.push(self.condition(residual));
                }
            }
        }
        let grpc_paths: Vec<String>;
        if let (true, Paths::Globs(values)) = (grpc, paths) {
            grpc_paths = values.iter().flat_map(|v| grpc_patterns(v)).collect();
            paths = Paths::Globs(&grpc_paths);
        }
        let mut heads = self.path_heads(paths)?;
        if hosts.map_or(1, <[_]>::len).saturating_mul(paths.len()) > PLACES
            && let Some(all) = self.paths(paths)?
        {
            others.push(self.condition(all));
            heads = self.path_heads(Paths::Any)?;
        }
        let shared = self.check_list(&others);
        for (host, host_check) in self.host_keys(hosts) {
            for head in &heads {
                let checks = if host_check.is_none() && head.check.is_none() {
                    shared
                } else {
                    let list: Vec<u32> =
                        host_check.iter().chain(&head.check).chain(&others).copied().collect();
                    self.check_list(&list)
                };
                let text = append(&mut self.heads, &head.text);
                let entry = Entry { rank, checks, needs: head.needs };
                self.places.push(Place { host, head: text, exact: head.exact, entry });
            }
        }
        Ok(())
    }

    fn condition(&mut self, condition: Condition) -> u32 {
        self.conditions.push(condition);
        self.conditions.len() as u32 - 1
    }

    fn check_list(&mut self, list: &[u32]) -> (u32, u32) {
        append(&mut self.checks, list)
    }

    fn host_number(&mut self, key: HostKey) -> u32 {
        let next = self.hosts.len() as u32;
        let number = *self.host_numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.hosts.push(key);
        }
        number
    }

    /// The numbers of a rule's hosts, and what is left to ask there.
    fn host_keys(&mut self, hosts: Option<&[String]>) -> Vec<(u32, Option<u32>)> {
        let Some(values) = hosts else { return vec![(self.host_number(HostKey::Any), None)] };
        let mut out = Vec::new();
        for value in values {
            let lower = value.to_ascii_lowercase();
            let (key, check) = match lower.strip_prefix('*') {
                _ if !lower.contains(['*', '?']) => (HostKey::Exact(lower.into_bytes()), None),
                Some(suffix) if suffix.starts_with('.') && !suffix.contains(['*', '?']) => {
                    (HostKey::Suffix(suffix.as_bytes().to_vec()), None)
                }
                _ => {
                    let glob = Condition::HostGlobs(vec![Glob::new(value, Case::Insensitive)]);
                    (HostKey::Any, Some(self.condition(glob)))
                }
            };
            out.push((self.host_number(key), check));
        }
        out
    }

    /// All values of a path condition as one to be asked.
    fn paths(&self, paths: Paths<'_>) -> Result<Option<Condition>, Diagnostic> {
        Ok(match paths {
            Paths::Any => None,
            Paths::Globs(values) => Some(Condition::PathGlobs(globs(values, Case::Sensitive))),
            Paths::Regexes(values) => {
                Some(Condition::PathRegexes(regexes(values, true, self.options, "path-pattern")?))
            }
        })
    }

    /// The heads of a rule's paths. Values that share one and have to be asked are asked as one.
    fn path_heads(&mut self, paths: Paths<'_>) -> Result<Vec<Head>, Diagnostic> {
        let mut out = Vec::new();
        let mut asked: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        match paths {
            Paths::Any => out.push(Head::proven("", false)),
            Paths::Globs(values) => {
                for value in values {
                    match literal_head(value) {
                        (head, "") => out.push(Head::proven(head, true)),
                        (head, "*") => out.push(Head::proven(head, false)),
                        (head, _) => asked.entry(head.into()).or_default().push(value.clone()),
                    }
                }
            }
            Paths::Regexes(values) => {
                for value in values {
                    asked.entry(regex_head(value)).or_default().push(value.clone());
                }
            }
        }
        for (text, values) in asked {
            let (same_head, needs) = match paths {
                Paths::Regexes(_) => (self.paths(Paths::Regexes(&values))?, Pairs::default()),
                _ => (self.paths(Paths::Globs(&values))?, needs(&values)),
            };
            let check = same_head.map(|condition| self.condition(condition));
            out.push(Head { text, exact: false, check, needs });
        }
        Ok(out)
    }

    pub(super) fn build(mut self) -> Index {
        let heads = std::mem::take(&mut self.heads);
        let head =
            |place: &Place| heads.get(place.head.0 as usize..place.head.1 as usize).unwrap_or_default();
        // Stable, so that the places of a head stay in the order of their ranks.
        self.places.sort_by(|a, b| (a.host, head(a), a.exact).cmp(&(b.host, head(b), b.exact)));
        let mut index = Index { checks: self.checks, conditions: self.conditions, ..Index::default() };
        let (mut hosts, mut suffixes) = (Vec::new(), Vec::new());
        for places in self.places.chunk_by(|a, b| a.host == b.host) {
            let keys: Vec<(&[u8], &[Place])> = places
                .chunk_by(|a, b| head(a) == head(b))
                .filter_map(|p| Some((head(p.first()?), p)))
                .collect();
            let root = flatten(&mut index, &keys);
            match places.first().and_then(|p| self.hosts.get(p.host as usize)) {
                Some(HostKey::Exact(name)) => hosts.push((name.as_slice(), root)),
                Some(HostKey::Suffix(name)) => suffixes.push((name.as_slice(), root)),
                Some(HostKey::Any) => index.any_host = Some(root),
                None => {}
            }
        }
        index.hosts = HostMap::new(hosts.into_iter());
        index.suffixes = HostMap::new(suffixes.into_iter());
        index.finish();
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

/// Lays the trie of a host out in the index's arrays; gives back its root. Keys are sorted, so the keys of
/// a subtree are neighbours and the first and the last of them tell what all share. A stack of our own:
/// heads may be as deep as the configuration is long.
fn flatten(index: &mut Index, keys: &[(&[u8], &[Place])]) -> u32 {
    let root = index.nodes.len();
    push_node(index, 0);
    let mut tasks = vec![Task { node: root, from: 0, to: keys.len(), depth: 0 }];
    while let Some(Task { node, from, to, depth }) = tasks.pop() {
        let Some(all) = keys.get(from..to) else { continue };
        let (Some((first, _)), Some((last, _))) = (all.first(), all.last()) else { continue };
        let shared = first.iter().zip(*last).take_while(|(a, b)| a == b).count();
        // What is too long for one label goes on in an only child.
        let end = shared.min(depth + usize::from(u16::MAX));
        let (label, _) = append(&mut index.labels, first.get(depth..end).unwrap_or_default());
        let mut built = Node { label, label_len: (end - depth) as u16, ..EMPTY };
        let mut ends = Ends::NONE;
        let mut at = from;
        if first.len() == end {
            let here = keys.get(at).map(|(_, places)| *places).unwrap_or_default();
            let (exact, prefix): (Vec<&Place>, Vec<&Place>) = here.iter().partition(|p| p.exact);
            let mut asks = Asks::default();
            (ends.exact, asks.exact) = list(&mut index.entries, &exact);
            (ends.prefix, asks.prefix) = list(&mut index.entries, &prefix);
            if asks.exact.0 < asks.exact.1 || asks.prefix.0 < asks.prefix.1 {
                ends.asks = index.asks.len() as u32;
                index.asks.push(asks);
            }
            at += 1;
        }
        built.first_child = index.nodes.len() as u32;
        while at < to {
            let byte = keys.get(at).and_then(|(k, _)| k.get(end)).copied().unwrap_or_default();
            let group_from = at;
            while at < to && keys.get(at).is_some_and(|(k, _)| k.get(end) == Some(&byte)) {
                at += 1;
            }
            at = at.max(group_from + 1);
            let child = keys.get(group_from..at).unwrap_or_default();
            if let (b'/', Some(rank)) = (byte, below(child, end + 1)) {
                ends.below = rank;
                continue;
            }
            tasks.push(Task { node: index.nodes.len(), from: group_from, to: at, depth: end + 1 });
            push_node(index, byte);
        }
        built.children = (index.nodes.len() as u32 - built.first_child) as u8; // UTF-8 has 243 different bytes
        (built.has, built.ends) = packed(&mut index.ends, ends);
        if let Some(slot) = index.nodes.get_mut(node) {
            *slot = built;
        }
    }
    root as u32
}

/// The rank of a child that ends after `depth` bytes, has no children and only a rule that needs no asking,
/// for all paths that go on there.
fn below(child: &[(&[u8], &[Place])], depth: usize) -> Option<u32> {
    let [(key, places)] = child else { return None };
    let entry = places.first()?.entry;
    let proven = entry.checks.0 == entry.checks.1;
    (proven && key.len() == depth && places.iter().all(|place| !place.exact)).then_some(entry.rank)
}

const EMPTY: Node = Node { label: 0, label_len: 0, children: 0, has: 0, first_child: 0, ends: NONE };

/// What a node says of its ends: most have one rank, which stands in the node itself.
fn packed(all: &mut Vec<Ends>, ends: Ends) -> (u8, u32) {
    let each = [(EXACT, ends.exact), (PREFIX, ends.prefix), (BELOW, ends.below)];
    let there = each.into_iter().filter(|(_, rank)| *rank != NONE);
    let rank = there.clone().next().map_or(NONE, |(_, rank)| rank);
    if ends.asks == NONE && there.clone().all(|(_, other)| other == rank) {
        return (there.fold(0, |has, (end, _)| has | end), rank);
    }
    all.push(ends);
    (APART, all.len() as u32 - 1)
}

fn push_node(index: &mut Index, first_byte: u8) {
    index.nodes.push(EMPTY);
    index.first_bytes.push(first_byte);
}

/// The first rule of a list that needs no asking, and those before it, which do. What comes after it can
/// never win here and is left out.
fn list(entries: &mut Vec<Entry>, places: &[&Place]) -> (u32, (u32, u32)) {
    let start = entries.len() as u32;
    for Place { entry, .. } in places {
        if entry.checks.0 == entry.checks.1 {
            return (entry.rank, (start, entries.len() as u32));
        }
        entries.push(*entry);
    }
    (NONE, (start, entries.len() as u32))
}

/// Appends `more` and tells where it stands.
fn append<T: Copy>(all: &mut Vec<T>, more: &[T]) -> (u32, u32) {
    let start = all.len() as u32;
    all.extend_from_slice(more);
    (start, all.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Subject;
    use crate::request::Request;

    fn index_of(patterns: &[&str]) -> Index {
        let options = Options::default();
        let mut builder = Builder::new(&options);
        for (rank, pattern) in (0..).zip(patterns) {
            let values = vec![(*pattern).to_owned()];
            let condition = RuleCondition::PathPattern { values, regex_values: Vec::new() };
            builder.add(rank, &[condition], false).unwrap();
        }
        builder.build()
    }

    fn ask(index: &Index, path: &str) -> Option<usize> {
        let options = Options::default();
        let request = Request::new("GET", path, "192.0.2.1:80".parse().unwrap());
        let mut buffer = Vec::with_capacity(path.len());
        let subject = Subject::new(&request, &options, &mut buffer).unwrap();
        index.first(&subject, &request, &options)
    }

    fn first(patterns: &[&str], path: &str) -> Option<usize> {
        ask(&index_of(patterns), path)
    }

    #[test]
    fn heads_may_be_longer_than_a_label() {
        for len in [65_534, 65_535, 65_536, 200_000] {
            let long = format!("/{}", "a".repeat(len));
            let patterns = [format!("{long}b"), format!("{long}/*"), format!("{long}*")];
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let asked = ["b", "/x", "c", ""].map(|end| first(&patterns, &format!("{long}{end}")));
            assert_eq!(asked, [Some(0), Some(1), Some(2), Some(2)], "{len}");
            assert_eq!(first(&patterns, &long[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_node_has_ends_of_one_rank_or_of_several() {
        // By rank: where one rule has the path and all below, and where others come between.
        assert_eq!(
            ["/a", "/a/", "/a/b", "/ab"].map(|p| first(&["/a", "/a/*"], p)),
            [Some(0), Some(1), Some(1), None]
        );
        assert_eq!(
            ["/a", "/a/", "/a/b", "/ab"].map(|p| first(&["/a/*", "/a*"], p)),
            [Some(1), Some(0), Some(0), Some(1)]
        );
        assert_eq!(["/a/", "/a/b"].map(|p| first(&["/a/b", "/a/*"], p)), [Some(1), Some(0)]);
        assert_eq!(["/é", "/è"].map(|p| first(&["/è", "/é"], p)), [Some(1), Some(0)]);
    }

    #[test]
    fn as_many_children_as_text_has_bytes() {
        // Every byte that may begin a character, and every one that may go on in it.
        let all: Vec<String> = (0..0x11_0000u32)
            .filter_map(char::from_u32)
            .filter(|c| !"*?".contains(*c) && (u32::from(*c) < 0x900 || u32::from(*c) % 0x1000 == 0x123))
            .map(|c| format!("/{c}x"))
            .collect();
        let patterns: Vec<&str> = all.iter().map(String::as_str).collect();
        let index = index_of(&patterns);
        // What ends a path, or is decoded in it, is not found as it stands.
        for (rank, path) in patterns.iter().enumerate().filter(|(_, path)| !path.contains(['#', '%'])) {
            assert_eq!(ask(&index, path), Some(rank), "{path}");
        }
    }
}
