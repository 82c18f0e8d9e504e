//! `decide`: rule, group, target, cookies (spec: dataplane §1.1, §3.1). No allocation, no lock, no system
//! call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Router, Snapshot};
use crate::decision::{
    Decision, Forward, ListenerId, Output, Reason, Stickiness, Text, Texts, Unsticky, Verdict,
};
use crate::model::{Protocol, TargetHealthState};
use crate::request::RequestView;
use crate::select::{self, Weighted};
use crate::state::Slot;
use crate::sticky::{self, Cookie, Kind, Ticket};
use crate::table::{GroupEntry, Routing, StickinessAttributes};
use crate::time::Now;

/// The address of a target whose node the model does not know: nobody can connect to port 0.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Router {
    /// Decides where a request that came to `listener` goes.
    ///
    /// `entropy` picks among equals (weights, ties): any number, as weak as a counter. `output` is emptied
    /// and takes the text that belongs to the decision. A [`Verdict::Forward`] owes one
    /// [`Router::report`].
    #[inline]
    pub fn decide<R: RequestView>(
        &self,
        listener: ListenerId,
        request: &R,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) -> Decision {
        output.clear();
        let snapshot = self.snapshot.load();
        let place = snapshot.listeners.get(listener.0 as usize).copied().flatten();
        let Some(place) = place.map(|p| p as usize) else {
            return Decision {
                priority: None,
                authenticate: None,
                verdict: Verdict::Error { status: 503, reason: Reason::NoListener },
            };
        };
        let evaluated = snapshot.table.evaluate(place, request, &snapshot.options, output);
        let verdict = match evaluated.routing {
            Routing::Forward(forward) => {
                let secure =
                    snapshot.table.listeners.get(place).is_some_and(|l| l.protocol == Protocol::Https);
                snapshot.forward(forward, secure, request, now, select::mix(entropy), &mut output.texts)
            }
            Routing::Redirect { status } => Verdict::Redirect { status },
            Routing::FixedResponse { status } => Verdict::FixedResponse { status },
            Routing::Error { status, reason } => Verdict::Error { status, reason },
        };
        Decision { priority: evaluated.priority, authenticate: evaluated.authenticate, verdict }
    }

    /// To be called when the response of a forward comes in, where the group's stickiness is of type
    /// `app_cookie`: `sets` tells whether the response sets a cookie of a given name, and if it sets the
    /// configured one, the `AWSALBAPP-0` cookie is written into `output` (which is emptied first). Without
    /// that type it does nothing (spec: dataplane §4.3).
    pub fn app_cookie(
        &self,
        decision: &Decision,
        sets: impl FnOnce(&str) -> bool,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) {
        output.clear();
        let Verdict::Forward(forward) = decision.verdict else { return };
        let snapshot = self.snapshot.load();
        let (Some(slot), Some(group)) = (snapshot.slot(forward.target), snapshot.group_of(forward.target))
        else {
            return;
        };
        let Some(group) = snapshot.table.groups.get(group) else { return };
        let StickinessAttributes::AppCookie { name, seconds } = &group.attributes.stickiness else { return };
        if forward.stickiness == Stickiness::Kept || sets(name) {
            let ticket = Ticket {
                kind: Kind::Application,
                group: group.fingerprint,
                target: slot.fingerprint,
                issued_s: now.unix_s,
                duration_s: *seconds,
            };
            if let Some(value) = snapshot.keys.seal(&ticket, select::mix(entropy) as u32) {
                let expires = snapshot.expires(*seconds);
                let texts = &mut output.texts;
                let _ = sticky::write(texts, Text::SetCookie, "AWSALBAPP-0", &value, now, expires, None);
            }
        }
    }
}

