//! `Probe`: a health check that is due.

use pyo3::prelude::*;

/// A health check that is due. Immutable.
#[pyclass(frozen, module = "podway")]
pub(crate) struct Probe {
    probe: podway::Probe,
}

impl From<podway::Probe> for Probe {
    fn from(probe: podway::Probe) -> Self {
        Probe { probe }
    }
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
