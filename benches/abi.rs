//! What the C ABI adds to a decision and its report: the same requests through `Router` and through the
//! functions of `include/podway.h`, called as a C program calls them, measured in turn in one run. Prints a
//! table; fails nothing, since time is not a test.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

use cpu_time::ThreadTime;
use podway::capi::{
    PODWAY_OUTCOME_RESPONSE, podway_address, podway_decision, podway_header, podway_model_from_json,
    podway_now, podway_output_new, podway_request, podway_router_decide, podway_router_listener,
    podway_router_new, podway_router_report, podway_status, podway_str,
};
use podway_benches::RuleSet;

const ROUNDS: usize = 61;
const TIMES: usize = 20_000;

fn view(text: &str) -> podway_str {
    podway_str { ptr: text.as_ptr(), len: text.len() }
}

fn through_rust(set: RuleSet) -> impl FnMut(&str, &str) {
    let mut decider = set.decider();
    move |host, target| {
        black_box(decider.decide_and_report(host, target));
    }
}

fn through_c(set: RuleSet) -> impl FnMut(&str, &str) {
    let json = set.model().to_json();
    let now = podway_now { mono_ms: 0, unix_s: 0 };
    let key = [7u8; 32];
    let key = podway_str { ptr: key.as_ptr(), len: key.len() };
    let none = podway_str { ptr: ptr::null(), len: 0 };
    let (mut model, mut router, mut listener) = (ptr::null_mut(), ptr::null_mut(), 0);
    // SAFETY: views of memory that outlives the calls, and places that can be written.
    unsafe {
        let read = podway_model_from_json(view(&json), &mut model, ptr::null_mut());
        let made = podway_router_new(model, none, key, now, &mut router, ptr::null_mut());
        let found = podway_router_listener(router, view("alb"), 80, &mut listener);
        assert_eq!([read, made, found], [podway_status::Ok; 3]);
    }
    let output = podway_output_new();
    // Behind pointers, so that nothing is inlined across the ABI.
    let decide: unsafe extern "C" fn(_, _, _, _, _, _, _) -> _ = podway_router_decide;
    let report: unsafe extern "C" fn(_, _, _, _, _) -> _ = podway_router_report;
    let (decide, report) = (black_box(decide), black_box(report));
    let headers = [podway_header { name: view("x-version"), value: view("v2") }];
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[10, 0, 0, 9]);
    let mut turn = 0;
    move |host, target| {
        turn += 1;
        let request = podway_request {
            struct_size: size_of::<podway_request>(),
            method: view("GET"),
            target: view(target),
            host: view(host),
            headers: headers.as_ptr(),
            header_count: headers.len(),
            peer: podway_address { ip, port: 40_000, family: 4 },
        };
        let mut decision = MaybeUninit::<podway_decision>::uninit();
        let place = decision.as_mut_ptr();
        // SAFETY: live handles, views that are valid for the call, and a struct whose size is set; `decide`
        // writes the rest of it.
        unsafe {
            ptr::addr_of_mut!((*place).struct_size).write(size_of::<podway_decision>());
            let decided: podway_status = decide(router, listener, &request, now, turn, output, place);
            let reported: podway_status = report(router, place, PODWAY_OUTCOME_RESPONSE, 200, now);
            black_box((decided, reported, decision.assume_init()));
        }
    }
}

fn measure(call: &mut impl FnMut(&str, &str), asked: &[(String, String)]) -> f64 {
    let started = ThreadTime::now();
    for n in 0..TIMES {
        let (host, target) = &asked[n % asked.len()];
        call(black_box(host), black_box(target));
    }
    started.elapsed().as_nanos() as f64 / TIMES as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    println!("{:>8} {:>10} {:>10} {:>8}", "rules", "rust ns", "c ns", "c/rust");
    for rules in [100, 10_000] {
        let set = RuleSet::spread(rules);
        let asked = set.requests(1_000);
        let (mut rust, mut c) = (through_rust(set), through_c(set));
        let rounds: Vec<(f64, f64)> =
            (0..ROUNDS).map(|_| (measure(&mut rust, &asked), measure(&mut c, &asked))).collect();
        let ratio = median(rounds.iter().map(|(rust, c)| c / rust).collect());
        let (rust, c) = rounds.into_iter().unzip();
        println!("{rules:>8} {:>10.0} {:>10.0} {ratio:>8.2}", median(rust), median(c));
    }
}
