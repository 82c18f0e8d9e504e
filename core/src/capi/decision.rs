//! Decisions as plain numbers, their names, and the buffer for their text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::guard::{guard, quiet};
use super::status::podway_status;
use super::view::podway_str;
use crate::decision::{
    Authenticate, Decision, Forward, GroupId, Outcome, Reason, Stickiness, TargetId, Unsticky, Verdict,
};
use crate::model::Priority;
use crate::router::Output;

/// An IP address with a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct podway_address {
    /// The address in network order; IPv4 uses the first four bytes.
    pub ip: [u8; 16],
    /// The port, in the machine's own order.
    pub port: u16,
    /// 4 or 6; 0 where there is no address.
    pub family: u8,
}

impl podway_address {
    #[inline]
    pub(super) fn of(address: SocketAddr) -> Self {
        let (ip, family) = match address.ip() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                ([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4)
            }
            IpAddr::V6(v6) => (v6.octets(), 6),
        };
        podway_address { ip, port: address.port(), family }
    }

    /// Writes an address where it is to stand, without one in between.
    ///
    /// # Safety
    /// `to` is valid for writing.
    #[inline]
    unsafe fn put(to: *mut podway_address, address: SocketAddr) {
        // SAFETY: the caller's word; four and twelve of sixteen bytes are within them.
        unsafe {
            let ip = (&raw mut (*to).ip).cast::<u8>();
            match address {
                SocketAddr::V4(v4) => {
                    ip.cast::<[u8; 4]>().write(v4.ip().octets());
                    ip.add(4).cast::<[u8; 12]>().write([0; 12]);
                    (&raw mut (*to).port).write(v4.port());
                    (&raw mut (*to).family).write(4);
                }
                SocketAddr::V6(v6) => {
                    ip.cast::<[u8; 16]>().write(v6.ip().octets());
                    (&raw mut (*to).port).write(v6.port());
                    (&raw mut (*to).family).write(6);
                }
            }
        }
    }

    /// Whether it is an address at all.
    #[inline]
    pub(super) fn is_some(&self) -> bool {
        matches!(self.family, 4 | 6)
    }

    #[inline]
    pub(super) fn get(self) -> Option<SocketAddr> {
        let [a, b, c, d, ..] = self.ip;
        match self.family {
            4 => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), self.port)),
            6 => Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(self.ip)), self.port)),
            _ => None,
        }
    }
}

/// Reads `192.0.2.1:80` or `[2001:db8::1]:80`.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_address_parse(
    text: podway_str,
    address: *mut podway_address,
) -> podway_status {
    guard(|| {
        if address.is_null() {
            return Err(podway_status::Null);
        }
        // SAFETY: a view that is valid for this call, says the caller.
        let parsed = unsafe { text.text()? }.parse().map_err(|_| podway_status::Argument)?;
        // SAFETY: not NULL, and can be written, says the caller.
        unsafe { address.write(podway_address::of(parsed)) };
        Ok(())
    })
}

/// The request never got to the rules.
pub const PODWAY_MATCHED_NONE: u8 = 0;
/// A rule with a number matched.
pub const PODWAY_MATCHED_RULE: u8 = 1;
/// No rule matched: the default actions hold.
pub const PODWAY_MATCHED_DEFAULT: u8 = 2;

/// Send the request to `address`; owes one podway_router_report.
pub const PODWAY_TYPE_FORWARD: i32 = 1;
/// Answer with `status` and podway_output_location.
pub const PODWAY_TYPE_REDIRECT: i32 = 2;
/// Answer with `status`, podway_output_body and podway_output_content_type.
pub const PODWAY_TYPE_FIXED_RESPONSE: i32 = 3;
/// Answer with `status`, for `reason`.
pub const PODWAY_TYPE_ERROR: i32 = 4;

