//! path-pattern (spec: dataplane §1.5.2): what of a pattern is literal, so that an index can lead to it.

/// The bytes of a path pattern before its first wildcard, and what follows them.
pub(crate) fn literal_head(pattern: &str) -> (&str, &str) {
    let at = pattern.find(['*', '?']).unwrap_or(pattern.len());
    pattern.split_at(at)
}

/// A path longer than this has no signature worth the name: it would have every bit.
const SIGNED: usize = 512;

/// Which pairs of neighbouring bytes a text has: two sets of 64 bits in which pairs share a bit, others in the
/// one than in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pairs([u64; 2]);

impl Pairs {
    const ALL: Pairs = Pairs([u64::MAX; 2]);

    fn of(text: &[u8]) -> Self {
        let pairs = text.iter().zip(text.iter().skip(1));
        Pairs(pairs.fold([0, 0], |[one, other], (a, b)| {
            let spread = u32::from(u16::from_le_bytes([*a, *b])).wrapping_mul(0x9e37_79b9);
            [one | 1 << (spread >> 26), other | 1 << (spread >> 20 & 63)]
        }))
    }

    /// Whether a text of these pairs may have those of `needed`.
    #[inline]
    pub(crate) fn may_have(self, needed: Pairs) -> bool {
        let ([one, other], [needs_one, needs_other]) = (self.0, needed.0);
        needs_one & !one | needs_other & !other == 0
    }

    fn zip(self, with: Pairs, both: impl Fn(u64, u64) -> u64) -> Pairs {
        let ([a, b], [c, d]) = (self.0, with.0);
        Pairs([both(a, c), both(b, d)])
    }
}

/// The pairs of a path.
pub(crate) fn signature(path: &[u8]) -> Pairs {
    if path.len() > SIGNED { Pairs::ALL } else { Pairs::of(path) }
}

/// The pairs of every path that one of the globs matches.
pub(crate) fn needs(globs: &[String]) -> Pairs {
    let of = |glob: &String| {
        let literals = glob.split(['*', '?']).map(|literal| Pairs::of(literal.as_bytes()));
        literals.fold(Pairs::default(), |all, one| all.zip(one, |a, b| a | b))
    };
    globs.iter().map(of).reduce(|all, one| all.zip(one, |a, b| a & b)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_what_globs_need() {
        let needed = |globs: &[&str]| needs(&globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>());
        let path = signature(b"/team1/service3/item");
        assert!(path.may_have(needed(&["/*/service3/*", "/team?/*item"])));
        assert!(!path.may_have(needed(&["/*/service4/*"])));
        assert_eq!(needed(&["/*/service4/*", "*"]), Pairs::default(), "one of them is enough");
        assert_eq!(needed(&[]), Pairs::default());
        assert!(signature(&b"/a".repeat(600)).may_have(Pairs::ALL));
    }

    #[test]
    fn heads() {
        assert_eq!(literal_head("/img/*"), ("/img/", "*"));
        assert_eq!(literal_head("/a?c*"), ("/a", "?c*"));
        assert_eq!(literal_head("/exact"), ("/exact", ""));
        assert_eq!(literal_head("*.php"), ("", "*.php"));
    }
}
