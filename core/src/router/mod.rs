//! The one handle: a compiled model with the state of its targets. Decisions read one snapshot, swapped as
//! a whole; everything that moves states takes a lock that decisions never take.

mod anomaly;
mod app_cookie;
mod decide;
mod eligible;
mod forward;
mod hop;
mod info;
mod output;
mod registry;
mod reload;
mod retry;
mod schedule;
mod timers;
mod wheel;
mod why;
mod zonal;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use hashbrown::HashTable;

pub use hop::{HopInfo, HopTo};
pub use info::{GroupInfo, HealthEvent, ListenerInfo, Probe, TargetInfo};
pub use output::Output;
pub use why::{UnstickyReason, WhyUnsticky};
pub use zonal::{AdministrativeOverride, ZoneHealth};

use self::eligible::Standings;
use self::registry::Registry;
use self::schedule::Schedule;
use self::timers::Timers;
use self::zonal::Zonal;
use crate::TargetId;
use crate::decision::{Decision, ListenerId, Outcome, Verdict};
use crate::error::{Code, Diagnostic, Error};
use crate::health::ProbeResult;
use crate::kube_proxy::KubeProxy;
use crate::model::{Model, Priority, TargetHealth, TargetHealthState};
use crate::options::Options;
use crate::state::{GroupState, Slot};
use crate::sticky::KeyRing;
use crate::table::{Table, Told};
use crate::time::Now;

/// A compiled model with the state of its targets.
///
/// `Send + Sync`, and every verb takes `&self`: share it among threads by reference or in an `Arc`.
/// `decide` and `report` neither allocate nor lock nor call the system; the other verbs may.
///
/// ```
/// use podway::{KeyRing, Now, Options, Outcome, Output, Request, Router, Verdict};
///
/// let model = serde_json::from_str(r#"{
///   "LoadBalancers": [{"LoadBalancerArn": "arn:web", "LoadBalancerName": "web", "Listeners": [{
///     "Port": 80, "Protocol": "HTTP", "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:api"}]}]}],
///   "TargetGroups": [{"TargetGroupArn": "arn:api", "TargetGroupName": "api", "TargetType": "ip",
///     "TargetHealthDescriptions": [
///       {"Target": {"Id": "10.0.0.1", "Port": 8080}, "TargetHealth": {"State": "healthy"}}]}]}"#)?;
/// let now = Now { mono_ms: 0, unix_s: 1_767_225_600 };
/// let router = Router::new(&model, Options::default(), KeyRing::from_secret(&[7; 32])?, now)?;
/// let listener = router.listener("web", 80).ok_or("no such listener")?;
///
/// let mut output = Output::new(); // one per thread, reused
/// let request = Request::new("GET", "/users?id=1", "192.0.2.9:40000".parse()?).host("api.example.com");
/// let decision = router.decide(listener, &request, now, 42, &mut output);
/// let Verdict::Forward(forward) = decision.verdict else { panic!() };
/// assert_eq!(forward.address, "10.0.0.1:8080".parse()?);
/// // … send the request there …
/// router.report(&decision, Outcome::Response(200), now);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Router {
    snapshot: ArcSwap<Snapshot>,
    /// The address of what `snapshot` holds, to compare and nothing else: a decision that has seen the same
    /// snapshot before need not count itself as its reader.
    latest: AtomicUsize,
    cold: Mutex<Cold>,
    late_reports: AtomicU64,
}

/// The targets of a group by fingerprint. Fingerprints are spread already and serve as their own hash.
#[derive(Debug, Default)]
struct Fingerprints(HashTable<(u64, u32)>);

impl Fingerprints {
    fn of(targets: impl ExactSizeIterator<Item = (u64, u32)>) -> Self {
        let mut all = HashTable::with_capacity(targets.len());
        for target in targets {
            all.insert_unique(target.0, target, |known| known.0);
        }
        Fingerprints(all)
    }

    /// The index of a target in the table.
    #[inline]
    fn get(&self, fingerprint: u64) -> Option<u32> {
        self.0.find(fingerprint, |known| known.0 == fingerprint).map(|known| known.1)
    }
}

/// What decisions read.
#[derive(Debug, Clone)]
struct Snapshot {
    table: Arc<Table>,
    options: Arc<Options>,
    keys: Arc<KeyRing>,
    /// By `ListenerId`: the listener's place in the table, while it is there.
    listeners: Arc<[Option<u32>]>,
    /// By group index of the table.
    groups: Arc<[Arc<GroupState>]>,
    group_ids: Arc<[crate::GroupId]>,
    /// By `GroupId`: the group's place in the table, while it is there.
    group_places: Arc<[Option<u32>]>,
    /// By target index of the table.
    targets: Arc<[Arc<Slot>]>,
    /// By group index.
    by_fingerprint: Arc<[Fingerprints]>,
    /// By slot number, draining ones included.
    slots: Arc<[Option<Arc<Slot>>]>,
    /// Fingerprints of draining targets, sorted, with their slots.
    draining: Arc<[(u64, u32)]>,
}

