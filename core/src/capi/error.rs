//! The error handle: everything there is to say about a failure.

use super::guard::quiet;
use super::view::podway_str;
use crate::error::{Error, Location};

/// Why a call failed. Freed by the caller with podway_error_free.
pub struct podway_error {
    message: String,
    code: &'static str,
    location: Option<Location>,
    json: String,
}

impl podway_error {
    pub(super) fn new(error: &Error) -> Self {
        podway_error {
            message: error.to_string(),
            code: error.code().as_str(),
            location: error.diagnostics().first().and_then(|d| d.location.clone()),
            json: serde_json::to_string(error.diagnostics()).unwrap_or_default(),
        }
    }
}

/// The problems in words, one line each. Valid until the error is freed.
///
/// `error` may be NULL (the view is empty then) and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_message(error: *const podway_error) -> podway_str {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(podway_str::NONE, || {
        unsafe { error.as_ref() }.map_or(podway_str::NONE, |e| podway_str::of(&e.message))
    })
}

/// The stable code of the first problem, for example E_CIDR. Valid until the error is freed.
///
/// `error` may be NULL (the view is empty then) and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_code(error: *const podway_error) -> podway_str {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(podway_str::NONE, || unsafe { error.as_ref() }.map_or(podway_str::NONE, |e| podway_str::of(e.code)))
}

/// The file of the first problem, as the caller named it; NULL where no file is concerned. Valid until
/// the error is freed.
///
/// `error` may be NULL (the view is empty then) and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_file(error: *const podway_error) -> podway_str {
    quiet(podway_str::NONE, || {
        // SAFETY: NULL or a live handle, says the caller.
        let location = unsafe { error.as_ref() }.and_then(|e| e.location.as_ref());
        location.map_or(podway_str::NONE, |l| podway_str::of(&l.file))
    })
}

/// The line of the first problem, from 1; 0 where no file is concerned.
///
/// `error` may be NULL and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_line(error: *const podway_error) -> u32 {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(0, || unsafe { error.as_ref() }.and_then(|e| e.location.as_ref()).map_or(0, |l| l.line))
}

/// The column of the first problem, from 1; 0 where no file is concerned.
///
/// `error` may be NULL and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_column(error: *const podway_error) -> u32 {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(0, || unsafe { error.as_ref() }.and_then(|e| e.location.as_ref()).map_or(0, |l| l.column))
}

/// All problems as a JSON array of {Severity, Code, Message, Object, File, Line, Column, ...}. Valid until
/// the error is freed.
///
/// `error` may be NULL (the view is empty then) and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_json(error: *const podway_error) -> podway_str {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(podway_str::NONE, || {
        unsafe { error.as_ref() }.map_or(podway_str::NONE, |e| podway_str::of(&e.json))
    })
}

/// Frees an error. NULL is fine. No other call may use the error meanwhile or afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_error_free(error: *mut podway_error) {
    if !error.is_null() {
        // SAFETY: made by Box::into_raw in `explained`, and given back once, says the caller.
        quiet((), || drop(unsafe { Box::from_raw(error) }));
    }
}
