//! Errors of the core as exceptions of the package: their classes are Python's (podway/errors.py).

use podway::{Code, Diagnostic, Error};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Makes the exception that `podway.errors` has for `error`.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = MAKE
        .get_or_try_init(py, || py.import("podway.errors")?.getattr("_make").map(Bound::unbind))
        .and_then(|make| {
            let problems = serde_json::to_string(error.diagnostics()).unwrap_or_default();
            make.bind(py).call1((kind(error), error.to_string(), problems))
        });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// An argument that the core never gets to see.
pub(crate) fn argument(py: Python<'_>, code: Code, message: impl Into<String>) -> PyErr {
    raise(py, &Diagnostic::error(code, message).into())
}

fn kind(error: &Error) -> &'static str {
    match error {
        _ if error.code() == Code::E_NOT_FOUND => "not-found",
        Error::Input(_) => "input",
        Error::Manifest(_) => "manifest",
        Error::Model(_) => "model",
        _ => "argument",
    }
}