/// What only the other verbs touch.
#[derive(Debug, Default)]
struct Cold {
    registry: Registry,
    schedule: Schedule,
    timers: Timers,
    standings: Standings,
    zonal: Zonal,
    /// Groups whose targets anomaly detection judges.
    judged: HashSet<crate::GroupId>,
    proxies: HashMap<crate::GroupId, KubeProxy>,
    events: VecDeque<HealthEvent>,
    /// Snapshots that were replaced while somebody may still read them. They are freed here, by the verbs
    /// that may free, and not by the last decision that lets go of them.
    replaced: Vec<Arc<Snapshot>>,
}

impl Cold {
    fn free_replaced(&mut self) {
        self.replaced.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }
}

impl Router {
    /// Compiles `model` and starts its targets in the health that the model gives them.
    ///
    /// # Errors
    /// [`Error::Model`] with everything that cannot be decided (an unusable regex, two rules with one
    /// priority); with [`Options::strict`] with everything the ELBv2 API would refuse.
    pub fn new(model: &Model, options: Options, keys: KeyRing, now: Now) -> Result<Self, Error> {
        let mut cold = Cold::default();
        let snapshot = reload::snapshot(model, Arc::new(options), Arc::new(keys), None, &mut cold, now)?;
        let snapshot = Arc::new(snapshot);
        Ok(Router {
            latest: AtomicUsize::new(Arc::as_ptr(&snapshot).addr()),
            snapshot: ArcSwap::new(snapshot),
            cold: Mutex::new(cold),
            late_reports: AtomicU64::new(0),
        })
    }

    /// Swaps `model` in: one atomic step for everyone who decides. Targets that stay (same group ARN, id
    /// and port) keep their health, their requests in flight and their slow start; targets that leave drain
    /// for their group's deregistration delay; new ones start as the model says.
    ///
    /// # Errors
    /// As [`Router::new`]; then everything stays as it was.
    pub fn reload(&self, model: &Model, now: Now) -> Result<(), Error> {
        let mut cold = self.cold();
        let before = self.snapshot.load_full();
        let (options, keys) = (before.options.clone(), before.keys.clone());
        let after = reload::snapshot(model, options, keys, Some(&before), &mut cold, now)?;
        self.publish(&mut cold, after);
        Ok(())
    }

    /// Replaces the cookie keys. Cookies sealed with a key that is not in the ring are not honoured any
    /// more; keep the previous ones in it for as long as a session may last.
    pub fn set_cookie_keys(&self, keys: KeyRing) {
        let mut cold = self.cold(); // so that a reload at the same time does not bring the old keys back
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        snapshot.keys = Arc::new(keys);
        self.publish(&mut cold, snapshot);
    }

    /// Settles a forward: owed exactly once for each, whatever became of the request. A report for a
    /// registration that is gone is counted and dropped; a decision that is no forward owes nothing.
    pub fn report(&self, decision: &Decision, outcome: Outcome, now: Now) {
        if let Verdict::Forward(forward) = &decision.verdict {
            self.settle(forward.target, outcome, now);
        }
    }

