//! A timing wheel (Varghese and Lauck 1987): moments in buckets of a tick each, so that adding one and
//! taking one that is due cost the same however many wait. Exact to the millisecond: a bucket keeps the
//! moments themselves.

/// Milliseconds of a bucket.
const TICK_MS: u64 = 64;
/// Buckets: 524 seconds of them, more than the longest interval of health checks. Later moments wait in the
/// last bucket and are put in again when their turn comes.
const TICKS: usize = 8192;

/// Moments, each with what is due then.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    buckets: Box<[Vec<(u64, T)>]>,
    /// A bit for each bucket that is not empty.
    occupied: [u64; TICKS / 64],
    /// The tick that was reached; nothing waits in front of it.
    tick: u64,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel { buckets: (0..TICKS).map(|_| Vec::new()).collect(), occupied: [0; TICKS / 64], tick: 0 }
    }
}

impl<T> Wheel<T> {
    /// Lets `what` be due at `at_ms`; a moment that has passed is due at once.
    pub(super) fn add(&mut self, at_ms: u64, what: T) {
        let tick = (at_ms / TICK_MS).clamp(self.tick, self.tick.saturating_add(TICKS as u64 - 1));
        let place = (tick % TICKS as u64) as usize;
        if let (Some(bucket), Some(word)) = (self.buckets.get_mut(place), self.occupied.get_mut(place / 64)) {
            bucket.push((at_ms, what));
            *word |= 1 << (place % 64);
        }
    }

    /// Appends what is due at `now_ms` to `due`.
    pub(super) fn take(&mut self, now_ms: u64, due: &mut Vec<(u64, T)>) {
        let reached = now_ms / TICK_MS;
        let last = reached.min(self.tick.saturating_add(TICKS as u64 - 1));
        let mut later = Vec::new();
        let mut from = self.tick;
        while let Some(tick) = self.occupied_from(from).filter(|tick| *tick <= last) {
            let place = (tick % TICKS as u64) as usize;
            if let (Some(bucket), Some(word)) =
                (self.buckets.get_mut(place), self.occupied.get_mut(place / 64))
            {
                // With its memory: the wheel comes by here again in minutes, and until then as many other
                // buckets would keep theirs.
                for entry in std::mem::take(bucket) {
                    if entry.0 <= now_ms { due.push(entry) } else { later.push(entry) }
                }
                *word &= !(1 << (place % 64));
            }
            from = tick + 1;
        }
        self.tick = self.tick.max(reached);
        for (at_ms, what) in later {
            self.add(at_ms, what);
        }
    }

    /// When to take again: not after the earliest moment that waits; `u64::MAX` with none.
    pub(super) fn next(&self) -> u64 {
        let first = self.occupied_from(self.tick).and_then(|tick| {
            let bucket = self.buckets.get((tick % TICKS as u64) as usize)?;
            // A far moment in the bucket has to be put in again before those behind it are due.
            Some(bucket.iter().map(|(at, _)| *at).min()?.min(tick.saturating_add(1).saturating_mul(TICK_MS)))
        });
        first.unwrap_or(u64::MAX)
    }

    /// The first tick from `from` on, within one turn of the wheel, whose bucket is not empty.
    fn occupied_from(&self, from: u64) -> Option<u64> {
        let end = self.tick.saturating_add(TICKS as u64);
        let mut tick = from;
        while tick < end {
            let place = (tick % TICKS as u64) as usize;
            let word = self.occupied.get(place / 64).copied().unwrap_or(0) >> (place % 64);
            if word != 0 {
                let found = tick + u64::from(word.trailing_zeros());
                return Some(found).filter(|found| *found < end);
            }
            tick += 64 - (place % 64) as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wheel: &mut Wheel<u32>, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.take(now_ms, &mut due);
        due.into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn moments_are_exact_and_far_ones_come_too() {
        let mut wheel = Wheel::default();
        for (at, what) in [(10, 1), (11, 2), (700_000, 3), (1_000_000_000, 4), (0, 5)] {
            wheel.add(at, what);
        }
        assert_eq!(wheel.next(), 0);
        assert_eq!(taken(&mut wheel, 10), [1, 5]);
        assert_eq!(wheel.next(), 11);
        assert!(taken(&mut wheel, 10).is_empty());
        assert_eq!(taken(&mut wheel, 11), [2]);
        assert!(taken(&mut wheel, 699_999).is_empty());
        assert_eq!(taken(&mut wheel, 700_000), [3]);
        wheel.add(5, 6);
        assert_eq!(wheel.next(), 5, "what has passed is due at once");
        assert_eq!(taken(&mut wheel, 700_001), [6]);
        assert!(taken(&mut wheel, 999_999_999).is_empty());
        assert_eq!(taken(&mut wheel, u64::MAX), [4]);
        assert_eq!(wheel.next(), u64::MAX);
    }

    #[test]
    fn the_memory_of_moments_that_are_over_is_given_back() {
        let mut wheel = Wheel::default();
        for now in (0..2_000_000).step_by(64) {
            wheel.add(now + 30_000, 1);
            wheel.take(now, &mut Vec::new());
        }
        let kept = wheel.buckets.iter().filter(|bucket| bucket.capacity() > 0).count();
        assert!(kept <= 30_000 / TICK_MS as usize + 1, "{kept} buckets for half a minute of moments");
    }

    /// Beside a sorted list, over moments near and far and steps small and large.
    #[test]
    fn it_is_a_sorted_list() {
        let (mut wheel, mut list) = (Wheel::default(), Vec::new());
        let (mut now, mut n) = (0u64, 0u32);
        for round in 0..20_000u64 {
            let drawn = crate::mix::mix(round);
            let at = now + drawn % [1, 100, 30_000, 2_000_000][(drawn >> 60) as usize % 4];
            wheel.add(at, n);
            list.push((at, n));
            n += 1;
            now += (drawn >> 32)
                % [2, 3, 200, 900_000][(drawn >> 58) as usize % 4 * usize::from(round % 50 == 0)];
            let mut due = taken(&mut wheel, now);
            due.sort_unstable();
            let mut expected: Vec<u32> = list.extract_if(.., |(at, _)| *at <= now).map(|(_, n)| n).collect();
            expected.sort_unstable();
            assert_eq!(due, expected);
            let earliest = list.iter().map(|(at, _)| *at).min();
            assert!(earliest.map_or(wheel.next() == u64::MAX, |at| wheel.next() <= at));
        }
    }
}
