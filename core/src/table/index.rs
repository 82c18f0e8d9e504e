//! From a host and a path to the first rule by priority, without asking every rule.
//!
//! A rule stands under each of its hosts (exact, by suffix for `*.example.com`, or any) and there in a
//! radix trie of the literal heads of its path patterns. A walk down the trie meets every pattern whose
//! head the path starts with; what an entry's place does not prove (globs, regexes, headers, …) is asked
//! as a check. Each list is sorted by rank, so the first entry that holds ends it.

use crate::matcher::{Condition, Subject};
use crate::options::Options;
use crate::request::RequestView;

/// The rank of no rule.
const NONE: u32 = u32::MAX;

/// The index of one listener. Arrays only: nothing is chased but numbers.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Exact hosts, to the root of their trie.
    pub(crate) hosts: HostMap,
    /// `.example.com` of `*.example.com`, to the root of their trie.
    pub(crate) suffixes: HostMap,
    /// The trie of rules for any host.
    pub(crate) any_host: Option<u32>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) labels: Vec<u8>,
    /// First bytes of the children's labels, and beside them the children.
    pub(crate) child_bytes: Vec<u8>,
    pub(crate) children: Vec<u32>,
    pub(crate) entries: Vec<Entry>,
    /// Lists of condition numbers that entries refer to.
    pub(crate) checks: Vec<u32>,
    pub(crate) conditions: Vec<Condition>,
}

/// A node of a trie. The bytes from its root down to it are a head that patterns share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Node {
    pub(crate) label: (u32, u32),
    pub(crate) children: (u32, u32),
    /// Entries whose pattern is exactly the head.
    pub(crate) exact: (u32, u32),
    /// Entries whose pattern goes on after the head.
    pub(crate) prefix: (u32, u32),
}

/// A rule at a place of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) rank: u32,
    /// What is left to ask: a range of `Index::checks`.
    pub(crate) checks: (u32, u32),
}

#[inline]
fn part<T>(all: &[T], range: (u32, u32)) -> &[T] {
    all.get(range.0 as usize..range.1 as usize).unwrap_or_default()
}

impl Index {
    /// The rank of the first rule that the request fulfils.
    #[inline]
    pub(crate) fn first<R: RequestView>(
        &self,
        subject: &Subject<'_>,
        request: &R,
        options: &Options,
    ) -> Option<usize> {
        let mut best = NONE;
        let host = if options.host_ignores_port { subject.host_name() } else { subject.host };
        if let Some(host) = host {
            if let Some(root) = self.hosts.get(host) {
                self.walk(root, subject, request, options, &mut best);
            }
            if !self.suffixes.is_empty() {
                for (at, byte) in host.iter().enumerate() {
                    let left = host.len() - at;
                    if *byte == b'.'
                        && left <= self.suffixes.longest
                        && let Some(root) = host.get(at..).and_then(|suffix| self.suffixes.get(suffix))
                    {
                        self.walk(root, subject, request, options, &mut best);
                    }
                }
            }
        }
        if let Some(root) = self.any_host {
            self.walk(root, subject, request, options, &mut best);
        }
        (best != NONE).then_some(best as usize)
    }

    #[inline]
    fn walk<R: RequestView>(
        &self,
        root: u32,
        subject: &Subject<'_>,
        request: &R,
        options: &Options,
        best: &mut u32,
    ) {
        let mut rest = subject.path;
        let mut next = Some(root);
        while let Some(node) = next.and_then(|n| self.nodes.get(n as usize)) {
            let Some(after) = rest.strip_prefix(part(&self.labels, node.label)) else { return };
            rest = after;
            self.ask(node.prefix, subject, request, options, best);
            let Some(byte) = rest.first() else {
                self.ask(node.exact, subject, request, options, best);
                return;
            };
            let at = part(&self.child_bytes, node.children).iter().position(|b| b == byte);
            next = at.and_then(|at| self.children.get(node.children.0 as usize + at)).copied();
        }
    }

    /// Lowers `best` to the first entry of the list that holds, if it is lower.
    #[inline]
    fn ask<R: RequestView>(
        &self,
        list: (u32, u32),
        subject: &Subject<'_>,
        request: &R,
        options: &Options,
        best: &mut u32,
    ) {
        for entry in part(&self.entries, list) {
            if entry.rank >= *best {
                return;
            }
            let holds = part(&self.checks, entry.checks).iter().all(|check| {
                self.conditions.get(*check as usize).is_some_and(|c| c.holds(subject, request, options))
            });
            if holds {
                *best = entry.rank;
                return;
            }
        }
    }
}

/// Host names without regard to case, to a number. Open addressing with a fixed hash: keys come from the
/// configuration, clients only look up.
#[derive(Debug, Default)]
pub(crate) struct HostMap {
    /// Positions in `keys` plus one; 0 is free. The length is a power of two.
    slots: Vec<u32>,
    keys: Vec<(u64, u32, u32, u32)>,
    text: Vec<u8>,
    longest: usize,
}

impl HostMap {
    /// A map of lower-case names, each once.
    pub(crate) fn new<'a>(names: impl ExactSizeIterator<Item = (&'a [u8], u32)>) -> Self {
        let len = (names.len() * 2).next_power_of_two();
        let mut map = HostMap { slots: vec![0; len], ..HostMap::default() };
        for (name, value) in names {
            let hash = hash(name);
            let start = map.text.len() as u32;
            map.text.extend_from_slice(name);
            map.keys.push((hash, start, map.text.len() as u32, value));
            map.longest = map.longest.max(name.len());
            let mut at = hash as usize & (len - 1);
            while map.slots.get(at).is_some_and(|s| *s != 0) {
                at = (at + 1) & (len - 1);
            }
            if let Some(slot) = map.slots.get_mut(at) {
                *slot = map.keys.len() as u32;
            }
        }
        map
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<u32> {
        if self.keys.is_empty() || name.len() > self.longest {
            return None;
        }
        let hash = hash(name);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        // At most half of the slots are taken, so a free one ends the search.
        loop {
            let slot = self.slots.get(at).copied().filter(|s| *s != 0)?;
            let (found, start, end, value) = self.keys.get(slot as usize - 1).copied()?;
            if found == hash && part(&self.text, (start, end)).eq_ignore_ascii_case(name) {
                return Some(value);
            }
            at = (at + 1) & mask;
        }
    }
}

/// Eight bytes at a time, letters folded to lower case (and some other bytes with them: equality decides).
#[inline]
fn hash(name: &[u8]) -> u64 {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = name.len() as u64;
    let (words, rest) = name.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(23) ^ (u64::from_le_bytes(*word) | FOLD)).wrapping_mul(MIX);
    }
    let mut tail = [0; 8];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    hash = (hash.rotate_left(23) ^ (u64::from_le_bytes(tail) | FOLD)).wrapping_mul(MIX);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_without_regard_to_case() {
        let names: Vec<String> = (0..500).map(|i| format!("h{i}.example.com")).collect();
        let map = HostMap::new(names.iter().enumerate().map(|(i, n)| (n.as_bytes(), i as u32)));
        for (i, name) in names.iter().enumerate() {
            assert_eq!(map.get(name.as_bytes()), Some(i as u32));
            assert_eq!(map.get(name.to_uppercase().as_bytes()), Some(i as u32));
        }
        assert_eq!(map.get(b"h500.example.com"), None);
        assert_eq!(map.get(b""), None);
        assert_eq!(HostMap::default().get(b"x"), None);
    }
}