/// There is no error.
pub const PODWAY_REASON_NONE: i32 = 0;
/// The listener id is unknown, or its listener was removed.
pub const PODWAY_REASON_NO_LISTENER: i32 = 1;
/// The path climbs above the root, or is not a path.
pub const PODWAY_REASON_BAD_URI: i32 = 2;
/// The method is TRACE.
pub const PODWAY_REASON_METHOD_NOT_ALLOWED: i32 = 3;
/// The target group has no target that may be chosen.
pub const PODWAY_REASON_NO_TARGET: i32 = 4;
/// Every weight of the forward is zero.
pub const PODWAY_REASON_ZERO_WEIGHT: i32 = 5;
/// The group cookie cannot be read.
pub const PODWAY_REASON_GROUP_COOKIE_INVALID: i32 = 6;
/// The Location would be too long.
pub const PODWAY_REASON_LOCATION_TOO_LONG: i32 = 7;
/// A transform's result is not a path.
pub const PODWAY_REASON_TRANSFORM_INVALID_PATH: i32 = 8;
/// A transform's result is not a host.
pub const PODWAY_REASON_TRANSFORM_INVALID_HOST: i32 = 9;
/// A transform's result is too long.
pub const PODWAY_REASON_TRANSFORM_BUFFER_TOO_SMALL: i32 = 10;
/// The body of a fixed response is longer than an output holds.
pub const PODWAY_REASON_BODY_TOO_LONG: i32 = 11;
/// A transform's replacement names a group that its regex does not have.
pub const PODWAY_REASON_TRANSFORM_REPLACE_ERROR: i32 = 12;

/// Nothing has to succeed first.
pub const PODWAY_AUTHENTICATE_NONE: i32 = 0;
/// OpenID Connect.
pub const PODWAY_AUTHENTICATE_OIDC: i32 = 1;
/// Cognito.
pub const PODWAY_AUTHENTICATE_COGNITO: i32 = 2;
/// A bearer token.
pub const PODWAY_AUTHENTICATE_JWT: i32 = 3;

/// Stickiness is off.
pub const PODWAY_STICKINESS_OFF: i32 = 0;
/// The request had no cookie of ours.
pub const PODWAY_STICKINESS_NEW: i32 = 1;
/// The cookie named this target.
pub const PODWAY_STICKINESS_KEPT: i32 = 2;
/// The cookie is not ours, forged, or cut.
pub const PODWAY_STICKINESS_INVALID: i32 = 3;
/// The cookie was sealed with a key the router does not have.
pub const PODWAY_STICKINESS_UNKNOWN_KEY: i32 = 4;
/// The cookie is older than the configured duration.
pub const PODWAY_STICKINESS_EXPIRED: i32 = 5;
/// The cookie's target is not registered any more.
pub const PODWAY_STICKINESS_TARGET_GONE: i32 = 6;
/// The cookie's target is unhealthy.
pub const PODWAY_STICKINESS_TARGET_UNHEALTHY: i32 = 7;
/// The cookie's target is draining.
pub const PODWAY_STICKINESS_TARGET_DRAINING: i32 = 8;
/// The application's own cookie did not come back with ours.
pub const PODWAY_STICKINESS_NO_APPLICATION_COOKIE: i32 = 9;
/// The cookie's target belongs to another group.
pub const PODWAY_STICKINESS_OTHER_GROUP: i32 = 10;
/// The cookie's target is in a zone that gets no requests from here.
pub const PODWAY_STICKINESS_TARGET_ZONE: i32 = 11;

/// The target answered with a status.
pub const PODWAY_OUTCOME_RESPONSE: i32 = 1;
/// The connection was refused, reset or could not be made.
pub const PODWAY_OUTCOME_CONNECT_FAILED: i32 = 2;
/// The target took too long.
pub const PODWAY_OUTCOME_TIMED_OUT: i32 = 3;
/// The target closed while the request was outstanding.
pub const PODWAY_OUTCOME_CLOSED: i32 = 4;
/// The request never reached the target.
pub const PODWAY_OUTCOME_CANCELLED: i32 = 5;

