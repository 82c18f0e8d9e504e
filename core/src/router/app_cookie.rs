//! Stickiness of type `app_cookie`, on the way back: whether the target's response starts a session, and
//! the cookies that hold the client's sessions with all such groups (spec: dataplane §4.3).

use super::{Output, Router, Snapshot};
use crate::decision::{Decision, Stickiness, Unsticky, Verdict};
use crate::mix::mix;
use crate::request::RequestView;
use crate::sticky::{self, APPLICATION, Kind, REMOVE, SameSite, TICKETS};
use crate::table::StickinessAttributes;
use crate::texts::{DATE, Full, Text, Texts};
use crate::time::Now;

const TEXTS: [Text; 4] = [Text::AppCookie0, Text::AppCookie1, Text::AppCookie2, Text::AppCookie3];

impl Router {
    /// To be called when the response of a forward comes in, where the group's stickiness is of type
    /// `app_cookie`; without that type it does nothing.
    ///
    /// `request` is the one that was decided (its `Cookie`, `Origin` and `User-Agent` count), and `sets`
    /// tells whether the response sets a cookie of a given name. `output` is emptied first; afterwards
    /// [`Output::set_cookies`] are the `AWSALBAPP-n` cookies that the response has to carry: the client's
    /// sessions with every such group it met, ours renewed, or `_remove_` where there is nothing to
    /// store (K-22). Does not allocate.
    pub fn app_cookie<R: RequestView>(
        &self,
        decision: &Decision,
        request: &R,
        sets: impl FnOnce(&str) -> bool,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) {
        output.clear();
        let Verdict::Forward(forward) = decision.verdict else { return };
        let snapshot = self.snapshot.load();
        let (Some(slot), Some(place)) = (snapshot.slot(forward.target), snapshot.group_of(forward.target))
        else {
            return;
        };
        let Some(group) = snapshot.table.groups.get(place) else { return };
        let StickinessAttributes::AppCookie { name, seconds } = &group.attributes.stickiness else { return };
        let goes_on = match forward.stickiness {
            Stickiness::Off => return,
            Stickiness::New => false,
            Stickiness::Kept => true,
            // The session moves to the new target, and stays there when the old one returns.
            Stickiness::Broken(why) => {
                matches!(
                    why,
                    Unsticky::TargetGone
                        | Unsticky::TargetUnhealthy
                        | Unsticky::TargetDraining
                        | Unsticky::TargetZone
                )
            }
        };
        let ticket = (goes_on || sets(name))
            .then(|| snapshot.ticket(Kind::Application, group, slot, *seconds, now))
            .map(|ticket| snapshot.keys.seal(&ticket, mix(entropy) as u32));
        let writer = Sessions {
            snapshot: &snapshot,
            own: ticket.as_ref().map(|t| t.as_slice()),
            tag: sticky::group_tag(group.fingerprint),
            same_site: same_site(request),
            now,
        };
        let texts = &mut output.texts;
        let expires = texts.date(snapshot.expires_s(*seconds, now));
        // The buffer has room for four full cookies; without it what does not fit is left out.
        let _ = writer.write(request, name, &expires, texts);
    }
}

/// For requests of other sites by browsers that know it.
fn same_site<R: RequestView>(request: &R) -> SameSite {
    let other_site = request.any_header("origin", |_| true);
    let known = other_site && request.any_header("user-agent", sticky::knows_same_site);
    if known { SameSite::NoneSecure } else { SameSite::Absent }
}

struct Sessions<'s> {
    snapshot: &'s Snapshot,
    /// The ticket for the group of this response.
    own: Option<&'s [u8]>,
    tag: u32,
    same_site: SameSite,
    now: Now,
}

impl Sessions<'_> {
    /// Writes all cookies: our ticket first, then those of other groups as they came, the oldest dropped
    /// where four cookies are full.
    fn write<R: RequestView>(
        &self,
        request: &R,
        name: &str,
        expires: &[u8; DATE],
        texts: &mut Texts,
    ) -> Result<(), Full> {
        let mut cookies = TEXTS.into_iter().zip(APPLICATION);
        let mut open: Option<(Text, usize)> = None;
        let mut add = |ticket: &[u8], texts: &mut Texts| -> Result<(), Full> {
            if let Some((text, TICKETS)) = open {
                sticky::finish(texts, text, expires, self.same_site)?;
                open = None;
            }
            let (text, count) = match open {
                Some(open) => open,
                None => {
                    let Some((text, name)) = cookies.next() else { return Err(Full) };
                    texts.begin(text);
                    texts.push(name.as_bytes())?;
                    texts.push(b"=")?;
                    (text, 0)
                }
            };
            texts.push(ticket)?;
            open = Some((text, count + 1));
            Ok(())
        };
        if let Some(own) = self.own {
            add(own, texts)?;
        }
        let mut added = Ok(());
        sticky::application(request, name, |value| {
            if added.is_ok() && self.keeps(value) {
                added = add(value, texts);
            }
        });
        if let Some((text, _)) = open {
            sticky::finish(texts, text, expires, self.same_site)?;
        }
        if self.snapshot.options.app_cookie_placeholders {
            for (text, name) in cookies {
                sticky::write(texts, text, name, REMOVE, expires, self.same_site)?;
            }
        }
        Ok(())
    }

    /// Whether a ticket that came is another group's and still good. Without a session of ours, a ticket
    /// of this group is kept too: it may be good again when the application's cookie is back.
    fn keeps(&self, value: &[u8; sticky::VALUE]) -> bool {
        self.snapshot.keys.read_text(value).is_ok_and(|ticket| {
            ticket.kind == Kind::Application
                && ticket.deadline_s >= self.now.unix_s
                && (self.own.is_none() || ticket.group != self.tag)
        })
    }
}
