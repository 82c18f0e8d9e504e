//! The target half of a decision: group, target, cookies (spec: dataplane §3.1, §4). No allocation, no lock,
//! no system call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Snapshot;
use crate::GroupId;
use crate::decision::{Forward, Reason, Stickiness, Text, Texts, Unsticky, Verdict};
use crate::mix::mix;
use crate::model::TargetHealthState;
use crate::request::RequestView;
use crate::select::{self, Weighted};
use crate::state::Slot;
use crate::sticky::{self, Cookie, Kind, SameSite, Ticket};
use crate::table::{ForwardEntry, GroupEntry, StickinessAttributes};
use crate::time::Now;

/// The address of a target whose node the model does not know: nobody can connect to port 0.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The days that a browser keeps a cookie, whatever its own duration is (K-16).
const EXPIRES_S: u64 = 7 * 24 * 3600;

/// What a forward is decided with, beside the request.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Now,
    /// Spread already.
    pub(super) entropy: u64,
    /// Whether the listener speaks HTTPS.
    pub(super) secure: bool,
}

/// The chosen group of a forward.
#[derive(Clone, Copy)]
struct Chosen<'s> {
    index: usize,
    entry: &'s GroupEntry,
}

impl Snapshot {
    /// Chooses group and target of a forward, counts the request in, and writes its cookies. With `failed`
    /// it is for a request that could not be sent there: the group stays, the target must be another.
    #[inline]
    pub(super) fn forward<R: RequestView>(
        &self,
        forward: u32,
        request: &R,
        moment: Moment,
        failed: Option<&Forward>,
        texts: &mut Texts,
    ) -> Verdict {
        let Some(forward) = self.table.forwards.get(forward as usize) else {
            return error(503, Reason::NoTarget);
        };
        let again = failed.and_then(|failed| self.group_place(failed.group)).map(|at| at as u32);
        let drawn = match again.filter(|at| forward.groups.iter().any(|(group, _)| group == at)) {
            Some(group) => Ok(Weighted::Group(group)),
            None => self.drawn(forward, request, moment),
        };
        match drawn {
            Err(reason) => error(400, reason),
            Ok(Weighted::Group(index)) => {
                self.to_group(forward, index as usize, request, moment, failed, texts)
            }
            Ok(Weighted::Zero) => error(503, Reason::ZeroWeight),
            Ok(Weighted::Empty) => error(503, Reason::NoTarget),
        }
    }

