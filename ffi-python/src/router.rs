//! `Router`: the verbs. `decide` and `report` are called per request, so they take Python's values as they
//! are and fill in clock and random number themselves; the package puts friendly words around the others.

use std::cell::RefCell;
use std::sync::Arc;

use podway::model::{TargetHealth, TargetHealthState};
use podway::{
    Code, Error, KeyRing, ListenerId, Now, Options, Outcome, Output, ProbeResult, Request, TargetId, Verdict,
};
use pyo3::prelude::*;

use crate::clock::{Moment, moment, rough};
use crate::decision::Decision;
use crate::errors::{argument, raise};
use crate::model::Model;
use crate::names::{Cache, Known, Names};
use crate::probe::Probe;
use crate::request::{Lines, Pairs, bytes, lines, pairs, peer};

thread_local! {
    /// What decisions of this thread work with: one place, since each access costs.
    static LOCAL: RefCell<Local> = RefCell::new(Local {
        output: Output::new(),
        names: None,
        chance: fastrand::Rng::new(),
    });
}

struct Local {
    /// The memory that decisions write into; what they wrote is copied before the next one.
    output: Output,
    /// The names of the router that decided last.
    names: Option<Arc<Known>>,
    chance: fastrand::Rng,
}

impl Local {
    /// The number that was given, or a random one.
    #[inline]
    fn entropy(&mut self, given: Option<u64>) -> u64 {
        given.unwrap_or_else(|| self.chance.u64(..))
    }
}

/// To be called in the child of a fork, which gets randomness of its own: it would choose as its parent and its siblings
/// do, one request after the other.
#[pyfunction]
pub(crate) fn forked(py: Python<'_>) -> PyResult<()> {
    let seed: [u8; 8] = py.import("os")?.call_method1("urandom", (8,))?.extract()?;
    locally(py, |local| {
        local.chance = fastrand::Rng::with_seed(u64::from_ne_bytes(seed));
        Ok(())
    })
}

/// Lets `work` use what belongs to this thread.
#[inline]
fn locally<T>(py: Python<'_>, work: impl FnOnce(&mut Local) -> PyResult<T>) -> PyResult<T> {
    LOCAL.with(|local| match local.try_borrow_mut() {
        Ok(mut local) => work(&mut local),
        Err(_) => Err(busy(py)),
    })
}

/// A compiled model with the state of its targets.
#[pyclass(frozen, subclass, module = "podway._podway")]
pub(crate) struct Router {
    router: podway::Router,
    names: Cache,
}

#[pymethods]
impl Router {
    #[new]
    #[pyo3(signature = (model, options, cookie_key, now=None))]
    fn new(
        py: Python<'_>,
        model: &Bound<'_, Model>,
        options: &str,
        cookie_key: &[u8],
        now: Option<Moment>,
    ) -> PyResult<Self> {
        let model = &model.get().model;
        let now = moment(py, now);
        let made = py.detach(|| -> Result<_, Error> {
            let options = Options::from_json(options)?;
            podway::Router::new(model, options, KeyRing::from_secret(cookie_key)?, now)
        });
        let router = made.map_err(|e| raise(py, &e))?;
        Ok(Router { names: Cache::new(&router), router })
    }

    /// The id of the listener of a load balancer, by name or ARN, on a port. It holds for the router's life.
    fn listener(&self, py: Python<'_>, load_balancer: &str, port: u16) -> PyResult<u32> {
        self.router.listener(load_balancer, port).map(ListenerId::as_u32).ok_or_else(|| {
            let message = format!("load balancer `{load_balancer}` has no listener on port {port}");
            argument(py, Code::E_NOT_FOUND, message)
        })
    }

    fn _listeners(&self, py: Python<'_>) -> String {
        py.detach(|| json(&self.router.listeners()))
    }

