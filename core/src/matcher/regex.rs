//! Regular expressions of conditions (spec: dataplane §1.7): RE2-like, bytes, no Unicode classes, searched
//! anywhere unless anchored (K-04). One automaton per expression, never one over several: fused user
//! patterns explode. Matching never allocates: a dense DFA where it stays small, else a simulation of the
//! NFA with its state sets on the stack; both take time linear in the subject.

use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, State, WhichCaptures};
use regex_automata::util::{primitives::StateID, syntax};

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{HirKind, Look};

use super::Case;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Regex(Engine);

#[derive(Debug)]
enum Engine {
    Dfa(Box<dense::DFA<Vec<u32>>>),
    Nfa(NFA),
}

/// Why an expression cannot be used: a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegexError(pub(crate) String);

/// A DFA larger than this would not be worth its memory; the NFA takes its place.
const DFA_BYTES: usize = 64 * 1024;

/// States of an NFA that a simulation can hold on the stack.
const NFA_STATES: usize = 4096;

impl Regex {
    /// Compiles `pattern`; an NFA of more than `size_limit` bytes is refused.
    pub(crate) fn new(
        pattern: &str,
        case: Case,
        anchored: bool,
        size_limit: usize,
    ) -> Result<Self, RegexError> {
        let pattern = if anchored { format!("^(?:{pattern})$") } else { pattern.to_owned() };
        let nfa = compile(&pattern, case, size_limit, WhichCaptures::None)?;
        if nfa.look_set_any().contains_word_unicode() {
            // Neither engine knows Unicode's words, and the load balancer's dialect has none.
            return Err(RegexError("Unicode word boundaries are not supported".to_owned()));
        }
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(DFA_BYTES))
                    .determinize_size_limit(Some(4 * DFA_BYTES)),
            )
            .build_from_nfa(&nfa);
        match dfa {
            Ok(dfa) => Ok(Regex(Engine::Dfa(Box::new(dfa)))),
            Err(_) if nfa.states().len() <= NFA_STATES => Ok(Regex(Engine::Nfa(nfa))),
            Err(_) => Err(RegexError("it compiles to a program that is too big".to_owned())),
        }
    }

    /// Whether the expression matches somewhere in `subject`.
    pub(crate) fn is_match(&self, subject: &[u8]) -> bool {
        match &self.0 {
            Engine::Dfa(dfa) => {
                let input = Input::new(subject).earliest(true);
                // A DFA without quit bytes cannot fail.
                dfa.try_search_fwd(&input).is_ok_and(|found| found.is_some())
            }
            Engine::Nfa(nfa) => simulate(nfa, subject),
        }
    }
}

/// The bytes that every match of a case-sensitive expression begins the subject with, so that an index can
/// lead to it; empty where there are none, or it cannot be told.
pub(crate) fn regex_head(pattern: &str) -> Vec<u8> {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    let mut head = Vec::new();
    if let Ok(hir) = parsed
        && let HirKind::Concat(parts) = hir.kind()
        && let [start, rest @ ..] = parts.as_slice()
        && matches!(start.kind(), HirKind::Look(Look::Start))
    {
        for part in rest {
            let HirKind::Literal(literal) = part.kind() else { break };
            head.extend_from_slice(&literal.0);
        }
    }
    head
}

/// The NFA of a pattern in the load balancer's dialect.
pub(super) fn compile(
    pattern: &str,
    case: Case,
    size_limit: usize,
    captures: WhichCaptures,
) -> Result<NFA, RegexError> {
    thompson::Compiler::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false).case_insensitive(case == Case::Insensitive))
        .configure(
            thompson::Config::new().utf8(false).nfa_size_limit(Some(size_limit)).which_captures(captures),
        )
        .build(pattern)
        .map_err(|e| {
            if e.size_limit().is_some() {
                return RegexError("it compiles to a program that is too big".to_owned());
            }
            // The parser's message draws the pattern over several lines; its last line says what is wrong.
            let said = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            let last = said.lines().last().unwrap_or_default();
            RegexError(last.trim_start_matches("error: ").to_owned())
        })
}

/// What a simulation writes into; lives on the stack, made once for a search.
struct Scratch {
    now: Set,
    next: Set,
    stack: [StateID; NFA_STATES],
}

/// State numbers, in the order they came in; a bit for each tells whether it is there.
struct Set {
    bits: [u64; NFA_STATES / 64],
    list: [StateID; NFA_STATES],
    len: usize,
}

impl Set {
    const EMPTY: Set = Set { bits: [0; NFA_STATES / 64], list: [StateID::ZERO; NFA_STATES], len: 0 };

    fn insert(&mut self, id: StateID) -> bool {
        let (word, bit) = (id.as_usize() / 64, 1 << (id.as_usize() % 64));
        match (self.bits.get_mut(word), self.list.get_mut(self.len)) {
            (Some(bits), Some(slot)) if *bits & bit == 0 => {
                *bits |= bit;
                *slot = id;
                self.len += 1;
                true
            }
            _ => false,
        }
    }

    fn states(&self) -> &[StateID] {
        self.list.get(..self.len).unwrap_or_default()
    }

    /// Takes out what is in; costs as much as there is.
    fn clear(&mut self) {
        for id in self.list.get(..self.len).unwrap_or_default() {
            if let Some(bits) = self.bits.get_mut(id.as_usize() / 64) {
                *bits = 0;
            }
        }
        self.len = 0;
    }
}

