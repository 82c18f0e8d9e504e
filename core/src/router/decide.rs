//! `decide`: rule, then group, target and cookies (spec: dataplane §1.1, §3.1). No allocation, no lock, no
//! system call.

use super::Router;
use super::forward::Moment;
use crate::decision::{Decision, ListenerId, Output, Reason, Verdict};
use crate::mix::mix;
use crate::model::Protocol;
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
        let place = snapshot.and_then(|s| s.listeners.get(listener.0 as usize).copied().flatten());
        let (Some(snapshot), Some(place)) = (snapshot, place.map(|p| p as usize)) else {
            return Decision {
                priority: None,
                authenticate: None,
                verdict: Verdict::Error { status: 503, reason: Reason::NoListener },
            };
        };
        let buffers = Buffers { texts: &mut *texts, path, joined };
        let evaluated = snapshot.table.evaluate(place, request, &snapshot.options, buffers);
        let verdict = match evaluated.routing {
            Routing::Forward(forward) => {
                let secure =
                    snapshot.table.listeners.get(place).is_some_and(|l| l.protocol == Protocol::Https);
                let moment = Moment { now, entropy: mix(entropy), secure };
                snapshot.forward(forward, request, moment, None, texts)
            }
            Routing::Redirect { status } => Verdict::Redirect { status },
            Routing::FixedResponse { status } => Verdict::FixedResponse { status },
            Routing::Error { status, reason } => Verdict::Error { status, reason },
        };
        Decision { priority: evaluated.priority, authenticate: evaluated.authenticate, verdict }
    }
}