    /// Decides where a request goes. A forward owes one `report`.
    ///
    /// `target` is the request target as received (`/path?query`). `str` is taken as UTF-8; give `bytes`
    /// for anything else. Without `host` the first `host` header counts. `peer` is who connected to the
    /// load balancer: `"192.0.2.1:4000"` or what a socket tells.
    #[pyo3(signature = (
        listener, method=None, target=None, host=None, headers=None, peer=None, *, now=None, entropy=None
    ))]
    #[allow(clippy::too_many_arguments)] // one crossing, each with a name and a default
    #[inline]
    fn decide(
        &self,
        py: Python<'_>,
        listener: u32,
        method: Option<&Bound<'_, PyAny>>,
        target: Option<&Bound<'_, PyAny>>,
        host: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        peer: Option<&Bound<'_, PyAny>>,
        now: Option<Moment>,
        entropy: Option<u64>,
    ) -> PyResult<Decision> {
        with_request([method, target, host], headers, peer, |request| {
            locally(py, |local| {
                let (now, entropy) = (rough(py, now), local.entropy(entropy));
                let listener = ListenerId::from_u32(listener);
                let decision = self.router.decide(listener, request, now, entropy, &mut local.output);
                match self.names(py, &decision, local)? {
                    Named::Gone => {
                        self.router.report(&decision, Outcome::Cancelled, now);
                        self.anew(py, listener, request, now, entropy, local)
                    }
                    // Made in one piece where it is given back: a decision that is moved is read before it is written.
                    Named::As(names) => Ok(Decision::new(decision, names, &local.output)),
                }
            })
        })
    }

    /// Another target of the same group, after the connection to that of `failed` (reported as
    /// `connect-failed`) could not be made; None without the option `retry`, for methods that are not
    /// idempotent, and where there is no other target. The rest is as `decide` was given it. The new decision
    /// owes a report of its own; ask once for a request.
    #[pyo3(signature = (
        failed, listener, method=None, target=None, host=None, headers=None, peer=None, *, now=None, entropy=None
    ))]
    #[allow(clippy::too_many_arguments)] // as `decide`
    fn retry(
        &self,
        py: Python<'_>,
        failed: &Bound<'_, Decision>,
        listener: u32,
        method: Option<&Bound<'_, PyAny>>,
        target: Option<&Bound<'_, PyAny>>,
        host: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        peer: Option<&Bound<'_, PyAny>>,
        now: Option<Moment>,
        entropy: Option<u64>,
    ) -> PyResult<Option<Decision>> {
        with_request([method, target, host], headers, peer, |request| {
            locally(py, |local| {
                let (now, entropy) = (rough(py, now), local.entropy(entropy));
                let (listener, failed) = (ListenerId::from_u32(listener), &failed.get().decision);
                let decision = self.router.retry(listener, request, failed, now, entropy, &mut local.output);
                let Some(decision) = decision else { return Ok(None) };
                match self.names(py, &decision, local)? {
                    Named::Gone => {
                        self.router.report(&decision, Outcome::Cancelled, now);
                        Ok(None)
                    }
                    Named::As(names) => Ok(Some(Decision::new(decision, names, &local.output))),
                }
            })
        })
    }

    #[allow(clippy::too_many_arguments)] // as `decide`
    fn _explain(
        &self,
        py: Python<'_>,
        listener: u32,
        method: Option<&Bound<'_, PyAny>>,
        target: Option<&Bound<'_, PyAny>>,
        host: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        peer: Option<&Bound<'_, PyAny>>,
        now: Option<Moment>,
        entropy: Option<u64>,
    ) -> PyResult<String> {
        with_request([method, target, host], headers, peer, |request| {
            locally(py, |local| {
                let (now, entropy) = (rough(py, now), local.entropy(entropy));
                let (listener, output) = (ListenerId::from_u32(listener), &mut local.output);
                let why = self.router.explain(listener, request, now, entropy, output);
                Ok(why.to_json(&self.router, output))
            })
        })
    }

    #[allow(clippy::too_many_arguments)] // as `decide`
    fn _why_unsticky(
        &self,
        py: Python<'_>,
        listener: u32,
        method: Option<&Bound<'_, PyAny>>,
        target: Option<&Bound<'_, PyAny>>,
        host: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        peer: Option<&Bound<'_, PyAny>>,
        history: Vec<String>,
        now: Option<Moment>,
    ) -> PyResult<String> {
        with_request([method, target, host], headers, peer, |request| {
            let history: Vec<&str> = history.iter().map(String::as_str).collect();
            let listener = ListenerId::from_u32(listener);
            Ok(json(&self.router.why_unsticky(listener, request, &history, moment(py, now))))
        })
    }

    /// Shifts the traffic of a load balancer, by name or ARN, away from a zone until it is cancelled.
    #[pyo3(signature = (load_balancer, zone, *, now=None))]
    fn start_zonal_shift(
        &self,
        py: Python<'_>,
        load_balancer: &str,
        zone: &str,
        now: Option<Moment>,
    ) -> PyResult<()> {
        self.router.start_zonal_shift(load_balancer, zone, moment(py, now)).map_err(|e| raise(py, &e))
    }

    /// Ends all zonal shifts of a load balancer, by name or ARN.
    #[pyo3(signature = (load_balancer, *, now=None))]
    fn cancel_zonal_shift(&self, py: Python<'_>, load_balancer: &str, now: Option<Moment>) -> PyResult<()> {
        self.router.cancel_zonal_shift(load_balancer, moment(py, now)).map_err(|e| raise(py, &e))
    }

    /// Settles a forward of this router: owed exactly once for each, whatever became of the request. `outcome` is
    /// `response` (with its status), `connect-failed`, `timed-out`, `closed` or `cancelled`.
    #[pyo3(signature = (decision, outcome="response", status=200, *, now=None))]
    fn report(
        &self,
        py: Python<'_>,
        decision: &Bound<'_, Decision>,
        outcome: &str,
        status: u16,
        now: Option<Moment>,
    ) -> PyResult<()> {
        let outcome = Outcome::from_name(outcome, status)
            .ok_or_else(|| argument(py, Code::E_ARGUMENT, format!("there is no outcome `{outcome}`")))?;
        self.router.report(&decision.get().decision, outcome, rough(py, now));
        Ok(())
    }

    fn _app_cookie(
        &self,
        py: Python<'_>,
        decision: &Bound<'_, Decision>,
        headers: &Bound<'_, PyAny>,
        cookies: Vec<String>,
        now: Option<Moment>,
        entropy: Option<u64>,
    ) -> PyResult<Vec<String>> {
        with_request([None; 3], Some(headers), None, |request| {
            locally(py, |local| {
                let sets = |name: &str| cookies.iter().any(|c| c == name);
                let (now, entropy) = (rough(py, now), local.entropy(entropy));
                let (decision, output) = (decision.get().decision, &mut local.output);
                self.router.app_cookie(&decision, request, sets, now, entropy, output);
                Ok(output.set_cookies().map(str::to_owned).collect())
            })
        })
    }

    fn _authentication(&self, listener: u32, decision: &Bound<'_, Decision>) -> Option<String> {
        let action = self.router.authentication(ListenerId::from_u32(listener), &decision.get().decision);
        action.map(|action| json(&action))
    }

    /// The health checks that are due, and when to call again (monotonic milliseconds; None: nothing is
    /// waited for).
    #[pyo3(signature = (*, now=None))]
    fn poll(&self, py: Python<'_>, now: Option<Moment>) -> (Vec<Probe>, Option<u64>) {
        let now = moment(py, now);
        let mut probes = Vec::new();
        let next = py.detach(|| self.router.poll(now, &mut probes));
        (probes.into_iter().map(Probe::from).collect(), (next != u64::MAX).then_some(next))
    }

    /// Takes a probe's result: `status` (with the HTTP status or the grpc-status), `timed-out`, `failed`, or
    /// `internal-error` where the check could not be made by no fault of the target.
    #[pyo3(signature = (target_id, result="status", status=0, *, now=None))]
    fn report_probe(
        &self,
        py: Python<'_>,
        target_id: u64,
        result: &str,
        status: u16,
        now: Option<Moment>,
    ) -> PyResult<()> {
        let result = ProbeResult::from_name(result, status)
            .ok_or_else(|| argument(py, Code::E_ARGUMENT, format!("there is no probe result `{result}`")))?;
        self.router.report_probe(TargetId::from_u64(target_id), &result, moment(py, now));
        Ok(())
    }

    fn _reload(&self, py: Python<'_>, model: &Bound<'_, Model>, now: Option<Moment>) -> PyResult<()> {
        let model = &model.get().model;
        let now = moment(py, now);
        py.detach(|| self.router.reload(model, now)).map_err(|e| raise(py, &e))?;
        self.names.renew(&self.router);
        Ok(())
    }

    fn _set_cookie_keys(&self, py: Python<'_>, keys: Vec<Vec<u8>>) -> PyResult<()> {
        self.router.set_cookie_keys(KeyRing::from_secrets(&keys).map_err(|e| raise(py, &e))?);
        Ok(())
    }

    /// The id of a target, by its group's name and its own `id:port`.
    fn find_target(&self, py: Python<'_>, target_group: &str, target: &str) -> PyResult<u64> {
        self.router.find_target(target_group, target).map(TargetId::as_u64).ok_or_else(|| {
            let message = format!("target group `{target_group}` has no target `{target}`");
            argument(py, Code::E_NOT_FOUND, message)
        })
    }

    fn _set_target_health(
        &self,
        py: Python<'_>,
        target_id: u64,
        state: &str,
        now: Option<Moment>,
    ) -> PyResult<()> {
        let state = TargetHealthState::from_name(state)
            .ok_or_else(|| argument(py, Code::E_ARGUMENT, format!("there is no target state `{state}`")))?;
        let health = TargetHealth { state, ..TargetHealth::default() };
        self.router
            .set_target_health(TargetId::from_u64(target_id), health, moment(py, now))
            .map_err(|e| raise(py, &e))
    }

    /// How many reports came for a registration that was gone, or for one with nothing in flight. A report
    /// that comes twice while its target serves others is taken for one of theirs.
    fn late_reports(&self) -> u64 {
        self.router.late_reports()
    }

    fn _hop(
        &self,
        py: Python<'_>,
        target: u64,
        client: &str,
        now: Option<Moment>,
        entropy: Option<u64>,
    ) -> PyResult<Option<String>> {
        let client = client
            .parse()
            .map_err(|_| argument(py, Code::E_ARGUMENT, format!("`{client}` is not an IP address")))?;
        let now = moment(py, now);
        let entropy = locally(py, |local| Ok(local.entropy(entropy)))?;
        Ok(self.router.hop(TargetId::from_u64(target), client, now, entropy).map(|hop| json(&hop)))
    }

    /// The names of the headers that a decision may look at, in lower case and sorted. A request that has only
    /// these (and its host) is decided as with all of them. A reload may change them.
    fn header_names(&self) -> Vec<String> {
        self.router.header_names()
    }

    fn _target_groups(&self) -> String {
        json(&self.router.target_groups())
    }

    fn _zone_health(&self, py: Python<'_>, target_group: &str) -> PyResult<String> {
        let group = self.router.find_target_group(target_group).ok_or_else(|| {
            argument(py, Code::E_NOT_FOUND, format!("there is no target group `{target_group}`"))
        })?;
        Ok(json(&self.router.zone_health(group)))
    }

    fn _targets(&self, py: Python<'_>) -> String {
        py.detach(|| json(&self.router.targets()))
    }

    fn _events(&self, py: Python<'_>) -> String {
        py.detach(|| json(&self.router.events()))
    }
}

