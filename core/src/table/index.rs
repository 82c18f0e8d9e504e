//! From a host and a path to the first rule by priority, without asking every rule.
//!
//! A rule stands under each of its hosts (exact, by suffix for `*.example.com`, or any) and there in a
//! radix trie of the literal heads of its path patterns. A walk down the trie meets every pattern whose
//! head the path starts with. What a place does not prove (globs, regexes, headers, …) is asked as a check,
//! and only of rules that would come before the best one that needs no asking.

use crate::matcher::{Condition, Pairs, Subject, signature};
use crate::options::Options;
use crate::request::RequestView;

/// The rank, or the number, of nothing.
pub(crate) const NONE: u32 = u32::MAX;

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
    /// By node number: the byte that leads to the node from its parent. The children of a node are
    /// neighbours, so theirs are too. Eight more bytes follow, so that eight can be read at once anywhere.
    pub(crate) first_bytes: Vec<u8>,
    pub(crate) labels: Vec<u8>,
    /// Of the nodes that say so.
    pub(crate) ends: Vec<Ends>,
    /// Lists that ends refer to.
    pub(crate) asks: Vec<Asks>,
    pub(crate) entries: Vec<Entry>,
    /// Lists of condition numbers that entries refer to.
    pub(crate) checks: Vec<u32>,
    pub(crate) conditions: Vec<Condition>,
}

/// A node of a trie. The bytes from its root down to it are a head that patterns share.
/// Four fill a cache line, and none lies in two.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct Node {
    /// What follows the byte that leads here: a place in `Index::labels`.
    pub(crate) label: u32,
    pub(crate) label_len: u16,
    /// At most one for each byte of text.
    pub(crate) children: u8,
    /// Which of its ends have the rank `ends`, by the bits [`EXACT`], [`PREFIX`] and [`BELOW`]; or [`APART`]:
    /// then `ends` is an index into `Index::ends`.
    pub(crate) has: u8,
    pub(crate) first_child: u32,
    pub(crate) ends: u32,
}

pub(crate) const EXACT: u8 = 1;
pub(crate) const PREFIX: u8 = 2;
pub(crate) const BELOW: u8 = 4;
pub(crate) const APART: u8 = 8;

impl Node {
    #[inline]
    fn rank(&self, end: u8) -> u32 {
        if self.has & end == 0 { NONE } else { self.ends }
    }
}

/// The rules at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The lowest rank whose pattern is exactly the head, of those that need no asking.
    pub(crate) exact: u32,
    /// The same of those whose pattern is the head and a `*`.
    pub(crate) prefix: u32,
    /// The same of those whose pattern is the head and `/*`, where nothing else goes on with a slash. Else
    /// the slash leads to a child.
    pub(crate) below: u32,
    /// An index into `Index::asks`, or [`NONE`].
    pub(crate) asks: u32,
}

impl Ends {
    pub(crate) const NONE: Ends = Ends { exact: NONE, prefix: NONE, below: NONE, asks: NONE };
}

/// Rules at a node that have to be asked, in the order of their ranks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asks {
    /// A range of `Index::entries`: rules whose pattern goes on after the head.
    pub(crate) prefix: (u32, u32),
    /// A range of `Index::entries`: rules whose pattern is exactly the head.
    pub(crate) exact: (u32, u32),
}

/// A rule that has to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) rank: u32,
    /// A range of `Index::checks`.
    pub(crate) checks: (u32, u32),
    /// Of a path that cannot have these there is no need to ask.
    pub(crate) needs: Pairs,
}

#[inline]
fn part<T>(all: &[T], start: u32, end: u32) -> &[T] {
    all.get(start as usize..end as usize).unwrap_or_default()
}

impl Index {
    /// Ends the building: gives back the memory that it took and nothing needs.
    pub(crate) fn finish(&mut self) {
        self.first_bytes.extend_from_slice(&[0; 8]);
        self.nodes.shrink_to_fit();
        self.first_bytes.shrink_to_fit();
        self.labels.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.asks.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.checks.shrink_to_fit();
        self.conditions.shrink_to_fit();
    }