/// A decision: numbers only, to be kept until it is reported. Its text is in the podway_output.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_decision {
    /// sizeof(podway_decision), set by the caller.
    pub struct_size: usize,
    /// A PODWAY_TYPE_* constant.
    pub r#type: i32,
    /// A PODWAY_REASON_* constant.
    pub reason: i32,
    /// A PODWAY_AUTHENTICATE_* constant: what has to succeed before the rest holds.
    pub authenticate: i32,
    /// A PODWAY_STICKINESS_* constant.
    pub stickiness: i32,
    /// The target's id, of a forward.
    pub target: u64,
    /// The target group's id, of a forward.
    pub target_group: u32,
    /// The number of the rule, where `matched` is PODWAY_MATCHED_RULE.
    pub priority: u32,
    /// The status to answer with; 0 for a forward.
    pub status: u16,
    /// A PODWAY_MATCHED_* constant.
    pub matched: u8,
    /// 1 where too few targets were healthy, so that all of them were candidates.
    pub fail_open: u8,
    /// Where to connect to, of a forward.
    pub address: podway_address,
}

impl podway_decision {
    /// Writes a decision, field by field: in one piece it would be made elsewhere first, and read back by
    /// `podway_router_report` before the processor is done with it. `struct_size` stays the caller's.
    ///
    /// # Safety
    /// `to` is valid for writing.
    #[inline(always)] // what a decision returned is read where it was returned
    pub(super) unsafe fn put(to: *mut podway_decision, decision: &Decision) {
        let (matched, priority) = match decision.priority {
            None => (PODWAY_MATCHED_NONE, 0),
            Some(Priority::Rule(number)) => (PODWAY_MATCHED_RULE, number),
            Some(Priority::Default) => (PODWAY_MATCHED_DEFAULT, 0),
        };
        let authenticate = decision.authenticate.map_or(PODWAY_AUTHENTICATE_NONE, authenticate_number);
        // SAFETY: the caller's word; memory that was not written before is not read.
        unsafe {
            (&raw mut (*to).authenticate).write(authenticate);
            (&raw mut (*to).priority).write(priority);
            (&raw mut (*to).matched).write(matched);
        }
        if let Verdict::Forward(forward) = &decision.verdict {
            // SAFETY: as above.
            unsafe {
                // Without a table of jumps for what most target groups have.
                let stickiness = match forward.stickiness {
                    Stickiness::Off => PODWAY_STICKINESS_OFF,
                    on => stickiness_number(on),
                };
                (&raw mut (*to).stickiness).write(stickiness);
                (&raw mut (*to).target).write(forward.target.as_u64());
                (&raw mut (*to).target_group).write(forward.group.as_u32());
                (&raw mut (*to).fail_open).write(forward.fail_open.into());
                podway_address::put(&raw mut (*to).address, forward.address);
                (&raw mut (*to).r#type).write(PODWAY_TYPE_FORWARD);
                (&raw mut (*to).status).write(0);
                (&raw mut (*to).reason).write(PODWAY_REASON_NONE);
            }
        } else {
            // SAFETY: as above.
            unsafe { podway_decision::put_answer(to, decision.verdict) };
        }
    }

    /// Writes what the load balancer answers by itself.
    ///
    /// # Safety
    /// `to` is valid for writing.
    #[inline(never)]
    unsafe fn put_answer(to: *mut podway_decision, verdict: Verdict) {
        let (r#type, status, reason) = match verdict {
            Verdict::Forward(_) => (PODWAY_TYPE_FORWARD, 0, PODWAY_REASON_NONE),
            Verdict::Redirect { status } => (PODWAY_TYPE_REDIRECT, status, PODWAY_REASON_NONE),
            Verdict::FixedResponse { status } => (PODWAY_TYPE_FIXED_RESPONSE, status, PODWAY_REASON_NONE),
            Verdict::Error { status, reason } => (PODWAY_TYPE_ERROR, status, reason_number(reason)),
        };
        // SAFETY: the caller's word.
        unsafe {
            (&raw mut (*to).stickiness).write(PODWAY_STICKINESS_OFF);
            (&raw mut (*to).target).write(0);
            (&raw mut (*to).target_group).write(0);
            (&raw mut (*to).fail_open).write(0);
            (&raw mut (*to).address).write(podway_address::default());
            (&raw mut (*to).r#type).write(r#type);
            (&raw mut (*to).status).write(status);
            (&raw mut (*to).reason).write(reason);
        }
    }

    /// The decision that these numbers were made of; `None` when they were not made of one.
    #[inline]
    pub(super) fn get(&self) -> Option<Decision> {
        let verdict = match self.r#type {
            PODWAY_TYPE_FORWARD => Verdict::Forward(Forward {
                group: GroupId::from_u32(self.target_group),
                target: TargetId::from_u64(self.target),
                address: self.address.get()?,
                fail_open: self.fail_open != 0,
                stickiness: stickiness(self.stickiness)?,
            }),
            PODWAY_TYPE_REDIRECT => Verdict::Redirect { status: self.status },
            PODWAY_TYPE_FIXED_RESPONSE => Verdict::FixedResponse { status: self.status },
            PODWAY_TYPE_ERROR => Verdict::Error { status: self.status, reason: reason(self.reason)? },
            _ => return None,
        };
        let priority = match self.matched {
            PODWAY_MATCHED_NONE => None,
            PODWAY_MATCHED_RULE => Some(Priority::Rule(self.priority)),
            PODWAY_MATCHED_DEFAULT => Some(Priority::Default),
            _ => return None,
        };
        let authenticate = match self.authenticate {
            PODWAY_AUTHENTICATE_NONE => None,
            number => Some(authenticate(number)?),
        };
        Some(Decision { priority, authenticate, verdict })
    }
}

/// The word for a PODWAY_TYPE_* constant, as actions spell it; empty for another number. Never freed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_type_name(number: i32) -> podway_str {
    // As `Verdict::as_str`, which needs a whole verdict; a test holds them together.
    podway_str::of(match number {
        PODWAY_TYPE_FORWARD => "forward",
        PODWAY_TYPE_REDIRECT => "redirect",
        PODWAY_TYPE_FIXED_RESPONSE => "fixed-response",
        PODWAY_TYPE_ERROR => "error",
        _ => return podway_str::NONE,
    })
}

