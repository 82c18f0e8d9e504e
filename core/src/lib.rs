//! The routing brain of an AWS Application Load Balancer as a library.

#![cfg_attr(not(feature = "capi"), forbid(unsafe_code))]
#![cfg_attr(feature = "capi", deny(unsafe_code))]

mod decision;
pub mod elbv2;
mod error;
pub mod model;
mod options;
mod request;
mod router;
mod sticky;
mod table;
mod time;

pub use decision::{
    Authenticate, Decision, Forward, GroupId, ListenerId, Outcome, Output, Reason, Stickiness, TargetId,
    Unsticky, Verdict,
};
pub use error::{Code, Diagnostic, Error, Layer, Location, Severity};
pub use options::{Options, PathDecode, Tie, ZeroWeights};
pub use request::{HttpRequest, Request, RequestView};
pub use router::{GroupInfo, HealthEvent, ListenerInfo, Probe, ProbeResult, Router, TargetInfo};
pub use sticky::KeyRing;
pub use time::Now;
