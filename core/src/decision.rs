//! What was decided: small `Copy` values made of ids. The text that belongs to them is in `texts`.

use std::net::SocketAddr;

use crate::model::Priority;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// The id as a number, for a foreign language.
            pub const fn as_u32(self) -> u32 {
                self.0
            }

            /// The id a number was made from. An invented number is an unknown id, never undefined.
            pub const fn from_u32(id: u32) -> Self {
                $name(id)
            }
        }
    };
}

id! {
    /// A listener of a router. Valid for the router's life: a reload neither moves nor reuses it.
    ListenerId
}
id! {
    /// A target group of a router. Valid for the router's life.
    GroupId
}

/// A target of a router. Its slot may be used again after the target is gone; the generation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl TargetId {
    /// The id as a number, for a foreign language.
    pub const fn as_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The id a number was made from.
    pub const fn from_u64(id: u64) -> Self {
        TargetId { slot: id as u32, generation: (id >> 32) as u32 }
    }
}

/// Where a request goes. Owes one `Router::report` if it is a forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The rule that matched; `None` when the request never got to the rules.
    pub priority: Option<Priority>,
    /// What has to succeed first.
    pub authenticate: Option<Authenticate>,
    /// What follows.
    pub verdict: Verdict,
}

/// What the embedder does before the verdict holds (spec: dataplane §2.5). The configuration is in the
/// model; `Router::authentication` finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authenticate {
    /// OpenID Connect.
    Oidc,
    /// Cognito.
    Cognito,
    /// A bearer token.
    Jwt,
}

impl Authenticate {
    /// The action type as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Authenticate::Oidc => "authenticate-oidc",
            Authenticate::Cognito => "authenticate-cognito",
            Authenticate::Jwt => "jwt-validation",
        }
    }
}

/// The terminal part of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the request to this target; rewritten parts are in the [`Output`](crate::Output).
    Forward(Forward),
    /// Answer with [`Output::location`](crate::Output::location).
    Redirect {
        /// 301 or 302.
        status: u16,
    },
    /// Answer with [`Output::body`](crate::Output::body).
    FixedResponse {
        /// 2xx, 4xx or 5xx.
        status: u16,
    },
    /// Answer with an error of the load balancer's own.
    Error {
        /// For example 503.
        status: u16,
        /// Why.
        reason: Reason,
    },
}

/// A chosen target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Its group.
    pub group: GroupId,
    /// The target.
    pub target: TargetId,
    /// Where to connect to: the pod, or the node's NodePort; `0.0.0.0:0` where the model does not tell
    /// the address of an instance.
    pub address: SocketAddr,
    /// Whether too few targets were healthy, so that all of them were candidates (spec: dataplane §3.4).
    pub fail_open: bool,
    /// What stickiness did.
    pub stickiness: Stickiness,
}

/// What stickiness did to a forward (spec: dataplane §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stickiness {
    /// It is off.
    Off,
    /// The request had no cookie of ours.
    New,
    /// The cookie named this target.
    Kept,
    /// The cookie could not be honoured.
    Broken(Unsticky),
}

/// Why a cookie could not be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsticky {
    /// Not a cookie of ours, forged, or cut.
    Invalid,
    /// Sealed with a key the router does not have.
    UnknownKey,
    /// Older than the configured duration.
    Expired,
    /// The target is not registered any more.
    TargetGone,
    /// The target is unhealthy.
    TargetUnhealthy,
    /// The target is draining.
    TargetDraining,
    /// The application's own cookie did not come back with ours.
    NoApplicationCookie,
    /// The target belongs to another group: all groups share one cookie.
    OtherGroup,
    /// The target is in a zone that gets no requests from here.
    TargetZone,
}

impl Unsticky {
    /// Every reason there is.
    pub const ALL: &'static [Unsticky] = &[
        Unsticky::Invalid,
        Unsticky::UnknownKey,
        Unsticky::Expired,
        Unsticky::TargetGone,
        Unsticky::TargetUnhealthy,
        Unsticky::TargetDraining,
        Unsticky::NoApplicationCookie,
        Unsticky::OtherGroup,
        Unsticky::TargetZone,
    ];

    /// A word for logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unsticky::Invalid => "invalid",
            Unsticky::UnknownKey => "unknown-key",
            Unsticky::Expired => "expired",
            Unsticky::TargetGone => "target-gone",
            Unsticky::TargetUnhealthy => "target-unhealthy",
            Unsticky::TargetDraining => "target-draining",
            Unsticky::NoApplicationCookie => "no-application-cookie",
            Unsticky::OtherGroup => "other-group",
            Unsticky::TargetZone => "target-zone",
        }
    }
}

/// Why the load balancer answers with an error of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The listener id is unknown, or its listener was removed.
    NoListener,
    /// The path climbs above the root, or is not a path (spec: dataplane §1.6).
    BadUri,
    /// The method is TRACE (spec: dataplane §1.5.4).
    MethodNotAllowed,
    /// The target group has no target that may be chosen (spec: dataplane §3.5).
    NoTarget,
    /// Every weight of the forward is zero (spec: dataplane K-10).
    ZeroWeight,
    /// The group cookie cannot be read (spec: dataplane §4.4).
    GroupCookieInvalid,
    /// A redirect's Location would be longer than 8 KiB (spec: dataplane §2.3).
    LocationTooLong,
    /// A transform matched and its result is not a path (spec: dataplane §8.5).
    TransformInvalidPath,
    /// A transform matched and its result is not a host.
    TransformInvalidHost,
    /// A transform matched and its replacement names a group that the regex does not have.
    TransformReplaceError,
    /// A transform's result is too long.
    TransformBufferTooSmall,
    /// The body of a fixed response is longer than an [`Output`](crate::Output) holds; AWS allows 1024 bytes.
    BodyTooLong,
}

impl Reason {
    /// A word for logs and JSON; AWS's own where it has one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NoListener => "NoListener",
            Reason::BadUri => "BadUri",
            Reason::MethodNotAllowed => "MethodNotAllowed",
            Reason::NoTarget => "NoTarget",
            Reason::ZeroWeight => "ZeroWeight",
            Reason::GroupCookieInvalid => "AWSALBTGCookieInvalid",
            Reason::LocationTooLong => "LocationTooLong",
            Reason::TransformInvalidPath => "TransformInvalidPath",
            Reason::TransformInvalidHost => "TransformInvalidHost",
            Reason::TransformReplaceError => "TransformReplaceError",
            Reason::TransformBufferTooSmall => "TransformBufferTooSmall",
            Reason::BodyTooLong => "BodyTooLong",
        }
    }
}

/// How a forward ended: what [`Decision`] owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The target answered with this status.
    Response(u16),
    /// The connection was refused, reset or could not be made.
    ConnectFailed,
    /// The target took too long to accept or to answer.
    TimedOut,
    /// The target closed or broke off while the request was outstanding.
    Closed,
    /// The request never reached the target: the client left, authentication failed.
    Cancelled,
}
