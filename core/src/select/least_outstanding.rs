//! Least outstanding requests (spec: dataplane §3.3.2): the fewest in flight; ties by K-15.

use crate::options::{Options, Tie};
use crate::state::{GroupState, Slot};

pub(super) fn pick<'a>(
    state: &GroupState,
    count: u32,
    slot_of: impl Fn(u32) -> Option<&'a Slot>,
    options: &Options,
    entropy: u64,
) -> Option<u32> {
    // The scan starts at another place each time, so that the first of equals is not always the same.
    let start = match options.least_outstanding_tie {
        Tie::RoundRobin => state.turn(count, entropy),
        Tie::Random => (entropy % u64::from(count)) as u32,
    };
    let mut best: Option<(u32, u32)> = None;
    for place in (start..count).chain(0..start) {
        let target = state.at(place)?;
        let in_flight = slot_of(target).map_or(0, Slot::in_flight);
        if best.is_none_or(|(fewest, _)| in_flight < fewest) {
            best = Some((in_flight, target));
            if in_flight == 0 {
                break;
            }
        }
    }
    best.map(|(_, target)| target)
}
