//! What benches/calls.py holds a decision against.

use podway::{Output, Verdict};
use pyo3::prelude::*;

use crate::clock::Moment;
use crate::decision::Decision;
use crate::router::with_request;

/// What a decision's crossing costs by itself, for benches/calls.py.
#[pyclass(frozen, module = "podway._podway")]
pub(crate) struct Nothing {
    /// Empty.
    output: Output,
}

#[pymethods]
impl Nothing {
    #[new]
    fn new() -> Self {
        Nothing { output: Output::new() }
    }

    /// The least that can be called with these arguments: text as `&str`, and nothing given back.
    #[pyo3(signature = (
        listener, method=None, target=None, host=None, headers=None, peer=None, *, now=None, entropy=None
    ))]
    #[allow(clippy::too_many_arguments)] // as `Router::decide`
    fn call(
        &self,
        listener: u32,
        method: Option<&str>,
        target: Option<&str>,
        host: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
        peer: Option<&Bound<'_, PyAny>>,
        now: Option<Moment>,
        entropy: Option<u64>,
    ) {
        std::hint::black_box((listener, method, target, host, headers, peer, now, entropy));
    }

    /// `Router::decide` without the decision: its arguments become the same request, and one and the same
    /// answer is given back as a new object.
    #[pyo3(signature = (
        listener, method=None, target=None, host=None, headers=None, peer=None, *, now=None, entropy=None
    ))]
    #[allow(clippy::too_many_arguments)] // as `Router::decide`
    fn decide(
        &self,
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
            std::hint::black_box((listener, request, now, entropy));
            let verdict = Verdict::Redirect { status: 301 };
            let decision = podway::Decision { priority: None, authenticate: None, verdict };
            Ok(Decision::new(decision, None, &self.output))
        })
    }
}
