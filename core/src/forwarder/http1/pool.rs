//! Connections to targets that wait for their next request. Last in, first out: those that are not needed
//! grow old at the bottom and are closed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use crate::forwarder::upstream::Stream;

/// Where a connection leads, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) address: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) https: bool,
}

/// The idle connections of one worker.
// Each request asks twice. The keys are the model's, not the clients': a hash that is quick will do.
#[derive(Default)]
pub(crate) struct Pool(Mutex<HashMap<Key, Vec<Idle>, RandomState>>);

struct Idle {
    stream: Stream,
    /// How long it may wait: the idle timeout of whoever had it last.
    until: Instant,
}

/// More idle connections to one target are closed at once.
const MAX_IDLE: usize = 1024;

impl Pool {
    /// A connection that was not closed while it waited.
    pub(crate) fn take(&self, key: &Key, now: Instant) -> Option<Stream> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.get_mut(key)?;
        while let Some(one) = waiting.pop() {
            if now < one.until && one.stream.is_quiet() {
                return Some(one.stream);
            }
        }
        None
    }

    /// Lets a connection wait for so long.
    pub(crate) fn put(&self, key: Key, stream: Stream, until: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.entry(key).or_default();
        if waiting.len() < MAX_IDLE {
            waiting.push(Idle { stream, until });
        }
    }

    /// Closes what has waited too long or was closed by its target.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, waiting| {
            waiting.retain(|one| now < one.until && one.stream.is_quiet());
            !waiting.is_empty()
        });
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
