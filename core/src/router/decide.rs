//! `decide`: rule, then group, target and cookies (spec: dataplane §1.1, §3.1). No allocation, no lock, no
//! system call.

use super::forward::{Moment, Ruled};
use super::{Output, Router};
use crate::decision::{Decision, ListenerId, Reason, Verdict};
use crate::mix::mix;
use crate::request::RequestView;
use crate::table::{Buffers, Routing};
use crate::time::Now;

impl Router {
    /// Decides where a request that came to `listener` goes.
    ///
    /// `entropy` picks among equals (weights, ties): any number, as weak as a counter. `output` is emptied
    /// and takes the text that belongs to the decision. A [`Verdict::Forward`] owes one
    /// [`Router::report`].
    #[inline]
    pub fn decide<R: RequestView>(
        &self,
        listener: ListenerId,
        request: &R,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) -> Decision {
        output.clear();
        let Output { texts, path, joined, seen } = output;
        let snapshot = self.latest(seen);
        let Some(place) = snapshot.listeners.get(listener.0 as usize).copied().flatten() else {
            return Ruled::NOWHERE.error(503, Reason::NoListener);
        };
        let buffers = Buffers { texts: &mut *texts, path, joined };
        let evaluated = snapshot.table.evaluate(place as usize, request, &snapshot.options, buffers);
        let ruled = Ruled { priority: evaluated.priority, authenticate: evaluated.authenticate };
        match evaluated.routing {
            Routing::Forward { forward, secure } => {
                let moment = Moment { now, entropy: mix(entropy), secure };
                snapshot.forward(ruled, forward, request, moment, texts)
            }
            Routing::Redirect { status } => ruled.then(Verdict::Redirect { status }),
            Routing::FixedResponse { status } => ruled.then(Verdict::FixedResponse { status }),
            Routing::Error { status, reason } => ruled.error(status, reason),
        }
    }
}
