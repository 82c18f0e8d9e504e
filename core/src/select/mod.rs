//! Which group of a forward, and which target of a group (spec: dataplane §2.2, §3.3). Reads the table and
//! the state, counts turns; decides nothing about health or cookies.

mod least_outstanding;
mod round_robin;
mod weighted;
mod weighted_random;

pub(crate) use weighted::{Weighted, group};

use crate::options::Options;
use crate::state::{GroupState, Slot};
use crate::table::{Algorithm, GroupAttributes};
use crate::time::Now;

/// The chosen target, as an index into `Table::targets`; `None` where no target may be chosen.
#[inline]
pub(crate) fn target<'a>(
    attributes: &GroupAttributes,
    state: &GroupState,
    slot_of: impl Fn(u32) -> Option<&'a Slot>,
    options: &Options,
    now: Now,
    entropy: u64,
) -> Option<u32> {
    let (count, _) = state.eligible();
    if count == 0 {
        return None;
    }
    match attributes.algorithm {
        Algorithm::RoundRobin if state.ramping() => {
            round_robin::ramped(attributes, state, count, slot_of, options, now, entropy)
        }
        Algorithm::RoundRobin => state.at(state.turn(count, entropy)),
        Algorithm::LeastOutstandingRequests => {
            least_outstanding::pick(state, count, slot_of, options, entropy)
        }
        Algorithm::WeightedRandom if state.mitigating() => {
            weighted_random::mitigated(state, count, slot_of, entropy)
        }
        Algorithm::WeightedRandom => state.at(weighted_random::place(count, entropy)),
    }
}
