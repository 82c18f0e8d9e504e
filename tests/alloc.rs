//! `decide` and `report` neither allocate nor free: counted over every routing vector, on a thread that
//! has not decided before as well as on a warm one, and while the model changes under them. Each thread
//! counts its own calls.

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

/// What a reload throws away is never freed by whoever was reading it.
#[test]
fn decisions_leave_the_allocator_alone_while_models_change() {
    use podway::{KeyRing, Now, Options, Outcome, Output, Request, Router};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let model = |targets: u32| -> podway::model::Model {
        let targets: Vec<_> = (0..targets)
            .map(|i| {
                let id = std::net::Ipv4Addr::from(0x0a00_0000 + i).to_string();
                serde_json::json!({"Target": {"Id": id, "Port": 80}, "TargetHealth": {"State": "healthy"}})
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "LoadBalancers": [{"LoadBalancerArn": "arn:lb", "LoadBalancerName": "lb", "Listeners": [{
                "Port": 80, "Protocol": "HTTP",
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:a"}]}]}],
            "TargetGroups": [{"TargetGroupArn": "arn:a", "TargetGroupName": "a", "TargetType": "ip",
                "Attributes": [{"Key": "stickiness.enabled", "Value": "true"}],
                "TargetHealthDescriptions": targets}]}))
        .expect("a model")
    };
    let models = [model(1_000), model(900)];
    let now = |n: u64| Now { mono_ms: n, unix_s: 1_767_225_600 };
    let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
    let router = Router::new(&models[0], Options::default(), keys, now(0)).expect("a router");
    let listener = router.listener("lb", 80).expect("a listener");
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let read = || {
        let (mut counter, mut output, mut seen) = (Counter::default(), Output::new(), 0);
        let request = Request::new("GET", "/", ([192, 0, 2, 1], 40_000).into());
        while !stop.load(Ordering::Relaxed) {
            let at = swaps.load(Ordering::Relaxed);
            podway_tests::Observer::around(&mut counter, || {
                let decision = router.decide(listener, &request, now(at), at, &mut output);
                router.report(&decision, Outcome::Response(200), now(at));
            });
            seen = seen.max(at);
        }
        (counter, seen)
    };
    let (readers, swapped) = std::thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        for n in 1..=50 {
            router.reload(&models[n as usize % 2], now(n)).expect("a reload");
            swaps.store(n, Ordering::Relaxed);
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        (readers.map(|reader| reader.join().expect("a reader")), swaps.load(Ordering::Relaxed))
    });
    assert_eq!(swapped, 50);
    for (counter, seen) in readers {
        assert_eq!(counter.calls, 0, "in {} decisions over {seen} models", counter.observed);
        assert!(counter.observed > 0);
    }
    assert!(router.targets().iter().all(|target| target.in_flight == 0));
}

fn assert_counter_counts() {
    use podway_tests::Observer;
    let mut counter = Counter::default();
    counter.around(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counter.calls, 2, "an allocation and its release are seen");
}
