//! Why a client did not stay with its target (spec: dataplane §4). Cold: it allocates, and decides nothing.

use std::time::{Duration, UNIX_EPOCH};

use super::{Output, Router, Snapshot};
use crate::decision::{ListenerId, Unsticky};
use crate::model::{Protocol, TargetType};
use crate::request::RequestView;
use crate::sticky::{self, Cookie, Kind, Names};
use crate::table::{Buffers, ForwardEntry, Routing, StickinessAttributes};
use crate::time::Now;

/// Something that keeps a request from the target of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhyUnsticky {
    /// The cookie it is about; of kube-proxy there is none.
    pub cookie: Option<&'static str>,
    /// Which of the reasons.
    pub reason: UnstickyReason,
    /// The same for people, with what to look at.
    pub text: String,
}

/// Why stickiness does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnstickyReason {
    /// No rule forwards the request.
    NotForwarded,
    /// The target group has stickiness off, or it is of type `app_cookie` behind several groups.
    Off,
    /// The request carries no cookie of ours.
    NoCookie,
    /// Targets are sticky, and the cookie that keeps the client in its target group is missing.
    NoGroupCookie,
    /// The group that the cookie names is not in the action any more, or its weight is zero and does not
    /// count.
    GroupLeft,
    /// The cookie could not be honoured.
    Cookie(Unsticky),
    /// Target type `instance`: the cookie pins a node, whose kube-proxy draws a pod for each connection.
    KubeProxy,
}

impl UnstickyReason {
    /// A word for logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            UnstickyReason::NotForwarded => "not-forwarded",
            UnstickyReason::Off => "off",
            UnstickyReason::NoCookie => "no-cookie",
            UnstickyReason::NoGroupCookie => "no-group-cookie",
            UnstickyReason::GroupLeft => "group-left",
            UnstickyReason::Cookie(why) => why.as_str(),
            UnstickyReason::KubeProxy => "kube-proxy",
        }
    }
}

impl Router {
    /// Says what keeps this request from the target that the client had before; nothing where the cookies
    /// hold. `history` are values of Set-Cookie headers that the client got earlier, oldest first: with them
    /// it is told apart whether a cookie was never set or did not come back, and why a browser kept it.
    ///
    /// Changes nothing and counts nothing: any request may be asked about at any time.
    pub fn why_unsticky<R: RequestView>(
        &self,
        listener: ListenerId,
        request: &R,
        history: &[&str],
        now: Now,
    ) -> Vec<WhyUnsticky> {
        let mut found = Vec::new();
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        let mut output = Output::new();
        let Output { texts, path, joined, .. } = &mut output;
        let place = snapshot.listeners.get(listener.0 as usize).copied().flatten();
        let evaluated = place.map(|place| {
            let buffers = Buffers { texts, path, joined };
            snapshot.table.evaluate(place as usize, request, &snapshot.options, buffers)
        });
        let forward = match evaluated.map(|e| e.routing) {
            Some(Routing::Forward { forward, .. }) => snapshot.table.forwards.get(forward as usize),
            _ => None,
        };
        let Some(forward) = forward else {
            let text = "no rule forwards this request to a target group".to_owned();
            return vec![WhyUnsticky { cookie: None, reason: UnstickyReason::NotForwarded, text }];
        };
        let secure = place
            .and_then(|place| snapshot.table.listeners.get(place as usize))
            .is_some_and(|l| l.protocol == Protocol::Https);
        let asked = Asked { snapshot: &snapshot, history, secure, now };
        let Some(group) = asked.group(forward, request, &mut found) else { return found };
        let pinned = asked.target(forward, group, request, &mut found);
        let Some(entry) = snapshot.table.groups.get(group) else { return found };
        if let (true, TargetType::Instance) = (pinned, entry.target_type) {
            let proxy = snapshot.group_ids.get(group).and_then(|id| cold.proxies.get(id));
            if !proxy.is_some_and(|p| p.is_one_pod_a_node()) {
                found.push(WhyUnsticky {
                    cookie: None,
                    reason: UnstickyReason::KubeProxy,
                    text: format!(
                        "target group `{}` has target type instance: the cookie pins a node, and its kube-proxy \
                         draws a pod anew for each connection; use target type ip, or \
                         externalTrafficPolicy: Local with one pod on each node",
                        entry.name
                    ),
                });
            }
        }
        found
    }
}

