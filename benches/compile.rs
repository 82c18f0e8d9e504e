//! What it takes to compile rules: time on a processor and bytes of memory per rule, and what a table
//! keeps. Both have to grow linearly. Prints a table.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use cpu_time::ThreadTime;
use podway_benches::{Decider, Mix, RuleSet};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn row(name: &str, set: &RuleSet) {
    let model = set.model();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let started = ThreadTime::now();
    let decider = Decider::new(&model);
    let took = started.elapsed();
    let (kept, peak) = (LIVE.load(Ordering::Relaxed) - before, PEAK.load(Ordering::Relaxed) - before);
    drop(decider);
    let per_rule = |n: usize| n / set.rules;
    println!(
        "| {name} | {} | {:.2} | {} | {} | {} |",
        set.rules,
        took.as_secs_f64() * 1e3,
        took.as_nanos() as usize / set.rules,
        per_rule(kept),
        per_rule(peak),
    );
}

fn main() {
    // `cargo test --benches` runs this too; there is nothing to test.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    println!("| rules | how many | ms | ns per rule | bytes kept per rule | bytes at the peak per rule |");
    println!("|---|---:|---:|---:|---:|---:|");
    for rules in [100, 1_000, 10_000, 100_000] {
        row("literal, one host", &RuleSet::one_host(rules));
        row("literal, ten a host", &RuleSet::spread(rules));
    }
    for rules in [100, 1_000, 10_000] {
        row("10 % globs, ten a host", &RuleSet::spread(rules).with(Mix::Globs(10)));
        row("10 % regexes, ten a host", &RuleSet::spread(rules).with(Mix::Regexes(10)));
    }
}