impl Snapshot {
    #[inline]
    fn forward<R: RequestView>(
        &self,
        forward: u32,
        secure: bool,
        request: &R,
        now: Now,
        entropy: u64,
        texts: &mut Texts,
    ) -> Verdict {
        let error = |status, reason| Verdict::Error { status, reason };
        let Some(forward) = self.table.forwards.get(forward as usize) else {
            return error(503, Reason::NoTarget);
        };
        let drawn = match forward.stickiness_seconds {
            None => select::group(forward, self.options.zero_weights, entropy),
            Some(_) => match self.pinned_group(&forward.groups, request, now) {
                Ok(Some(group)) => Weighted::Group(group),
                Ok(None) => select::group(forward, self.options.zero_weights, entropy),
                Err(()) => return error(400, Reason::GroupCookieInvalid),
            },
        };
        let index = match drawn {
            Weighted::Group(index) => index as usize,
            Weighted::Zero => return error(503, Reason::ZeroWeight),
            Weighted::Empty => return error(503, Reason::NoTarget),
        };
        let (Some(group), Some(state)) = (self.table.groups.get(index), self.groups.get(index)) else {
            return error(503, Reason::NoTarget);
        };
        let (count, fail_open) = state.eligible();
        if count == 0 {
            return error(503, Reason::NoTarget);
        }
        let (pinned, stickiness) = match &group.attributes.stickiness {
            StickinessAttributes::Off => (None, Stickiness::Off),
            StickinessAttributes::LbCookie { .. } => {
                self.pinned(index, group, ["AWSALBCORS", "AWSALB"], Kind::Target, fail_open, request, now)
            }
            StickinessAttributes::AppCookie { name, .. } => {
                let [own, ours] = sticky::scan(request, [name.as_str(), "AWSALBAPP-0"]);
                if own.is_none() && ours.is_some() {
                    (None, Stickiness::Broken(Unsticky::NoApplicationCookie))
                } else {
                    self.honour(index, group, ours, Kind::Application, fail_open, now)
                }
            }
        };
        let slot_of = |target: u32| self.targets.get(target as usize).map(|slot| &**slot);
        let chosen = pinned
            .or_else(|| select::target(&group.attributes, state, slot_of, &self.options, now, entropy >> 16));
        let Some((target, slot)) =
            chosen.and_then(|t| Some((self.table.targets.get(t as usize)?, slot_of(t)?)))
        else {
            return error(503, Reason::NoTarget);
        };
        slot.enter();
        self.set_cookies(forward.stickiness_seconds, group, slot, secure, now, entropy, texts);
        Verdict::Forward(Forward {
            group: self.group_ids.get(index).copied().unwrap_or(crate::GroupId(u32::MAX)),
            target: slot.id,
            address: target.address.unwrap_or(NOWHERE),
            fail_open,
            stickiness,
        })
    }

    /// The group that the client's group cookie names, while it is in the action. A cookie that cannot be
    /// read fails the request; one that has run out is as none (spec: dataplane §4.4).
    fn pinned_group<R: RequestView>(
        &self,
        groups: &[(u32, u32)],
        request: &R,
        now: Now,
    ) -> Result<Option<u32>, ()> {
        let [cors, plain] = sticky::scan(request, ["AWSALBTGCORS", "AWSALBTG"]);
        let value = match cors.or(plain) {
            None => return Ok(None),
            // Encoded once more it is an error; of another shape it is another load balancer's.
            Some(Cookie::Encoded) => return Err(()),
            Some(Cookie::Other) => return Ok(None),
            Some(Cookie::Value(value)) => value,
        };
        match self.keys.open(&value, Kind::Group, now) {
            Ok(ticket) => {
                let mut before = 0;
                let named = groups.iter().find(|(group, sum)| {
                    let weight = *sum - std::mem::replace(&mut before, *sum);
                    let same = self.table.groups.get(*group as usize).map(|g| g.fingerprint);
                    // K-11: a group whose weight is zero now is still honoured, unless told otherwise.
                    same == Some(ticket.group) && (weight > 0 || self.options.sticky_zero_weight)
                });
                Ok(named.map(|(group, _)| *group))
            }
            Err(Unsticky::Invalid) => Err(()),
            Err(_) => Ok(None),
        }
    }

    /// The target that one of two cookies names; of both the first counts.
    #[allow(clippy::too_many_arguments)] // one call, spelled out
    fn pinned<R: RequestView>(
        &self,
        index: usize,
        group: &GroupEntry,
        names: [&str; 2],
        kind: Kind,
        fail_open: bool,
        request: &R,
        now: Now,
    ) -> (Option<u32>, Stickiness) {
        let [cors, plain] = sticky::scan(request, names);
        self.honour(index, group, cors.or(plain), kind, fail_open, now)
    }