/// The word for a PODWAY_REASON_* constant, AWS's own where it has one; empty for another number. Never
/// freed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_reason_name(number: i32) -> podway_str {
    reason(number).map_or(podway_str::NONE, |r| podway_str::of(r.as_str()))
}

/// The word for a PODWAY_STICKINESS_* constant; empty for another number. Never freed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_stickiness_name(number: i32) -> podway_str {
    stickiness(number).map_or(podway_str::NONE, |s| podway_str::of(s.as_str()))
}

/// The action type for a PODWAY_AUTHENTICATE_* constant; empty for another number. Never freed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_authenticate_name(number: i32) -> podway_str {
    authenticate(number).map_or(podway_str::NONE, |a| podway_str::of(a.as_str()))
}

#[inline]
fn reason_number(reason: Reason) -> i32 {
    match reason {
        Reason::NoListener => PODWAY_REASON_NO_LISTENER,
        Reason::BadUri => PODWAY_REASON_BAD_URI,
        Reason::MethodNotAllowed => PODWAY_REASON_METHOD_NOT_ALLOWED,
        Reason::NoTarget => PODWAY_REASON_NO_TARGET,
        Reason::ZeroWeight => PODWAY_REASON_ZERO_WEIGHT,
        Reason::GroupCookieInvalid => PODWAY_REASON_GROUP_COOKIE_INVALID,
        Reason::LocationTooLong => PODWAY_REASON_LOCATION_TOO_LONG,
        Reason::TransformInvalidPath => PODWAY_REASON_TRANSFORM_INVALID_PATH,
        Reason::TransformInvalidHost => PODWAY_REASON_TRANSFORM_INVALID_HOST,
        Reason::TransformBufferTooSmall => PODWAY_REASON_TRANSFORM_BUFFER_TOO_SMALL,
        Reason::BodyTooLong => PODWAY_REASON_BODY_TOO_LONG,
        Reason::TransformReplaceError => PODWAY_REASON_TRANSFORM_REPLACE_ERROR,
    }
}

