//! Which target gets a request, and 503 from each of its causes (spec: dataplane §2.2, §3.2, §3.4, §3.5).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Balancer, Setup, echo, fields, read_request, target};

/// Targets in these states, and in these zones.
fn described(all: &[(std::net::SocketAddr, &str, &str)]) -> Value {
    let one = |(at, state, zone): &(std::net::SocketAddr, &str, &str)| {
        json!({"Target": {"Id": at.ip().to_string(), "Port": at.port(), "AvailabilityZone": zone},
            "TargetHealth": {"State": state}})
    };
    json!(all.iter().map(one).collect::<Vec<_>>())
}

/// How often each target was asked, by `n` requests.
async fn spread(lb: &Balancer, n: usize) -> BTreeMap<String, usize> {
    let before = lb.log.lock().unwrap().len();
    for _ in 0..n {
        lb.get("/").await;
    }
    lb.logged(before + n).await;
    let mut seen = BTreeMap::new();
    for line in lb.log.lock().unwrap().iter().skip(before) {
        *seen.entry(fields(line)[5].clone()).or_default() += 1;
    }
    seen
}

fn metric(lb: &Balancer, name: &str) -> u64 {
    let group = ",TargetGroup=\"targetgroup/g/1\"";
    let metrics = lb.running.metrics();
    let line = |labels: &str| {
        let start = format!("{name}{{LoadBalancer=\"app/lb/1\"{labels}}} ");
        metrics.lines().find_map(|l| l.strip_prefix(&start).map(str::to_owned))
    };
    line(group).or_else(|| line("")).unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn s503_from_each_of_its_causes() {
    let a = echo().await;
    let zonal = json!([{"Key": "load_balancing.cross_zone.enabled", "Value": "false"}]);
    let forward = |weights: [u32; 2]| {
        json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": [
            {"TargetGroupArn": "arn:targetgroup/g/1", "Weight": weights[0]},
            {"TargetGroupArn": "arn:targetgroup/empty/2", "Weight": weights[1]}]}}])
    };
    let empty = json!({"TargetGroupArn": "arn:targetgroup/empty/2", "TargetGroupName": "empty",
        "TargetType": "ip", "Protocol": "HTTP", "TargetHealthDescriptions": [],
        "LoadBalancerArns": ["arn:loadbalancer/app/lb/1"]});
    let of = |group: Value| Setup { group, zone: Some("a"), ..Setup::new(&[]) };
    let with = |weights| Setup {
        default_actions: forward(weights),
        more_groups: vec![empty.clone()],
        ..of(json!({"TargetHealthDescriptions": described(&[(a, "healthy", "a")])}))
    };
    for (why, setup) in [
        ("nobody is registered", of(json!({}))),
        ("all are unused", of(json!({"TargetHealthDescriptions": described(&[(a, "unused", "a")])}))),
        ("all are draining", of(json!({"TargetHealthDescriptions": described(&[(a, "draining", "a")])}))),
        (
            "nobody in this zone",
            of(json!({"TargetHealthDescriptions": described(&[(a, "healthy", "b")]), "Attributes": zonal})),
        ),
        ("an empty group was drawn", with([0, 1])),
        ("every weight is zero", with([0, 0])),
    ] {
        let lb = setup.start().await;
        let answer = lb.get("/").await;
        assert_eq!((answer.status, answer.header("content-length")), (503, Some("162")), "{why}");
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{why}");
        let line = lb.logged(1).await;
        assert!(line.contains(" - -1 -1 -1 503 - "), "{why}: {line}");
        assert_eq!(
            (metric(&lb, "RequestCount_total"), metric(&lb, "HTTPCode_ELB_503_Count_total")),
            (0, 1),
            "{why}"
        );
    }
    // Only they: the same with one thing put right.
    for setup in [
        of(json!({"TargetHealthDescriptions": described(&[(a, "healthy", "a")]), "Attributes": zonal})),
        of(json!({"TargetHealthDescriptions": described(&[(a, "healthy", "b")])})),
        of(json!({"TargetHealthDescriptions": described(&[(a, "initial", "a")])})),
        with([1, 0]),
    ] {
        assert_eq!(setup.start().await.get("/").await.status, 200);
    }
    // Half of what is drawn for an empty group fails, and nobody stands in for it.
    let lb = with([1, 1]).start().await;
    let seen = spread(&lb, 100).await;
    assert!(seen["-"] > 20 && seen[&a.to_string()] > 20, "{seen:?}");
}

#[tokio::test]
async fn the_unhealthy_are_asked_when_too_few_are_left() {
    let targets = [echo().await, echo().await, echo().await];
    let states = |of: [&str; 3], attributes: Value| {
        let all: Vec<_> = targets.iter().zip(of).map(|(at, state)| (*at, state, "a")).collect();
        let group = json!({"TargetHealthDescriptions": described(&all), "Attributes": attributes});
        Setup { group, ..Setup::new(&[]) }
    };
    let least = |count: &str| json!([{"Key": "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "Value": count}]);
    for (of, attributes, asked) in [
        (["healthy", "unhealthy", "healthy"], json!([]), 2),
        (["healthy", "unhealthy", "unhealthy"], json!([]), 1),
        (["unhealthy", "unhealthy", "unhealthy"], json!([]), 3),
        (["healthy", "unhealthy", "unhealthy"], least("2"), 3),
        (["healthy", "unhealthy", "draining"], least("2"), 2),
    ] {
        let lb = states(of, attributes).start().await;
        let seen = spread(&lb, 12).await;
        assert_eq!(seen.len(), asked, "{of:?}: {seen:?}");
        assert!(seen.values().all(|n| *n == 12 / asked), "in turn: {seen:?}");
        let open = of.iter().filter(|s| **s == "healthy").count() < asked;
        assert_eq!(metric(&lb, "UnhealthyRoutingRequestCount_total"), if open { 12 } else { 0 }, "{of:?}");
        let healthy = of.iter().filter(|s| **s == "healthy").count() as u64;
        let unhealthy = of.iter().filter(|s| **s == "unhealthy").count() as u64;
        assert_eq!(
            (metric(&lb, "HealthyHostCount"), metric(&lb, "UnHealthyHostCount")),
            (healthy, unhealthy)
        );
    }
}

#[tokio::test]
async fn a_target_that_fails_more_than_its_peers_gets_less() {
    let attributes = json!([{"Key": "load_balancing.algorithm.type", "Value": "weighted_random"},
        {"Key": "load_balancing.algorithm.anomaly_mitigation", "Value": "on"}]);
    // Its checks are fine.
    let bad = target(|mut stream| async move {
        while let Some(request) = read_request(&mut stream).await {
            let status = if request.starts_with("GET /check ") { "200 OK" } else { "500 Oops" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let targets = [echo().await, echo().await, bad];
    let group = json!({"Attributes": attributes, "HealthCheckPath": "/check"});
    let setup = Setup { group, ..Setup::new(&targets) };
    // Who asks what is due judges too.
    let lb = setup.start_with(None, |b| b.health_checks(true)).await;
    let mut found = false;
    for _ in 0..60 {
        spread(&lb, 60).await;
        if metric(&lb, "AnomalousHostCount") == 1 && metric(&lb, "MitigatedHostCount") == 1 {
            found = true;
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(found, "{}", lb.running.metrics());
    let seen = spread(&lb, 300).await;
    let its = seen.get(&bad.to_string()).copied().unwrap_or(0);
    assert!(its < 75, "less than its third: {seen:?}");
}