    /// The target that a cookie names, if it may be chosen now.
    fn honour(
        &self,
        index: usize,
        group: &GroupEntry,
        cookie: Option<Cookie>,
        kind: Kind,
        fail_open: bool,
        now: Now,
    ) -> (Option<u32>, Stickiness) {
        let broken = |why| (None, Stickiness::Broken(why));
        let value = match cookie {
            None => return (None, Stickiness::New),
            Some(Cookie::Other | Cookie::Encoded) => return broken(Unsticky::Invalid),
            Some(Cookie::Value(value)) => value,
        };
        let ticket = match self.keys.open(&value, kind, now) {
            Ok(ticket) => ticket,
            Err(why) => return broken(why),
        };
        if ticket.group != group.fingerprint {
            return broken(Unsticky::TargetGone);
        }
        let known = self.by_fingerprint.get(index).map(|k| &**k).unwrap_or_default();
        let Ok(at) = known.binary_search_by_key(&ticket.target, |(f, _)| *f) else {
            let draining = self.draining.binary_search(&ticket.target).is_ok();
            return broken(if draining { Unsticky::TargetDraining } else { Unsticky::TargetGone });
        };
        let Some((_, target)) = known.get(at).copied() else { return broken(Unsticky::TargetGone) };
        let state = self.targets.get(target as usize).map(|slot| slot.state());
        match state {
            Some(TargetHealthState::Healthy | TargetHealthState::Unavailable) => {}
            Some(TargetHealthState::Unhealthy | TargetHealthState::Initial) if fail_open => {}
            Some(TargetHealthState::Draining) => return broken(Unsticky::TargetDraining),
            _ => return broken(Unsticky::TargetUnhealthy),
        }
        (Some(target), Stickiness::Kept)
    }

    /// Seals and writes what the response has to set: each response renews both expiry dates.
    #[allow(clippy::too_many_arguments)] // one call, spelled out
    fn set_cookies(
        &self,
        group_seconds: Option<u32>,
        group: &GroupEntry,
        slot: &Slot,
        secure: bool,
        now: Now,
        entropy: u64,
        texts: &mut Texts,
    ) {
        if let Some(seconds) = group_seconds {
            let names = [(Text::SetGroupCookie, "AWSALBTG"), (Text::SetGroupCookieCors, "AWSALBTGCORS")];
            self.set_cookie(names, Kind::Group, group.fingerprint, 0, seconds, secure, now, entropy, texts);
        }
        if let StickinessAttributes::LbCookie { seconds } = group.attributes.stickiness {
            let names = [(Text::SetCookie, "AWSALB"), (Text::SetCookieCors, "AWSALBCORS")];
            let (group, target) = (group.fingerprint, slot.fingerprint);
            self.set_cookie(names, Kind::Target, group, target, seconds, secure, now, entropy, texts);
        }
    }

    #[allow(clippy::too_many_arguments)] // two calls, spelled out
    fn set_cookie(
        &self,
        names: [(Text, &str); 2],
        kind: Kind,
        group: u64,
        target: u64,
        seconds: u32,
        secure: bool,
        now: Now,
        entropy: u64,
        texts: &mut Texts,
    ) {
        let ticket = Ticket { kind, group, target, issued_s: now.unix_s, duration_s: seconds };
        let Some(value) = self.keys.seal(&ticket, entropy as u32) else { return };
        let expires = self.expires(seconds);
        let [(plain, plain_name), (cors, cors_name)] = names;
        // The buffer has room for all cookies beside the longest rewrites; without it the cookie is left out.
        let _ = sticky::write(texts, plain, plain_name, &value, now, expires, None);
        let _ = sticky::write(texts, cors, cors_name, &value, now, expires, Some(secure));
    }

    /// K-16: how long a browser keeps a cookie; `None` is the load balancer's seven days.
    fn expires(&self, seconds: u32) -> Option<u32> {
        (!self.options.cookie_expires_in_seven_days).then_some(seconds)
    }
}
