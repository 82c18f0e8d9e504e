//! What selection, stickiness, health and draining cost: beside pingora's selection and ring's AEAD in the same
//! run. Ratios count, absolute times do not.

#![allow(clippy::disallowed_methods)] // a bench reads clocks

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use cpu_time::ThreadTime;
use criterion::{Criterion, criterion_group, criterion_main};
use podway::model::Model;
use podway::{KeyRing, ListenerId, Now, Options, Outcome, Output, ProbeResult, Request, Router};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::json;

fn now(ms: u64) -> Now {
    Now { mono_ms: ms, unix_s: 1_767_225_600 + ms / 1000 }
}

/// One listener, one group of `targets` healthy targets.
fn model(targets: u32, sticky: bool, algorithm: &str) -> Model {
    let descriptions: Vec<_> = (0..targets)
        .map(|i| {
            let [_, a, b, c] = i.to_be_bytes();
            json!({"Target": {"Id": format!("10.{a}.{b}.{c}"), "Port": 80}, "TargetHealth": {"State": "healthy"}})
        })
        .collect();
    serde_json::from_value(json!({
        "LoadBalancers": [{"LoadBalancerArn": "arn:alb", "LoadBalancerName": "alb", "Listeners": [
            {"Port": 80, "Protocol": "HTTP",
             "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:a"}]}]}],
        "TargetGroups": [{"TargetGroupArn": "arn:a", "TargetGroupName": "a", "TargetType": "ip",
            "HealthCheckIntervalSeconds": 30,
            "Attributes": [{"Key": "stickiness.enabled", "Value": sticky.to_string()},
                           {"Key": "load_balancing.algorithm.type", "Value": algorithm}],
            "TargetHealthDescriptions": descriptions}]}))
    .expect("a model")
}

fn router(model: &Model) -> (Router, ListenerId) {
    let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
    let router = Router::new(model, Options::default(), keys, now(0)).expect("a router");
    let listener = router.listener("alb", 80).expect("a listener");
    (router, listener)
}

fn peer() -> std::net::SocketAddr {
    ([10, 0, 0, 9], 40_000).into()
}

/// A whole sticky decision: the cookie is found, opened and honoured, a renewed one sealed and both headers
/// written; beside it ring's AES-128-GCM on 48 bytes, opened and sealed, and nothing else. Absolute times by
/// criterion, and the ratios of what is measured in turn.
fn sticky(c: &mut Criterion) {
    let mut works = [
        ("a sticky decision", sticky_decision(false)),
        ("a sticky decision and its report", sticky_decision(true)),
        ("a decision and its report without stickiness", plain_decision()),
        ("ring AES-128-GCM open and seal 48 bytes", open_and_seal()),
    ];
    let mut group = c.benchmark_group("sticky");
    for (name, work) in &mut works {
        group.bench_function(*name, |b| b.iter(&mut *work));
    }
    group.finish();
    let mut rounds = vec![Vec::new(); works.len()];
    for _ in 0..201 {
        for ((_, work), times) in works.iter_mut().zip(&mut rounds) {
            let started = ThreadTime::now();
            (0..5_000).for_each(|_| work());
            times.push(started.elapsed().as_nanos() as f64 / 5_000.0);
        }
    }
    let ring = rounds.pop().unwrap_or_default();
    for ((name, _), times) in works.iter().zip(rounds) {
        let mut ratios: Vec<f64> = times.iter().zip(&ring).map(|(ours, ring)| ours / ring).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
        println!(
            "sticky: {name}, beside ring: median {:.2} (a tenth below {:.2}, a tenth above {:.2})",
            at(0.5),
            at(0.1),
            at(0.9)
        );
    }
}

fn sticky_decision(report: bool) -> Box<dyn FnMut()> {
    let (router, listener) = router(&model(10, true, "round_robin"));
    let mut output = Output::new();
    let request = Request::new("GET", "/", peer());
    let first = router.decide(listener, &request, now(0), 1, &mut output);
    router.report(&first, Outcome::Response(200), now(0));
    let pair = |cookie: &str| cookie.split(';').next().unwrap_or_default().to_owned();
    let cookies: Vec<String> = output.set_cookies().map(pair).collect();
    let line = format!("session=0123456789abcdef; {}", cookies.join("; "));
    let mut n = 0u64;
    Box::new(move || {
        n += 1;
        let headers = [("accept", "*/*"), ("cookie", line.as_str())];
        let request = Request::new("GET", "/", peer()).headers(&headers);
        // The second changes as it does under a load of 100,000 requests a second.
        let decision = router.decide(listener, black_box(&request), now(n / 100), n, &mut output);
        if report {
            router.report(&decision, Outcome::Response(200), now(n / 100));
        }
        black_box(decision);
    })
}

fn plain_decision() -> Box<dyn FnMut()> {
    let (router, listener) = router(&model(10, false, "round_robin"));
    let (mut output, mut n) = (Output::new(), 0u64);
    Box::new(move || {
        n += 1;
        let request = Request::new("GET", "/", peer()).headers(&[("accept", "*/*")]);
        let decision = router.decide(listener, black_box(&request), now(n / 100), n, &mut output);
        router.report(&decision, Outcome::Response(200), now(n / 100));
        black_box(decision);
    })
}

fn open_and_seal() -> Box<dyn FnMut()> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key"));
    let (mut sealed, mut n) = ([0u8; 64], 0u64);
    Box::new(move || {
        n += 1;
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&n.to_le_bytes());
        let nonce = || Nonce::assume_unique_for_key(nonce);
        sealed[..48].copy_from_slice(&[9; 48]);
        let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut sealed[..48]).expect("sealed");
        sealed[48..].copy_from_slice(tag.as_ref());
        black_box(key.open_in_place(nonce(), Aad::empty(), &mut sealed).expect("opened").first());
    })
}

