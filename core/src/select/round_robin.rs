//! Round robin with slow start (spec: dataplane §3.3.4): a target on its ramp takes its turn with the
//! probability of its share, which grows linearly to one.

use crate::options::Options;
use crate::state::{GroupState, Slot};
use crate::table::GroupAttributes;
use crate::time::Now;

pub(super) fn ramped<'a>(
    attributes: &GroupAttributes,
    state: &GroupState,
    count: u32,
    slot_of: impl Fn(u32) -> Option<&'a Slot>,
    options: &Options,
    now: Now,
    entropy: u64,
) -> Option<u32> {
    let duration_ms = u64::from(attributes.slow_start_s) * 1000;
    let mut chance = entropy;
    // Twice around is enough unless all are at the foot of their ramps; then whoever's turn it is serves.
    for _ in 0..count.saturating_mul(2) {
        let target = state.at(state.turn() % count)?;
        let elapsed = slot_of(target).and_then(|s| s.slow_start_ms(now.mono_ms));
        let Some(elapsed) = elapsed.filter(|e| *e < duration_ms) else { return Some(target) };
        let share = elapsed * 1000 / duration_ms.max(1);
        // K-14: at the foot the share is one second's worth.
        let floor = options.slow_start_floor.map_or(1_000_000 / duration_ms.max(1), u64::from);
        chance = crate::mix::mix(chance);
        if chance % 1000 < share.max(floor) {
            return Some(target);
        }
    }
    state.at(state.turn() % count)
}