impl Router {
    /// The names that belong to a decision.
    #[inline]
    fn names(&self, py: Python<'_>, decision: &podway::Decision, local: &mut Local) -> PyResult<Named> {
        let Verdict::Forward(forward) = &decision.verdict else { return Ok(Named::As(None)) };
        let names = self.names.get(py, &self.router, forward, &mut local.names)?;
        Ok(names.map_or(Named::Gone, |names| Named::As(Some(names))))
    }

    /// Decides until what was decided is there.
    #[cold]
    fn anew(
        &self,
        py: Python<'_>,
        listener: ListenerId,
        request: &Request<'_>,
        now: Now,
        entropy: u64,
        local: &mut Local,
    ) -> PyResult<Decision> {
        loop {
            let decision = self.router.decide(listener, request, now, entropy, &mut local.output);
            match self.names(py, &decision, local)? {
                Named::Gone => self.router.report(&decision, Outcome::Cancelled, now),
                Named::As(names) => return Ok(Decision::new(decision, names, &local.output)),
            }
        }
    }
}

/// What a decision's target is called.
enum Named {
    /// As it was; only a forward has names.
    As(Option<Py<Names>>),
    /// A reload on another thread has taken the target away meanwhile.
    Gone,
}

/// Lets `work` see the arguments of a decision as a request: method, target and host, then the rest.
#[inline]
pub(crate) fn with_request<T>(
    [method, target, host]: [Option<&Bound<'_, PyAny>>; 3],
    headers: Option<&Bound<'_, PyAny>>,
    peer: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Request<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let method = method.map_or(Ok("GET".as_bytes()), |method| bytes(method, "method"))?;
    let target = target.map_or(Ok("/".as_bytes()), |target| bytes(target, "target"))?;
    // Filled in place: moving them costs more than all the rest of the arguments.
    let (mut held, mut views) = (Pairs::new(), Lines::new());
    if let Some(headers) = headers {
        pairs(headers, &mut held)?;
        lines(&held, &mut views)?;
    }
    let mut request = Request::new(method, target, self::peer(peer)?).header_bytes(&views);
    if let Some(host) = host {
        request = request.host(bytes(host, "host")?);
    }
    work(&request)
}

fn busy(py: Python<'_>) -> PyErr {
    argument(py, Code::E_INTERNAL, "a decision is already being made on this thread")
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
