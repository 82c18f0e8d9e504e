//! Rule sets as ALBs have them through the C ABI: the same requests as [`Decider`](crate::Decider) makes, through
//! the functions of `include/podway.h` called as a C program calls them.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

use podway::capi::{
    PODWAY_OUTCOME_RESPONSE, podway_address, podway_decision, podway_header, podway_model_from_json,
    podway_now, podway_output_new, podway_request, podway_router_decide, podway_router_listener,
    podway_router_new, podway_router_report, podway_status, podway_str,
};

use crate::RuleSet;

fn view(text: &str) -> podway_str {
    podway_str { ptr: text.as_ptr(), len: text.len() }
}

/// Decides about a host and a target and reports, through Rust. The decision is kept in memory meanwhile, as it
/// is in a program that sends the request before it reports.
pub fn through_rust(set: RuleSet) -> impl FnMut(&str, &str) {
    let mut decider = set.decider();
    move |host, target| {
        let decision = decider.decide(host, target);
        decider.report(black_box(&decision));
    }
}

/// The same through C.
pub fn through_c(set: RuleSet) -> impl FnMut(&str, &str) {
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
            black_box((decided, reported, place));
        }
    }
}
