//! Sealed cookies.

/// The keys that cookies are sealed with and opened with.
#[derive(Clone, Debug)]
pub struct KeyRing {}
