//! The router: the verbs of the Rust API, one function each.

use serde::Serialize;

use super::decision::podway_decision;
use super::error::podway_error;
use super::guard::{Failure, explained, guard, quiet};
use super::model::{podway_model, writable};
use super::numbers::{
    PODWAY_TYPE_ERROR, PODWAY_TYPE_FIXED_RESPONSE, PODWAY_TYPE_FORWARD, PODWAY_TYPE_REDIRECT, outcome,
};
use super::output::podway_output;
use super::status::podway_status;
use super::view::{View, array, check_size, copied, podway_request, podway_str, podway_text, sized};
use crate::KeyRing;
use crate::decision::{ListenerId, TargetId};
use crate::model::{TargetHealth, TargetHealthState};
use crate::options::Options;
use crate::router::Router;
use crate::time::Now;

/// A compiled model with the state of its targets.
///
/// A `const podway_router *` may be used from many threads at once, also while another one reloads it;
/// only podway_router_free needs the router for itself.
pub struct podway_router {
    pub(super) router: Router,
}

/// A moment, as the caller sees it: the library reads no clock.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_now {
    /// Milliseconds on a monotonic clock of the caller's choice.
    pub mono_ms: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_s: u64,
}

impl From<podway_now> for Now {
    fn from(now: podway_now) -> Self {
        Now { mono_ms: now.mono_ms, unix_s: now.unix_s }
    }
}

/// Compiles a model. `options` is a JSON object, or empty for the defaults. `cookie_key` is 32 secret
/// bytes: routers that share them honour each other's sticky cookies. On success `*out` is a router for
/// podway_router_free; on failure `*error`, where `error` is not NULL, is one for podway_error_free.
///
/// May be called from any thread; the model may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_new(
    model: *const podway_model,
    options: podway_str,
    cookie_key: podway_str,
    now: podway_now,
    out: *mut *mut podway_router,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or a live handle, says the caller.
            let model = model.as_ref().ok_or(podway_status::Null)?;
            writable(out)?;
            // SAFETY: views that are valid for this call, says the caller.
            let (options, keys) = (options.text()?, KeyRing::from_secret(cookie_key.bytes()?)?);
            let options = if options.is_empty() { Options::default() } else { Options::from_json(options)? };
            let router = Router::new(&model.model, options, keys, now.into())?;
            // SAFETY: `out` can be written, says the caller.
            out.write(Box::into_raw(Box::new(podway_router { router })));
            Ok(())
        })
    }
}

/// Frees a router. NULL is fine. No other call may use the router meanwhile or afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_free(router: *mut podway_router) {
    if !router.is_null() {
        // SAFETY: made by Box::into_raw in `podway_router_new`, and given back once, says the caller.
        quiet((), || drop(unsafe { Box::from_raw(router) }));
    }
}

/// Finds the listener of a load balancer, by name or ARN, on a port. The id holds for the router's life.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_listener(
    router: *const podway_router,
    load_balancer: podway_str,
    port: u16,
    listener: *mut u32,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle, says the caller.
        let router = unsafe { alive(router)? };
        writable(listener)?;
        // SAFETY: a view that is valid for this call, says the caller.
        let name = unsafe { load_balancer.text()? };
        let id = router.listener(name, port).ok_or(podway_status::NotFound)?;
        // SAFETY: `listener` can be written, says the caller.
        unsafe { listener.write(id.as_u32()) };
        Ok(())
    })
}

/// Decides where a request goes. Allocates nothing, takes no lock, makes no system call. `entropy` is a
/// random number of the caller's. `decision->struct_size` must be set. The decision's text is in `output`
/// until it is used again. A forward owes one podway_router_report.
///
/// The router may be used from many threads at once; `output` and `decision` belong to one call at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_decide(
    router: *const podway_router,
    listener: u32,
    request: *const podway_request,
    now: podway_now,
    entropy: u64,
    output: *mut podway_output,
    decision: *mut podway_decision,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle, says the caller.
        let router = unsafe { alive(router)? };
        // SAFETY: NULL or a live handle that is not used elsewhere meanwhile, says the caller.
        let output = unsafe { output.as_mut() }.ok_or(podway_status::Null)?;
        // SAFETY: NULL or as large as its `struct_size`, says the caller.
        unsafe { check_size(decision.cast_const())? };
        // SAFETY: NULL or as large as its `struct_size`, with views that are valid for this call.
        let view = unsafe { View::new(request)? };
        let decided =
            router.decide(ListenerId::from_u32(listener), &view, now.into(), entropy, &mut output.output);
        // SAFETY: checked above: not NULL and large enough.
        unsafe { podway_decision::put(decision, &decided) };
        Ok(())
    })
}

