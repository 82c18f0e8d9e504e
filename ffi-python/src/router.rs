//! `Router`: the verbs, with everything given. The package fills in the clock and the random number.

use std::cell::RefCell;

use podway::model::{TargetHealth, TargetHealthState};
use podway::{Code, Error, KeyRing, ListenerId, Options, Outcome, Output, ProbeResult, Request, TargetId};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{bytes, now, peer};
use crate::decision::Decision;
use crate::errors::{argument, raise};
use crate::model::Model;

thread_local! {
    /// The memory that decisions of this thread write into; what they wrote is copied before the next one.
    static OUTPUT: RefCell<Output> = RefCell::new(Output::new());
}

/// `(monotonic milliseconds, unix seconds)`.
type Moment = (u64, u64);

/// A compiled model with the state of its targets.
#[pyclass(frozen, module = "podway._podway")]
pub(crate) struct Router {
    router: podway::Router,
}

#[pymethods]
impl Router {
    #[new]
    fn new(
        py: Python<'_>,
        model: &Bound<'_, Model>,
        options: &str,
        cookie_key: &[u8],
        moment: Moment,
    ) -> PyResult<Self> {
        let model = &model.get().model;
        let made = py.detach(|| -> Result<_, Error> {
            let options = Options::from_json(options)?;
            podway::Router::new(model, options, KeyRing::from_secret(cookie_key)?, now(moment))
        });
        made.map(|router| Router { router }).map_err(|e| raise(py, &e))
    }

    fn listener(&self, py: Python<'_>, load_balancer: &str, port: u16) -> PyResult<u32> {
        self.router.listener(load_balancer, port).map(ListenerId::as_u32).ok_or_else(|| {
            let message = format!("load balancer `{load_balancer}` has no listener on port {port}");
            argument(py, Code::E_NOT_FOUND, message)
        })
    }

    fn listeners(&self) -> String {
        json(&self.router.listeners())
    }

