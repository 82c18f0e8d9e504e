//! The weighted draw between the groups of a forward (spec: dataplane §2.2): share = weight / sum, each
//! request on its own; a group without targets is drawn like any other and fails alone.

use crate::options::ZeroWeights;
use crate::table::ForwardEntry;

/// What a draw gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighted {
    /// A group index.
    Group(u32),
    /// Every weight is zero (K-10).
    Zero,
    /// There is no group at all.
    Empty,
}

#[inline]
pub(crate) fn group(forward: &ForwardEntry, zero: ZeroWeights, entropy: u64) -> Weighted {
    match forward.groups.as_slice() {
        [] => Weighted::Empty,
        [(only, weight)] if *weight > 0 => Weighted::Group(*only),
        groups => {
            let total = groups.last().map_or(0, |(_, sum)| *sum);
            if total == 0 {
                let drawn = (entropy % groups.len() as u64) as usize;
                return match zero {
                    ZeroWeights::Unavailable => Weighted::Zero,
                    ZeroWeights::First => groups.first().map_or(Weighted::Empty, |g| Weighted::Group(g.0)),
                    ZeroWeights::Uniform => {
                        groups.get(drawn).map_or(Weighted::Empty, |g| Weighted::Group(g.0))
                    }
                };
            }
            let point = (entropy % u64::from(total)) as u32;
            // At most five groups: a scan beats a search.
            groups.iter().find(|(_, sum)| point < *sum).map_or(Weighted::Empty, |(g, _)| Weighted::Group(*g))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(groups: &[(u32, u32)]) -> ForwardEntry {
        ForwardEntry { groups: groups.to_vec(), stickiness_seconds: None }
    }

    #[test]
    fn shares_are_the_weights() {
        let f = forward(&[(0, 10), (1, 30)]);
        let mut counts = [0u32; 2];
        for n in 0..30_000 {
            if let Weighted::Group(g) = group(&f, ZeroWeights::Unavailable, crate::mix::mix(n)) {
                counts[g as usize] += 1;
            }
        }
        assert!(counts[0].abs_diff(10_000) < 300, "{counts:?}");
        let none_to_zero = forward(&[(0, 0), (1, 5), (2, 5)]);
        for n in 0..1_000 {
            assert_eq!(group(&none_to_zero, ZeroWeights::Unavailable, n), Weighted::Group(1));
        }
    }

    #[test]
    fn zero_weights_are_a_knob() {
        let f = forward(&[(4, 0), (5, 0)]);
        assert_eq!(group(&f, ZeroWeights::Unavailable, 1), Weighted::Zero);
        assert_eq!(group(&f, ZeroWeights::First, 1), Weighted::Group(4));
        assert_eq!(group(&f, ZeroWeights::Uniform, 1), Weighted::Group(5));
        assert_eq!(group(&forward(&[]), ZeroWeights::First, 1), Weighted::Empty);
    }
}
