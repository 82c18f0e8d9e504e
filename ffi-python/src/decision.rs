//! `Decision`: a handful of numbers, a pointer to the target's names, and text where there is any. Words
//! are made when they are asked for.

use std::hash::{DefaultHasher, Hash, Hasher};

use podway::model::Priority;
use podway::{Output, Verdict};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::names::Names;

/// Where a request goes. Immutable. Fields that do not belong to its type are None.
#[pyclass(frozen, eq, module = "podway")]
pub(crate) struct Decision {
    pub(crate) decision: podway::Decision,
    /// Of a forward.
    names: Option<Py<Names>>,
    /// Where the decision has any.
    texts: Option<Box<Texts>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Texts {
    location: Option<String>,
    body: Option<Vec<u8>>,
    content_type: Option<String>,
    uri: Option<String>,
    host: Option<String>,
    set_cookies: Vec<String>,
}

impl Texts {
    fn of(output: &Output) -> Option<Box<Self>> {
        if output.is_empty() {
            return None;
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Box::new(Texts {
            location: owned(output.location()),
            body: output.body().map(<[u8]>::to_vec),
            content_type: owned(output.content_type()),
            uri: owned(output.uri()),
            host: owned(output.host()),
            set_cookies: output.set_cookies().map(str::to_owned).collect(),
        }))
    }
}

impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        self.decision == other.decision && self.texts == other.texts
    }
}

impl Decision {
    pub(crate) fn new(decision: podway::Decision, names: Option<Py<Names>>, output: &Output) -> Self {
        Decision { decision, names, texts: Texts::of(output) }
    }

    fn name<'py>(
        &self,
        py: Python<'py>,
        which: impl FnOnce(&Names) -> Option<&Py<PyString>>,
    ) -> Option<Bound<'py, PyString>> {
        self.names.as_ref().map(Py::get).and_then(which).map(|name| name.bind(py).clone())
    }

    fn text<'a>(&'a self, which: impl FnOnce(&'a Texts) -> Option<&'a String>) -> Option<&'a str> {
        self.texts.as_deref().and_then(which).map(String::as_str)
    }
}

#[pymethods]
impl Decision {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("type", "target_group", "target")
    }

    /// The rule that matched: its number as text, or `default`.
    #[getter]
    fn priority(&self) -> Option<String> {
        self.decision.priority.map(|priority| priority.to_string())
    }

    /// `forward`, `redirect`, `fixed-response` or `error`.
    #[getter]
    fn r#type<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        match self.decision.verdict {
            Verdict::Forward(_) => pyo3::intern!(py, "forward"),
            Verdict::Redirect { .. } => pyo3::intern!(py, "redirect"),
            Verdict::FixedResponse { .. } => pyo3::intern!(py, "fixed-response"),
            Verdict::Error { .. } => pyo3::intern!(py, "error"),
        }
    }

    /// The status to answer with; a forward has none.
    #[getter]
    fn status(&self) -> Option<u16> {
        match self.decision.verdict {
            Verdict::Forward(_) => None,
            Verdict::Redirect { status }
            | Verdict::FixedResponse { status }
            | Verdict::Error { status, .. } => Some(status),
        }
    }

    /// Why it is an error.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        match self.decision.verdict {
            Verdict::Error { reason, .. } => Some(reason.as_str()),
            _ => None,
        }
    }

    /// The target group's name.
    #[getter]
    fn target_group<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.name(py, |names| Some(&names.target_group))
    }

    /// `namespace/name:port` of the Service that the target group was made for.
    #[getter]
    fn service<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.name(py, |names| names.service.as_ref())
    }

    /// `id:port` of the target.
    #[getter]
    fn target<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.name(py, |names| Some(&names.target))
    }

    /// Where to connect to, as `address:port`.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.name(py, |names| Some(&names.address))
    }

    /// The target's number in this router, for `report_probe` and for tables of one's own.
    #[getter]
    fn target_id(&self) -> Option<u64> {
        match &self.decision.verdict {
            Verdict::Forward(forward) => Some(forward.target.as_u64()),
            _ => None,
        }
    }

    /// Whether too few targets were healthy, so that all were candidates.
    #[getter]
    fn fail_open(&self) -> Option<bool> {
        match &self.decision.verdict {
            Verdict::Forward(forward) => Some(forward.fail_open),
            _ => None,
        }
    }

    /// `off`, `new`, `kept`, or why the cookie could not be honoured.
    #[getter]
    fn stickiness(&self) -> Option<&'static str> {
        match &self.decision.verdict {
            Verdict::Forward(forward) => Some(forward.stickiness.as_str()),
            _ => None,
        }
    }

    /// What has to succeed first.
    #[getter]
    fn authenticate(&self) -> Option<&'static str> {
        self.decision.authenticate.map(|authenticate| authenticate.as_str())
    }

    /// The Location of a redirect.
    #[getter]
    fn location(&self) -> Option<&str> {
        self.text(|texts| texts.location.as_ref())
    }

    /// The body of a fixed response.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.texts.as_deref().and_then(|texts| texts.body.as_ref()).map(|body| PyBytes::new(py, body))
    }

    /// The media type of a fixed response.
    #[getter]
    fn content_type(&self) -> Option<&str> {
        self.text(|texts| texts.content_type.as_ref())
    }

    /// Path and query for the target, where a transform changed them.
    #[getter]
    fn uri(&self) -> Option<&str> {
        self.text(|texts| texts.uri.as_ref())
    }

    /// The Host for the target, where a transform changed it.
    #[getter]
    fn host(&self) -> Option<&str> {
        self.text(|texts| texts.host.as_ref())
    }

    /// The values of the Set-Cookie headers that the response must carry.
    #[getter]
    fn set_cookies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.texts {
            Some(texts) => PyTuple::new(py, &texts.set_cookies),
            None => Ok(PyTuple::empty(py)),
        }
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.target_id().hash(&mut hasher);
        self.status().hash(&mut hasher);
        match self.decision.priority {
            None => 0u32.hash(&mut hasher),
            Some(Priority::Default) => 1u32.hash(&mut hasher),
            Some(Priority::Rule(number)) => (2u32, number).hash(&mut hasher),
        }
        self.texts.hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let mut fields = vec![format!("type={:?}", self.decision.verdict.as_str())];
        let mut field = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                fields.push(format!("{name}={value:?}"));
            }
        };
        let named = |name: Option<Bound<'_, PyString>>| name.map(|n| n.to_string_lossy().into_owned());
        field("priority", self.priority().as_deref());
        field("status", self.status().map(|s| s.to_string()).as_deref());
        field("reason", self.reason());
        field("authenticate", self.authenticate());
        field("target_group", named(self.target_group(py)).as_deref());
        field("target", named(self.target(py)).as_deref());
        field("address", named(self.address(py)).as_deref());
        field("location", self.location());
        field("uri", self.uri());
        field("host", self.host());
        format!("Decision({})", fields.join(", "))
    }
}
