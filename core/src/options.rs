//! Behaviour that AWS does not pin down, as fields with the defaults of the specification
//! (spec: dataplane §0.4), and what the embedder decides. In JSON the fields have their own names.

use serde::{Deserialize, Serialize};

/// How a router decides where AWS's documentation is silent or contradicts itself.
///
/// ```
/// let options = podway::Options { regex_anchored: true, ..podway::Options::default() };
/// assert!(options.host_ignores_port);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// K-01: `:port` of the Host is cut off before host values are compared. Default true.
    pub host_ignores_port: bool,
    /// K-02: the same for host regexes. Default false: they see the Host as sent.
    pub host_regex_ignores_port: bool,
    /// K-03: host and header regexes ignore case (path regexes never do). Default true.
    pub regex_ignores_case: bool,
    /// K-04: a regex must match the whole subject. Default false: anywhere in it.
    pub regex_anchored: bool,
    /// K-05: how much of the path is percent-decoded before it is matched.
    pub path_decode: PathDecode,
    /// K-06: `.` and `..` are resolved before matching; climbing above the root is 400. Default true.
    pub path_dot_segments: bool,
    /// K-07: `//` becomes `/` before matching. Default false.
    pub path_merge_slashes: bool,
    /// K-08: query keys and values are also compared percent-decoded, pattern and request alike. Default
    /// false: only as they are.
    pub query_decode: bool,
    /// K-09: `?a` without `=` counts as `a` with an empty value. Default true.
    pub query_bare_key: bool,
    /// K-10: what a forward with only zero weights does.
    pub zero_weights: ZeroWeights,
    /// K-11: a group cookie is honoured while its group is in the action, whatever its weight. Default true.
    pub sticky_zero_weight: bool,
    /// K-13: whether [`Router::retry`](crate::Router::retry) gives another target after a failed connection.
    /// Default false: the load balancer never retries.
    pub retry: bool,
    /// K-12: targets in state `initial` take part in fail-open. Default true.
    pub initial_fail_open: bool,
    /// K-14: share of a target at the start of its slow start, in thousandths; `None` is one step of a
    /// second. Default `None`.
    pub slow_start_floor: Option<u16>,
    /// K-15: how ties of least outstanding requests are broken.
    pub least_outstanding_tie: Tie,
    /// K-16: the browser's expiry of a cookie is 7 days whatever the duration. Default true.
    pub cookie_expires_in_seven_days: bool,
    /// K-21: how many wildcards [`Model::validate`](crate::model::Model::validate) accepts in a rule. Default 6,
    /// with a warning above 5: AWS's pages name both.
    pub wildcards_per_rule: usize,
    /// K-22: `AWSALBAPP-n=_remove_` is set where an `app_cookie` group has nothing to store. Default true.
    pub app_cookie_placeholders: bool,
    /// K-23: a gRPC path pattern `/package` also matches `/package.Service/Method`. Default false.
    pub grpc_path_prefix: bool,
    /// A target of type `ip` that is registered again while it drains waits until its delay is over, as AWS
    /// says (spec: dataplane §3.6). Default true; without it the target is checked anew at once.
    pub ip_reregistration_waits: bool,
    /// How anomalous targets are found and relieved.
    pub anomaly: Anomaly,
    /// How large one compiled regex may become, in bytes. Default 1 MiB.
    pub regex_size_limit: usize,
    /// The Availability Zone this router stands in, for groups without cross-zone balancing.
    pub availability_zone: Option<String>,
    /// Ports as clients reach them, where they differ from the listeners' own: a Location names the second
    /// of a pair for the first. Default empty.
    pub port_map: Vec<(u16, u16)>,
    /// Whether a model that the ELBv2 API would refuse is refused. Default false: what can be decided is
    /// decided, since a model may come from a newer API than this library.
    pub strict: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            host_ignores_port: true,
            host_regex_ignores_port: false,
            regex_ignores_case: true,
            regex_anchored: false,
            path_decode: PathDecode::Unreserved,
            path_dot_segments: true,
            path_merge_slashes: false,
            query_decode: false,
            query_bare_key: true,
            zero_weights: ZeroWeights::Unavailable,
            sticky_zero_weight: true,
            retry: false,
            initial_fail_open: true,
            slow_start_floor: None,
            least_outstanding_tie: Tie::RoundRobin,
            cookie_expires_in_seven_days: true,
            wildcards_per_rule: 6,
            app_cookie_placeholders: true,
            grpc_path_prefix: false,
            ip_reregistration_waits: true,
            anomaly: Anomaly::default(),
            regex_size_limit: 1 << 20,
            availability_zone: None,
            port_map: Vec::new(),
            strict: false,
        }
    }
}

/// Anomaly detection and mitigation (spec: dataplane §3.3.3), where AWS does not tell its statistics: a target
/// is anomalous while its share of failed requests (5xx, failed connections) is by `threshold_percent` higher
/// than that of all other healthy targets of its group together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anomaly {
    /// Milliseconds between judgements of a group. Default 5000.
    pub window_ms: u64,
    /// Fewer requests to a target, or to its peers together, are not judged but counted on. Default 20.
    pub minimum_requests: u32,
    /// By how many percentage points a target must fail more often than its peers. Default 20.
    pub threshold_percent: u32,
    /// By how much of itself the weight of an anomalous target falls at each judgement. Default 50.
    pub decrease_percent: u32,
    /// By how much of the full weight the weight of a normal target rises again. Default 10.
    pub increase_percent: u32,
    /// What is left of the weight at least, so that a recovery can be seen. Default 1.
    pub floor_percent: u32,
}

impl Default for Anomaly {
    fn default() -> Self {
        Anomaly {
            window_ms: 5_000,
            minimum_requests: 20,
            threshold_percent: 20,
            decrease_percent: 50,
            increase_percent: 10,
            floor_percent: 1,
        }
    }
}

/// K-05.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PathDecode {
    /// Nothing is decoded.
    None,
    /// Unreserved characters and those a path may hold anyway; `%2F`, `%25`, controls and bytes beyond
    /// ASCII stay encoded.
    Unreserved,
    /// Everything.
    Full,
}

/// K-10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ZeroWeights {
    /// Answer 503.
    Unavailable,
    /// As if all weights were equal.
    Uniform,
    /// The first group.
    First,
}

/// K-15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tie {
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
}
