//! Where the logs go (spec: dataplane §8).

use std::fmt;
use std::sync::Arc;

/// Takes a line, without its end. Called from within the serving of requests: it must not wait.
type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// Who reads the logs.
#[derive(Clone, Default)]
pub(crate) struct Observe {
    pub(crate) access: Option<Sink>,
    pub(crate) connections: Option<Sink>,
}

impl Observe {
    /// Whether somebody reads the text of requests.
    pub(crate) fn wants_text(&self) -> bool {
        self.access.is_some()
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe")
            .field("access", &self.access.is_some())
            .field("connections", &self.connections.is_some())
            .finish()
    }
}
