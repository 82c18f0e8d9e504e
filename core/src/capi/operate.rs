//! What somebody asks who operates a load balancer: why a request goes where it goes, why a client did not
//! stay where it was, and to stay away from a zone.

use super::error::podway_error;
use super::guard::explained;
use super::output::podway_output;
use super::router::{alive, json, podway_now, podway_router, told};
use super::status::podway_status;
use super::view::{View, array, podway_request, podway_str, podway_text};
use crate::decision::ListenerId;

/// Decides as podway_router_decide does and writes why: a JSON object of {Decision, Request, Rules,
/// NotReached}, with every condition of every rule that was looked at and what it saw. Owes no report. On
/// success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once; `output` belongs to one call at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_explain(
    router: *const podway_router,
    listener: u32,
    request: *const podway_request,
    now: podway_now,
    entropy: u64,
    output: *mut podway_output,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| {
            // SAFETY: NULL or a live handle that is not used elsewhere meanwhile, says the caller.
            let output = &mut output.as_mut().ok_or(podway_status::Null)?.output;
            // SAFETY: NULL or as large as its `struct_size`, with views that are valid for this call.
            let view = View::new(request)?;
            let why = r.explain(ListenerId::from_u32(listener), &view, now.into(), entropy, output);
            Ok(why.to_json(r, output))
        })
    }
}

/// Writes what keeps this request from the target that the client had before: a JSON array of {cookie,
/// reason, text}, empty where the cookies hold. `history` are values of Set-Cookie headers that the client
/// got earlier, oldest first: with them it is told apart whether a cookie was never set or did not come back.
/// Changes nothing. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_why_unsticky(
    router: *const podway_router,
    listener: u32,
    request: *const podway_request,
    history: *const podway_str,
    history_count: usize,
    now: podway_now,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| {
            // SAFETY: NULL or as large as its `struct_size`, and `history_count` views, all valid for this call.
            let (view, history) = (View::new(request)?, array(history, history_count)?);
            let history = history.iter().map(|v| v.text()).collect::<Result<Vec<_>, _>>()?;
            json(&r.why_unsticky(ListenerId::from_u32(listener), &view, &history, now.into()))
        })
    }
}

/// Shifts the traffic of a load balancer, by name or ARN, away from a zone until it is cancelled. On failure
/// `*error`, where `error` is not NULL, is one for podway_error_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_start_zonal_shift(
    router: *const podway_router,
    load_balancer: podway_str,
    zone: podway_str,
    now: podway_now,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or a live handle, and views that are valid for this call, says the caller.
            let (router, balancer, zone) = (alive(router)?, load_balancer.text()?, zone.text()?);
            Ok(router.start_zonal_shift(balancer, zone, now.into())?)
        })
    }
}

/// Ends all zonal shifts of a load balancer, by name or ARN. On failure `*error`, where `error` is not NULL,
/// is one for podway_error_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_cancel_zonal_shift(
    router: *const podway_router,
    load_balancer: podway_str,
    now: podway_now,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or a live handle, and a view that is valid for this call, says the caller.
            let (router, balancer) = (alive(router)?, load_balancer.text()?);
            Ok(router.cancel_zonal_shift(balancer, now.into())?)
        })
    }
}
