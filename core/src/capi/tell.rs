//! What a router tells of itself: listeners, groups, zones, targets, and what changed.

use super::decision::{podway_address, podway_decision};
use super::guard::{guard, quiet};
use super::model::writable;
use super::output::podway_output;
use super::router::{alive, json, podway_now, podway_router, told};
use super::status::podway_status;
use super::view::{copied, podway_str, podway_text};
use crate::decision::{GroupId, TargetId};

/// Finds a target by its group's name and its own id:port. The id holds while the target is registered.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_find_target(
    router: *const podway_router,
    target_group: podway_str,
    target: podway_str,
    id: *mut u64,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle, and views that are valid for this call, says the caller.
        let (router, group, name) = unsafe { (alive(router)?, target_group.text()?, target.text()?) };
        writable(id)?;
        let found = router.find_target(group, name).ok_or(podway_status::NotFound)?;
        // SAFETY: `id` can be written, says the caller.
        unsafe { id.write(found.as_u64()) };
        Ok(())
    })
}

/// Finds a target group by its name or ARN. The id holds for the router's life.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_find_target_group(
    router: *const podway_router,
    target_group: podway_str,
    id: *mut u32,
) -> podway_status {
    guard(|| {
        // SAFETY: NULL or a live handle, and a view that is valid for this call, says the caller.
        let (router, name) = unsafe { (alive(router)?, target_group.text()?) };
        writable(id)?;
        let found = router.find_target_group(name).ok_or(podway_status::NotFound)?;
        // SAFETY: `id` can be written, says the caller.
        unsafe { id.write(found.as_u32()) };
        Ok(())
    })
}

/// Writes the name of a target group. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_target_group_name(
    router: *const podway_router,
    target_group: u32,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| {
            Ok(r.group(GroupId::from_u32(target_group)).ok_or(podway_status::NotFound)?.name)
        })
    }
}

/// Writes the id:port of a target. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_target_name(
    router: *const podway_router,
    target: u64,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| Ok(r.target(TargetId::from_u64(target)).ok_or(podway_status::NotFound)?.name()))
    }
}

/// Writes a decision as JSON, with names; fields that do not belong to its type are left out. `output` is
/// the one it was made with. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once; `output` only while no decision is made with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_describe(
    router: *const podway_router,
    decision: *const podway_decision,
    output: *const podway_output,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| {
            // SAFETY: NULL or as large as its `struct_size`; NULL or a live handle, says the caller.
            let (plain, output) = (copied(decision)?, output.as_ref().ok_or(podway_status::Null)?);
            json(&r.describe(&plain.get().ok_or(podway_status::Argument)?, &output.output))
        })
    }
}

/// Writes all listeners: a JSON array of {id, load_balancer, port, protocol}. On success `*out` is a text
/// for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_listeners(
    router: *const podway_router,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe { told(router, out, |r| json(&r.listeners())) }
}

/// Writes what the node that is this target does with a new connection from `client`, the load balancer's
/// own address (target type instance): JSON with `outcome` (forwarded, refused, dropped), `pod`, `address`,
/// `from_node`, `node`, `health_check_status`, `local_endpoints`. PODWAY_STATUS_NOT_FOUND where the target is
/// no node with a NodePort. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_hop(
    router: *const podway_router,
    target: u64,
    client: podway_address,
    now: podway_now,
    entropy: u64,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe {
        told(router, out, |r| {
            let client = client.get().ok_or(podway_status::Argument)?.ip();
            let hop = r.hop(TargetId::from_u64(target), client, now.into(), entropy);
            json(&hop.ok_or(podway_status::NotFound)?)
        })
    }
}

/// Writes all targets, draining ones included: a JSON array of {id, target_group, target, address, zone,
/// state, reason, description, in_flight, anomalous, mitigation_in_effect, administrative_override}; `id` is
/// text. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_targets(
    router: *const podway_router,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe { told(router, out, |r| json(&r.targets())) }
}

/// Writes the changes of health since the last call, oldest first: a JSON array of {target_id,
/// target_group, target, from, to, reason, description, at_ms}; `to` is null when the target is gone. On
/// success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once; each event is told to one of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_events(
    router: *const podway_router,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe { told(router, out, |r| json(&r.events())) }
}

/// Writes all target groups: a JSON array of {id, name, arn, service}. On success `*out` is a text for
/// podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_target_groups(
    router: *const podway_router,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe { told(router, out, |r| json(&r.target_groups())) }
}

/// Writes the zones that a target group has targets in, with what routing and DNS fail-over make of them: a
/// JSON array of {zone, registered, healthy, routing_healthy, dns_healthy, shifted}. It is empty for a group
/// that is gone. On success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_zone_health(
    router: *const podway_router,
    target_group: u32,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe { told(router, out, |r| json(&r.zone_health(GroupId::from_u32(target_group)))) }
}

/// Writes the names of the headers that a decision may look at, in lower case and sorted: a JSON array. A
/// request that has only these (and its host) is decided as with all of them. A reload may change them. On
/// success `*out` is a text for podway_text_free.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_header_names(
    router: *const podway_router,
    out: *mut *mut podway_text,
) -> podway_status {
    // SAFETY: as the caller says.
    unsafe { told(router, out, |r| json(&r.header_names())) }
}

/// How many reports came for a registration that was gone, or for one with nothing in flight; 0 for NULL. A
/// report that comes twice while its target serves others is taken for one of theirs.
///
/// The router may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_router_late_reports(router: *const podway_router) -> u64 {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(0, || unsafe { alive(router) }.map_or(0, |r| r.late_reports()))
}