    /// The child that a byte leads to. Compares eight at a time: a loop over bytes ends somewhere else for
    /// each path, which no processor foresees.
    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<usize> {
        const EACH: u64 = 0x0101_0101_0101_0101;
        let (first, children) = (node.first_child as usize, usize::from(node.children));
        let mut at = 0;
        while at < children {
            let eight = self.first_bytes.get(first + at..)?.first_chunk()?;
            let unlike = u64::from_le_bytes(*eight) ^ (EACH * u64::from(byte));
            // The lowest bit that is set tells the first byte that is alike.
            let alike = unlike.wrapping_sub(EACH) & !unlike & (0x80 * EACH);
            if alike != 0 {
                let found = at + alike.trailing_zeros() as usize / 8;
                return (found < children).then_some(first + found);
            }
            at += 8;
        }
        None
    }

    /// The rank of the first rule that the request fulfils.
    #[inline]
    pub(crate) fn first<R: RequestView>(
        &self,
        subject: &Subject<'_>,
        request: &R,
        options: &Options,
    ) -> Option<usize> {
        let mut search = Search {
            index: self,
            subject,
            request,
            options,
            best: NONE,
            later: [(0, 0); LATER],
            put_off: 0,
            signature: None,
        };
        let host = if options.host_ignores_port { subject.host_name() } else { subject.host };
        if let Some(host) = host {
            if let Some(root) = self.hosts.get(host) {
                search.walk(root);
            }
            if !self.suffixes.is_empty() {
                self.suffixes.each_suffix(host, |root| search.walk(root));
            }
        }
        if let Some(root) = self.any_host {
            search.walk(root);
        }
        if search.put_off > 0 {
            search.ask_put_off();
        }
        (search.best != NONE).then_some(search.best as usize)
    }
}

/// How many lists are put off.
const LATER: usize = 8;

/// A search for the first rule.
struct Search<'s, R> {
    index: &'s Index,
    subject: &'s Subject<'s>,
    request: &'s R,
    options: &'s Options,
    /// The lowest rank so far.
    best: u32,
    /// Lists put off until the walks have found the best rule that needs no asking. What does not fit is
    /// asked at once, which is right too and only costs more.
    later: [(u32, u32); LATER],
    put_off: usize,
    /// Of the path, once something had to be asked.
    signature: Option<Pairs>,
}