struct Asked<'a> {
    snapshot: &'a Snapshot,
    history: &'a [&'a str],
    secure: bool,
    now: Now,
}

impl Asked<'_> {
    /// The group that the request goes to, if that is certain.
    fn group<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        request: &R,
        found: &mut Vec<WhyUnsticky>,
    ) -> Option<usize> {
        let only = match forward.groups.as_slice() {
            [(only, _)] => Some(*only as usize),
            _ => None,
        };
        if forward.stickiness_seconds.is_none() {
            if only.is_none() {
                let text = "the action forwards to several target groups and draws one for each request: \
                            turn on its TargetGroupStickinessConfig";
                found.push(why(Some("AWSALBTG"), UnstickyReason::NoGroupCookie, text.to_owned()));
            }
            return only;
        }
        let (name, opened) = self.read(request, Names::Group, Kind::Group);
        match opened {
            None => {
                let text = format!("the target group is drawn by weight: {}", self.missing("AWSALBTG"));
                found.push(why(Some(name), UnstickyReason::NoGroupCookie, text));
                only
            }
            Some(Err(reason)) => {
                found.push(why(Some(name), UnstickyReason::Cookie(reason), self.explain(reason)));
                only
            }
            Some(Ok(ticket)) => {
                let mut before = 0;
                let named = forward.groups.iter().find(|(group, sum)| {
                    let weight = *sum - std::mem::replace(&mut before, *sum);
                    let known = self.snapshot.table.groups.get(*group as usize);
                    known.is_some_and(|g| g.fingerprint == ticket.name)
                        && (weight > 0 || self.snapshot.options.sticky_zero_weight)
                });
                if named.is_none() {
                    let text = "the target group that the cookie names is not in the action any more: \
                                another one is drawn by weight";
                    found.push(why(Some(name), UnstickyReason::GroupLeft, text.to_owned()));
                }
                named.map(|(group, _)| *group as usize)
            }
        }
    }

    /// Whether the request stays with its target.
    fn target<R: RequestView>(
        &self,
        forward: &ForwardEntry,
        group: usize,
        request: &R,
        found: &mut Vec<WhyUnsticky>,
    ) -> bool {
        let Some(entry) = self.snapshot.table.groups.get(group) else { return false };
        let ticket = match &entry.attributes.stickiness {
            StickinessAttributes::Off => {
                let text = format!("target group `{}` has stickiness.enabled off", entry.name);
                found.push(why(None, UnstickyReason::Off, text));
                return false;
            }
            StickinessAttributes::AppCookie { .. } if forward.groups.len() > 1 => {
                let text = "app_cookie does not work where an action forwards to several target groups";
                found.push(why(None, UnstickyReason::Off, text.to_owned()));
                return false;
            }
            StickinessAttributes::LbCookie { .. } => self.read(request, Names::Target, Kind::Target),
            StickinessAttributes::AppCookie { name, .. } => {
                let tag = sticky::group_tag(entry.fingerprint);
                let mut ticket = None;
                let carried = sticky::application(request, name, |value| {
                    let opened = self.snapshot.keys.read_text(value);
                    if !opened.is_ok_and(|t| t.group != tag) && ticket.is_none() {
                        ticket = Some(opened.and_then(|t| t.good(Kind::Application, self.now)));
                    }
                });
                let lost = carried.ours && !carried.own;
                ("AWSALBAPP-0", if lost { Some(Err(Unsticky::NoApplicationCookie)) } else { ticket })
            }
        };
        match ticket {
            (name, None) => found.push(why(Some(name), UnstickyReason::NoCookie, self.missing(name))),
            (name, Some(Err(reason))) => {
                found.push(why(Some(name), UnstickyReason::Cookie(reason), self.explain(reason)));
            }
            (name, Some(Ok(ticket))) => match self.snapshot.named(group, &ticket) {
                Ok(_) => return true,
                Err(reason) => {
                    found.push(why(Some(name), UnstickyReason::Cookie(reason), self.explain(reason)));
                }
            },
        }
        false
    }

    /// The name of the cookie that counts, and what it says; where there is none, the name it would have.
    fn read<R: RequestView>(
        &self,
        request: &R,
        names: Names,
        kind: Kind,
    ) -> (&'static str, Option<Result<sticky::Ticket, Unsticky>>) {
        let carried = sticky::find(request, names).map(|(name, cookie)| match cookie {
            Cookie::Other | Cookie::Damaged => (name, Some(Err(Unsticky::Invalid))),
            Cookie::Sealed(sealed) => (name, Some(self.snapshot.keys.open(&sealed, kind, self.now))),
        });
        carried.unwrap_or((names.plain(), None))
    }

    fn explain(&self, reason: Unsticky) -> String {
        match reason {
            Unsticky::Invalid => {
                "the value was not sealed by this load balancer: cut, changed, or \
                                  percent-encoded once more on its way"
            }
            Unsticky::UnknownKey => {
                "the value was sealed with a key that is not in the ring: keep previous \
                                     keys for as long as a session lasts, and share them among replicas"
            }
            Unsticky::Expired => "the client came back later than the stickiness duration allows",
            Unsticky::TargetGone => "the target is not registered any more",
            Unsticky::TargetUnhealthy => "the target fails its health checks",
            Unsticky::TargetDraining => "the target is being deregistered",
            Unsticky::NoApplicationCookie => "the application's own cookie did not come back with ours",
            Unsticky::OtherGroup => {
                "the cookie names a target of another target group: all groups of a host \
                                     share one cookie, and the last one wins"
            }
            Unsticky::TargetZone => "the target is in a zone that gets no requests from here",
        }
        .to_owned()
    }

    /// Why a cookie is not there, as far as earlier responses tell.
    fn missing(&self, name: &str) -> String {
        let set = self.history.iter().rev().find(|set| {
            let rest = set.strip_prefix(name).map(|rest| rest.strip_prefix("CORS").unwrap_or(rest));
            rest.is_some_and(|rest| rest.starts_with('='))
        });
        let Some(set) = set else {
            return if self.history.is_empty() {
                "the request has no cookie of the load balancer".to_owned()
            } else {
                "no earlier response set the cookie".to_owned()
            };
        };
        let attribute = |wanted: &str| {
            set.split(';').skip(1).map(str::trim).find_map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                name.eq_ignore_ascii_case(wanted).then_some(value)
            })
        };
        let expires = attribute("expires").and_then(|date| httpdate::parse_http_date(date).ok());
        let clock = UNIX_EPOCH + Duration::from_secs(self.now.unix_s.min(1 << 38));
        if expires.is_some_and(|at| at < clock) {
            "an earlier response set the cookie, and the browser has dropped it since: it expired".to_owned()
        } else if attribute("secure").is_some() && !self.secure {
            "an earlier response set the cookie as Secure, and browsers do not send it over plain HTTP"
                .to_owned()
        } else {
            "an earlier response set the cookie, and the client did not send it back: another host or path, \
             a client without a cookie jar, or something in between that drops it"
                .to_owned()
        }
    }
}

fn why(cookie: Option<&'static str>, reason: UnstickyReason, text: String) -> WhyUnsticky {
    WhyUnsticky { cookie, reason, text }
}
