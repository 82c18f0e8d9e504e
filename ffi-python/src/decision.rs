//! `Decision`: what was decided, in words, with the ids that `report` needs.

use std::hash::{DefaultHasher, Hash, Hasher};

use podway::Description;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// Where a request goes. Immutable. Fields that do not belong to its type are None.
#[pyclass(frozen, eq, module = "podway")]
#[derive(PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) decision: podway::Decision,
    #[pyo3(get)]
    priority: Option<String>,
    #[pyo3(get)]
    r#type: &'static str,
    #[pyo3(get)]
    status: Option<u16>,
    #[pyo3(get)]
    reason: Option<&'static str>,
    #[pyo3(get)]
    target_group: Option<String>,
    #[pyo3(get)]
    service: Option<String>,
    #[pyo3(get)]
    target: Option<String>,
    #[pyo3(get)]
    address: Option<String>,
    #[pyo3(get)]
    fail_open: Option<bool>,
    #[pyo3(get)]
    stickiness: Option<&'static str>,
    #[pyo3(get)]
    authenticate: Option<&'static str>,
    #[pyo3(get)]
    location: Option<String>,
    body: Option<Vec<u8>>,
    #[pyo3(get)]
    content_type: Option<String>,
    #[pyo3(get)]
    uri: Option<String>,
    #[pyo3(get)]
    host: Option<String>,
    set_cookies: Vec<String>,
}

impl Decision {
    pub(crate) fn new(decision: podway::Decision, said: Description<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Decision {
            decision,
            priority: said.priority.map(|p| p.to_string()),
            r#type: said.kind,
            status: said.status,
            reason: said.reason,
            target_group: said.target_group,
            service: said.service,
            target: said.target,
            address: said.address.map(|a| a.to_string()),
            fail_open: said.fail_open,
            stickiness: said.stickiness,
            authenticate: said.authenticate,
            location: owned(said.location),
            body: said.body.map(<[u8]>::to_vec),
            content_type: owned(said.content_type),
            uri: owned(said.uri),
            host: owned(said.host),
            set_cookies: said.set_cookies.iter().map(|c| (*c).to_owned()).collect(),
        }
    }
}

#[pymethods]
impl Decision {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("type", "target_group", "target")
    }

    /// The body of a fixed response.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.body.as_ref().map(|body| PyBytes::new(py, body))
    }

    /// The values of the Set-Cookie headers that the response must carry.
    #[getter]
    fn set_cookies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.set_cookies)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.r#type, self.status, &self.priority, &self.target, &self.location, &self.set_cookies)
            .hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        let mut fields = vec![format!("type={:?}", self.r#type)];
        let mut field = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                fields.push(format!("{name}={value:?}"));
            }
        };
        field("priority", self.priority.as_deref());
        field("status", self.status.map(|s| s.to_string()).as_deref());
        field("reason", self.reason);
        field("authenticate", self.authenticate);
        field("target_group", self.target_group.as_deref());
        field("target", self.target.as_deref());
        field("address", self.address.as_deref());
        field("location", self.location.as_deref());
        field("uri", self.uri.as_deref());
        field("host", self.host.as_deref());
        format!("Decision({})", fields.join(", "))
    }
}
