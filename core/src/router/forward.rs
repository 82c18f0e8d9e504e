//! The target half of a decision: group, target, cookies (spec: dataplane §3.1, §4). No allocation, no lock,
//! no system call.

use super::Snapshot;
use crate::GroupId;
use crate::decision::{Authenticate, Decision, Forward, Reason, Stickiness, Unsticky, Verdict};
use crate::mix::mix;
use crate::model::{Priority, TargetHealthState};
use crate::request::RequestView;
use crate::select::{self, Weighted};
use crate::state::{GroupState, Slot};
use crate::sticky::{self, Cookie, Kind, Names, SameSite, Ticket};
use crate::table::{ForwardEntry, GroupEntry, StickinessAttributes};
use crate::texts::{Text, Texts};
use crate::time::Now;

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
    state: &'s GroupState,
    fail_open: bool,
}

/// What the rules said before the forward: with it a verdict is a decision, made in one piece where it is
/// returned. A verdict that becomes part of one later is copied in pieces that processors are slow to read.
#[derive(Clone, Copy)]
pub(super) struct Ruled {
    pub(super) priority: Option<Priority>,
    pub(super) authenticate: Option<Authenticate>,
}

impl Ruled {
    /// The request never got to the rules.
    pub(super) const NOWHERE: Ruled = Ruled { priority: None, authenticate: None };

    #[inline]
    pub(super) fn then(self, verdict: Verdict) -> Decision {
        Decision { priority: self.priority, authenticate: self.authenticate, verdict }
    }

    #[inline]
    pub(super) fn error(self, status: u16, reason: Reason) -> Decision {
        self.then(Verdict::Error { status, reason })
    }
}

impl Snapshot {
    /// Chooses group and target of a forward, counts the request in, and writes its cookies.
    #[inline]
    pub(super) fn forward<R: RequestView>(
        &self,
        ruled: Ruled,
        forward: u32,
        request: &R,
        moment: Moment,
        texts: &mut Texts,
    ) -> Decision {
        let Some(forward) = self.table.forwards.get(forward as usize) else {
            return ruled.error(503, Reason::NoTarget);
        };
        let named = match forward.stickiness_seconds {
            Some(_) => match self.named_group(forward, request, moment.now) {
                Ok(named) => named,
                Err(reason) => return ruled.error(400, reason),
            },
            None => None,
        };
        let drawn = match named {
            Some(group) => Weighted::Group(group),
            None => select::group(forward, self.options.zero_weights, moment.entropy),
        };
        let index = match drawn {
            Weighted::Group(index) => index as usize,
            Weighted::Zero => return ruled.error(503, Reason::ZeroWeight),
            Weighted::Empty => return ruled.error(503, Reason::NoTarget),
        };
        let (Some(entry), Some(state)) = (self.table.groups.get(index), self.groups.get(index)) else {
            return ruled.error(503, Reason::NoTarget);
        };
        let (count, fail_open) = state.eligible();
        if count == 0 {
            return ruled.error(503, Reason::NoTarget);
        }
        let group = Chosen { index, entry, state, fail_open };
        let (named, stickiness) = match entry.attributes.stickiness {
            StickinessAttributes::Off => (None, Stickiness::Off),
            _ => self.named_target(forward, group, request, moment.now),
        };
        match named.or_else(|| self.selected(group, moment.now, moment.entropy >> 16)) {
            Some(target) => self.to_target(ruled, forward, group, (target, stickiness), moment, texts),
            None => ruled.error(503, Reason::NoTarget),
        }
    }

    /// The same for a request that could not be sent to the target of `failed`: the group stays while it is
    /// in the action, the target must be another.
    pub(super) fn forward_again<R: RequestView>(
        &self,
        ruled: Ruled,
        forward: u32,
        request: &R,
        moment: Moment,
        failed: &Forward,
        texts: &mut Texts,
    ) -> Decision {
        let none = ruled.error(503, Reason::NoTarget);
        let Some(forward) = self.table.forwards.get(forward as usize) else { return none };
        let index = match self.group_place(failed.group) {
            Some(place) if forward.groups.iter().any(|(group, _)| *group as usize == place) => place,
            _ => match select::group(forward, self.options.zero_weights, moment.entropy) {
                Weighted::Group(index) => index as usize,
                Weighted::Zero | Weighted::Empty => return none,
            },
        };
        let (Some(entry), Some(state)) = (self.table.groups.get(index), self.groups.get(index)) else {
            return none;
        };
        let (count, fail_open) = state.eligible();
        let group = Chosen { index, entry, state, fail_open };
        let (_, stickiness) = self.named_target(forward, group, request, moment.now);
        let other = |target: &u32| self.slot_of(*target).is_some_and(|slot| slot.id != failed.target);
        // The algorithm's choice, else whoever else may be chosen.
        let mut drawn = (0..3).filter_map(|n| self.selected(group, moment.now, mix(moment.entropy ^ n)));
        let chosen = drawn.find(other).or_else(|| (0..count).filter_map(|place| state.at(place)).find(other));
        match chosen {
            Some(target) => self.to_target(ruled, forward, group, (target, stickiness), moment, texts),
            None => none,
        }
    }

    #[inline]
    fn slot_of(&self, target: u32) -> Option<&Slot> {
        self.targets.get(target as usize).map(|slot| &**slot)
    }