fn reason(number: i32) -> Option<Reason> {
    Some(match number {
        PODWAY_REASON_NO_LISTENER => Reason::NoListener,
        PODWAY_REASON_BAD_URI => Reason::BadUri,
        PODWAY_REASON_METHOD_NOT_ALLOWED => Reason::MethodNotAllowed,
        PODWAY_REASON_NO_TARGET => Reason::NoTarget,
        PODWAY_REASON_ZERO_WEIGHT => Reason::ZeroWeight,
        PODWAY_REASON_GROUP_COOKIE_INVALID => Reason::GroupCookieInvalid,
        PODWAY_REASON_LOCATION_TOO_LONG => Reason::LocationTooLong,
        PODWAY_REASON_TRANSFORM_INVALID_PATH => Reason::TransformInvalidPath,
        PODWAY_REASON_TRANSFORM_INVALID_HOST => Reason::TransformInvalidHost,
        PODWAY_REASON_TRANSFORM_BUFFER_TOO_SMALL => Reason::TransformBufferTooSmall,
        PODWAY_REASON_BODY_TOO_LONG => Reason::BodyTooLong,
        PODWAY_REASON_TRANSFORM_REPLACE_ERROR => Reason::TransformReplaceError,
        _ => return None,
    })
}

fn authenticate_number(authenticate: Authenticate) -> i32 {
    match authenticate {
        Authenticate::Oidc => PODWAY_AUTHENTICATE_OIDC,
        Authenticate::Cognito => PODWAY_AUTHENTICATE_COGNITO,
        Authenticate::Jwt => PODWAY_AUTHENTICATE_JWT,
    }
}

fn authenticate(number: i32) -> Option<Authenticate> {
    Some(match number {
        PODWAY_AUTHENTICATE_OIDC => Authenticate::Oidc,
        PODWAY_AUTHENTICATE_COGNITO => Authenticate::Cognito,
        PODWAY_AUTHENTICATE_JWT => Authenticate::Jwt,
        _ => return None,
    })
}

#[inline(never)]
fn stickiness_number(stickiness: Stickiness) -> i32 {
    match stickiness {
        Stickiness::Off => PODWAY_STICKINESS_OFF,
        Stickiness::New => PODWAY_STICKINESS_NEW,
        Stickiness::Kept => PODWAY_STICKINESS_KEPT,
        // In the order of the constants; a test holds them together.
        Stickiness::Broken(why) => PODWAY_STICKINESS_INVALID + why as i32,
    }
}

