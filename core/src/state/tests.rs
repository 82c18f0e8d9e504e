use super::*;
use crate::health;

fn slot() -> Slot {
    let id = TargetId { slot: 0, generation: 1 };
    Slot::new(id, GroupId(0), "10.0.0.1".into(), 80, 1, health::registering(), false)
}

#[cfg(not(loom))]
mod plain {
    use super::*;

    #[test]
    fn counting_out_never_goes_below_zero() {
        let slot = slot();
        slot.enter();
        assert!(slot.leave(true));
        assert!(!slot.leave(true));
        assert_eq!((slot.in_flight(), slot.since_judged()), (0, (1, 1)));
        slot.set_judged();
        assert_eq!(slot.since_judged(), (0, 0));
    }

    #[test]
    fn counts_hold_under_threads() {
        let slot = slot();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..10_000 {
                        slot.enter();
                        // How many more than that depends on who came and went between its two reads.
                        assert!(slot.in_flight() >= 1, "whoever is in is counted");
                        assert!(slot.leave(false));
                    }
                });
            }
        });
        assert_eq!(slot.in_flight(), 0);
    }

    #[test]
    fn a_probe_is_not_handed_out_twice() {
        let slot = slot();
        assert!(slot.begin_probe(0, 5));
        assert!(!slot.begin_probe(4, 5));
        assert!(slot.begin_probe(5, 5), "it timed out unreported");
        slot.end_probe();
        assert!(slot.begin_probe(6, 5));
    }

    #[test]
    fn states_survive_their_number_and_the_end_is_final() {
        let slot = slot();
        for state in [
            TargetHealthState::Initial,
            TargetHealthState::Healthy,
            TargetHealthState::Unhealthy,
            TargetHealthState::Unused,
            TargetHealthState::Draining,
            TargetHealthState::Unavailable,
        ] {
            slot.change(|m| m.set(health::health(state, None, None)));
            assert_eq!(slot.state(), state);
        }
        slot.end();
        slot.change(|m| m.set(health::health(TargetHealthState::Healthy, None, None)));
        assert!(slot.is_gone());
    }

    #[test]
    fn a_share_is_saved_up_exactly() {
        let slot = slot();
        let turns = (0..1000).filter(|_| slot.save_up(250)).count();
        assert_eq!(turns, 250);
    }

    #[test]
    fn the_first_turn_starts_anywhere_and_the_others_follow() {
        let group = GroupState::new(3, 0);
        group.set_eligible(&[7, 8, 9], false);
        let first = group.turn(3, 5 << 32);
        assert_eq!(first, 2);
        assert_eq!([group.turn(3, 0), group.turn(3, 0), group.turn(3, 0)], [0, 1, 2]);
    }

    #[test]
    fn whoever_is_removed_leaves_no_gap() {
        let group = GroupState::new(3, 0);
        assert_eq!(
            [group.add(7, false), group.add(8, false), group.add(9, true)],
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(group.add(10, false), None, "there is room for the group's targets and no more");
        assert_eq!(group.eligible(), (3, true));
        assert_eq!(group.remove(0, false), Some(9));
        assert_eq!(group.remove(1, false), None);
        assert_eq!((group.eligible(), group.at(0)), ((1, false), Some(9)));
        assert_eq!(group.remove(0, false), None);
        assert_eq!(group.remove(0, false), None);
    }

    #[test]
    fn what_requests_touch_is_one_cache_line() {
        assert_eq!(std::mem::align_of::<Slot>(), 64);
        assert!(std::mem::offset_of!(Slot, fingerprint) <= 64);
    }
}

/// Every order in which threads can meet, explored: `RUSTFLAGS="--cfg loom" cargo test -p podway --lib
/// --release loom`.
#[cfg(loom)]
mod loom {
    use super::*;
    use ::loom::sync::{Arc, Mutex};
    use ::loom::thread;

    /// Requests come and go while somebody reads how many are in flight: never less than none, never more
    /// than there are, and in the end none.
    #[test]
    fn in_flight_counts() {
        ::loom::model(|| {
            let slot = Arc::new(slot());
            let threads: Vec<_> = (0..2)
                .map(|n| {
                    let slot = slot.clone();
                    thread::spawn(move || {
                        slot.enter();
                        assert!(slot.leave(n == 0));
                    })
                })
                .collect();
            assert!(slot.in_flight() <= 2);
            threads.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!((slot.in_flight(), slot.since_judged()), (0, (2, 1)));
            assert!(!slot.leave(false), "a report too many changes nothing");
        });
    }

    /// A decision is reported twice, by two threads: one of them counts.
    #[test]
    fn a_report_counts_once() {
        ::loom::model(|| {
            let slot = Arc::new(slot());
            slot.enter();
            let other = slot.clone();
            let thread = thread::spawn(move || other.leave(false));
            let here = slot.leave(false);
            assert!(here != thread.join().unwrap());
            assert_eq!(slot.in_flight(), 0);
        });
    }

    /// Turns are given once each, also the first one, which moves the cursor.
    #[test]
    fn turns_are_given_once() {
        ::loom::model(|| {
            let group = Arc::new(GroupState::new(0, 0));
            let other = group.clone();
            let thread = thread::spawn(move || other.turn(u32::MAX, 5 << 32));
            let here = group.turn(u32::MAX, 7 << 32);
            assert!(here != thread.join().unwrap());
        });
    }

    /// The list of those who may be chosen changes while a decision reads it: whoever is read was in it a
    /// moment ago or is in it now.
    #[test]
    fn a_changing_list_is_read_whole() {
        ::loom::model(|| {
            let group = Arc::new(GroupState::new(3, 0));
            group.set_eligible(&[1, 2], false);
            let other = group.clone();
            let thread = thread::spawn(move || {
                other.remove(0, false); // 2
                other.add(3, false); // 2, 3
            });
            let (count, _) = group.eligible();
            for place in 0..count {
                assert!(matches!(group.at(place), Some(1..=3)));
            }
            thread.join().unwrap();
            assert_eq!((group.eligible().0, group.at(0), group.at(1)), (2, Some(2), Some(3)));
        });
    }

    /// A request is decided under one snapshot and reported under the next, which shares the registration;
    /// the swap itself is arc-swap's, and stands here as one step.
    #[test]
    fn a_swap_loses_no_report() {
        ::loom::model(|| {
            let (slot, gone) = (Arc::new(slot()), Arc::new(slot()));
            let snapshot = Arc::new(Mutex::new(Arc::new(vec![slot.clone(), gone.clone()])));
            let swapped = snapshot.clone();
            let kept = slot.clone();
            let reload = thread::spawn(move || {
                *swapped.lock().unwrap() = Arc::new(vec![kept]);
                gone.end();
            });
            let seen = snapshot.lock().unwrap().clone();
            seen.iter().filter(|slot| !slot.is_gone()).for_each(|slot| slot.enter());
            let seen = snapshot.lock().unwrap().clone();
            assert!(seen.first().unwrap().leave(false), "a registration that stays is there in both");
            reload.join().unwrap();
            assert_eq!(slot.in_flight(), 0);
        });
    }
}
