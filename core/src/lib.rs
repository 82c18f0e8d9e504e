//! The routing brain of an AWS Application Load Balancer as a library.

#![cfg_attr(not(feature = "capi"), forbid(unsafe_code))]
#![cfg_attr(feature = "capi", deny(unsafe_code))]

mod error;
pub mod model;
mod time;

pub use error::{Code, Diagnostic, Error, Layer, Location, Severity};
pub use time::Now;