#[inline]
fn stickiness(number: i32) -> Option<Stickiness> {
    Some(match number {
        PODWAY_STICKINESS_OFF => Stickiness::Off,
        PODWAY_STICKINESS_NEW => Stickiness::New,
        PODWAY_STICKINESS_KEPT => Stickiness::Kept,
        PODWAY_STICKINESS_INVALID => Stickiness::Broken(Unsticky::Invalid),
        PODWAY_STICKINESS_UNKNOWN_KEY => Stickiness::Broken(Unsticky::UnknownKey),
        PODWAY_STICKINESS_EXPIRED => Stickiness::Broken(Unsticky::Expired),
        PODWAY_STICKINESS_TARGET_GONE => Stickiness::Broken(Unsticky::TargetGone),
        PODWAY_STICKINESS_TARGET_UNHEALTHY => Stickiness::Broken(Unsticky::TargetUnhealthy),
        PODWAY_STICKINESS_TARGET_DRAINING => Stickiness::Broken(Unsticky::TargetDraining),
        PODWAY_STICKINESS_NO_APPLICATION_COOKIE => Stickiness::Broken(Unsticky::NoApplicationCookie),
        PODWAY_STICKINESS_OTHER_GROUP => Stickiness::Broken(Unsticky::OtherGroup),
        PODWAY_STICKINESS_TARGET_ZONE => Stickiness::Broken(Unsticky::TargetZone),
        _ => return None,
    })
}

/// The outcome of these numbers.
#[inline]
pub(super) fn outcome(number: i32, status: u16) -> Option<Outcome> {
    if number == PODWAY_OUTCOME_RESPONSE { Some(Outcome::Response(status)) } else { no_response(number) }
}

#[cold]
fn no_response(number: i32) -> Option<Outcome> {
    Some(match number {
        PODWAY_OUTCOME_CONNECT_FAILED => Outcome::ConnectFailed,
        PODWAY_OUTCOME_TIMED_OUT => Outcome::TimedOut,
        PODWAY_OUTCOME_CLOSED => Outcome::Closed,
        PODWAY_OUTCOME_CANCELLED => Outcome::Cancelled,
        _ => return None,
    })
}

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

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    fn plain(decision: &Decision) -> podway_decision {
        let mut plain = MaybeUninit::<podway_decision>::uninit();
        let to = plain.as_mut_ptr();
        // SAFETY: `to` can be written; `put` writes all fields but the size.
        unsafe {
            (&raw mut (*to).struct_size).write(size_of::<podway_decision>());
            podway_decision::put(to, decision);
            plain.assume_init()
        }
    }

    #[test]
    fn numbers_come_back_as_the_decision_they_were_made_of() {
        let forward = |stickiness| {
            Verdict::Forward(Forward {
                group: GroupId::from_u32(7),
                target: TargetId::from_u64(9 << 32 | 3),
                address: "[2001:db8::1]:81".parse().unwrap(),
                fail_open: true,
                stickiness,
            })
        };
        let verdicts = (0..)
            .map_while(stickiness)
            .map(forward)
            .chain((1..).map_while(reason).map(|reason| Verdict::Error { status: 503, reason }))
            .chain([Verdict::Redirect { status: 301 }, Verdict::FixedResponse { status: 404 }]);
        let mut seen = 0;
        for verdict in verdicts {
            for priority in
                [None, Some(Priority::Rule(0)), Some(Priority::Rule(50_000)), Some(Priority::Default)]
            {
                let decision = Decision { priority, authenticate: authenticate(seen % 4), verdict };
                let plain = plain(&decision);
                assert_eq!(plain.get(), Some(decision));
                // SAFETY: a view of a literal.
                assert_eq!(unsafe { podway_type_name(plain.r#type).text() }, Ok(verdict.as_str()));
                seen += 1;
            }
        }
        assert_eq!(seen, 4 * (12 + 12 + 2));
    }

    #[test]
    fn invented_numbers_are_refused() {
        let decision =
            Decision { priority: None, authenticate: None, verdict: Verdict::Redirect { status: 301 } };
        let plain = plain(&decision);
        for wrong in [
            podway_decision { r#type: 0, ..plain },
            podway_decision { r#type: PODWAY_TYPE_FORWARD, ..plain },
            podway_decision { r#type: PODWAY_TYPE_ERROR, reason: 99, ..plain },
            podway_decision { matched: 3, ..plain },
            podway_decision { authenticate: -1, ..plain },
        ] {
            assert_eq!(wrong.get(), None);
        }
    }
}
