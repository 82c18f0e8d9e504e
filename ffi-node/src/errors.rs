//! Errors of the library as errors of JavaScript: the message is JSON that `index.js` takes apart.

use podway::{Code, Diagnostic, Error};

/// What is said of a number that is too large to be one.
pub(crate) const ENTROPY: &str = "entropy must be within 64 bits and not negative";

/// An error as the JSON that `index.js` takes apart.
pub(crate) fn told(error: &Error) -> String {
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
    told.to_string()
}

/// An error of the library.
pub(crate) fn raise(error: &Error) -> napi::Error {
    napi::Error::from_reason(told(error))
}

/// An error about an argument of a call.
pub(crate) fn argument(code: Code, message: String) -> napi::Error {
    raise(&argument_error(code, message))
}

/// The same, for the calls below napi-rs.
pub(crate) fn argument_error(code: Code, message: String) -> Error {
    Error::from(Diagnostic::error(code, message))
}

/// A defect of the library.
pub(crate) fn defect() -> Error {
    argument_error(Code::E_INTERNAL, "the library failed; please report it".to_owned())
}