/// The choice among healthy targets, as part of a whole decision; pingora's selection is only that, and is
/// measured with `--features peers`.
fn selection(c: &mut Criterion) {
    let mut group = c.benchmark_group("selection");
    for targets in [10u32, 1000] {
        for algorithm in ["round_robin", "weighted_random", "least_outstanding_requests"] {
            let (router, listener) = router(&model(targets, false, algorithm));
            let (mut output, mut n) = (Output::new(), 0);
            let request = Request::new("GET", "/", peer());
            group.bench_function(format!("podway {algorithm}, whole decision/{targets}"), |b| {
                b.iter(|| {
                    n += 1;
                    let decision = router.decide(listener, black_box(&request), now(0), n, &mut output);
                    router.report(&decision, Outcome::Response(200), now(0));
                    decision
                });
            });
        }
        #[cfg(feature = "peers")]
        pingora(&mut group, targets);
    }
    group.finish();
}

/// pingora's two like ours, the selection only.
#[cfg(feature = "peers")]
fn pingora(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>, targets: u32) {
    use pingora_load_balancing::{LoadBalancer, selection};
    let names: Vec<String> = (0..targets).map(|i| format!("10.0.{}.{}:80", i / 256, i % 256)).collect();
    let robin: LoadBalancer<selection::RoundRobin> = LoadBalancer::try_from_iter(&names).expect("backends");
    let random: LoadBalancer<selection::Random> = LoadBalancer::try_from_iter(&names).expect("backends");
    group.bench_function(format!("pingora RoundRobin, selection only/{targets}"), |b| {
        b.iter(|| robin.select(black_box(b""), 16));
    });
    group.bench_function(format!("pingora Random, selection only/{targets}"), |b| {
        b.iter(|| random.select(black_box(b""), 16));
    });
}

/// What a poll costs that has one probe due in ten milliseconds of a schedule, by how many targets wait; and
/// a change of health, there and back.
fn health(c: &mut Criterion) {
    let mut group = c.benchmark_group("health");
    for targets in [1_000u32, 100_000] {
        let (router, _) = router(&model(targets, false, "round_robin"));
        let (mut at, mut probes, mut taken, mut polls) = (0u64, Vec::new(), 0u64, 0u64);
        // Past the first probes: each has its own phase now.
        while at < 120_000 {
            at += 100;
            router.poll(now(at), &mut probes);
            probes.clear();
        }
        // As long a stretch of time as has one probe due.
        let step = (30_000 / u64::from(targets)).max(1);
        group.bench_function(format!("poll, time for one probe or a few/{targets}"), |b| {
            b.iter(|| {
                at += step;
                router.poll(now(at), &mut probes);
                taken += probes.len() as u64;
                polls += 1;
                probes.clear();
            });
        });
        println!("health: {targets} targets: {:.2} probes a poll", taken as f64 / polls as f64);
        let ids: Vec<_> = router.targets().iter().map(|t| t.id).take(1000).collect();
        let mut n = 0;
        group.bench_function(format!("two failures and five successes of a target/{targets}"), |b| {
            b.iter(|| {
                n += 1;
                let id = ids[n % ids.len()];
                for status in [500, 500, 200, 200, 200, 200, 200] {
                    router.report_probe(id, &ProbeResult::Status(status), now(at));
                }
            });
        });
    }
    group.finish();
}

/// A model of 100,000 targets is reloaded again and again while two threads decide: what the slowest
/// decision took, with and without reloads. The difference is what the processors' being shared costs.
fn reload(_: &mut Criterion) {
    let (before, after) = (model(100_000, true, "round_robin"), model(99_000, true, "round_robin"));
    let (router, listener) = router(&before);
    for reloads in [0, 10] {
        let (stop, decided) = (AtomicBool::new(false), AtomicU64::new(0));
        let (slowest, took) = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut output, mut latencies, mut n) = (Output::new(), Vec::new(), 0);
                        let request = Request::new("GET", "/", peer());
                        while !stop.load(Ordering::Relaxed) {
                            n += 1;
                            let began = Instant::now();
                            let decision = router.decide(listener, &request, now(n), n, &mut output);
                            router.report(&decision, Outcome::Response(200), now(n));
                            latencies.push(began.elapsed().as_nanos() as u64);
                        }
                        decided.fetch_add(n, Ordering::Relaxed);
                        latencies.sort_unstable();
                        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
                        (at(0.5), at(0.9999), at(1.0))
                    })
                })
                .collect();
            let began = Instant::now();
            for n in 0..reloads {
                router.reload(if n % 2 == 0 { &after } else { &before }, now(n)).expect("a reload");
            }
            let took = began.elapsed();
            if reloads == 0 {
                std::thread::sleep(std::time::Duration::from_secs(2));
            }
            stop.store(true, Ordering::Relaxed);
            let slowest: Vec<_> = readers.into_iter().map(|r| r.join().expect("a reader")).collect();
            (slowest, took)
        });
        println!(
            "reload: {reloads} reloads of 100,000 targets in {took:?}; {} decisions beside them, \
             (median, 99.99 %, slowest) ns of each thread: {slowest:?}",
            decided.load(Ordering::Relaxed)
        );
    }
}

criterion_group!(benches, sticky, selection, health, reload);
criterion_main!(benches);
