//! The claims about what a decision costs, each as a ratio of two things measured in turn, many times over,
//! in one run: a machine that is slow for a second is slow for both. Prints a table; fails nothing, since
//! time is not a test.

use std::hint::black_box;

use cpu_time::ThreadTime;
use podway_benches::{Mix, RuleSet};

/// How many times each pair is measured.
const ROUNDS: usize = 41;
/// How long one measurement takes, about.
const NANOSECONDS: u128 = 4_000_000;

/// Something that can be done over and over.
type Work = Box<dyn FnMut()>;

fn requests(set: &RuleSet, hot: bool) -> Vec<(String, String)> {
    if hot { vec![(set.host(set.rules / 2), set.target(set.rules / 2))] } else { set.requests(set.rules) }
}

fn in_turn(asked: Vec<(String, String)>, mut one: impl FnMut(&str, &str) + 'static) -> Work {
    let mut n = 0;
    Box::new(move || {
        n = if n + 1 < asked.len() { n + 1 } else { 0 };
        let (host, target) = &asked[n];
        one(black_box(host), black_box(target));
    })
}

fn podway(set: RuleSet, hot: bool) -> Work {
    let mut decider = set.decider();
    in_turn(requests(&set, hot), move |host, target| {
        black_box(decider.decide(host, target));
    })
}

fn with_report(set: RuleSet, hot: bool) -> Work {
    let mut decider = set.decider();
    in_turn(requests(&set, hot), move |host, target| {
        black_box(decider.decide_and_report(host, target));
    })
}

fn matchit(set: RuleSet, hot: bool) -> Work {
    let routes = set.matchit();
    in_turn(requests(&set, hot), move |host, path| {
        black_box(routes.at(host, path));
    })
}

fn scan(set: RuleSet, hot: bool) -> Work {
    let scan = set.scan();
    in_turn(requests(&set, hot), move |host, path| {
        black_box(scan.at(host, path));
    })
}

#[cfg(feature = "peers")]
fn pingora() -> Work {
    use pingora_load_balancing::{LoadBalancer, selection::RoundRobin};
    let backends = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"];
    let balancer = LoadBalancer::<RoundRobin>::try_from_iter(backends).expect("a load balancer");
    Box::new(move || {
        black_box(balancer.select(black_box(b""), 16));
    })
}

/// Nanoseconds of one time, over `times` of them.
fn measure(work: &mut Work, times: u64) -> f64 {
    let started = ThreadTime::now();
    for _ in 0..times {
        work();
    }
    started.elapsed().as_nanos() as f64 / times as f64
}

fn calibrate(work: &mut Work) -> u64 {
    let mut times = 8;
    while measure(work, times) * (times as f64) < NANOSECONDS as f64 && times < 1 << 24 {
        times *= 2;
    }
    times
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(what: &str, goal: &str, mut ours: Work, mut theirs: Work) {
    let times = [calibrate(&mut ours), calibrate(&mut theirs)];
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let pair = (measure(&mut ours, times[0]), measure(&mut theirs, times[1]));
        a.push(pair.0);
        b.push(pair.1);
        ratios.push(pair.0 / pair.1);
    }
    println!("| {what} | {:.1} | {:.1} | {:.2} | {goal} |", median(a), median(b), median(ratios));
}

fn main() {
    // `cargo test --benches` runs this too; there is nothing to test.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let (hundred, all) = (RuleSet::spread(100), 100_000);
    println!("| what, beside what | ns | ns | ratio | goal |\n|---|---:|---:|---:|---|");
    compare(
        "100 rules in 10 hosts, in turn: a decision, beside matchit",
        "2.5",
        podway(hundred, false),
        matchit(hundred, false),
    );
    compare("… and its report, beside matchit", "", with_report(hundred, false), matchit(hundred, false));
    compare(
        "100 rules in 10 hosts, in turn: a decision, beside a scan",
        "",
        podway(hundred, false),
        scan(hundred, false),
    );
    #[cfg(feature = "peers")]
    compare(
        "a decision, beside pingora's selection of 1 of 4 backends",
        "",
        podway(hundred, false),
        pingora(),
    );
    for (name, few, many) in [
        ("one host", RuleSet::one_host(100), RuleSet::one_host(all)),
        ("ten rules a host", RuleSet::spread(100), RuleSet::spread(all)),
    ] {
        let title = |what: &str| format!("{name}: {what}, 100,000 rules beside 100");
        compare(&title("one hot request"), "1.5", podway(many, true), podway(few, true));
        compare(&title("all in turn"), "matchit's", podway(many, false), podway(few, false));
        compare(&title("all in turn, matchit"), "", matchit(many, false), matchit(few, false));
        compare(
            &format!("{name}: all 100,000 in turn, beside matchit"),
            "",
            podway(many, false),
            matchit(many, false),
        );
    }
    for (name, set) in [
        ("100 rules in one host", RuleSet::one_host(100)),
        ("1,000 rules in 100 hosts", RuleSet::spread(1_000)),
    ] {
        for (what, goal, mix) in [
            ("10 % globs", "3", Mix::Globs(10)),
            ("10 % regexes", "", Mix::Regexes(10)),
            ("10 % other conditions", "", Mix::Conditions(10)),
            ("100 % globs", "", Mix::Globs(100)),
            ("100 % regexes", "", Mix::Regexes(100)),
            ("100 % other conditions", "", Mix::Conditions(100)),
        ] {
            compare(
                &format!("{name}: {what}, beside literal"),
                goal,
                podway(set.with(mix), false),
                podway(set, false),
            );
        }
    }
}
