//! The shapes of the vector files. Unknown fields are refused, so that no language can pass by not reading an
//! expectation.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use podway::Options;
use podway::model::TargetHealthState;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[allow(dead_code)] // for people
    pub(crate) about: String,
    #[serde(default)]
    #[allow(dead_code)] // for people
    pub(crate) source: String,
    pub(crate) cases: Vec<Case>,
}

/// One case of a vector file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of the file it stands in.
    #[serde(skip)]
    pub file: String,
    /// For example `TV-009`.
    pub id: String,
    #[serde(default)]
    #[allow(dead_code)] // for people
    pub(crate) about: String,
    #[serde(default)]
    #[allow(dead_code)] // for people
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) options: Options,
    pub(crate) model: Option<Value>,
    pub(crate) manifests: Option<String>,
    #[serde(default)]
    pub(crate) rejects: Vec<String>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    Decide(Box<Decide>),
    Health { target_group: String, target: String, state: TargetHealthState },
    Probe { target_group: String, target: String, result: Value, expect: Option<TargetHealth2> },
    Advance { ms: u64 },
    Report { step: usize, outcome: String, status: Option<u16> },
    Reload { model: Value },
    Target { target_group: String, target: String, expect: Option<BTreeMap<String, Value>> },
    Probes { ms: u64, expect: Vec<ExpectedProbe> },
    Hop(Box<HopStep>),
    AppCookie(Box<AppCookie>),
    Retry(Box<Retry>),
    WhyUnsticky(Box<Why>),
    ZoneHealth { target_group: String, expect: Vec<BTreeMap<String, Value>> },
    ZonalShift { load_balancer: String, zone: Option<String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decide {
    pub(crate) load_balancer: String,
    pub(crate) port: u16,
    pub(crate) request: RequestJson,
    #[serde(default)]
    pub(crate) entropy: u64,
    #[serde(default = "one")]
    pub(crate) repeat: u64,
    #[serde(default)]
    pub(crate) cookies_from: Vec<usize>,
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, Value>,
    pub(crate) counts: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    pub(crate) within: f64,
    /// How each decision is reported at once: by target, `*` for the others.
    #[serde(default)]
    pub(crate) report: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HopStep {
    pub(crate) target_group: String,
    pub(crate) target: String,
    pub(crate) client: IpAddr,
    #[serde(default)]
    pub(crate) entropy: u64,
    #[serde(default = "one")]
    pub(crate) repeat: u64,
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, Value>,
    pub(crate) counts: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    pub(crate) within: f64,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedProbe {
    pub(crate) address: String,
    pub(crate) host: String,
    pub(crate) path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppCookie {
    /// The step that decided.
    pub(crate) step: usize,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) cookies_from: Vec<usize>,
    /// The names of the cookies that the target's response sets.
    pub(crate) sets: Vec<String>,
    #[serde(default)]
    pub(crate) entropy: u64,
    /// The cookies that are added, by `name=value` with `*` for a value that is sealed.
    pub(crate) expect: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// The step that decided.
    pub(crate) failed: usize,
    pub(crate) load_balancer: String,
    pub(crate) port: u16,
    pub(crate) request: RequestJson,
    #[serde(default)]
    pub(crate) entropy: u64,
    #[serde(default)]
    pub(crate) cookies_from: Vec<usize>,
    /// Without it there is no other target.
    pub(crate) expect: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    pub(crate) load_balancer: String,
    pub(crate) port: u16,
    pub(crate) request: RequestJson,
    #[serde(default)]
    pub(crate) cookies_from: Vec<usize>,
    /// The steps whose Set-Cookie values the client got earlier.
    #[serde(default)]
    pub(crate) history_from: Vec<usize>,
    pub(crate) expect: Vec<BTreeMap<String, Value>>,
}

const fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestJson {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: Option<String>,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) peer: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetHealth2 {
    pub(crate) state: TargetHealthState,
    pub(crate) reason: Option<String>,
    pub(crate) description: Option<String>,
}
