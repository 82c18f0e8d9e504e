//! Globs of the load balancer: `*` is any run of bytes (also `/` and `.`), `?` one byte; the pattern covers
//! the whole subject (spec: dataplane §1.5). Patterns with only `*` are searched for part by part; others go
//! by two pointers and one point of return: the time is bounded by pattern length × subject length, whatever
//! the pattern.

use memchr::memmem::Finder;

use super::subject::hex_byte;

/// Whether ASCII letters are told apart by case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    Insensitive,
}

/// A compiled glob.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    tokens: Box<[Token]>,
    case: Case,
    quick: Quick,
}

/// Shapes of patterns that need no trying out.
#[derive(Clone, Debug)]
enum Quick {
    /// No wildcard: compared as a whole.
    Literal(Box<[u8]>),
    /// Only `*`, and case counts: what stands before the first and after the last of them is compared, what
    /// stands between two is searched for, each in time linear in the subject.
    Parts { head: Box<[u8]>, middle: Box<[Finder<'static>]>, tail: Box<[u8]> },
    /// Anything else.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Run,
}

impl Glob {
    /// A glob in which every `*` and `?` is a wildcard.
    pub(crate) fn new(pattern: &str, case: Case) -> Self {
        Self::from_tokens(pattern.bytes().map(token), case)
    }

    /// A glob in which a backslash makes the next character literal (query strings, spec: §1.5.5); with
    /// `decode` percent-encoded bytes of it stand for what they encode, literally.
    pub(crate) fn with_escapes(pattern: &str, case: Case, decode: bool) -> Self {
        let mut rest = pattern.as_bytes();
        let mut tokens = Vec::with_capacity(pattern.len());
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            tokens.push(match byte {
                b'\\' => {
                    let (escaped, tail) = rest.split_first().unwrap_or((byte, b""));
                    rest = tail;
                    Token::Byte(*escaped)
                }
                b'%' if decode => match hex_byte(rest) {
                    Some(decoded) => {
                        rest = rest.get(2..).unwrap_or_default();
                        Token::Byte(decoded)
                    }
                    None => Token::Byte(b'%'),
                },
                other => token(*other),
            });
        }
        Self::from_tokens(tokens.into_iter(), case)
    }

    fn from_tokens(tokens: impl Iterator<Item = Token>, case: Case) -> Self {
        let fold = |token| match token {
            Token::Byte(b) if case == Case::Insensitive => Token::Byte(b.to_ascii_lowercase()),
            other => other,
        };
        let mut folded: Vec<Token> = Vec::new();
        for token in tokens.map(fold) {
            // `**` is `*`; more of them would only cost time.
            if token != Token::Run || folded.last() != Some(&Token::Run) {
                folded.push(token);
            }
        }
        let quick = Quick::of(&folded, case);
        Glob { tokens: folded.into_boxed_slice(), case, quick }
    }

    /// Whether the pattern covers the whole subject.
    #[inline]
    pub(crate) fn matches(&self, subject: &[u8]) -> bool {
        match (&self.quick, self.case) {
            (Quick::Literal(literal), Case::Sensitive) => **literal == *subject,
            (Quick::Literal(literal), Case::Insensitive) => literal.eq_ignore_ascii_case(subject),
            (Quick::Parts { head, middle, tail }, _) => {
                let inside = subject.strip_prefix(&**head).and_then(|rest| rest.strip_suffix(&**tail));
                inside.is_some_and(|rest| in_order(middle, rest))
            }
            (Quick::No, case) => wildcard(&self.tokens, subject, case, raw),
        }
    }

    /// Whether the pattern covers the whole subject with its percent-encoded bytes decoded; nothing is
    /// copied for it.
    pub(crate) fn matches_decoded(&self, subject: &[u8]) -> bool {
        wildcard(&self.tokens, subject, self.case, decoded)
    }
}

impl Quick {
    fn of(tokens: &[Token], case: Case) -> Self {
        let literal = |tokens: &[Token]| -> Option<Box<[u8]>> {
            let byte = |token: &Token| if let Token::Byte(b) = token { Some(*b) } else { None };
            tokens.iter().map(byte).collect()
        };
        let parts: Option<Vec<_>> = tokens.split(|t| *t == Token::Run).map(literal).collect();
        match parts.as_deref() {
            Some([whole]) => Quick::Literal(whole.clone()),
            Some([head, middle @ .., tail]) if case == Case::Sensitive => Quick::Parts {
                head: head.clone(),
                middle: middle.iter().map(|part| Finder::new(part).into_owned()).collect(),
                tail: tail.clone(),
            },
            _ => Quick::No,
        }
    }
}

/// Whether all of the parts are there, one behind the other. The first place of each is as good as any.
fn in_order(parts: &[Finder<'_>], mut rest: &[u8]) -> bool {
    for part in parts {
        let after = part.find(rest).and_then(|at| rest.get(at + part.needle().len()..));
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// The byte at a place and the place after it.
#[inline]
fn raw(subject: &[u8], at: usize) -> Option<(u8, usize)> {
    subject.get(at).map(|byte| (*byte, at + 1))
}

/// The same of percent-encoded text.
#[inline]
fn decoded(subject: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *subject.get(at)?;
    match (byte == b'%').then(|| hex_byte(subject.get(at + 1..).unwrap_or_default())).flatten() {
        Some(decoded) => Some((decoded, at + 3)),
        None => Some((byte, at + 1)),
    }
}

const fn token(byte: u8) -> Token {
    match byte {
        b'*' => Token::Run,
        b'?' => Token::One,
        other => Token::Byte(other),
    }
}

#[inline]
fn wildcard(
    tokens: &[Token],
    subject: &[u8],
    case: Case,
    read: impl Fn(&[u8], usize) -> Option<(u8, usize)>,
) -> bool {
    let (mut t, mut s) = (0, 0);
    // After a run: where to continue when what follows it does not fit.
    let mut again: Option<(usize, usize)> = None;
    loop {
        match (tokens.get(t), read(subject, s)) {
            (Some(Token::Run), _) => {
                again = Some((t + 1, s));
                t += 1;
                continue;
            }
            (Some(Token::One), Some((_, next))) => {
                t += 1;
                s = next;
                continue;
            }
            (Some(Token::Byte(p)), Some((b, next))) if same(*p, b, case) => {
                t += 1;
                s = next;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // Only the last run may take one byte more: an earlier one could gain nothing by it.
        match again.and_then(|(after, from)| Some((after, read(subject, from)?.1))) {
            Some((after, next)) => {
                again = Some((after, next));
                t = after;
                s = next;
            }
            None => return false,
        }
    }
}

#[inline]
fn same(pattern: u8, byte: u8, case: Case) -> bool {
    match case {
        Case::Sensitive => pattern == byte,
        Case::Insensitive => pattern == byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(pattern: &str, subject: &str) -> bool {
        Glob::new(pattern, Case::Sensitive).matches(subject.as_bytes())
    }

    #[test]
    fn wildcards() {
        for (pattern, subject, expected) in [
            ("/img/*", "/img/a/b", true),
            ("/img/*", "/img/", true),
            ("/img/*", "/img", false),
            ("/a?c", "/a/c", true),
            ("/a?c", "/ac", false),
            ("/a*b", "/axbxb", true),
            ("/a*b", "/axbx", false),
            ("*.php", "/x/index.php", true),
            ("*a*a*a", "aaaa", true),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("?", "", false),
            ("**?", "x", true),
            ("/a*a", "/a", false),
            ("/a*a", "/aa", true),
            ("*ab*ab*", "xabx", false),
            ("*ab*ab*", "abab", true),
            ("/*/b/*", "/b/c", false),
            ("/*/b/*", "/a/b/", true),
        ] {
            assert_eq!(path(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn case_is_folded_only_where_asked() {
        assert!(!path("/A", "/a"));
        assert!(Glob::new("*.Example.COM", Case::Insensitive).matches(b"A.example.com"));
    }

    #[test]
    fn escapes_make_wildcards_literal() {
        let g = |p: &str, s: &str| Glob::with_escapes(p, Case::Insensitive, false).matches(s.as_bytes());
        assert!(g(r"x\*y", "x*y") && !g(r"x\*y", "xzy"));
        assert!(g(r"\\", r"\") && g(r"a\", r"a\"));
        assert!(g(r"\A", "a"), "an escaped letter folds too");
    }

    #[test]
    fn both_sides_can_be_decoded() {
        let g =
            |p: &str, s: &str| Glob::with_escapes(p, Case::Insensitive, true).matches_decoded(s.as_bytes());
        assert!(g("a b", "a%20b") && g("a%20b", "A B") && g("a%20b", "a%20b"));
        assert!(g("*%2a?", "xx*y") && !g("%2a", "x"), "an encoded wildcard is literal");
        assert!(g("100%", "100%25") && g("%zz", "%zz") && g("*", "%"));
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        let pattern = "*a".repeat(64) + "b";
        let subject = "a".repeat(16 * 1024);
        assert!(!path(&pattern, &subject));
    }
}
