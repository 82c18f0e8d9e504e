//! What manifests cost before the first request: 1,000 Ingresses of 10 paths with a Service each. `parse` is
//! text to objects, `compile` is objects to model (the made-up cluster, groups, listeners, rules, target
//! groups, warnings), `router` is model to router. The claim is a ratio within one run: compiling costs less
//! than parsing.
//!
//! ```sh
//! cargo bench -p podway-benches --bench manifests
//! ```

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use podway::local::{LocalCluster, complete};
use podway::manifest::{Objects, Settings, Source, build};
use podway::{KeyRing, Now, Options, Router};

const INGRESSES: usize = 1_000;
const PATHS: usize = 10;

/// A file for each Ingress with its Services. `group` names the load balancer they share, if they do.
fn folder(group: Option<&str>) -> Vec<Source> {
    (0..INGRESSES).map(|i| Source::new(format!("{i:04}.yml"), file(i, group))).collect()
}

fn file(i: usize, group: Option<&str>) -> String {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: app-{i}
  namespace: team-{}
  labels:
    app.kubernetes.io/name: app-{i}
  annotations:
    alb.ingress.kubernetes.io/scheme: internet-facing
    alb.ingress.kubernetes.io/target-type: ip
    alb.ingress.kubernetes.io/listen-ports: '[{{\"HTTP\": 80}}]'
    alb.ingress.kubernetes.io/healthcheck-path: /healthz
    alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds=30
",
        i % 50
    );
    if let Some(group) = group {
        let _ = writeln!(text, "    alb.ingress.kubernetes.io/group.name: {group}");
    }
    let _ = write!(
        text,
        "spec:
  ingressClassName: alb
  rules:
    - host: app-{i}.example.com
      http:
        paths:
"
    );
    for p in 0..PATHS {
        let _ = write!(
            text,
            "          - path: /service{p}
            pathType: Prefix
            backend:
              service:
                name: app-{i}-{p}
                port:
                  number: 80
"
        );
    }
    for p in 0..PATHS {
        let _ = write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata:
  name: app-{i}-{p}
  namespace: team-{}
spec:
  type: ClusterIP
  selector:
    app: app-{i}-{p}
  ports:
    - name: http
      port: 80
      targetPort: 8080
",
            i % 50
        );
    }
    text
}

fn manifests(c: &mut Criterion) {
    for (name, group) in [("1,000 load balancers", None), ("one load balancer", Some("all"))] {
        let mut sources = folder(group);
        sources.push(Source::new(
            "class.yml",
            "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: alb}, \
             spec: {controller: ingress.k8s.aws/alb}}",
        ));
        let (settings, cluster) = (Settings::default(), LocalCluster::default());
        let objects = Objects::parse(&sources).expect("objects");
        let mut bench = c.benchmark_group(format!("manifests/{name}"));
        bench.sample_size(10);
        bench.bench_function("parse", |b| b.iter(|| Objects::parse(black_box(&sources)).expect("objects")));
        bench.bench_function("compile", |b| {
            b.iter_batched(
                || objects.clone(),
                |mut objects| {
                    complete(&mut objects, &cluster);
                    let loaded = build(&objects, &settings).expect("a model");
                    (objects, loaded)
                },
                BatchSize::PerIteration,
            );
        });
        let mut completed = objects.clone();
        complete(&mut completed, &cluster);
        let model = build(&completed, &settings).expect("a model").model;
        let rules =
            model.load_balancers.iter().flat_map(|b| &b.listeners).map(|l| l.rules.len()).sum::<usize>();
        assert_eq!((rules, model.target_groups.len()), (INGRESSES * PATHS, INGRESSES * PATHS));
        bench.bench_function("router", |b| {
            b.iter(|| {
                let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
                Router::new(black_box(&model), Options::default(), keys, Now::default()).expect("a router")
            });
        });
        bench.finish();
    }
}

criterion_group!(benches, manifests);
criterion_main!(benches);
