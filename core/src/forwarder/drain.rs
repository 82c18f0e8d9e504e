//! What is under way: the guard that reports a forward exactly once whatever happens to it, the count of
//! open requests, and the notice that a target is gone for good (spec: dataplane §3.7).

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::Clock;
use crate::decision::{Decision, Outcome, TargetId};
use crate::router::Router;

/// Owes the report of one forward. Dropped without a word, it reports that the request was cancelled.
#[derive(Debug)]
pub(crate) struct InFlight {
    router: Arc<Router>,
    clock: Clock,
    decision: Decision,
    outcome: Outcome,
    /// When it ended, where that is known.
    at: Option<Instant>,
}

impl InFlight {
    pub(crate) fn new(router: Arc<Router>, clock: Clock, decision: Decision) -> Self {
        InFlight { router, clock, decision, outcome: Outcome::Cancelled, at: None }
    }

    /// Notes that it went well, at a moment that need not be read off a clock again.
    pub(crate) fn answered(&mut self, status: u16, at: Instant) {
        self.outcome = Outcome::Response(status);
        self.at = Some(at);
    }

    /// Notes how it went; the last word counts.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.at = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = self.at.map_or_else(|| self.clock.now(), |at| self.clock.at(at));
        self.router.report(&self.decision, self.outcome, now);
    }
}

/// How many requests are open on a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(Arc<AtomicUsize>);

impl Open {
    pub(crate) fn enter(&self) -> Entered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One open request.
#[derive(Debug)]
pub(crate) struct Entered(Open);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Resolves when a target is gone.
pub(crate) type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells requests in flight that the deregistration delay of their target is over.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<HashMap<TargetId, watch::Sender<bool>>>);

impl Departures {
    /// A notice for requests to `target`.
    pub(crate) fn of(&self, target: TargetId) -> Gone {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notice = all.entry(target).or_insert_with(|| watch::channel(false).0).subscribe();
        Box::pin(async move {
            if notice.wait_for(|gone| *gone).await.is_err() {
                // Nobody will ever say so.
                std::future::pending().await
            }
        })
    }

    /// A notice for a request that is with `target` already: ready at once if that is gone.
    pub(crate) fn of_live(&self, target: TargetId, router: &Router) -> Gone {
        let notice = self.of(target);
        // Subscribed first: what goes between the two steps is noticed by one of them.
        if router.target(target).is_none() { Box::pin(std::future::ready(())) } else { notice }
    }

    /// `target` is gone: whoever waits on it is cut.
    pub(crate) fn gone(&self, target: TargetId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notice) = all.remove(&target) {
            notice.send_replace(true);
        }
    }

    /// Forgets targets that nothing waits on.
    pub(crate) fn tidy(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, notice| notice.receiver_count() > 0);
    }
}

/// What a shutdown found and left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Client connections that were open.
    pub connections: usize,
    /// Requests that were open.
    pub requests: usize,
    /// Requests that were still open at the end and were cut.
    pub cut: usize,
}

impl std::ops::AddAssign for Drained {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.cut += other.cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_on_a_target_learns_that_it_is_gone() {
        let departures = Departures::default();
        let (one, two) = (TargetId::from_u64(1), TargetId::from_u64(2));
        let (first, second) = (departures.of(one), departures.of(two));
        departures.gone(one);
        first.await;
        let late = tokio::time::timeout(std::time::Duration::from_millis(5), second).await;
        assert!(late.is_err());
        departures.tidy();
        assert!(departures.0.lock().unwrap().is_empty());
    }

    #[test]
    fn open_requests_are_counted() {
        let open = Open::default();
        let (a, b) = (open.enter(), open.enter());
        assert_eq!(open.count(), 2);
        drop((a, b));
        assert_eq!(open.count(), 0);
    }
}