    /// The group that the client's cookie names, else one by weight.
    fn drawn<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        request: &R,
        moment: Moment,
    ) -> Result<Weighted, Reason> {
        let named = match forward.stickiness_seconds {
            Some(_) => self.named_group(forward, request, moment.now)?,
            None => None,
        };
        Ok(named.map_or_else(
            || select::group(forward, self.options.zero_weights, moment.entropy),
            Weighted::Group,
        ))
    }

    fn to_group<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        index: usize,
        request: &R,
        moment: Moment,
        failed: Option<&Forward>,
        texts: &mut Texts,
    ) -> Verdict {
        let (Some(entry), Some(state)) = (self.table.groups.get(index), self.groups.get(index)) else {
            return error(503, Reason::NoTarget);
        };
        let (count, fail_open) = state.eligible();
        if count == 0 {
            return error(503, Reason::NoTarget);
        }
        let group = Chosen { index, entry };
        let (named, stickiness) = self.named_target(forward, group, request, moment.now);
        let slot_of = |target: u32| self.targets.get(target as usize).map(|slot| &**slot);
        let select = |entropy: u64| {
            select::target(&entry.attributes, state, slot_of, &self.options, moment.now, entropy)
        };
        let chosen = match failed {
            None => named.or_else(|| select(moment.entropy >> 16)),
            Some(failed) => {
                let other = |target: &u32| slot_of(*target).is_some_and(|slot| slot.id != failed.target);
                // The algorithm's choice, else whoever else may be chosen.
                let mut drawn = (0..3).filter_map(|n| select(mix(moment.entropy ^ n)));
                drawn.find(other).or_else(|| (0..count).filter_map(|place| state.at(place)).find(other))
            }
        };
        let Some((target, slot)) =
            chosen.and_then(|t| Some((self.table.targets.get(t as usize)?, slot_of(t)?)))
        else {
            return error(503, Reason::NoTarget);
        };
        slot.enter();
        self.set_cookies(forward.stickiness_seconds, entry, slot, moment, texts);
        Verdict::Forward(Forward {
            group: self.group_ids.get(index).copied().unwrap_or(GroupId(u32::MAX)),
            target: slot.id,
            address: target.address.unwrap_or(NOWHERE),
            fail_open,
            stickiness,
        })
    }

    /// The group that the client's group cookie names, while it is in the action. A cookie that cannot be
    /// read fails the request; one that has run out is as none (spec: dataplane §4.4).
    fn named_group<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        request: &R,
        now: Now,
    ) -> Result<Option<u32>, Reason> {
        let [cors, plain] = sticky::scan(request, ["AWSALBTGCORS", "AWSALBTG"]);
        let value = match cors.or(plain) {
            None => return Ok(None),
            // Encoded once more it is an error; of another shape it is another load balancer's.
            Some(Cookie::Encoded) => return Err(Reason::GroupCookieInvalid),
            Some(Cookie::Other) => return Ok(None),
            Some(Cookie::Value(value)) => value,
        };
        match self.keys.open(&value, Kind::Group, now) {
            Ok(ticket) => {
                let mut before = 0;
                let named = forward.groups.iter().find(|(group, sum)| {
                    let weight = *sum - std::mem::replace(&mut before, *sum);
                    let same = self.table.groups.get(*group as usize).map(|g| g.fingerprint);
                    // K-11: a group whose weight is zero now is still honoured, unless told otherwise.
                    same == Some(ticket.name) && (weight > 0 || self.options.sticky_zero_weight)
                });
                Ok(named.map(|(group, _)| *group))
            }
            Err(Unsticky::Invalid) => Err(Reason::GroupCookieInvalid),
            Err(_) => Ok(None),
        }
    }

    /// The target that the client's cookie names, if it may be chosen now, and what became of stickiness.
    fn named_target<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        group: Chosen<'_>,
        request: &R,
        now: Now,
    ) -> (Option<u32>, Stickiness) {
        match &group.entry.attributes.stickiness {
            StickinessAttributes::Off => (None, Stickiness::Off),
            StickinessAttributes::LbCookie { .. } => {
                // Of both cookies the one for other sites counts.
                let [cors, plain] = sticky::scan(request, ["AWSALBCORS", "AWSALB"]);
                let opened = match cors.or(plain) {
                    None => return (None, Stickiness::New),
                    Some(Cookie::Other | Cookie::Encoded) => Err(Unsticky::Invalid),
                    Some(Cookie::Value(value)) => self.keys.open(&value, Kind::Target, now),
                };
                match opened.and_then(|ticket| self.honour(group, &ticket)) {
                    Ok(target) => (Some(target), Stickiness::Kept),
                    Err(why) => (None, Stickiness::Broken(why)),
                }
            }
            // It does not work between groups (spec: dataplane §4.3).
            StickinessAttributes::AppCookie { .. } if forward.groups.len() > 1 => (None, Stickiness::Off),
            StickinessAttributes::AppCookie { name, .. } => {
                self.named_by_application(group, name, request, now)
            }
        }
    }

    fn named_by_application<R: RequestView>(
        &self,
        group: Chosen<'_>,
        name: &str,
        request: &R,
        now: Now,
    ) -> (Option<u32>, Stickiness) {
        let tag = sticky::group_tag(group.entry.fingerprint);
        let (mut ticket, mut unreadable) = (None, None);
        let found = sticky::application(request, name, |value| {
            if ticket.is_none() {
                match self.keys.read(value) {
                    Ok(t) if t.kind == Kind::Application && t.group == tag => ticket = Some(t),
                    Ok(_) => {} // another group's
                    Err(why) => unreadable = Some(why),
                }
            }
        });
        let broken = |why| (None, Stickiness::Broken(why));
        match (found.ours, found.own, ticket) {
            (false, ..) => (None, Stickiness::New),
            (true, false, _) => broken(Unsticky::NoApplicationCookie),
            (true, true, None) => unreadable.map_or((None, Stickiness::New), broken),
            (true, true, Some(ticket)) if now.unix_s > ticket.deadline_s => broken(Unsticky::Expired),
            (true, true, Some(ticket)) => match self.honour(group, &ticket) {
                Ok(target) => (Some(target), Stickiness::Kept),
                Err(why) => broken(why),
            },
        }
    }

    /// The target that a ticket names in a group, if it may be chosen now.
    pub(super) fn named(&self, group: usize, ticket: &Ticket) -> Result<u32, Unsticky> {
        let entry = self.table.groups.get(group).ok_or(Unsticky::TargetGone)?;
        self.honour(Chosen { index: group, entry }, ticket)
    }

    /// The target that a ticket names, if it may be chosen now.
    fn honour(&self, group: Chosen<'_>, ticket: &Ticket) -> Result<u32, Unsticky> {
        let known = self.by_fingerprint.get(group.index).map(|k| &**k).unwrap_or_default();
        let Ok(at) = known.binary_search_by_key(&ticket.name, |(f, _)| *f) else {
            return Err(self.why_unknown(group.entry, ticket));
        };
        let Some((_, target)) = known.get(at).copied() else { return Err(Unsticky::TargetGone) };
        let Some(slot) = self.targets.get(target as usize) else { return Err(Unsticky::TargetGone) };
        if slot.eligible() {
            return Ok(target);
        }
        Err(match slot.state() {
            _ if slot.is_gone() => Unsticky::TargetGone,
            TargetHealthState::Draining => Unsticky::TargetDraining,
            TargetHealthState::Healthy | TargetHealthState::Unavailable => Unsticky::TargetZone,
            _ => Unsticky::TargetUnhealthy,
        })
    }

    /// Why a group has no target of a ticket's name.
    fn why_unknown(&self, group: &GroupEntry, ticket: &Ticket) -> Unsticky {
        if ticket.group != sticky::group_tag(group.fingerprint) {
            return Unsticky::OtherGroup;
        }
        let slot = self.draining.binary_search_by_key(&ticket.name, |(f, _)| *f).ok();
        let slot = slot.and_then(|at| self.slots.get(self.draining.get(at)?.1 as usize)?.as_ref());
        let draining = slot.is_some_and(|slot| {
            slot.fingerprint == ticket.name && slot.state() == TargetHealthState::Draining && !slot.is_gone()
        });
        if draining { Unsticky::TargetDraining } else { Unsticky::TargetGone }
    }

    /// Seals and writes what the response has to set: each response renews both expiry dates.
    fn set_cookies(
        &self,
        group_seconds: Option<u32>,
        group: &GroupEntry,
        slot: &Slot,
        moment: Moment,
        texts: &mut Texts,
    ) {
        if let Some(seconds) = group_seconds {
            let names = [(Text::SetGroupCookie, "AWSALBTG"), (Text::SetGroupCookieCors, "AWSALBTGCORS")];
            let deadline_s = moment.now.unix_s.saturating_add(seconds.into());
            let ticket = Ticket { kind: Kind::Group, name: group.fingerprint, group: 0, deadline_s };
            self.set_cookie(names, &ticket, seconds, moment, texts);
        }
        if let StickinessAttributes::LbCookie { seconds } = group.attributes.stickiness {
            let names = [(Text::SetCookie, "AWSALB"), (Text::SetCookieCors, "AWSALBCORS")];
            let ticket = self.ticket(Kind::Target, group, slot, seconds, moment.now);
            self.set_cookie(names, &ticket, seconds, moment, texts);
        }
    }

    /// A ticket to a target, good from now on for so many seconds.
    pub(super) fn ticket(
        &self,
        kind: Kind,
        group: &GroupEntry,
        slot: &Slot,
        seconds: u32,
        now: Now,
    ) -> Ticket {
        Ticket {
            kind,
            name: slot.fingerprint,
            group: sticky::group_tag(group.fingerprint),
            deadline_s: now.unix_s.saturating_add(seconds.into()),
        }
    }

    fn set_cookie(
        &self,
        names: [(Text, &str); 2],
        ticket: &Ticket,
        seconds: u32,
        moment: Moment,
        texts: &mut Texts,
    ) {
        let Some(value) = self.keys.seal(ticket, moment.entropy as u32) else { return };
        let expires = texts.date(self.expires_s(seconds, moment.now));
        let [(plain, plain_name), (cors, cors_name)] = names;
        let same_site = if moment.secure { SameSite::NoneSecure } else { SameSite::None };
        // The buffer has room for all cookies beside the longest rewrites; without it the cookie is left out.
        let _ = sticky::write(texts, plain, plain_name, &value, &expires, SameSite::Absent);
        let _ = sticky::write(texts, cors, cors_name, &value, &expires, same_site);
    }

    /// K-16: until when a browser keeps a cookie of so many seconds.
    pub(super) fn expires_s(&self, seconds: u32, now: Now) -> u64 {
        let kept = if self.options.cookie_expires_in_seven_days { EXPIRES_S } else { seconds.into() };
        now.unix_s.saturating_add(kept)
    }
}

fn error(status: u16, reason: Reason) -> Verdict {
    Verdict::Error { status, reason }
}
