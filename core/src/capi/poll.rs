//! Health checks: which are due, and how they ended.

use super::decision::podway_address;
use super::guard::{guard, quiet};
use super::model::writable;
use super::router::{alive, podway_now, podway_router};
use super::status::podway_status;
use super::view::{check_size, podway_str};
use crate::ProbeResult;
use crate::decision::TargetId;
use crate::model::{Protocol, ProtocolVersion};
use crate::router::Probe;

/// Check over HTTP.
pub const PODWAY_PROTOCOL_HTTP: i32 = 1;
/// Check over HTTPS; the certificate is never verified.
pub const PODWAY_PROTOCOL_HTTPS: i32 = 2;

/// HTTP/1.1.
pub const PODWAY_PROTOCOL_VERSION_HTTP1: i32 = 1;
/// HTTP/2.
pub const PODWAY_PROTOCOL_VERSION_HTTP2: i32 = 2;
/// gRPC.
pub const PODWAY_PROTOCOL_VERSION_GRPC: i32 = 3;

/// The target answered with a status.
pub const PODWAY_PROBE_STATUS: i32 = 1;
/// There was no answer in time.
pub const PODWAY_PROBE_TIMED_OUT: i32 = 2;
/// There was no connection, or a malformed answer.
pub const PODWAY_PROBE_FAILED: i32 = 3;
/// The check could not be made, by no fault of the target.
pub const PODWAY_PROBE_INTERNAL_ERROR: i32 = 4;

/// The probes of one poll. Made once, used for any number of polls.
pub struct podway_probes {
    probes: Vec<Probe>,
}

/// A health check that is due.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_probe {
    /// sizeof(podway_probe), set by the caller.
    pub struct_size: usize,
    /// For podway_router_report_probe.
    pub target: u64,
    /// Milliseconds for the whole check.
    pub timeout_ms: u64,
    /// Path and query.
    pub path: podway_str,
    /// The Host header.
    pub host: podway_str,
    /// Where to connect to.
    pub address: podway_address,
    /// A PODWAY_PROTOCOL_* constant.
    pub protocol: i32,
    /// A PODWAY_PROTOCOL_VERSION_* constant.
    pub protocol_version: i32,
}

/// Makes an empty list of probes. NULL if the library failed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_probes_new() -> *mut podway_probes {
    quiet(std::ptr::null_mut(), || Box::into_raw(Box::new(podway_probes { probes: Vec::new() })))
}

/// Frees a list of probes. NULL is fine. No other call may use it meanwhile or afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_probes_free(probes: *mut podway_probes) {
    if !probes.is_null() {
        // SAFETY: made by Box::into_raw in `podway_probes_new`, and given back once, says the caller.
        quiet((), || drop(unsafe { Box::from_raw(probes) }));
    }
}

/// Fills `probes` with the health checks that are due, moves what time moves, and says in `*next_ms` when
/// to call again, on the caller's monotonic clock.
///
/// The router may be used from many threads at once; `probes` belongs to one call at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_poll(
    router: *const podway_router,
    now: podway_now,
    probes: *mut podway_probes,
    next_ms: *mut u64,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or live handles, `probes` not used elsewhere meanwhile, says the caller.
        let (router, list) = unsafe { (alive(router)?, probes.as_mut().ok_or(podway_status::Null)?) };
        writable(next_ms)?;
        list.probes.clear();
        let next = router.poll(now.into(), &mut list.probes);
        // SAFETY: `next_ms` can be written, says the caller.
        unsafe { next_ms.write(next) };
        Ok(())
    })
}

/// How many probes the last poll filled in; 0 for NULL.
///
/// The list may be read from many threads at once while it is not polled into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_probes_count(probes: *const podway_probes) -> usize {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(0, || unsafe { probes.as_ref() }.map_or(0, |p| p.probes.len()))
}

/// Copies the probe of this index, from 0. `probe->struct_size` must be set. Its views are valid until the
/// list is polled into again or freed.
///
/// The list may be read from many threads at once while it is not polled into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_probes_get(
    probes: *const podway_probes,
    index: usize,
    probe: *mut podway_probe,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle; NULL or as large as its `struct_size`, says the caller.
        let list = unsafe {
            check_size(probe.cast_const())?;
            probes.as_ref().ok_or(podway_status::Null)?
        };
        let due = list.probes.get(index).ok_or(podway_status::NotFound)?;
        // SAFETY: checked above: not NULL and large enough. The caller's own size is kept.
        unsafe {
            probe.write(podway_probe {
                struct_size: std::ptr::addr_of!((*probe).struct_size).read(),
                target: due.target.as_u64(),
                timeout_ms: due.timeout_ms,
                path: podway_str::of(&due.path),
                host: podway_str::of(&due.host),
                address: podway_address::of(due.address),
                protocol: match due.protocol {
                    Protocol::Https => PODWAY_PROTOCOL_HTTPS,
                    _ => PODWAY_PROTOCOL_HTTP,
                },
                protocol_version: match due.version {
                    ProtocolVersion::Http1 => PODWAY_PROTOCOL_VERSION_HTTP1,
                    ProtocolVersion::Http2 => PODWAY_PROTOCOL_VERSION_HTTP2,
                    ProtocolVersion::Grpc => PODWAY_PROTOCOL_VERSION_GRPC,
                },
            });
        }
        Ok(())
    })
}

/// Takes a probe's result: a PODWAY_PROBE_* constant, with the HTTP status or the grpc-status for
/// PODWAY_PROBE_STATUS. A target that is gone is ignored.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_report_probe(
    router: *const podway_router,
    target: u64,
    result: i32,
    status: u16,
    now: podway_now,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle, says the caller.
        let router = unsafe { alive(router)? };
        let result = match result {
            PODWAY_PROBE_STATUS => ProbeResult::Status(status),
            PODWAY_PROBE_TIMED_OUT => ProbeResult::TimedOut,
            PODWAY_PROBE_FAILED => ProbeResult::Failed,
            PODWAY_PROBE_INTERNAL_ERROR => ProbeResult::InternalError,
            _ => return Err(podway_status::Argument),
        };
        router.report_probe(TargetId::from_u64(target), &result, now.into());
        Ok(())
    })
}
