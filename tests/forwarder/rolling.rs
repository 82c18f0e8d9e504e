//! A rolling deploy of three pods in ip mode under load: with what the docs advise (`core/docs/rolling-deploys.md`)
//! no request fails; each of the usual mistakes shows the failures that users of the load balancer see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podway::model::{Model, TargetHealthState};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{Balancer, Setup, read_answer, read_request};

/// How long the longest request takes.
const LONGEST: Duration = Duration::from_millis(1500);
/// Between a pod's end in Kubernetes and its deregistration: the controller has to hear of it first.
const LAG: Duration = Duration::from_millis(700);

/// How a deployment is set up.
#[derive(Clone, Copy, Debug)]
struct Deployment {
    /// Until a new pod's app has started.
    startup: Duration,
    /// `readinessProbe`: pods are registered when their app has started.
    readiness_probe: bool,
    /// The pod readiness gate: the rollout goes on when the load balancer finds the new pod healthy.
    readiness_gate: bool,
    /// `preStop: sleep`: SIGTERM comes when the load balancer sends nothing new any more.
    pre_stop: Duration,
    /// Whether the app finishes its requests after SIGTERM.
    graceful: bool,
    /// `deregistration_delay.timeout_seconds`.
    deregistration_delay: &'static str,
}

const ADVISED: Deployment = Deployment {
    startup: Duration::from_millis(400),
    readiness_probe: true,
    readiness_gate: true,
    pre_stop: Duration::from_millis(2500),
    graceful: true,
    deregistration_delay: "10",
};

/// A pod, as the process in it sees itself.
struct Pod {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    terminate: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Pod {
    async fn start(startup: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Arc::new(AtomicBool::new(startup.is_zero()));
        let (terminate, terminated) = watch::channel(false);
        let task = tokio::spawn(app(listener, ready.clone(), terminated));
        if !startup.is_zero() {
            let ready = ready.clone();
            tokio::spawn(async move {
                tokio::time::sleep(startup).await;
                ready.store(true, Ordering::Relaxed);
            });
        }
        Pod { address, ready, terminate, task }
    }

    async fn end(self, graceful: bool) {
        if graceful {
            self.terminate.send_replace(true);
            self.task.await.unwrap();
        } else {
            self.task.abort();
        }
    }
}

/// Serves until it is told to stop: then it accepts nothing more, finishes what it has, and ends.
async fn app(listener: TcpListener, ready: Arc<AtomicBool>, mut terminated: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let told = terminated.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                connections.spawn(connection(stream, ready.clone(), told.clone()));
            }
            _ = terminated.wait_for(|t| *t) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(mut stream: TcpStream, ready: Arc<AtomicBool>, mut terminated: watch::Receiver<bool>) {
    loop {
        let request = tokio::select! {
            request = read_request(&mut stream) => request,
            _ = terminated.wait_for(|t| *t) => None,
        };
        let Some(request) = request else { return };
        if request.starts_with("GET /slow") {
            tokio::time::sleep(LONGEST).await;
        }
        let status = if ready.load(Ordering::Relaxed) { "200 OK" } else { "500 Internal Server Error" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What clients got, while `deployment` replaced all of its three pods.
async fn roll(deployment: Deployment) -> BTreeMap<u16, usize> {
    let attributes =
        json!([{"Key": "deregistration_delay.timeout_seconds", "Value": deployment.deregistration_delay}]);
    let group =
        json!({"Attributes": attributes, "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2});
    let mut pods = Vec::new();
    for _ in 0..3 {
        pods.push(Pod::start(Duration::ZERO).await);
    }
    let addresses: Vec<_> = pods.iter().map(|p| p.address).collect();
    let mut setup = Setup { group, ..Setup::new(&addresses) };
    let lb = Arc::new(setup.start_with(None, |b| b.health_checks(true)).await);
    let answers = Arc::new(Mutex::new(BTreeMap::new()));
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..10)
        .map(|i| {
            let (lb, answers, done) = (lb.clone(), answers.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let status = ask(&lb, if i < 6 { "/slow" } else { "/" }).await;
                    *answers.lock().unwrap().entry(status).or_default() += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut replaced = Vec::new();
    for old in pods {
        let new = Pod::start(deployment.startup).await;
        if deployment.readiness_probe {
            until(|| new.ready.load(Ordering::Relaxed)).await;
        }
        setup.targets.push(new.address);
        lb.running.reload(&with_new(setup.model(), new.address)).unwrap();
        if deployment.readiness_gate {
            until(|| state(&lb, new.address) == Some(TargetHealthState::Healthy)).await;
        }
        // Terminating: Kubernetes runs preStop and then SIGTERM, the controller deregisters meanwhile.
        setup.targets.retain(|t| *t != old.address);
        let deregistered = async {
            tokio::time::sleep(LAG).await;
            lb.running.reload(&setup.model()).unwrap();
        };
        let ended = async {
            tokio::time::sleep(deployment.pre_stop).await;
            old.end(deployment.graceful).await;
        };
        tokio::join!(deregistered, ended);
        replaced.push(new);
    }
    tokio::time::sleep(LONGEST).await;
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    answers.lock().unwrap().clone()
}

/// The model in which a target is new: nothing is known of its health.
fn with_new(mut model: Model, address: SocketAddr) -> Model {
    for described in &mut model.target_groups[0].target_health_descriptions {
        if described.target.port == Some(address.port()) {
            described.target_health.state = TargetHealthState::Initial;
        }
    }
    model
}

async fn ask(lb: &Balancer, path: &str) -> u16 {
    let mut stream = lb.connect().await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    read_answer(&mut stream, false).await.status
}

fn state(lb: &Balancer, address: SocketAddr) -> Option<TargetHealthState> {
    let status = lb.running.status();
    let described = status["TargetGroups"][0]["TargetHealthDescriptions"].as_array()?.iter();
    let mut mine = described.filter(|d| d["Target"]["Port"] == address.port());
    serde_json::from_value(mine.next()?["TargetHealth"]["State"].clone()).ok()
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..3000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s");
}

fn failed(answers: &BTreeMap<u16, usize>) -> usize {
    answers.iter().filter(|(status, _)| **status != 200).map(|(_, n)| n).sum()
}

#[tokio::test]
async fn as_advised_no_request_fails() {
    let answers = roll(ADVISED).await;
    assert!(answers[&200] > 10 && failed(&answers) == 0, "{answers:?}");
}

#[tokio::test]
async fn without_a_pre_stop_requests_go_to_pods_that_are_gone() {
    let answers = roll(Deployment { pre_stop: Duration::ZERO, ..ADVISED }).await;
    assert!(answers.contains_key(&502), "{answers:?}");
}

#[tokio::test]
async fn without_readiness_requests_go_to_pods_that_have_not_started() {
    // The old pods are gone before the new ones answer; with none healthy, all are tried.
    // Longer than the deploy takes on any machine.
    let startup = Duration::from_secs(3600);
    let answers =
        roll(Deployment { startup, readiness_probe: false, readiness_gate: false, ..ADVISED }).await;
    assert!(answers.contains_key(&500), "{answers:?}");
}

#[tokio::test]
async fn a_delay_shorter_than_requests_cuts_them() {
    let answers = roll(Deployment { deregistration_delay: "0", ..ADVISED }).await;
    assert!(answers.contains_key(&502), "{answers:?}");
}

#[tokio::test]
async fn an_app_that_drops_its_requests_loses_them() {
    let pre_stop = LAG + Duration::from_millis(100);
    let answers = roll(Deployment { graceful: false, pre_stop, ..ADVISED }).await;
    assert!(answers.contains_key(&502), "{answers:?}");
}
