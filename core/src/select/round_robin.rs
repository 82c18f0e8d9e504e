//! Round robin with slow start (spec: dataplane §3.3.4). A target on its ramp saves up its share, which grows
//! linearly, each time it would have its turn, and takes the turn once it has saved a whole one: smooth, exact
//! over any stretch of turns, and without chance. A turn that is not taken goes to the next target.

use crate::options::Options;
use crate::state::{FULL, GroupState, Slot};
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
    let duration_ms = (u64::from(attributes.slow_start_s) * 1000).max(1);
    // K-14: at the foot the share is one second's worth.
    let floor = options.slow_start_floor.map_or(1_000_000 / duration_ms, u64::from);
    // Twice around is enough unless all are at the foot of their ramps; then whoever's turn it is serves.
    for _ in 0..count.saturating_mul(2) {
        let target = state.at(state.turn(count, entropy))?;
        let Some(slot) = slot_of(target) else { return Some(target) };
        let elapsed = slot.slow_start_ms(now.mono_ms).filter(|elapsed| *elapsed < duration_ms);
        let Some(elapsed) = elapsed else { return Some(target) };
        let share = (elapsed * u64::from(FULL) / duration_ms).max(floor).min(FULL.into());
        if slot.save_up(share as u32) {
            return Some(target);
        }
    }
    state.at(state.turn(count, entropy))
}