    /// The choice of the group's algorithm.
    #[inline]
    fn selected(&self, group: Chosen<'_>, now: Now, entropy: u64) -> Option<u32> {
        let Chosen { entry, state, .. } = group;
        select::target(&entry.attributes, state, |t| self.slot_of(t), &self.options, now, entropy)
    }

    /// Counts the request in at its target, and writes the cookies.
    #[inline(always)] // called from two places, and the decision is to be made where it is returned
    fn to_target(
        &self,
        ruled: Ruled,
        forward: &ForwardEntry,
        group: Chosen<'_>,
        (target, stickiness): (u32, Stickiness),
        moment: Moment,
        texts: &mut Texts,
    ) -> Decision {
        let (Some(entry), Some(slot)) = (self.table.targets.get(target as usize), self.slot_of(target))
        else {
            return ruled.error(503, Reason::NoTarget);
        };
        let sticky = stickiness != Stickiness::Off || forward.stickiness_seconds.is_some();
        if sticky {
            self.set_cookies(forward.stickiness_seconds, group.entry, slot, moment, texts);
        }
        // Last, since what a processor has begun must end before it counts: sealing would wait.
        slot.enter();
        ruled.then(Verdict::Forward(Forward {
            group: self.group_ids.get(group.index).copied().unwrap_or(GroupId(u32::MAX)),
            target: slot.id,
            address: entry.address,
            fail_open: group.fail_open,
            stickiness,
        }))
    }

    /// The group that the client's group cookie names, while it is in the action. A cookie that cannot be
    /// read fails the request; one that has run out is as none (spec: dataplane §4.4).
    fn named_group<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        request: &R,
        now: Now,
    ) -> Result<Option<u32>, Reason> {
        let Some((_, cookie)) = sticky::find(request, Names::Group) else { return Ok(None) };
        let opened = match cookie {
            Cookie::Sealed(sealed) => self.keys.open(&sealed, Kind::Group, now),
            // Encoded once more it is an error; of another shape it is another load balancer's.
            Cookie::Damaged => Err(Unsticky::Invalid),
            Cookie::Other => Err(Unsticky::UnknownKey),
        };
        match opened {
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
                let Some((_, cookie)) = sticky::find(request, Names::Target) else {
                    return (None, Stickiness::New);
                };
                let opened = match cookie {
                    Cookie::Sealed(sealed) => self.keys.open(&sealed, Kind::Target, now),
                    Cookie::Other | Cookie::Damaged => Err(Unsticky::Invalid),
                };
                match opened.and_then(|ticket| self.honour(group.index, group.entry, &ticket)) {
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
                match self.keys.read_text(value) {
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
            (true, true, Some(ticket)) => match self.honour(group.index, group.entry, &ticket) {
                Ok(target) => (Some(target), Stickiness::Kept),
                Err(why) => broken(why),
            },
        }
    }

    /// The target that a ticket names in a group, if it may be chosen now.
    pub(super) fn named(&self, group: usize, ticket: &Ticket) -> Result<u32, Unsticky> {
        let entry = self.table.groups.get(group).ok_or(Unsticky::TargetGone)?;
        self.honour(group, entry, ticket)
    }

    /// The target that a ticket names, if it may be chosen now.
    fn honour(&self, index: usize, group: &GroupEntry, ticket: &Ticket) -> Result<u32, Unsticky> {
        let known = self.by_fingerprint.get(index).and_then(|known| known.get(ticket.name));
        let Some(target) = known else { return Err(self.why_unknown(group, ticket)) };
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
    #[inline(never)]
    fn set_cookies(
        &self,
        group_seconds: Option<u32>,
        group: &GroupEntry,
        slot: &Slot,
        moment: Moment,
        texts: &mut Texts,
    ) {
        if let Some(seconds) = group_seconds {
            let texts_of = [Text::SetGroupCookie, Text::SetGroupCookieCors];
            let deadline_s = moment.now.unix_s.saturating_add(seconds.into());
            let ticket = Ticket { kind: Kind::Group, name: group.fingerprint, group: 0, deadline_s };
            self.set_cookie(Names::Group, texts_of, &ticket, seconds, moment, texts);
        }
        if let StickinessAttributes::LbCookie { seconds } = group.attributes.stickiness {
            let texts_of = [Text::SetCookie, Text::SetCookieCors];
            let ticket = self.ticket(Kind::Target, group, slot, seconds, moment.now);
            self.set_cookie(Names::Target, texts_of, &ticket, seconds, moment, texts);
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
        names: Names,
        texts_of: [Text; 2],
        ticket: &Ticket,
        seconds: u32,
        moment: Moment,
        texts: &mut Texts,
    ) {
        let value = self.keys.seal(ticket, moment.entropy as u32);
        let expires = texts.date(self.expires_s(seconds, moment.now));
        let same_site = if moment.secure { SameSite::NoneSecure } else { SameSite::None };
        // The buffer has room for all cookies beside the longest rewrites; without it the cookie is left out.
        let _ = sticky::write_both(texts, texts_of, names, &value, &expires, same_site);
    }

    /// K-16: until when a browser keeps a cookie of so many seconds.
    pub(super) fn expires_s(&self, seconds: u32, now: Now) -> u64 {
        let kept = if self.options.cookie_expires_in_seven_days { EXPIRES_S } else { seconds.into() };
        now.unix_s.saturating_add(kept)
    }
}
