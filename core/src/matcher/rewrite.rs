//! Transforms (spec: dataplane §2.6): a regex, and what stands in place of its match with `$1` for its
//! groups. Finding groups needs memory of its own, so each rewrite keeps a few sets of it, made when it is
//! compiled; a decision borrows a free one and never waits. Only when all are taken at once is one made.

use std::sync::Mutex;

use regex_automata::nfa::thompson::{WhichCaptures, pikevm::PikeVM};
use regex_automata::util::{captures::Captures, primitives::NonMaxUsize};
use regex_automata::{Anchored, Input, dfa::onepass, nfa::thompson::pikevm};

use super::Case;
use super::regex::{RegexError, compile};

/// A compiled rewrite.
#[derive(Debug)]
pub(crate) struct Rewrite {
    engine: Engine,
    replacement: Vec<Piece>,
    /// The highest group the replacement names, where the expression has no such group.
    missing_group: Option<usize>,
    spare: Vec<Mutex<Scratch>>,
}

#[derive(Debug)]
enum Engine {
    /// Anchored expressions without choices to remember: no memory beyond the slots.
    OnePass(Box<onepass::DFA>),
    Pike(Box<PikeVM>),
}

/// What a search writes into.
#[derive(Debug)]
struct Scratch {
    one_pass: Option<onepass::Cache>,
    pike: Option<pikevm::Cache>,
    slots: Vec<Option<NonMaxUsize>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

/// How many decisions may rewrite at once before one has to allocate.
const SPARE: usize = 16;

impl Rewrite {
    pub(crate) fn new(regex: &str, replace: &str, size_limit: usize) -> Result<Self, RegexError> {
        let nfa = compile(regex, Case::Sensitive, size_limit, WhichCaptures::All)?;
        let groups = nfa.group_info().all_names();
        let names: Vec<Option<String>> = groups.map(|(_, _, n)| n.map(str::to_owned)).collect();
        let replacement = pieces(replace, &names);
        let missing_group = replacement
            .iter()
            .filter_map(|piece| match piece {
                Piece::Group(n) if *n >= names.len() => Some(*n),
                _ => None,
            })
            .max();
        let one_pass = nfa.is_always_start_anchored().then(|| {
            let config = onepass::Config::new().size_limit(Some(size_limit));
            onepass::Builder::new().configure(config).build_from_nfa(nfa.clone()).ok()
        });
        let engine = match one_pass.flatten() {
            Some(dfa) => Engine::OnePass(Box::new(dfa)),
            None => Engine::Pike(Box::new(PikeVM::new_from_nfa(nfa).map_err(|e| RegexError(e.to_string()))?)),
        };
        let mut rewrite = Rewrite { engine, replacement, missing_group, spare: Vec::new() };
        rewrite.spare = (0..SPARE).map(|_| Mutex::new(rewrite.scratch(names.len()))).collect();
        Ok(rewrite)
    }

    /// The highest group the replacement names, where the expression has no such group: a match of it
    /// cannot be replaced.
    pub(crate) fn missing_group(&self) -> Option<usize> {
        self.missing_group
    }

    fn scratch(&self, groups: usize) -> Scratch {
        let slots = vec![None; groups * 2];
        match &self.engine {
            Engine::OnePass(dfa) => Scratch { one_pass: Some(dfa.create_cache()), pike: None, slots },
            Engine::Pike(vm) => {
                // A first search makes the cache as large as it gets.
                let mut cache = vm.create_cache();
                let mut warm = Captures::all(vm.get_nfa().group_info().clone());
                vm.search(&mut cache, &Input::new("/warm?up=1"), &mut warm);
                Scratch { one_pass: None, pike: Some(cache), slots }
            }
        }
    }

    /// Writes `subject` with the first match replaced through `push`; false where nothing matches, and
    /// nothing is written. An error of `push` is passed on.
    pub(crate) fn apply<E>(
        &self,
        subject: &[u8],
        mut push: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        for spare in &self.spare {
            if let Ok(mut scratch) = spare.try_lock() {
                return self.apply_with(&mut scratch, subject, push);
            }
        }
        let groups = self.spare.first().and_then(|s| s.lock().ok().map(|s| s.slots.len() / 2));
        self.apply_with(&mut self.scratch(groups.unwrap_or(1)), subject, &mut push)
    }

