//! Errors of the library as errors of JavaScript: the message is JSON that `index.js` takes apart.

use podway::{Code, Diagnostic, Error};

/// An error of the library.
pub(crate) fn raise(error: &Error) -> napi::Error {
    let first = error.diagnostics().first();
    let location = first.and_then(|d| d.location.as_ref());
    let told = serde_json::json!({
        "podway": error.to_string(),
        "code": error.code().as_str(),
        "file": location.map(|l| l.file.clone()),
        "line": location.map(|l| l.line),
        "column": location.map(|l| l.column),
        "diagnostics": error.diagnostics(),
    });
    napi::Error::from_reason(told.to_string())
}

/// An error about an argument of a call.
pub(crate) fn argument(code: Code, message: String) -> napi::Error {
    raise(&Error::from(Diagnostic::error(code, message)))
}
