//! The buffer for a decision's text.

use super::guard::quiet;
use super::view::podway_str;
use crate::router::Output;

/// The buffer that a decision's text is written into. Made once, used for any number of decisions, one
/// at a time: every decision forgets the text of the one before.
pub struct podway_output {
    pub(super) output: Output,
}

/// Makes an output. NULL if the library failed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_output_new() -> *mut podway_output {
    quiet(std::ptr::null_mut(), || Box::into_raw(Box::new(podway_output { output: Output::new() })))
}

/// Frees an output. NULL is fine. No other call may use the output meanwhile or afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_free(output: *mut podway_output) {
    if !output.is_null() {
        // SAFETY: made by Box::into_raw in `podway_output_new`, and given back once, says the caller.
        quiet((), || drop(unsafe { Box::from_raw(output) }));
    }
}

/// A view of one of the texts; NONE where it is absent or the handle is NULL.
///
/// # Safety
/// `output` is NULL or a live handle that nobody writes to meanwhile.
unsafe fn part(output: *const podway_output, text: impl FnOnce(&Output) -> Option<&[u8]>) -> podway_str {
    quiet(podway_str::NONE, || {
        // SAFETY: the caller's word.
        let output = unsafe { output.as_ref() };
        output.and_then(|o| text(&o.output)).map_or(podway_str::NONE, podway_str::of_bytes)
    })
}

/// The Location of a redirect; `ptr` is NULL where there is none. Valid until the output is used again.
///
/// `output` may be NULL, and may be read from many threads at once while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_location(output: *const podway_output) -> podway_str {
    // SAFETY: as the caller says.
    unsafe { part(output, |o| o.location().map(str::as_bytes)) }
}

/// The body of a fixed response; `ptr` is NULL where there is none. Valid until the output is used again.
///
/// `output` may be NULL, and may be read from many threads at once while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_body(output: *const podway_output) -> podway_str {
    // SAFETY: as the caller says.
    unsafe { part(output, Output::body) }
}

/// The media type of a fixed response; `ptr` is NULL where there is none. Valid until the output is used
/// again.
///
/// `output` may be NULL, and may be read from many threads at once while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_content_type(output: *const podway_output) -> podway_str {
    // SAFETY: as the caller says.
    unsafe { part(output, |o| o.content_type().map(str::as_bytes)) }
}

/// Path and query for the target, where a transform changed them; `ptr` is NULL where none did. Valid
/// until the output is used again.
///
/// `output` may be NULL, and may be read from many threads at once while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_uri(output: *const podway_output) -> podway_str {
    // SAFETY: as the caller says.
    unsafe { part(output, |o| o.uri().map(str::as_bytes)) }
}

/// The Host for the target, where a transform changed it; `ptr` is NULL where none did. Valid until the
/// output is used again.
///
/// `output` may be NULL, and may be read from many threads at once while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_host(output: *const podway_output) -> podway_str {
    // SAFETY: as the caller says.
    unsafe { part(output, |o| o.host().map(str::as_bytes)) }
}

/// The value of the Set-Cookie header of this index, from 0, that the response must carry; `ptr` is NULL
/// after the last one. Valid until the output is used again.
///
/// `output` may be NULL, and may be read from many threads at once while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_output_set_cookie(output: *const podway_output, index: usize) -> podway_str {
    // SAFETY: as the caller says.
    unsafe { part(output, |o| o.set_cookies().nth(index).map(str::as_bytes)) }
}
