//! What clients send to the forwarder, over HTTP/1: whatever it is, no task panics, and a target that is strict
//! sees nothing but requests that the load balancer wrote itself. A request that got past it inside another one
//! (smuggling) would lack what the load balancer adds, or would be none.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use podway::forwarder::{Forwarder, ForwarderClock, Running};
use podway::model::Model;
use podway::{KeyRing, ListenerId, Options, Router};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const MODES: [&str; 3] = ["monitor", "defensive", "strictest"];
/// What comes last: once it is answered there is nothing to wait for.
const LAST: &[u8] = b"GET /the-last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// Who got stuck, for example in a body that is longer than what follows, is not waited for longer.
const QUIET: Duration = Duration::from_millis(30);
const CLIENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 40_000);

/// What a target, or a task, found wrong.
type Wrong = Arc<Mutex<Vec<String>>>;

struct Bench {
    runtime: Runtime,
    running: Running,
    listeners: Vec<ListenerId>,
    wrong: Wrong,
}

/// Sends `data` on a connection, once for each desync mode. With `readable` the target has to be able to read all
/// that it gets; else it may refuse some: the load balancer lets bytes pass that a strict server does not take, a
/// space in a target for one, and in monitor mode a vertical tab in a value.
pub(super) fn requests(data: &[u8], readable: bool) {
    static BENCHES: [OnceLock<Bench>; 2] = [const { OnceLock::new() }; 2];
    let [lax, strict] = &BENCHES;
    let bench = if readable { strict } else { lax }.get_or_init(|| Bench::new(readable));
    for (mode, listener) in MODES.iter().zip(&bench.listeners) {
        let answer = bench.runtime.block_on(bench.send(*listener, data));
        let wrong = std::mem::take(&mut *lock(&bench.wrong));
        assert!(wrong.is_empty(), "{mode}: {wrong:?}");
        // A head, or for a request of HTTP/0.9 what the target or the load balancer says.
        let text = String::from_utf8_lossy(&answer);
        let known = ["HTTP/1.1 ", "ok", "<html>"].iter().any(|start| text.starts_with(start));
        assert!(known || answer.is_empty(), "{mode}: {text}");
    }
}

impl Bench {
    fn new(readable: bool) -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let wrong = Wrong::default();
        let hook = std::panic::take_hook();
        let told = wrong.clone();
        // A task that panics tells nobody who waits for it.
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() == Some("tokio-rt-worker") {
                lock(&told).push(info.to_string());
            }
            hook(info);
        }));
        let (running, listeners) = runtime.block_on(async {
            let target = target(wrong.clone(), readable).await;
            let model = model(target);
            let clock = ForwarderClock::new();
            let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
            let router = Router::new(&model, Options::default(), keys, clock.now()).expect("a router");
            let router = Arc::new(router);
            let listeners: Vec<ListenerId> =
                MODES.iter().map(|mode| router.listener(mode, 80).expect("a listener")).collect();
            let mut builder = Forwarder::builder(router, &model, clock).health_checks(false);
            for listener in &listeners {
                builder = builder.bind(*listener, ([127, 0, 0, 1], 0).into(), None);
            }
            (builder.start().await.expect("a forwarder"), listeners)
        });
        Bench { runtime, running, listeners, wrong }
    }

    /// What comes back.
    async fn send(&self, listener: ListenerId, data: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(256 * 1024);
        assert!(self.running.serve_connection(listener, server, CLIENT));
        let mut answer = Vec::new();
        for part in [data, LAST] {
            // A server that has had enough does not read on.
            if !matches!(tokio::time::timeout(QUIET, client.write_all(part)).await, Ok(Ok(()))) {
                break;
            }
        }
        let mut piece = vec![0; 16 * 1024];
        while let Ok(Ok(n)) = tokio::time::timeout(QUIET, client.read(&mut piece)).await {
            if n == 0 {
                break;
            }
            answer.extend_from_slice(piece.get(..n).unwrap_or_default());
        }
        answer
    }
}

fn lock(wrong: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    wrong.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One load balancer for each desync mode, all to one target.
fn model(target: SocketAddr) -> Model {
    let balancers: Vec<_> = MODES
        .iter()
        .map(|mode| {
            json!({"LoadBalancerArn": format!("arn:lb/{mode}"), "LoadBalancerName": mode, "DNSName": "lb.example.com",
                "Attributes": [{"Key": "routing.http.desync_mitigation_mode", "Value": mode}],
                "Listeners": [{"Port": 80, "Protocol": "HTTP",
                    "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:group"}]}]})
        })
        .collect();
    let all: Vec<_> = MODES.iter().map(|mode| format!("arn:lb/{mode}")).collect();
    let target = json!({"Target": {"Id": target.ip().to_string(), "Port": target.port()},
        "TargetHealth": {"State": "healthy"}});
    let model = json!({"LoadBalancers": balancers, "TargetGroups": [{"TargetGroupArn": "arn:group",
        "TargetGroupName": "group", "TargetType": "ip", "Protocol": "HTTP", "LoadBalancerArns": all,
        "TargetHealthDescriptions": [target]}]});
    Model::from_json(&model.to_string()).expect("a model")
}

/// A strict server, which looks at every request it gets.
async fn target(wrong: Wrong, readable: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let wrong = wrong.clone();
            tokio::spawn(async move {
                let serve = service_fn(|request: Request<Incoming>| {
                    let wrong = wrong.clone();
                    async move {
                        let headers = request.headers().clone();
                        let what = format!("{} {} {headers:?}", request.method(), request.uri());
                        lock(&wrong).extend(missing(&headers).map(|name| format!("{name}: {what}")));
                        // A body that breaks off is the client's doing.
                        let _ = request.into_body().collect().await;
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                    }
                });
                if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await
                    && error.is_parse()
                    && readable
                {
                    lock(&wrong).push(format!("the target cannot read this: {error:?}"));
                }
            });
        }
    });
    address
}

/// What is not as the load balancer writes it.
fn missing(headers: &HeaderMap) -> impl Iterator<Item = &'static str> {
    let lines = |name: &str| headers.get_all(name).iter().map(|v| v.as_bytes().to_vec()).collect::<Vec<_>>();
    let one = |name: &str, is: &dyn Fn(&[u8]) -> bool| matches!(lines(name).as_slice(), [v] if is(v));
    let fine = [
        ("host", one("host", &|host| !host.is_empty())),
        ("x-forwarded-for", one("x-forwarded-for", &|v| v.ends_with(b"192.0.2.9"))),
        ("x-forwarded-proto", one("x-forwarded-proto", &|v| v == b"http")),
        ("x-forwarded-port", one("x-forwarded-port", &|v| v == b"80")),
        (
            "x-amzn-trace-id",
            one("x-amzn-trace-id", &|v| v.starts_with(b"Root=1-") || v.starts_with(b"Self=1-")),
        ),
        ("framing", lines("content-length").len() + lines("transfer-encoding").len() <= 1),
        (
            "hop by hop",
            ["te", "trailer", "keep-alive", "proxy-connection"].iter().all(|n| lines(n).is_empty()),
        ),
    ];
    fine.into_iter().filter(|(_, fine)| !fine).map(|(name, _)| name)
}
