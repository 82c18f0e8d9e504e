//! Another target after a connection that failed: what the load balancer itself never does (K-13).

use super::forward::{Moment, Ruled};
use super::{Output, Router};
use crate::decision::{Decision, ListenerId, Verdict};
use crate::mix::mix;
use crate::request::RequestView;
use crate::table::{Buffers, Routing};
use crate::time::Now;

/// Methods that may be sent twice (RFC 9110 §9.2.2).
const IDEMPOTENT: [&[u8]; 5] = [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"];

impl Router {
    /// Decides anew about a request whose connection to the chosen target failed before anything was sent:
    /// another target of the same group, with the cookies for it in `output`. `None` without
    /// [`Options::retry`](crate::Options::retry), for methods that are not idempotent, and where there is no
    /// other target: then the failure stands.
    ///
    /// `failed` is the decision, reported before as [`Outcome::ConnectFailed`](crate::Outcome::ConnectFailed);
    /// the new one owes a report of its own. Ask once for a request. Neither allocates nor locks.
    pub fn retry<R: RequestView>(
        &self,
        listener: ListenerId,
        request: &R,
        failed: &Decision,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) -> Option<Decision> {
        output.clear();
        let Verdict::Forward(forward) = &failed.verdict else { return None };
        let Output { texts, path, joined, seen } = output;
        let snapshot = self.latest(seen);
        if !snapshot.options.retry || !IDEMPOTENT.contains(&request.method()) {
            return None;
        }
        let place = snapshot.listeners.get(listener.0 as usize).copied().flatten()? as usize;
        let buffers = Buffers { texts: &mut *texts, path, joined };
        let evaluated = snapshot.table.evaluate(place, request, &snapshot.options, buffers);
        let Routing::Forward { forward: entry, secure } = evaluated.routing else { return None };
        let ruled = Ruled { priority: evaluated.priority, authenticate: evaluated.authenticate };
        let moment = Moment { now, entropy: mix(entropy), secure };
        let decision = snapshot.forward_again(ruled, entry, request, moment, forward, texts);
        matches!(decision.verdict, Verdict::Forward(_)).then_some(decision)
    }
}
