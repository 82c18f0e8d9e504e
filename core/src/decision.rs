//! What was decided: small `Copy` values made of ids, and the buffer that text is written into.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

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
    /// Send the request to this target; rewritten parts are in the [`Output`].
    Forward(Forward),
    /// Answer with [`Output::location`].
    Redirect {
        /// 301 or 302.
        status: u16,
    },
    /// Answer with [`Output::body`].
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
    /// The body of a fixed response is longer than an [`Output`] holds; AWS allows 1024 bytes.
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

/// The text that belongs to a decision, written by `Router::decide`.
///
/// Allocates when it is made and never again: one of them serves any number of decisions, one at a time.
/// Every `decide` empties it first. It keeps the compiled model that its last decision read alive until it
/// decides again or is dropped.
pub struct Output {
    pub(crate) texts: Texts,
    /// The path as rules see it, where it is not the path as sent.
    pub(crate) path: Vec<u8>,
    /// Path and query in one piece, for rewrites.
    pub(crate) joined: Vec<u8>,
    /// What the last decision read: the next one reads it again, if it is still the router's latest, and
    /// touches nothing that other threads touch.
    pub(crate) seen: Option<Arc<dyn Any + Send + Sync>>,
}

/// How much text one decision can hold: a Location of 8 KiB and all of the cookies, with room to spare.
const TEXT_BYTES: usize = 24 * 1024;

/// How long a target can be: the longest request line a listener accepts (spec: dataplane §6.7), doubled.
const TARGET_BYTES: usize = 32 * 1024;

impl Output {
    /// An empty buffer of 88 KiB.
    pub fn new() -> Self {
        Output {
            texts: Texts {
                text: Vec::with_capacity(TEXT_BYTES),
                parts: [(0, 0); Texts::COUNT],
                present: 0,
                date: (u64::MAX, [0; DATE]),
            },
            path: Vec::with_capacity(TARGET_BYTES),
            joined: Vec::with_capacity(TARGET_BYTES),
            seen: None,
        }
    }

    /// The value of the Location header of a redirect.
    pub fn location(&self) -> Option<&str> {
        self.texts.str(Text::Location)
    }

    /// The body of a fixed response.
    pub fn body(&self) -> Option<&[u8]> {
        self.texts.get(Text::Body)
    }

    /// The media type of a fixed response.
    pub fn content_type(&self) -> Option<&str> {
        self.texts.str(Text::ContentType)
    }

    /// The path and query for the target, where a transform changed them.
    pub fn uri(&self) -> Option<&str> {
        self.texts.str(Text::Uri)
    }

    /// The Host for the target, where a transform changed it.
    pub fn host(&self) -> Option<&str> {
        self.texts.str(Text::Host)
    }

    /// The values of the Set-Cookie headers that the response must carry, in order.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        [
            Text::SetGroupCookie,
            Text::SetGroupCookieCors,
            Text::SetCookie,
            Text::SetCookieCors,
            Text::AppCookie0,
            Text::AppCookie1,
            Text::AppCookie2,
            Text::AppCookie3,
        ]
        .into_iter()
        .filter_map(|text| self.texts.str(text))
    }

    /// Whether there is no text at all, as after most forwards.
    pub fn is_empty(&self) -> bool {
        self.texts.present == 0
    }

    /// Forgets all text; keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.texts.text.clear();
        self.texts.present = 0;
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("location", &self.location())
            .field("uri", &self.uri())
            .field("host", &self.host())
            .field("set_cookies", &self.set_cookies().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The texts of an [`Output`], one behind the other in one buffer that never grows.
pub(crate) struct Texts {
    text: Vec<u8>,
    /// Where each text starts and ends.
    parts: [(u32, u32); Texts::COUNT],
    /// A bit for each text that is there.
    present: u16,
    /// The last date that was asked for: a busy thread asks for the same again and again.
    date: (u64, [u8; DATE]),
}

/// The length of a date in HTTP.
const DATE: usize = 29;

/// The last second of the year 9999: what a date in HTTP can say.
const LAST_S: u64 = 253_402_300_799;

/// Names of the texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    Location = 0,
    Body = 1,
    ContentType = 2,
    Uri = 3,
    Host = 4,
    SetCookie = 5,
    SetCookieCors = 6,
    SetGroupCookie = 7,
    SetGroupCookieCors = 8,
    AppCookie0 = 9,
    AppCookie1 = 10,
    AppCookie2 = 11,
    AppCookie3 = 12,
}

impl Text {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The text does not fit; what was there before stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Texts {
    const COUNT: usize = 13;

    #[inline]
    pub(crate) fn get(&self, text: Text) -> Option<&[u8]> {
        let (start, end) = *self.parts.get(text as usize)?;
        if self.present & text.bit() != 0 { self.text.get(start as usize..end as usize) } else { None }
    }

    fn str(&self, text: Text) -> Option<&str> {
        self.get(text).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Writes a text in one piece.
    pub(crate) fn write(&mut self, text: Text, bytes: &[u8]) -> Result<(), Full> {
        self.begin(text);
        self.push(bytes)?;
        self.end(text);
        Ok(())
    }

    /// Starts to write `text`; whatever is pushed until `end` belongs to it.
    pub(crate) fn begin(&mut self, text: Text) {
        let at = self.text.len() as u32;
        self.present &= !text.bit();
        if let Some(part) = self.parts.get_mut(text as usize) {
            *part = (at, at);
        }
    }

    /// Appends bytes; refuses what would make the buffer grow.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.text.capacity() - self.text.len() < bytes.len() {
            return Err(Full);
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// The second `unix_s` as a date of HTTP: `Tue, 27 Feb 2024 11:21:53 GMT`.
    pub(crate) fn date(&mut self, unix_s: u64) -> [u8; DATE] {
        if self.date.0 != unix_s {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_s.min(LAST_S));
            let mut text = [0; DATE];
            // Always of this length; whatever went wrong would leave blanks in it.
            let _ = std::io::Write::write_fmt(
                &mut &mut text[..],
                format_args!("{}", httpdate::HttpDate::from(at)),
            );
            self.date = (unix_s, text);
        }
        self.date.1
    }

    /// How many bytes are written so far, of all texts.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes back what was pushed after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.text.truncate(len);
    }

    /// Ends the text that was begun, and says how long it is.
    pub(crate) fn end(&mut self, text: Text) -> usize {
        let end = self.text.len() as u32;
        match self.parts.get_mut(text as usize) {
            Some(part) => {
                part.1 = end;
                self.present |= text.bit();
                (end - part.0) as usize
            }
            None => 0,
        }
    }

    /// Takes a text back, so that it is absent.
    pub(crate) fn unset(&mut self, text: Text) {
        self.present &= !text.bit();
    }
}
