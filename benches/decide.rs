//! What a decision costs: rule and target, no cookie; beside it `matchit` behind a host `HashMap`, which
//! finds a route and nothing else. Ratios within one run count, absolute times do not.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use podway::{Now, Outcome, Output, Request};
use podway_benches::RuleSet;

const SIZES: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

fn peer() -> std::net::SocketAddr {
    ([10, 0, 0, 9], 40_000).into()
}

/// One hot request: the rule in the middle, again and again.
fn hot(c: &mut Criterion) {
    let mut group = c.benchmark_group("hot");
    for rules in SIZES {
        let set = RuleSet { rules, hosts: rules.min(10), mixed_percent: 0 };
        let (host, target) = (set.host(rules / 2), set.target(rules / 2));
        let (router, listener) = set.router();
        let headers = [("x-version", "v2")];
        let request = Request::new("GET", &target, peer()).host(&host).headers(&headers);
        let (mut output, mut n) = (Output::new(), 0);
        group.bench_function(BenchmarkId::new("podway", rules), |b| {
            b.iter(|| {
                n += 1;
                let decision = router.decide(listener, black_box(&request), Now::default(), n, &mut output);
                router.report(&decision, Outcome::Response(200), Now::default());
                decision
            });
        });
        let routes = matchit_routes(&set);
        let path = target.split('?').next().unwrap_or_default();
        group.bench_function(BenchmarkId::new("matchit", rules), |b| {
            b.iter(|| {
                routes
                    .get(black_box(host.as_str()))
                    .and_then(|r| r.at(black_box(path)).ok())
                    .map(|m| *m.value)
            });
        });
    }
    group.finish();
}

/// Every rule in turn: what the caches do not hold is paid for.
fn rotating(c: &mut Criterion) {
    let mut group = c.benchmark_group("rotating");
    for rules in SIZES {
        for hosts in [1, 100] {
            let set = RuleSet { rules, hosts: rules.min(hosts), mixed_percent: 0 };
            let asked: Vec<(String, String)> =
                (0..rules).map(|i| (set.host(i * 7919 % rules), set.target(i * 7919 % rules))).collect();
            let (router, listener) = set.router();
            let (mut output, mut n) = (Output::new(), 0usize);
            let name = format!("{rules}/{hosts} hosts");
            group.bench_function(BenchmarkId::new("podway", &name), |b| {
                b.iter(|| {
                    n += 1;
                    let (host, target) = &asked[n % rules];
                    let request = Request::new("GET", target, peer()).host(host);
                    let decision = router.decide(listener, &request, Now::default(), n as u64, &mut output);
                    router.report(&decision, Outcome::Response(200), Now::default());
                    decision
                });
            });
            let routes = matchit_routes(&set);
            group.bench_function(BenchmarkId::new("matchit", &name), |b| {
                b.iter(|| {
                    n += 1;
                    let (host, target) = &asked[n % rules];
                    let path = target.split('?').next().unwrap_or_default();
                    routes.get(host.as_str()).and_then(|r| r.at(path).ok()).map(|m| *m.value)
                });
            });
        }
    }
    group.finish();
}

/// Rules with conditions that no index helps with, as a share of all.
fn mixed(c: &mut Criterion) {
    let mut group = c.benchmark_group("mixed");
    for mixed_percent in [0, 1, 10, 100] {
        let set = RuleSet { rules: 1_000, hosts: 10, mixed_percent };
        let asked: Vec<(String, String)> = (0..1_000).map(|i| (set.host(i), set.target(i))).collect();
        let (router, listener) = set.router();
        let headers = [("x-version", "v2")];
        let (mut output, mut n) = (Output::new(), 0usize);
        group.bench_function(BenchmarkId::new("podway", mixed_percent), |b| {
            b.iter(|| {
                n += 1;
                let (host, target) = &asked[n % 1_000];
                let request = Request::new("GET", target, peer()).host(host).headers(&headers);
                let decision = router.decide(listener, &request, Now::default(), n as u64, &mut output);
                router.report(&decision, Outcome::Response(200), Now::default());
                decision
            });
        });
    }
    group.finish();
}

fn matchit_routes(set: &RuleSet) -> HashMap<String, matchit::Router<usize>> {
    let mut routes: HashMap<String, matchit::Router<usize>> = HashMap::new();
    for i in 0..set.rules {
        let router = routes.entry(set.host(i)).or_default();
        let prefix = set.prefix(i);
        router.insert(prefix.clone(), i).expect("a route");
        router.insert(format!("{prefix}/{{*rest}}"), i).expect("a route");
    }
    routes
}

criterion_group!(benches, hot, rotating, mixed);
criterion_main!(benches);
