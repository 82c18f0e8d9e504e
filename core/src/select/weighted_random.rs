//! Weighted random (spec: dataplane §3.3.3): even, but for targets whose weight anomaly mitigation has
//! lowered.

use crate::mix::mix;
use crate::state::{FULL, GroupState, Slot};

/// A place among `count`, each as likely.
#[inline]
pub(super) fn place(count: u32, entropy: u64) -> u32 {
    (entropy % u64::from(count)) as u32
}

/// Draws until a target accepts, each with the likelihood of its weight: that gives every target its exact
/// share, whatever the others' are, without a table of sums that would have to change with each weight.
pub(super) fn mitigated<'a>(
    state: &GroupState,
    count: u32,
    slot_of: impl Fn(u32) -> Option<&'a Slot>,
    entropy: u64,
) -> Option<u32> {
    let mut drawn = entropy;
    // At least half of the targets have their full weight, since an anomaly is one beside its peers; thirty
    // draws that all miss are one in a thousand million.
    for _ in 0..30 {
        drawn = mix(drawn);
        let target = state.at(place(count, drawn >> 32))?;
        let weight = slot_of(target).map_or(FULL, Slot::weight);
        if (drawn as u32) % FULL < weight {
            return Some(target);
        }
    }
    state.at(place(count, drawn >> 32))
}
