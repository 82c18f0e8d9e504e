//! Decisions as plain numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::guard::guard;
use super::numbers::*;
use super::status::podway_status;
use super::view::podway_str;
use crate::decision::{Decision, Forward, GroupId, Stickiness, TargetId, Verdict};
use crate::model::Priority;

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
        // What most decisions are comes first, each time.
        let (matched, priority) = if let Some(Priority::Rule(number)) = decision.priority {
            (PODWAY_MATCHED_RULE, number)
        } else if decision.priority.is_some() {
            (PODWAY_MATCHED_DEFAULT, 0)
        } else {
            (PODWAY_MATCHED_NONE, 0)
        };
        let authenticate = match decision.authenticate {
            None => PODWAY_AUTHENTICATE_NONE,
            Some(first) => authenticate_number(first),
        };
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
