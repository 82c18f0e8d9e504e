//! What a decision costs (rule, group and target; no cookie), beside `matchit` behind a hash of the host, a
//! scan of the rules, and, with the feature `peers`, pingora's selection. Time is the thread's own on a
//! processor, so that neighbours disturb it less; what counts is the ratio within one run.

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use podway_benches::{Mix, RuleSet};

const SIZES: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// Time of this thread on a processor.
struct OnProcessor;

impl Measurement for OnProcessor {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, started: ThreadTime) -> Duration {
        started.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

type Group<'c> = BenchmarkGroup<'c, OnProcessor>;

fn spreads(rules: usize) -> [(&'static str, RuleSet); 2] {
    [("one host", RuleSet::one_host(rules)), ("ten a host", RuleSet::spread(rules))]
}

/// The same requests, in turn, to everything that can answer them.
fn all(group: &mut Group<'_>, name: &str, set: &RuleSet, asked: &[(String, String)]) {
    let mut decider = set.decider();
    let mut n = 0;
    let mut next = || {
        n += 1;
        let (host, target) = &asked[n % asked.len()];
        (black_box(host.as_str()), black_box(target.as_str()))
    };
    group.bench_function(BenchmarkId::new("podway", name), |b| {
        b.iter(|| {
            let (host, target) = next();
            decider.decide(host, target)
        });
    });
    group.bench_function(BenchmarkId::new("podway with report", name), |b| {
        b.iter(|| {
            let (host, target) = next();
            decider.decide_and_report(host, target)
        });
    });
    if set.mix == Mix::Literal {
        let routes = set.matchit();
        group.bench_function(BenchmarkId::new("matchit", name), |b| {
            b.iter(|| {
                let (host, path) = next();
                routes.at(host, path)
            });
        });
        if set.rules <= 10_000 {
            let scan = set.scan();
            group.bench_function(BenchmarkId::new("scan", name), |b| {
                b.iter(|| {
                    let (host, path) = next();
                    scan.at(host, path)
                });
            });
        }
    }
}

/// One request, again and again.
fn hot(c: &mut Criterion<OnProcessor>) {
    let mut group = c.benchmark_group("hot");
    for rules in SIZES {
        for (spread, set) in spreads(rules) {
            let asked = [(set.host(rules / 2), set.target(rules / 2))];
            all(&mut group, &format!("{spread}, {rules} rules"), &set, &asked);
        }
    }
    group.finish();
}

/// All rules in turn: what the caches do not hold is paid for.
fn rotating(c: &mut Criterion<OnProcessor>) {
    let mut group = c.benchmark_group("rotating");
    for rules in SIZES {
        for (spread, set) in spreads(rules) {
            all(&mut group, &format!("{spread}, {rules} rules"), &set, &set.requests(rules));
        }
    }
    group.finish();
}

/// The rule of the lowest priority number, that of the highest, and no rule at all.
fn place(c: &mut Criterion<OnProcessor>) {
    let mut group = c.benchmark_group("place");
    for rules in [100, 10_000] {
        let set = RuleSet::one_host(rules);
        for (name, asked) in [
            ("first", (set.host(0), set.target(0))),
            ("last", (set.host(rules - 1), set.target(rules - 1))),
            ("default", (set.host(0), "/nowhere/service/item/42".to_owned())),
            ("default by host", ("elsewhere.example.com".to_owned(), set.target(0))),
        ] {
            all(&mut group, &format!("{name}, {rules} rules"), &set, &[asked]);
        }
    }
    group.finish();
}

/// Rules with conditions that no place stands for, as a share of all.
fn mixed(c: &mut Criterion<OnProcessor>) {
    let mut group = c.benchmark_group("mixed");
    for (rules, spread) in [(100, RuleSet::one_host(100)), (1_000, RuleSet::spread(1_000))] {
        let asked = spread.requests(rules);
        all(&mut group, &format!("literal, {rules} rules"), &spread, &asked);
        for percent in [1, 10, 100] {
            for (name, mix) in [
                ("conditions", Mix::Conditions(percent)),
                ("globs", Mix::Globs(percent)),
                ("regexes", Mix::Regexes(percent)),
            ] {
                let set = spread.with(mix);
                let asked = set.requests(rules);
                all(&mut group, &format!("{percent} % {name}, {rules} rules"), &set, &asked);
            }
        }
    }
    group.finish();
}

/// Long paths against rules that all have to be asked: the time grows with the length, and no faster.
fn long(c: &mut Criterion<OnProcessor>) {
    let mut group = c.benchmark_group("long");
    for (name, mix) in [("globs", Mix::Globs(100)), ("regexes", Mix::Regexes(100))] {
        let set = RuleSet::one_host(100).with(mix);
        let mut decider = set.decider();
        for kib in [1, 2, 4, 8, 16] {
            // Begins over and over what the patterns look for, and never ends it.
            let target = "/team1/service/service".repeat(kib * 1024 / 22);
            group.bench_function(BenchmarkId::new(name, format!("{kib} KiB")), |b| {
                b.iter(|| decider.decide(black_box("h0.example.com"), black_box(&target)));
            });
        }
    }
    group.finish();
}

/// What pingora's load balancer takes to select one of its backends; it finds no route.
#[cfg(feature = "peers")]
fn peers(c: &mut Criterion<OnProcessor>) {
    use pingora_load_balancing::{LoadBalancer, selection};
    let mut group = c.benchmark_group("selection");
    for backends in [4usize, 1_000] {
        let addresses: Vec<String> =
            (0..backends).map(|i| format!("10.0.{}.{}:80", i / 250, i % 250)).collect();
        let balancer =
            LoadBalancer::<selection::RoundRobin>::try_from_iter(addresses.iter().map(String::as_str))
                .expect("a load balancer");
        group.bench_function(BenchmarkId::new("pingora round robin", backends), |b| {
            b.iter(|| balancer.select(black_box(b""), 16));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(OnProcessor)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    hot(&mut criterion);
    rotating(&mut criterion);
    place(&mut criterion);
    mixed(&mut criterion);
    long(&mut criterion);
    #[cfg(feature = "peers")]
    peers(&mut criterion);
    criterion.final_summary();
}
