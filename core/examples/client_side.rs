//! podway as a client-side balancer: a hyper client whose requests go straight to healthy targets, by a load
//! balancer's rules, with no proxy between.
//!
//! `cargo run --features cli --example client_side`

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use podway::forwarder::{Forwarder, ForwarderClock};
use podway::{KeyRing, Options, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tower_service::Service as _;

type Failure = Box<dyn std::error::Error>;

/// A server that says its name.
async fn server(name: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(move |_| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(name.as_bytes()))))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    Ok(address)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let targets = [server("one").await?, server("two").await?];
    // What `aws elbv2 describe-*` or `podway plan -o json` prints would do as well.
    let described: Vec<_> =
        targets.iter().map(|t| json!({"Target": {"Id": t.ip(), "Port": t.port()}})).collect();
    let model = serde_json::from_value(json!({
        "LoadBalancers": [{"LoadBalancerArn": "arn:lb", "LoadBalancerName": "shop", "Listeners": [{
            "Port": 80, "Protocol": "HTTP",
            "Rules": [{"Priority": "1",
                "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/cart/*"]}}],
                "Actions": [{"Type": "forward", "TargetGroupArn": "arn:cart"}]}],
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}]}],
        "TargetGroups": [{"TargetGroupArn": "arn:cart", "TargetGroupName": "cart", "TargetType": "ip",
            "LoadBalancerArns": ["arn:lb"], "TargetHealthDescriptions": described}]
    }))?;

    let clock = ForwarderClock::new();
    let keys = KeyRing::from_secret(&[7; 32])?;
    let router = Arc::new(Router::new(&model, Options::default(), keys, clock.now())?);
    let listener = router.listener("shop", 80).ok_or("no such listener")?;
    // Binds nothing: it does the health checks.
    let running = Forwarder::builder(router, &model, clock).start().await?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut service = running.balance(listener, client);

    for path in ["/cart/1", "/cart/2", "/cart/3", "/nowhere"] {
        let request = Request::get(format!("http://shop.example.com{path}")).body(Empty::new())?;
        let response = service.call(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{path}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