impl<R: RequestView> Search<'_, R> {
    /// Walks down a trie as far as the path goes: lowers `best` to the ranks that need no asking, and puts
    /// off the lists that do.
    fn walk(&mut self, root: u32) {
        let index = self.index;
        let mut rest = self.subject.path;
        let mut next = index.nodes.get(root as usize);
        while let Some(node) = next {
            let (start, len) = (node.label as usize, usize::from(node.label_len));
            if len > 0 {
                let label = index.labels.get(start..start + len).unwrap_or_default();
                let Some(after) = rest.strip_prefix(label) else { return };
                rest = after;
            }
            if node.has & APART != 0 {
                self.meet(node, rest);
            }
            self.best = node.rank(PREFIX).min(self.best);
            let Some((byte, after)) = rest.split_first() else {
                self.best = node.rank(EXACT).min(self.best);
                return;
            };
            rest = after;
            if *byte == b'/' {
                self.best = node.rank(BELOW).min(self.best);
            }
            let Some(child) = index.child(node, *byte) else { return };
            next = index.nodes.get(child);
        }
    }

    /// The same at a node whose ends are apart; `rest` is what of the path follows its head.
    #[inline(never)]
    fn meet(&mut self, node: &Node, rest: &[u8]) {
        let Some(ends) = self.index.ends.get(node.ends as usize) else { return };
        self.best = ends.prefix.min(self.best);
        match rest.first() {
            None => self.best = ends.exact.min(self.best),
            Some(b'/') => self.best = ends.below.min(self.best),
            Some(_) => {}
        }
        if ends.asks != NONE {
            self.put_off(ends.asks, rest.is_empty());
        }
    }

    fn put_off(&mut self, asks: u32, ends: bool) {
        let Some(asks) = self.index.asks.get(asks as usize) else { return };
        for (list, met) in [(asks.prefix, true), (asks.exact, ends)] {
            if met && list.0 < list.1 {
                match self.later.get_mut(self.put_off) {
                    Some(slot) => {
                        *slot = list;
                        self.put_off += 1;
                    }
                    None => self.ask(list),
                }
            }
        }
    }

    #[inline(never)]
    fn ask_put_off(&mut self) {
        let later = self.later;
        for list in later.into_iter().take(self.put_off) {
            self.ask(list);
        }
    }

    /// Lowers `best` to the first entry of the list that holds, if it is lower.
    fn ask(&mut self, list: (u32, u32)) {
        let Search { index, subject, request, options, .. } = *self;
        let signature = *self.signature.get_or_insert_with(|| signature(subject.path));
        for entry in part(&index.entries, list.0, list.1) {
            if entry.rank >= self.best {
                return;
            }
            if !signature.may_have(entry.needs) {
                continue;
            }
            let holds = part(&index.checks, entry.checks.0, entry.checks.1).iter().all(|check| {
                index.conditions.get(*check as usize).is_some_and(|c| c.holds(subject, request, options))
            });
            if holds {
                self.best = entry.rank;
                return;
            }
        }
    }
}

/// Host names without regard to case, to a number. Open addressing with a fixed hash: keys come from the
/// configuration, clients only look up. Names are read eight bytes at a time.
#[derive(Debug, Default)]
pub(crate) struct HostMap {
    /// At most half of them are taken; the length is a power of two.
    slots: Vec<HostSlot>,
    text: Vec<u8>,
    longest: usize,
    most_dots: usize,
}

#[derive(Clone, Copy, Debug)]
struct HostSlot {
    /// A part of the hash.
    tag: u32,
    /// A range of the text.
    key: (u32, u32),
    /// [`NONE`] in a slot that is free.
    value: u32,
}

impl HostMap {
    /// A map of lower-case names, each once, to numbers that are not [`NONE`].
    pub(crate) fn new<'a>(names: impl ExactSizeIterator<Item = (&'a [u8], u32)>) -> Self {
        if names.len() == 0 {
            return HostMap::default();
        }
        let len = (names.len() * 2).next_power_of_two();
        let free = HostSlot { tag: 0, key: (0, 0), value: NONE };
        let mut map = HostMap { slots: vec![free; len], ..HostMap::default() };
        for (name, value) in names {
            let hash = hash(name);
            let start = map.text.len() as u32;
            map.text.extend_from_slice(name);
            map.longest = map.longest.max(name.len());
            map.most_dots = map.most_dots.max(name.iter().filter(|b| **b == b'.').count());
            let mut at = hash as usize & (len - 1);
            while map.slots.get(at).is_some_and(|slot| slot.value != NONE) {
                at = (at + 1) & (len - 1);
            }
            if let Some(slot) = map.slots.get_mut(at) {
                *slot = HostSlot { tag: (hash >> 32) as u32, key: (start, map.text.len() as u32), value };
            }
        }
        map
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<u32> {
        if name.len() > self.longest {
            return None;
        }
        let hash = hash(name);
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // A free slot ends the search.
        loop {
            let slot = self.slots.get(at).filter(|slot| slot.value != NONE)?;
            if slot.tag == (hash >> 32) as u32 && same(part(&self.text, slot.key.0, slot.key.1), name) {
                return Some(slot.value);
            }
            at = (at + 1) & mask;
        }
    }

    /// Calls `found` for every key that `name` ends with and that begins at one of its dots. Looks up as
    /// many ends as the key of the most dots has, however many the name has.
    #[inline]
    fn each_suffix(&self, name: &[u8], mut found: impl FnMut(u32)) {
        let mut dots = 0;
        for (at, byte) in name.iter().enumerate().rev().take(self.longest) {
            if *byte == b'.' {
                dots += 1;
                if let Some(root) = name.get(at..).and_then(|suffix| self.get(suffix)) {
                    found(root);
                }
                if dots == self.most_dots {
                    return;
                }
            }
        }
    }
}

