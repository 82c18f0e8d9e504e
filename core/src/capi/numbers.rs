//! What the numbers in a decision and in a report stand for, and the words for them.

use super::view::podway_str;
use crate::decision::{Authenticate, Outcome, Reason, Stickiness, Unsticky};

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
pub(super) fn reason_number(reason: Reason) -> i32 {
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

pub(super) fn reason(number: i32) -> Option<Reason> {
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

#[cold]
pub(super) fn authenticate_number(authenticate: Authenticate) -> i32 {
    match authenticate {
        Authenticate::Oidc => PODWAY_AUTHENTICATE_OIDC,
        Authenticate::Cognito => PODWAY_AUTHENTICATE_COGNITO,
        Authenticate::Jwt => PODWAY_AUTHENTICATE_JWT,
    }
}

pub(super) fn authenticate(number: i32) -> Option<Authenticate> {
    Some(match number {
        PODWAY_AUTHENTICATE_OIDC => Authenticate::Oidc,
        PODWAY_AUTHENTICATE_COGNITO => Authenticate::Cognito,
        PODWAY_AUTHENTICATE_JWT => Authenticate::Jwt,
        _ => return None,
    })
}

#[inline(never)]
pub(super) fn stickiness_number(stickiness: Stickiness) -> i32 {
    match stickiness {
        Stickiness::Off => PODWAY_STICKINESS_OFF,
        Stickiness::New => PODWAY_STICKINESS_NEW,
        Stickiness::Kept => PODWAY_STICKINESS_KEPT,
        // In the order of the constants; a test holds them together.
        Stickiness::Broken(why) => PODWAY_STICKINESS_INVALID + why as i32,
    }
}

#[inline]
pub(super) fn stickiness(number: i32) -> Option<Stickiness> {
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
