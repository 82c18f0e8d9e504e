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
//! # A request's life
//!
//! ```
//! use podway::model::Model;
//! use podway::{KeyRing, Now, Options, Outcome, Output, ProbeResult, Request, Router, Verdict};
//!
//! # let json = r#"{"LoadBalancers": [{"LoadBalancerArn": "arn:web", "LoadBalancerName": "web", "Listeners": [{
//! #   "Port": 80, "Protocol": "HTTP", "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:api"}]}]}],
//! #   "TargetGroups": [{"TargetGroupArn": "arn:api", "TargetGroupName": "api", "TargetType": "ip",
//! #     "Attributes": [{"Key": "stickiness.enabled", "Value": "true"}],
//! #     "TargetHealthDescriptions": [
//! #       {"Target": {"Id": "10.0.0.1", "Port": 80}, "TargetHealth": {"State": "healthy"}},
//! #       {"Target": {"Id": "10.0.0.2", "Port": 80}, "TargetHealth": {"State": "healthy"}}]}]}"#;
//! // From manifests: `podway::load`. From the answers of `aws elbv2 describe-*`: `podway::elbv2::read`.
//! let model = Model::from_json(json)?;
//! let options = Options { retry: true, ..Options::default() };
//! let now = Now { mono_ms: 0, unix_s: 1_767_225_600 };
//! let router = Router::new(&model, options, KeyRing::from_secret(&[7; 32])?, now)?;
//! let web = router.listener("web", 80).ok_or("no such listener")?;
//!
//! // One output a thread. The text of a decision is in it until the next one.
//! let mut output = Output::new();
//! let request = Request::new("GET", "/users", "192.0.2.9:40000".parse()?).host("api.example.com");
//! let first = router.decide(web, &request, now, 42, &mut output);
//! let Verdict::Forward(to) = first.verdict else { panic!("every request is forwarded") };
//! assert_eq!(output.set_cookies().count(), 2);
//!
//! // A connection that failed is reported as such; with the option, another target follows.
//! router.report(&first, Outcome::ConnectFailed, now);
//! let second = router.retry(web, &request, &first, now, 43, &mut output).ok_or("there is one more")?;
//! router.report(&second, Outcome::Response(200), now);
//!
//! // Health: what is due is yours to send, and its result to hand in.
//! let mut probes = Vec::new();
//! let later = Now { mono_ms: 60_000, ..now };
//! let poll_again_ms = router.poll(later, &mut probes);
//! assert_eq!(probes.len(), 2);
//! for probe in &probes {
//!     // … GET http://{probe.address}{probe.path}, within probe.timeout_ms …
//!     router.report_probe(probe.target, &ProbeResult::Status(200), later);
//! }
//!
//! // Questions of an operator, which change nothing.
//! let why = router.explain(web, &request, now, 44, &mut output);
//! assert!(why.to_json(&router, &output).contains(r#""type":"forward""#));
//! let unsticky = router.why_unsticky(web, &request, &[], now);
//! assert_eq!(unsticky[0].reason.as_str(), "no-cookie");
//! assert!(router.zone_health(to.group).iter().all(|zone| zone.dns_healthy));
//!
//! // Another model, without stopping anybody.
//! router.reload(&model, now)?;
//! # let _ = poll_again_ms;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! C, Python and Node have the same verbs by the same names.
//!
//! # What stays, and what may change
//! Versions follow [semver](https://semver.org), one for all four languages. Before 1.0 a minor version may break;
//! the changelog says for whom. From then on, within a major version:
//! - Types with `#[non_exhaustive]` get variants and fields. [`Options`], [`Anomaly`] and the types in [`model`] get
//!   fields: write `..Default::default()`. [`Verdict`], [`Decision`] and [`Forward`] stay as they are, so that a
//!   match on them is complete.
//! - JSON gets keys, and words for what is new (codes, reasons); what is there keeps its name and its meaning.
//! - The same model, options, keys, time and entropy decide the same, unless AWS decides otherwise: a defect in
//!   that is fixed in any version, and said. A cookie that an earlier version of the same major sealed is honoured.
//! - The Rust that is needed (`rust-version`) may rise in a minor version.
//! - The C ABI has a number of its own, `PODWAY_ABI_VERSION`: the header says when it rises.
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
