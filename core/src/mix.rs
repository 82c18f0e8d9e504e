//! Numbers out of weak entropy and out of text: the same in every process and version. No secrets here.

/// Spreads the bits of entropy that may be as weak as a counter (splitmix64).
#[inline]
pub(crate) fn mix(entropy: u64) -> u64 {
    let mut z = entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// FNV-1a over texts, each ended, so that `["a", "bc"]` is not `["ab", "c"]`.
pub(crate) fn fnv(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A name for texts whose bits are all alike good; where it stands in a sealed cookie nobody can choose a
/// colliding one.
pub(crate) fn fingerprint(texts: &[&str]) -> u64 {
    let hash = fnv(texts);
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_become_unlike() {
        let low: std::collections::HashSet<u64> = (0..1_000).map(|n| mix(n) % 1_024).collect();
        assert!(low.len() > 550, "{}", low.len());
    }

    #[test]
    fn fingerprints_tell_neighbours_apart() {
        assert_ne!(fingerprint(&["a", "bc"]), fingerprint(&["ab", "c"]));
        assert_eq!(fingerprint(&["arn:a", "10.0.0.1"]), fingerprint(&["arn:a", "10.0.0.1"]));
    }
}
