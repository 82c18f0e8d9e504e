//! What stands around every entry: failures as values, panics as a status.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::podway_error;
use super::status::podway_status;
use crate::error::{Code, Diagnostic, Error, Layer};

/// A status, and what there is to say about it.
pub(super) struct Failure {
    status: podway_status,
    error: Error,
}

impl Failure {
    /// A failure of an argument.
    pub(super) fn new(status: podway_status, message: impl Into<String>) -> Self {
        let code = match status {
            podway_status::NotFound => Code::E_NOT_FOUND,
            podway_status::Internal => Code::E_INTERNAL,
            _ => Code::E_ARGUMENT,
        };
        Failure { status, error: Diagnostic::error(code, message).into() }
    }
}

impl From<podway_status> for Failure {
    fn from(status: podway_status) -> Self {
        let message = match status {
            podway_status::Null => "a pointer is NULL",
            podway_status::Utf8 => "a text is not UTF-8",
            podway_status::StructSize => "a struct is too small: set its `struct_size`",
            podway_status::NotFound => "there is nothing of this name",
            podway_status::Internal => "the library failed; please report it",
            _ => "an argument is outside its range",
        };
        Failure::new(status, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match (error.code(), error.code().layer()) {
            (Code::E_NOT_FOUND, _) => podway_status::NotFound,
            (Code::E_INTERNAL, _) => podway_status::Internal,
            (_, Layer::Input) => podway_status::Input,
            (_, Layer::Manifest) => podway_status::Manifest,
            (_, Layer::Model) => podway_status::Model,
            (_, Layer::Argument) => podway_status::Argument,
        };
        Failure { status, error }
    }
}

/// Runs the body of an entry that tells no more than a status. Allocates nothing of its own.
#[inline]
pub(super) fn guard(body: impl FnOnce() -> Result<(), podway_status>) -> podway_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => podway_status::Ok,
        Ok(Err(status)) => status,
        Err(_) => podway_status::Internal,
    }
}

/// Runs the body of an entry that explains its failure through `error`, where the caller wants it.
///
/// # Safety
/// `error` is NULL or valid for writing a pointer.
pub(super) unsafe fn explained(
    error: *mut *mut podway_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> podway_status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return podway_status::Ok,
        Ok(Err(failure)) => failure,
        Err(_) => podway_status::Internal.into(),
    };
    let status = failure.status;
    if !error.is_null() {
        let text =
            catch_unwind(AssertUnwindSafe(|| Box::into_raw(Box::new(podway_error::new(&failure.error)))));
        if let Ok(handle) = text {
            // SAFETY: not NULL, and the caller says that it can be written.
            unsafe { error.write(handle) };
        }
    }
    status
}

/// Runs the body of an entry that frees, or that returns a value and has nothing to fail with.
pub(super) fn quiet<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}