/// Steps all states at once through the subject: its length times the number of states, at most.
fn simulate(nfa: &NFA, subject: &[u8]) -> bool {
    let Scratch { now, next, stack } =
        &mut Scratch { now: Set::EMPTY, next: Set::EMPTY, stack: [StateID::ZERO; NFA_STATES] };
    let (mut now, mut next) = (now, next);
    for at in 0..=subject.len() {
        if close(nfa, nfa.start_anchored(), subject, at, now, stack) {
            return true;
        }
        let Some(byte) = subject.get(at) else { return false };
        next.clear();
        for id in now.states() {
            let to = match nfa.state(*id) {
                State::ByteRange { trans } => trans.matches_byte(*byte).then_some(trans.next),
                State::Sparse(sparse) => sparse.matches_byte(*byte),
                State::Dense(dense) => dense.matches_byte(*byte),
                _ => None,
            };
            if to.is_some_and(|to| close(nfa, to, subject, at + 1, next, stack)) {
                return true;
            }
        }
        std::mem::swap(&mut now, &mut next);
    }
    false
}

/// Adds what is reachable from `from` without a byte; true where that is a match.
fn close(
    nfa: &NFA,
    from: StateID,
    subject: &[u8],
    at: usize,
    set: &mut Set,
    stack: &mut [StateID; NFA_STATES],
) -> bool {
    let mut len = 0;
    let mut push = |stack: &mut [StateID; NFA_STATES], len: &mut usize, id: StateID| {
        // Each state enters the set, and so the stack, at most once.
        if set.insert(id)
            && let Some(slot) = stack.get_mut(*len)
        {
            *slot = id;
            *len += 1;
        }
    };
    push(stack, &mut len, from);
    while len > 0 {
        len -= 1;
        let Some(id) = stack.get(len).copied() else { return false };
        match nfa.state(id) {
            State::Match { .. } => return true,
            State::Look { look, next } if nfa.look_matcher().matches(*look, subject, at) => {
                push(stack, &mut len, *next);
            }
            State::Union { alternates } => {
                for alternate in alternates.iter() {
                    push(stack, &mut len, *alternate);
                }
            }
            State::BinaryUnion { alt1, alt2 } => {
                push(stack, &mut len, *alt1);
                push(stack, &mut len, *alt2);
            }
            State::Capture { next, .. } => push(stack, &mut len, *next),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(pattern: &str) -> Regex {
        Regex::new(pattern, Case::Sensitive, false, 1 << 20).unwrap()
    }

    #[test]
    fn search_semantics_and_anchors() {
        assert!(new("api").is_match(b"/my/api/x"));
        assert!(new(r"^\/api\/(.*)$").is_match(b"/api/x"));
        assert!(!new("^/API").is_match(b"/api"));
        assert!(Regex::new("^/API", Case::Insensitive, false, 1 << 20).unwrap().is_match(b"/api"));
        let anchored = Regex::new("a|ab", Case::Sensitive, true, 1 << 20).unwrap();
        assert!(anchored.is_match(b"ab") && !anchored.is_match(b"abc"));
        assert!(!new(".+").is_match(b""));
        assert!(new(r"\bx\b").is_match(b"a x b"));
    }

    #[test]
    fn the_simulation_agrees_with_the_automaton() {
        let long = format!("({})", "[ab].*".repeat(12));
        for (pattern, subjects) in [
            (long.as_str(), &["ababababababab", "abc", ""][..]),
            (r"^(a|b)*c{2,3}$", &["ababcc", "abcccc", "cc"]),
            (r"\bfoo\b|^$", &["a foo b", "afoo", ""]),
        ] {
            let nfa = compile(pattern, Case::Sensitive, 1 << 20, WhichCaptures::None).unwrap();
            let dfa = dense::Builder::new().build_from_nfa(&nfa).unwrap();
            for subject in subjects {
                let expected = dfa.try_search_fwd(&Input::new(subject)).unwrap().is_some();
                assert_eq!(simulate(&nfa, subject.as_bytes()), expected, "{pattern} {subject}");
            }
        }
    }

    #[test]
    fn heads_are_what_every_match_begins_with() {
        for (pattern, head) in [
            (r"^\/api\/(.*)$", "/api/"),
            ("^/v[0-9]+/", "/v"),
            ("^/ab?c", "/a"),
            ("^/ab{2}", "/a"),
            ("^(?:/a)/b", "/a/b"),
            ("^/a$", "/a"),
            ("api", ""),
            ("^/a|^/b", ""),
            ("^/a|/b", ""),
            ("(?i)^/a", "/"),
            ("(?m)^/a", ""),
            ("^", ""),
            ("^(/a|/b)c", ""),
            ("^/(a", ""),
        ] {
            assert_eq!(regex_head(pattern), head.as_bytes(), "{pattern}");
        }
    }

    #[test]
    fn what_the_load_balancer_refuses_is_refused() {
        for pattern in ["(?u:\\B)a", "(?=x)y", r"(a)\1", "(", "(?>a)", r"\p{L}"] {
            assert!(Regex::new(pattern, Case::Sensitive, false, 1 << 20).is_err(), "{pattern}");
        }
        let RegexError(message) =
            Regex::new("((a{500}){500}){500}", Case::Sensitive, false, 1 << 20).unwrap_err();
        assert!(message.contains("too big"), "{message}");
    }
}