    /// Settles a forward to `target`.
    #[inline]
    pub(crate) fn settle(&self, target: TargetId, outcome: Outcome, now: Now) {
        let _ = now;
        let failed = anomaly::failed(outcome);
        let snapshot = self.snapshot.load();
        if !snapshot.slot(target).is_some_and(|slot| slot.leave(failed)) {
            self.late_reports.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many reports came for a registration that was gone, or for one with nothing in flight. A report
    /// that comes twice while its target serves others is taken for one of theirs.
    pub fn late_reports(&self) -> u64 {
        self.late_reports.load(Ordering::Relaxed)
    }

    /// Appends the probes that are due to `probes`, lets time pass for what drains, ramps up or is judged,
    /// and says when to call again, in milliseconds of the same monotonic clock (`u64::MAX`: nothing is
    /// waited for). Costs as much as is due, however many targets there are.
    pub fn poll(&self, now: Now, probes: &mut Vec<Probe>) -> u64 {
        let mut cold = self.cold();
        let mut snapshot = self.snapshot.load_full();
        if let Some(changed) = registry::expire(&snapshot, &mut cold, now) {
            self.publish(&mut cold, changed);
            snapshot = self.snapshot.load_full();
        }
        cold.free_replaced();
        let next = schedule::due(&snapshot, &mut cold, now, probes);
        next.min(cold.timers.next())
    }

    /// Takes the result of a probe. A result for a registration that is gone is dropped.
    pub fn report_probe(&self, target: TargetId, result: &ProbeResult, now: Now) {
        let mut cold = self.cold();
        let snapshot = self.snapshot.load_full();
        let Some(slot) = snapshot.slot(target) else { return };
        slot.end_probe();
        let Some((group, _)) = snapshot.place(slot) else { return };
        let Some(check) = snapshot.table.groups.get(group).map(|g| &g.health_check) else { return };
        snapshot.change(&mut cold, slot, now, |machine| machine.result(result, check));
    }

    /// Sets a target's health by hand: for embedders with checks of their own, and for tests.
    ///
    /// # Errors
    /// `E_NOT_FOUND` for a registration that is gone or draining.
    pub fn set_target_health(&self, target: TargetId, health: TargetHealth, now: Now) -> Result<(), Error> {
        let mut cold = self.cold();
        let snapshot = self.snapshot.load_full();
        let registered =
            |slot: &&Arc<Slot>| snapshot.place(slot).is_some() && slot.state() != TargetHealthState::Draining;
        let Some(slot) = snapshot.slot(target).filter(registered) else {
            return Err(Diagnostic::error(Code::E_NOT_FOUND, "the target is not registered").into());
        };
        if health.state == TargetHealthState::Draining {
            // By hand too it ends with its delay; a reload with the same model registers it again.
            let group = snapshot.group_of(target).and_then(|g| snapshot.table.groups.get(g));
            let (was, delay) = (slot.health(), group.map_or(300, |g| g.attributes.deregistration_delay_s));
            let place = snapshot.place(slot);
            if let Some((group, _)) = place {
                snapshot.end_slow_start(&mut cold, slot, group);
            }
            registry::drain(&mut cold, slot, delay, now);
            if let Some((group, index)) = place {
                snapshot.moved(&mut cold, slot, group, index, was.state, TargetHealthState::Draining);
            }
            reload::event(&mut cold, slot, Some(was), Some(slot.health()), now);
            return Ok(());
        }
        snapshot.change(&mut cold, slot, now, |machine| machine.set(health));
        Ok(())
    }

    /// Makes `snapshot` the one that decisions read from now on.
    fn publish(&self, cold: &mut Cold, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let address = Arc::as_ptr(&snapshot).addr();
        let before = self.snapshot.swap(snapshot);
        self.latest.store(address, Ordering::Release);
        cold.free_replaced();
        cold.replaced.push(before);
    }

    /// The latest snapshot, which `seen` holds on to. What it holds already cannot be another one at the
    /// same address.
    #[inline]
    fn latest<'o>(&self, seen: &'o mut Option<Arc<Snapshot>>) -> &'o Snapshot {
        let latest = self.latest.load(Ordering::Acquire);
        seen.take_if(|snapshot| Arc::as_ptr(snapshot).addr() != latest);
        seen.get_or_insert_with(|| self.snapshot.load_full())
    }

    fn cold(&self) -> MutexGuard<'_, Cold> {
        // What a panicking thread left behind is whole: every change is made before the swap.
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules of a listener in the order of their priorities, and the options, as the last decision that
/// wrote to `output` read them.
pub(crate) fn rules_read(output: &Output, listener: ListenerId) -> Option<(&[(Priority, Told)], &Options)> {
    let snapshot = output.seen.as_ref()?;
    let place = snapshot.listeners.get(listener.0 as usize).copied().flatten()?;
    Some((&snapshot.table.listeners.get(place as usize)?.told, &snapshot.options))
}

impl Snapshot {
    /// The registration, while it is the one that holds the slot.
    #[inline]
    fn slot(&self, target: TargetId) -> Option<&Arc<Slot>> {
        self.slots.get(target.slot as usize)?.as_ref().filter(|slot| slot.id == target && !slot.is_gone())
    }

    /// Where a registration that the model has stands: its group and its target, by their places in the
    /// table.
    fn place(&self, slot: &Slot) -> Option<(usize, u32)> {
        let group = self.group_place(slot.group)?;
        let target = self.by_fingerprint.get(group)?.get(slot.fingerprint)?;
        self.targets.get(target as usize).filter(|now| now.id == slot.id).map(|_| (group, target))
    }

    /// The index of a group, while the model has it.
    fn group_place(&self, group: crate::GroupId) -> Option<usize> {
        self.group_places.get(group.0 as usize).copied().flatten().map(|place| place as usize)
    }

    /// The index of the group that a registered target is in now.
    fn group_of(&self, target: TargetId) -> Option<usize> {
        self.place(self.slot(target)?).map(|(group, _)| group)
    }
}
