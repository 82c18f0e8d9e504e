//! `decide` and `report` neither allocate nor free: counted over every routing vector, on a thread that
//! has not decided before as well as on a warm one. One test in this binary, so that nothing else runs
//! beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is going away has no cell any more; nothing is measured there.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count();
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the calls of the allocator inside `decide` and `report`.
#[derive(Default)]
struct Counter {
    calls: u64,
    observed: u64,
}

impl podway_tests::Observer for Counter {
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let before = CALLS.get();
        let result = call();
        self.calls += CALLS.get() - before;
        self.observed += 1;
        result
    }
}

#[test]
fn decide_and_report_leave_the_allocator_alone() {
    assert_counter_counts();
    let mut observed = 0;
    for case in podway_tests::cases() {
        // A thread of its own: the first decision of a thread must not allocate either.
        let id = format!("{} {}", case.file, case.id);
        let counter = std::thread::spawn(move || {
            let mut counter = Counter::default();
            let _ = podway_tests::run(&case, &mut counter); // whether it holds is for `vectors` to say
            counter
        })
        .join()
        .expect("a case");
        assert_eq!(counter.calls, 0, "{id}: calls of the allocator in {} verbs", counter.observed);
        observed += counter.observed;
    }
    assert!(observed > 100, "{observed} verbs were observed");
    println!("allocations: 0 in {observed} calls of decide and report");
}

fn assert_counter_counts() {
    use podway_tests::Observer;
    let mut counter = Counter::default();
    counter.around(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counter.calls, 2, "an allocation and its release are seen");
}