    fn apply_with<E>(
        &self,
        scratch: &mut Scratch,
        subject: &[u8],
        mut push: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let slots = &mut scratch.slots;
        slots.fill(None);
        let found = match &self.engine {
            Engine::OnePass(dfa) => scratch.one_pass.as_mut().is_some_and(|cache| {
                let input = Input::new(subject).anchored(Anchored::Yes);
                dfa.try_search_slots(cache, &input, slots).is_ok_and(|p| p.is_some())
            }),
            Engine::Pike(vm) => scratch
                .pike
                .as_mut()
                .is_some_and(|cache| vm.search_slots(cache, &Input::new(subject), slots).is_some()),
        };
        let group = |n: usize| {
            let start = slots.get(n * 2).copied().flatten()?.get();
            let end = slots.get(n * 2 + 1).copied().flatten()?.get();
            subject.get(start..end)
        };
        let (Some(start), Some(end)) =
            (slots.first().copied().flatten().filter(|_| found), slots.get(1).copied().flatten())
        else {
            return Ok(false);
        };
        push(subject.get(..start.get()).unwrap_or_default())?;
        for piece in &self.replacement {
            match piece {
                Piece::Text(text) => push(text)?,
                Piece::Group(n) => push(group(*n).unwrap_or_default())?,
            }
        }
        push(subject.get(end.get()..).unwrap_or_default())?;
        Ok(true)
    }
}

/// `$1`, `${1}`, `$name`, `${name}` and `$$` in a replacement; everything else stands for itself.
fn pieces(replace: &str, names: &[Option<String>]) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut text = String::new();
    let mut rest = replace;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        text.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        let (name, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, tail)) => (name, tail),
            None => {
                let digits = after.starts_with(|c: char| c.is_ascii_digit());
                let end = after
                    .find(
                        |c: char| if digits { !c.is_ascii_digit() } else { !c.is_alphanumeric() && c != '_' },
                    )
                    .unwrap_or(after.len());
                after.split_at(end)
            }
        };
        let group = name.parse().ok().or_else(|| names.iter().position(|n| n.as_deref() == Some(name)));
        match group {
            Some(n) if !name.is_empty() => {
                if !text.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut text).into_bytes().into_boxed_slice()));
                }
                out.push(Piece::Group(n));
                rest = tail;
            }
            _ => {
                text.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        out.push(Piece::Text(text.into_bytes().into_boxed_slice()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(regex: &str, replace: &str, subject: &str) -> Option<String> {
        let mut out = Vec::new();
        let rewrite = Rewrite::new(regex, replace, 1 << 20).unwrap();
        let matched = rewrite.apply(subject.as_bytes(), |b| {
            out.extend_from_slice(b);
            Ok::<(), ()>(())
        });
        matched.unwrap().then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn groups_and_text() {
        let product = r"^/dp/([A-Za-z0-9]+)/?$";
        assert_eq!(rewritten(product, "/product.php?id=$1", "/dp/B09").unwrap(), "/product.php?id=B09");
        assert_eq!(rewritten(product, "/x", "/other"), None);
        assert_eq!(rewritten("^(.*)$", "m.$1", "a.com").unwrap(), "m.a.com");
        assert_eq!(rewritten("b+", "[$0]", "abbc").unwrap(), "a[bb]c", "only the match is replaced");
        assert_eq!(rewritten("(?P<x>b)", "${x}1$$$9$", "abc").unwrap(), "ab1$$c");
        assert_eq!(Rewrite::new("(a)(b)?", "$2$3", 1 << 20).unwrap().missing_group(), Some(3));
        assert_eq!(Rewrite::new("(a)(b)?", "$2", 1 << 20).unwrap().missing_group(), None);
        assert_eq!(rewritten("(a)|(b)", "<$1$2>", "xb").unwrap(), "x<b>");
    }
}
