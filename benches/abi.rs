//! What the C ABI adds to a decision and its report: the same requests through `Router` and through the
//! functions of `include/podway.h`, called as a C program calls them, measured in turn in one run. Prints a
//! table; fails nothing, since time is not a test. `instructions` counts both.

use std::hint::black_box;

use cpu_time::ThreadTime;
use podway_benches::RuleSet;
use podway_benches::through_c::{through_c, through_rust};

const ROUNDS: usize = 61;
const TIMES: usize = 20_000;

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