/// Decides anew about a request whose connection to the chosen target failed before anything was sent:
/// another target of the same group. PODWAY_STATUS_NOT_FOUND, and nothing is written, without the option
/// `retry`, for methods that are not idempotent, and where there is no other target: then the failure stands.
///
/// `failed` is the decision, reported before with PODWAY_OUTCOME_CONNECT_FAILED; it may be the same struct as
/// `decision`. The new decision owes a report of its own. Ask once for a request. Allocates nothing, takes no
/// lock.
///
/// The router may be used from many threads at once; `output` and `decision` belong to one call at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_retry(
    router: *const podway_router,
    listener: u32,
    request: *const podway_request,
    failed: *const podway_decision,
    now: podway_now,
    entropy: u64,
    output: *mut podway_output,
    decision: *mut podway_decision,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or live handles, `output` not used elsewhere meanwhile; NULL or as large as its
        // `struct_size`, says the caller.
        let (router, output, plain) = unsafe {
            check_size(decision.cast_const())?;
            (alive(router)?, output.as_mut().ok_or(podway_status::Null)?, copied(failed)?)
        };
        let failed = plain.get().ok_or(podway_status::Argument)?;
        // SAFETY: NULL or as large as its `struct_size`, with views that are valid for this call.
        let view = unsafe { View::new(request)? };
        let listener = ListenerId::from_u32(listener);
        let retried = router.retry(listener, &view, &failed, now.into(), entropy, &mut output.output);
        // SAFETY: checked above: not NULL and large enough.
        unsafe { podway_decision::put(decision, &retried.ok_or(podway_status::NotFound)?) };
        Ok(())
    })
}

/// Settles a forward: owed exactly once for each. Other decisions may be reported too; nothing happens.
/// `outcome` is a PODWAY_OUTCOME_* constant; `status` counts for PODWAY_OUTCOME_RESPONSE.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_report(
    router: *const podway_router,
    decision: *const podway_decision,
    outcome: i32,
    status: u16,
    now: podway_now,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle; NULL or as large as its `struct_size`, says the caller.
        let (router, plain) = unsafe { (alive(router)?, sized(decision)?) };
        let outcome = self::outcome(outcome, status).ok_or(podway_status::Argument)?;
        // The id is all that a report needs of a decision.
        match plain.r#type {
            PODWAY_TYPE_FORWARD => router.settle(TargetId::from_u64(plain.target), outcome, now.into()),
            PODWAY_TYPE_REDIRECT | PODWAY_TYPE_FIXED_RESPONSE | PODWAY_TYPE_ERROR => (),
            _ => return Err(podway_status::Argument),
        }
        Ok(())
    })
}

/// Swaps a model in without stopping other threads. A failure leaves everything as it was, and `*error`,
/// where `error` is not NULL, is one for podway_error_free.
///
/// The router and the model may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_reload(
    router: *const podway_router,
    model: *const podway_model,
    now: podway_now,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or live handles, says the caller.
            let (router, model) = (alive(router)?, model.as_ref().ok_or(podway_status::Null)?);
            Ok(router.reload(&model.model, now.into())?)
        })
    }
}

/// Replaces the keys of cookies, each 32 secret bytes: the first seals, the others still open what they
/// sealed. Cookies of other keys are not honoured any more. On failure nothing changes and `*error`, where
/// `error` is not NULL, is one for podway_error_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_set_cookie_keys(
    router: *const podway_router,
    keys: *const podway_str,
    key_count: usize,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or a live handle, and `key_count` views that are valid for this call.
            let (router, views) = (alive(router)?, array(keys, key_count)?);
            let keys = views.iter().map(|v| v.bytes()).collect::<Result<Vec<_>, _>>()?;
            router.set_cookie_keys(KeyRing::from_secrets(&keys)?);
            Ok(())
        })
    }
}