    #[allow(clippy::too_many_arguments)] // one crossing: the package gives them names and defaults
    fn decide(
        &self,
        py: Python<'_>,
        listener: u32,
        method: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        host: Option<&Bound<'_, PyAny>>,
        headers: &Bound<'_, PyTuple>,
        peer_address: &Bound<'_, PyAny>,
        moment: Moment,
        entropy: u64,
    ) -> PyResult<Decision> {
        // The items are kept alive by `pairs` while the views of them are used.
        let mut pairs = Vec::with_capacity(headers.len());
        for item in headers.iter() {
            let pair: (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            pairs.push(pair);
        }
        let mut lines = Vec::with_capacity(pairs.len());
        for (name, value) in &pairs {
            lines.push((bytes(name, "a header name")?, bytes(value, "a header value")?));
        }
        let method = bytes(method, "method")?;
        let target = bytes(target, "target")?;
        let host = host.map(|host| bytes(host, "host")).transpose()?;
        let mut request = Request::new(method, target, peer(peer_address)?).header_bytes(&lines);
        if let Some(host) = host {
            request = request.host(host);
        }
        OUTPUT.with(|output| {
            let mut output = output.try_borrow_mut().map_err(|_| busy(py))?;
            let listener = ListenerId::from_u32(listener);
            let decision = self.router.decide(listener, &request, now(moment), entropy, &mut output);
            Ok(Decision::new(decision, self.router.describe(&decision, &output)))
        })
    }

    fn report(
        &self,
        py: Python<'_>,
        decision: &Bound<'_, Decision>,
        outcome: &str,
        status: u16,
        moment: Moment,
    ) -> PyResult<()> {
        let outcome = Outcome::from_name(outcome, status)
            .ok_or_else(|| argument(py, Code::E_ARGUMENT, format!("there is no outcome `{outcome}`")))?;
        self.router.report(&decision.get().decision, outcome, now(moment));
        Ok(())
    }

    fn app_cookie(
        &self,
        py: Python<'_>,
        decision: &Bound<'_, Decision>,
        headers: &Bound<'_, PyTuple>,
        cookies: Vec<String>,
        moment: Moment,
        entropy: u64,
    ) -> PyResult<Vec<String>> {
        // The items are kept alive by `pairs` while the views of them are used.
        let pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = headers.extract()?;
        let mut lines = Vec::with_capacity(pairs.len());
        for (name, value) in &pairs {
            lines.push((bytes(name, "a header name")?, bytes(value, "a header value")?));
        }
        let unspecified = std::net::SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let request = Request::new(&b""[..], &b""[..], unspecified).header_bytes(&lines);
        OUTPUT.with(|output| {
            let mut output = output.try_borrow_mut().map_err(|_| busy(py))?;
            let sets = |name: &str| cookies.iter().any(|c| c == name);
            let decision = decision.get().decision;
            self.router.app_cookie(&decision, &request, sets, now(moment), entropy, &mut output);
            Ok(output.set_cookies().map(str::to_owned).collect())
        })
    }

    fn authentication(&self, listener: u32, decision: &Bound<'_, Decision>) -> Option<String> {
        let action = self.router.authentication(ListenerId::from_u32(listener), &decision.get().decision);
        action.map(|action| json(&action))
    }

    fn poll(&self, moment: Moment) -> (Vec<Probe>, Option<u64>) {
        let mut probes = Vec::new();
        let next = self.router.poll(now(moment), &mut probes);
        (probes.into_iter().map(|probe| Probe { probe }).collect(), (next != u64::MAX).then_some(next))
    }

    fn report_probe(
        &self,
        py: Python<'_>,
        target: u64,
        result: &str,
        status: u16,
        moment: Moment,
    ) -> PyResult<()> {
        let result = ProbeResult::from_name(result, status)
            .ok_or_else(|| argument(py, Code::E_ARGUMENT, format!("there is no probe result `{result}`")))?;
        self.router.report_probe(TargetId::from_u64(target), &result, now(moment));
        Ok(())
    }

    fn reload(&self, py: Python<'_>, model: &Bound<'_, Model>, moment: Moment) -> PyResult<()> {
        let model = &model.get().model;
        py.detach(|| self.router.reload(model, now(moment))).map_err(|e| raise(py, &e))
    }

    fn set_cookie_keys(&self, py: Python<'_>, keys: Vec<Vec<u8>>) -> PyResult<()> {
        self.router.set_keys(KeyRing::from_secrets(&keys).map_err(|e| raise(py, &e))?);
        Ok(())
    }

    fn find_target(&self, py: Python<'_>, target_group: &str, target: &str) -> PyResult<u64> {
        self.router.find_target(target_group, target).map(TargetId::as_u64).ok_or_else(|| {
            let message = format!("target group `{target_group}` has no target `{target}`");
            argument(py, Code::E_NOT_FOUND, message)
        })
    }

    fn set_target_health(&self, py: Python<'_>, target: u64, state: &str, moment: Moment) -> PyResult<()> {
        let state = TargetHealthState::from_name(state)
            .ok_or_else(|| argument(py, Code::E_ARGUMENT, format!("there is no target state `{state}`")))?;
        let health = TargetHealth { state, ..TargetHealth::default() };
        self.router
            .set_target_health(TargetId::from_u64(target), health, now(moment))
            .map_err(|e| raise(py, &e))
    }

    fn targets(&self) -> String {
        json(&self.router.targets())
    }

    fn events(&self) -> String {
        json(&self.router.events())
    }
}

/// A health check that is due.
#[pyclass(frozen, module = "podway")]
pub(crate) struct Probe {
    probe: podway::Probe,
}

#[pymethods]
impl Probe {
    /// For `report_probe`.
    #[getter]
    fn target_id(&self) -> u64 {
        self.probe.target.as_u64()
    }

    /// Where to connect to.
    #[getter]
    fn address(&self) -> (String, u16) {
        (self.probe.address.ip().to_string(), self.probe.address.port())
    }

    /// HTTP or HTTPS.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.probe.protocol.as_str()
    }

    /// HTTP1, HTTP2 or GRPC.
    #[getter]
    fn protocol_version(&self) -> &'static str {
        self.probe.version.as_str()
    }

    /// Path and query.
    #[getter]
    fn path(&self) -> &str {
        &self.probe.path
    }

    /// The Host header.
    #[getter]
    fn host(&self) -> &str {
        &self.probe.host
    }

    /// Milliseconds for the whole check.
    #[getter]
    fn timeout_ms(&self) -> u64 {
        self.probe.timeout_ms
    }

    fn __repr__(&self) -> String {
        let (protocol, host, path) = (self.protocol().to_lowercase(), &self.probe.host, &self.probe.path);
        format!("Probe({protocol}://{host}{path}, timeout_ms={})", self.probe.timeout_ms)
    }
}

fn busy(py: Python<'_>) -> PyErr {
    argument(py, Code::E_INTERNAL, "a decision is already being made on this thread")
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
