//! What a decision writes into, kept by whoever asks for decisions.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Snapshot;
use crate::texts::{Text, Texts};

/// The text that belongs to a decision, written by `Router::decide`.
///
/// Allocates when it is made and never again: one of them serves any number of decisions, one at a time.
/// Every `decide` empties it first. Make it on the thread that decides: making it also takes that thread's
/// place among the readers of a model, which another thread would take, with one allocation, in its first
/// decision. It keeps the compiled model that its last decision read alive until it
/// decides again or is dropped.
pub struct Output {
    pub(super) texts: Texts,
    /// The path as rules see it, where it is not the path as sent.
    pub(super) path: Vec<u8>,
    /// Path and query in one piece, for rewrites.
    pub(super) joined: Vec<u8>,
    /// What the last decision read: the next one reads it again, if it is still the router's latest, and
    /// touches nothing that other threads touch.
    pub(super) seen: Option<Arc<Snapshot>>,
}

/// How long a target can be: the longest request line a listener accepts (spec: dataplane §6.7), doubled.
const TARGET_BYTES: usize = 32 * 1024;

impl Output {
    /// An empty buffer of 88 KiB.
    pub fn new() -> Self {
        // A thread's first read of any ArcSwap allocates its place in arc-swap's list of readers.
        static ANY: ArcSwapOption<()> = ArcSwapOption::const_empty();
        drop(ANY.load());
        Output {
            texts: Texts::new(),
            path: Vec::with_capacity(TARGET_BYTES),
            joined: Vec::with_capacity(TARGET_BYTES),
            seen: None,
        }
    }

    /// The value of the Location header of a redirect.
    pub fn location(&self) -> Option<&str> {
        self.texts.str(Text::Location)
    }

    /// The body of a fixed response.
    pub fn body(&self) -> Option<&[u8]> {
        self.texts.get(Text::Body)
    }

    /// The media type of a fixed response.
    pub fn content_type(&self) -> Option<&str> {
        self.texts.str(Text::ContentType)
    }

    /// The path and query for the target, where a transform changed them.
    pub fn uri(&self) -> Option<&str> {
        self.texts.str(Text::Uri)
    }

    /// The Host for the target, where a transform changed it.
    pub fn host(&self) -> Option<&str> {
        self.texts.str(Text::Host)
    }

    /// The values of the Set-Cookie headers that the response must carry, in order.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        [
            Text::SetGroupCookie,
            Text::SetGroupCookieCors,
            Text::SetCookie,
            Text::SetCookieCors,
            Text::AppCookie0,
            Text::AppCookie1,
            Text::AppCookie2,
            Text::AppCookie3,
        ]
        .into_iter()
        .filter_map(|text| self.texts.str(text))
    }

    /// Whether there is no text at all, as after most forwards.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Forgets all text; keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.texts.clear();
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("location", &self.location())
            .field("uri", &self.uri())
            .field("host", &self.host())
            .field("set_cookies", &self.set_cookies().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