/// To be called when the response to a forward comes in, where its target group has stickiness of type
/// app_cookie: `request` is the one that was decided (its headers Cookie, Origin and User-Agent count),
/// `cookies` are the names of the cookies that the response sets. What the load balancer adds is then in
/// podway_output_set_cookie; without that type there is nothing.
///
/// The router may be used from many threads at once; `output` belongs to one call at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_app_cookie(
    router: *const podway_router,
    decision: *const podway_decision,
    request: *const podway_request,
    cookies: *const podway_str,
    cookie_count: usize,
    now: podway_now,
    entropy: u64,
    output: *mut podway_output,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or live handles, `output` not used elsewhere meanwhile; NULL or as large as its
        // `struct_size`; `cookie_count` views that are valid for this call, says the caller.
        let (router, plain, output, views) = unsafe {
            let output = output.as_mut().ok_or(podway_status::Null)?;
            (alive(router)?, copied(decision)?, output, array(cookies, cookie_count)?)
        };
        let decision = plain.get().ok_or(podway_status::Argument)?;
        // SAFETY: NULL or as large as its `struct_size`, with views that are valid for this call.
        let request = unsafe { View::new(request)? };
        for view in views {
            // SAFETY: valid for this call, says the caller.
            unsafe { view.bytes()? };
        }
        // SAFETY: checked above, and valid for this call, says the caller.
        let sets = |name: &str| views.iter().any(|v| unsafe { v.bytes() } == Ok(name.as_bytes()));
        router.app_cookie(&decision, &request, sets, now.into(), entropy, &mut output.output);
        Ok(())
    })
}

/// Writes the authentication that a decision asks for as the model has it: JSON of an ELBv2 action. On
/// success `*out` is a text for podway_text_free; PODWAY_STATUS_NOT_FOUND where there is none.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_authentication(
    router: *const podway_router,
    listener: u32,
    decision: *const podway_decision,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| {
            // SAFETY: NULL or as large as its `struct_size`, says the caller.
            let decision = copied(decision)?.get().ok_or(podway_status::Argument)?;
            let action = r.authentication(ListenerId::from_u32(listener), &decision);
            json(&action.ok_or(podway_status::NotFound)?)
        })
    }
}

/// Sets a target's health by hand. `state` is AWS's word: initial, healthy, unhealthy, unused, draining,
/// unavailable. On failure `*error`, where `error` is not NULL, is one for podway_error_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_set_target_health(
    router: *const podway_router,
    target: u64,
    state: podway_str,
    now: podway_now,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or a live handle, and a view that is valid for this call, says the caller.
            let (router, word) = (alive(router)?, state.text()?);
            let state = TargetHealthState::from_name(word).ok_or_else(|| {
                Failure::new(podway_status::Argument, format!("there is no target state `{word}`"))
            })?;
            let health = TargetHealth { state, ..TargetHealth::default() };
            Ok(router.set_target_health(TargetId::from_u64(target), health, now.into())?)
        })
    }
}

/// # Safety
/// `router` is NULL or a live handle during `'a`.
#[inline]
pub(super) unsafe fn alive<'a>(router: *const podway_router) -> Result<&'a Router, podway_status> {
    // SAFETY: the caller's word.
    unsafe { router.as_ref() }.map(|r| &r.router).ok_or(podway_status::Null)
}

/// # Safety
/// `router` is NULL or a live handle, `out` is NULL or can be written.
pub(super) unsafe fn told(
    router: *const podway_router,
    out: *mut *mut podway_text,
    tell: impl FnOnce(&Router) -> Result<String, podway_status>,
) -> podway_status {
    guard(|| {
        // SAFETY: the caller's word.
        let router = unsafe { alive(router)? };
        writable(out)?;
        let text = tell(router)?;
        // SAFETY: not NULL, and the caller's word.
        unsafe { podway_text::give(text, out) };
        Ok(())
    })
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, podway_status> {
    serde_json::to_string(value).map_err(|_| podway_status::Internal)
}
