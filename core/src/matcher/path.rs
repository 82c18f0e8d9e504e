//! path-pattern (spec: dataplane §1.5.2): what of a pattern is literal, so that an index can lead to it.

/// The bytes of a path pattern before its first wildcard, and what follows them.
pub(crate) fn literal_head(pattern: &str) -> (&str, &str) {
    let at = pattern.find(['*', '?']).unwrap_or(pattern.len());
    pattern.split_at(at)
}

#[cfg(test)]
mod tests {
    use super::literal_head;

    #[test]
    fn heads() {
        assert_eq!(literal_head("/img/*"), ("/img/", "*"));
        assert_eq!(literal_head("/a?c*"), ("/a", "?c*"));
        assert_eq!(literal_head("/exact"), ("/exact", ""));
        assert_eq!(literal_head("*.php"), ("", "*.php"));
    }
}
