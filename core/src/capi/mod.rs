//! The C ABI: handles, views and plain structs around the public Rust API, nothing else. All of the
//! crate's unsafe code is here; `include/podway.h` is generated from these files (tests/header.rs).
//!
//! Every entry checks its pointers, then runs inside `guard`, so a panic becomes a status and never
//! crosses into C. Integers come in, never Rust enums. What an out-parameter points at is written on
//! success only; an error handle on failure only.

#![allow(unsafe_code, non_camel_case_types)]
// A reference given to C outlives every lint's idea of it; each function says what its pointers must be
// in the words of the header, which has no `# Safety` headings.
#![allow(clippy::missing_safety_doc)]

mod decision;
mod error;
mod guard;
mod model;
mod numbers;
mod operate;
mod output;
mod poll;
mod router;
mod status;
mod tell;
mod view;

pub use decision::*;
pub use error::*;
pub use model::*;
pub use numbers::*;
pub use operate::*;
pub use output::*;
pub use poll::*;
pub use router::*;
pub use status::*;
pub use tell::*;
pub use view::*;
