//! Many things going wrong at once, and the clients beside them that must not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use podway::forwarder::{Forwarder, ForwarderClock};
use podway::{KeyRing, Options, Router};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Balancer, Setup, echo, read_answer, read_request, target};

/// Asks with a mark until told to stop; how many answers were right and how many were not.
async fn ask_with_marks(lb: Arc<Balancer>, client: usize, stop: Arc<AtomicBool>) -> (usize, usize) {
    let (mut right, mut wrong) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let mut stream = lb.connect().await;
        for i in 0..5 {
            let mark = format!("client-{client}-request-{right}-{i}");
            let request = format!("GET /{mark} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_answer(&mut stream, false).await;
            let good = answer.status == 200 && answer.whole && answer.body.contains(&mark);
            *(if good { &mut right } else { &mut wrong }) += 1;
        }
    }
    (right, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_reset_do_not_harm_others() {
    let least = json!([{"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"}]);
    let targets = [echo().await, echo().await];
    let lb = Setup { group: json!({"Attributes": least}), ..Setup::new(&targets) }.start().await;
    let lb = Arc::new(lb);
    let stop = Arc::new(AtomicBool::new(false));
    let resets = Arc::new(AtomicUsize::new(0));
    let mut storm = Vec::new();
    for how in 0..4 {
        let (lb, stop, resets) = (lb.clone(), stop.clone(), resets.clone());
        storm.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut stream) = TcpStream::connect(lb.address).await else { continue };
                stream.set_zero_linger().unwrap();
                let _ = match how {
                    0 => Ok(()),
                    1 => stream.write_all(b"GET / HT").await,
                    2 => stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await,
                    _ => {
                        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc";
                        stream.write_all(head).await
                    }
                };
                drop(stream);
                resets.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }));
    }
    let clients: Vec<_> = (0..3).map(|i| tokio::spawn(ask_with_marks(lb.clone(), i, stop.clone()))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    for task in storm {
        task.await.unwrap();
    }
    for client in clients {
        let (right, wrong) = client.await.unwrap();
        assert!(right > 0 && wrong == 0, "{right} right, {wrong} wrong");
    }
    assert!(resets.load(Ordering::Relaxed) > 10);
    // Nothing is left behind: no connection, and no request that a target would still be charged with.
    for _ in 0..1000 {
        if lb.running.metrics().contains("ActiveConnectionCount{LoadBalancer=\"app/lb/1\"} 0\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let metrics = lb.running.metrics();
    assert!(metrics.contains("ActiveConnectionCount{LoadBalancer=\"app/lb/1\"} 0\n"), "{metrics}");
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..20 {
        lb.get("/").await;
    }
    for line in lb.log.lock().unwrap().iter().rev().take(20) {
        *seen.entry(line.split(' ').nth(4).unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "idle targets are equal: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_reset_are_502_and_nothing_else() {
    let count = Arc::new(AtomicUsize::new(0));
    let rude = target(move |mut stream| {
        let count = count.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                match count.fetch_add(1, Ordering::Relaxed) % 3 {
                    0 => return stream.set_zero_linger().unwrap(),
                    1 => {
                        let _ =
                            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nhalf").await;
                        return stream.set_zero_linger().unwrap();
                    }
                    _ => {}
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}", request.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let lb = Setup::new(&[rude]).start().await;
    let (mut whole, mut cut, mut refused) = (0, 0, 0);
    for i in 0..150 {
        let answer = lb.get(&format!("/mark-{i}")).await;
        match (answer.status, answer.whole) {
            (200, true) => {
                assert!(answer.body.contains(&format!("/mark-{i} ")), "{answer:?}");
                whole += 1;
            }
            (200, false) => cut += 1,
            (502, true) => refused += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((whole, cut, refused), (50, 50, 50));
}

static OFFSET: AtomicI64 = AtomicI64::new(0);

/// A clock that somebody sets.
#[allow(clippy::disallowed_methods)] // it stands for the system's
fn set_by_somebody() -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let now = now.saturating_add(OFFSET.load(Ordering::Relaxed)).max(0);
    UNIX_EPOCH + Duration::from_secs(now.cast_unsigned())
}

#[tokio::test]
async fn a_clock_that_jumps_breaks_nothing() {
    let sticky = json!([{"Key": "stickiness.enabled", "Value": "true"},
        {"Key": "stickiness.type", "Value": "lb_cookie"},
        {"Key": "stickiness.lb_cookie.duration_seconds", "Value": "3600"}]);
    let group =
        json!({"Attributes": sticky, "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2});
    let setup = Setup { group, ..Setup::new(&[echo().await, echo().await]) };
    let clock = ForwarderClock::with_time_of_day(set_by_somebody);
    let model = setup.model();
    let keys = KeyRing::from_secret(&[7; 32]).unwrap();
    let router = Arc::new(Router::new(&model, Options::default(), keys, clock.now()).unwrap());
    let listener = router.listeners()[0].id;
    let builder = Forwarder::builder(router.clone(), &model, clock);
    let running = builder.bind(listener, ([127, 0, 0, 1], 0).into(), None).start().await.unwrap();
    let address = running.address(listener).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut cookie = String::new();
    let year = 31_536_000;
    for offset in [0, 10 * year, -40 * year, 0, 60, -60, 80 * year, 0, i64::MIN / 2, 1] {
        OFFSET.store(offset, Ordering::Relaxed);
        for _ in 0..20 {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_answer(&mut stream, false).await;
            assert_eq!((answer.status, answer.whole), (200, true), "{offset}: {answer:?}");
            let set = answer.header("set-cookie").unwrap().split(';').next().unwrap();
            cookie = format!("Cookie: {set}\r\n");
        }
    }
    // Nor are targets lost: their checks follow the monotonic half.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let states: Vec<_> = router.targets().iter().map(|t| t.health.state.to_string()).collect();
    assert_eq!(states, ["healthy", "healthy"]);
}

#[tokio::test]
async fn slow_heads_keep_nobody_waiting() {
    let lb = Setup::new(&[echo().await]).with("idle_timeout.timeout_seconds", "1").start().await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = lb.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..50 {
        assert_eq!(lb.get("/").await.status, 200);
    }
    // Who says nothing more for the idle timeout is told and let go.
    for mut stream in slow {
        assert_eq!(read_answer(&mut stream, false).await.status, 408);
        let _ = stream.shutdown().await;
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