/// Eight ASCII characters at once, capitals to small letters; other bytes stay.
#[inline]
const fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let seven_bits = word & (0x7f * EACH);
    let beyond_z = seven_bits + (0x7f - b'Z' as u64) * EACH;
    let from_a = seven_bits + (0x80 - b'A' as u64) * EACH;
    let capital = !word & (from_a ^ beyond_z) & (0x80 * EACH);
    word | capital >> 2
}

/// A name of less than eight bytes as a word.
#[inline]
fn short(name: &[u8]) -> u64 {
    name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The first and the last eight bytes of a name, which are all of it or overlap up to a length of sixteen;
/// and what is between, with as much of the last eight as makes whole words.
#[inline]
fn words(name: &[u8]) -> Option<(u64, u64, &[[u8; 8]])> {
    let (first, rest) = name.split_first_chunk::<8>()?;
    let last = name.last_chunk::<8>()?;
    let between = if rest.len() > 8 { rest.as_chunks().0 } else { &[] };
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*last), between))
}

/// Capitals count as small letters, and some other bytes as others too: equality decides.
#[inline]
fn hash(name: &[u8]) -> u64 {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ (word | FOLD)).wrapping_mul(MIX);
    let len = name.len() as u64;
    let hash = match words(name) {
        Some((first, last, [])) => mix(mix(len, first), last),
        Some((first, last, between)) => {
            let ends = mix(mix(len, first), last);
            between.iter().fold(ends, |hash, word| mix(hash, u64::from_le_bytes(*word)))
        }
        None => mix(len, short(name)),
    };
    hash ^ hash >> 32
}

/// Whether a name is a key, which is in lower case, but for its own case.
#[inline]
fn same(key: &[u8], name: &[u8]) -> bool {
    if key.len() != name.len() {
        return false;
    }
    let equal = |key: u64, name: u64| key == name || key == lower(name);
    match (words(key), words(name)) {
        (Some((first, last, between)), Some((first_of_name, last_of_name, of_name))) => {
            let ends = equal(first, first_of_name) && equal(last, last_of_name);
            let mut rest = between.iter().zip(of_name);
            ends && (between.is_empty()
                || rest.all(|(a, b)| equal(u64::from_le_bytes(*a), u64::from_le_bytes(*b))))
        }
        _ => equal(short(key), short(name)),
    }
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

    #[test]
    fn only_capitals_become_small() {
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([byte; 8]);
            assert_eq!(lower(word), u64::from_le_bytes([byte.to_ascii_lowercase(); 8]), "{byte}");
        }
        assert!(same(b"example.com", b"eXample.coM") && same(b"a", b"A") && same(b"", b""));
        assert!(!same(b"a.example.com", b"a@example.com") && !same(b"[", b"{") && !same(b"ab", b"a"));
    }

    #[test]
    fn suffixes_begin_at_a_dot() {
        let names: [&[u8]; 3] = [b".example.com", b".com", b".b.example.com"];
        let map = HostMap::new(names.into_iter().zip([0, 1, 2]));
        let found = |name: &[u8]| {
            let mut all = Vec::new();
            map.each_suffix(name, |root| all.push(root));
            all
        };
        assert_eq!(found(b"a.B.example.com"), [1, 0, 2]);
        assert_eq!(found(b"bexample.com"), [1]);
        assert_eq!(found(b"com"), [0u32; 0]);
        assert_eq!(found(&b".".repeat(20_000)), [0u32; 0]);
    }
}
