//! path-pattern (spec: dataplane §1.5.2): what of a pattern is literal, so that an index can lead to it.

/// The bytes of a path pattern before its first wildcard, and what follows them.
pub(crate) fn literal_head(pattern: &str) -> (&str, &str) {
    let at = pattern.find(['*', '?']).unwrap_or(pattern.len());
    pattern.split_at(at)
}

/// A path longer than this has no signature worth the name: it would have every bit.
const SIGNED: usize = 512;

/// Which pairs of neighbouring bytes a path has, as bits that several pairs share.
pub(crate) fn signature(path: &[u8]) -> u64 {
    if path.len() > SIGNED { u64::MAX } else { pairs(path) }
}

/// Bits that the signature of every path has that one of the globs matches.
pub(crate) fn needs(globs: &[String]) -> u64 {
    let of = |glob: &String| glob.split(['*', '?']).fold(0, |bits, literal| bits | pairs(literal.as_bytes()));
    globs.iter().map(of).reduce(|all, one| all & one).unwrap_or(0)
}

fn pairs(text: &[u8]) -> u64 {
    text.iter().zip(text.iter().skip(1)).fold(0, |bits, (a, b)| {
        let spread = u16::from_le_bytes([*a, *b]).wrapping_mul(0x9e37);
        bits | 1 << (spread >> 10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_what_globs_need() {
        let needed = |globs: &[&str]| needs(&globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>());
        let path = signature(b"/team1/service3/item");
        assert_eq!(needed(&["/*/service3/*", "/team?/*item"]) & !path, 0);
        assert_ne!(needed(&["/*/service4/*"]) & !path, 0);
        assert_eq!(needed(&["/*/service4/*", "*"]), 0, "one of them is enough");
        assert_eq!(needed(&[]), 0);
        assert_eq!(signature(&b"/a".repeat(600)), u64::MAX);
    }

    #[test]
    fn heads() {
        assert_eq!(literal_head("/img/*"), ("/img/", "*"));
        assert_eq!(literal_head("/a?c*"), ("/a", "?c*"));
        assert_eq!(literal_head("/exact"), ("/exact", ""));
        assert_eq!(literal_head("*.php"), ("", "*.php"));
    }
}
