//! The routing brain of an AWS Application Load Balancer as a library.
//!
//! A [`model::Model`] says what load balancers, listeners, rules, target groups and targets there are, in
//! the ELBv2 API's own words. A [`Router`] is a compiled model with the state of its targets; it decides,
//! for each request, which rule, which action, which target group and which target:
//!
//! ```text
//! manifests | elbv2 JSON ─► Model ─► Router::new ─► decide(&request, now, entropy) ─► Decision
//!                                                    report(decision, outcome, now) ◄── you, once per forward
//!                                     poll(now) ─► probes      report_probe(target, result, now) ◄── you
//!                                     reload(model, now): one atomic swap
//! ```
//!
//! The core opens no socket, reads no clock and draws no random number: time and entropy are arguments.
//!
//! # Features
//! - `manifest`: Kubernetes manifests as a source of the model, and the local cluster they need.
//! - `forwarder`: a running load balancer on tokio.
//! - `capi`: the C ABI.
//! - `cli`: the command `podway`.

#![cfg_attr(not(feature = "capi"), forbid(unsafe_code))]
#![cfg_attr(feature = "capi", deny(unsafe_code))]

#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod capi;
#[cfg(feature = "cli")]
pub mod cli;
mod compile;
mod decision;
mod describe;
mod documents;
pub mod elbv2;
mod error;
mod explain;
#[cfg(feature = "forwarder")]
pub mod forwarder;
mod health;
mod kube_proxy;
#[cfg(feature = "manifest")]
pub mod local;
#[cfg(feature = "manifest")]
pub mod manifest;
mod matcher;
mod mix;
pub mod model;
mod options;
mod request;
mod router;
mod select;
mod state;
mod sticky;
mod sync;
mod table;
mod texts;
mod time;

pub use decision::{
    Authenticate, Decision, Forward, GroupId, ListenerId, Outcome, Reason, Stickiness, TargetId, Unsticky,
    Verdict,
};
pub use describe::Description;
#[cfg(feature = "manifest")]
pub use documents::load;
pub use error::{Code, Diagnostic, Error, Layer, Location, Severity};
pub use explain::{ConditionExplanation, Explanation, RuleExplanation, SeenRequest};
pub use health::ProbeResult;
pub use kube_proxy::{Hop, KubeProxy};
pub use options::{Anomaly, Options, PathDecode, Tie, ZeroWeights};
pub use request::{HttpRequest, Request, RequestView};
pub use router::{
    AdministrativeOverride, GroupInfo, HealthEvent, HopInfo, HopTo, ListenerInfo, Output, Probe, Router,
    TargetInfo, UnstickyReason, WhyUnsticky, ZoneHealth,
};
pub use sticky::KeyRing;
pub use time::Now;
