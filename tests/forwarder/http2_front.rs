//! Clients over HTTP/2: limits, statuses, and what is logged of those that leave (spec: dataplane §6.7, §7.1).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use podway::forwarder::{Builder, HookAnswer, TlsConfig};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Balancer, Setup, answers, echo, fields, read_request, target};
use crate::tls::{Authority, connect, https};

/// What is sent: so many bytes, and no end where there is more to come that never comes.
pub(crate) struct Sent {
    bytes: Option<Bytes>,
    ends: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.bytes.is_none()
    }
}

pub(crate) const NOTHING: Sent = Sent { bytes: None, ends: true };

fn half() -> Sent {
    Sent { bytes: Some(Bytes::from_static(b"half")), ends: false }
}

pub(crate) struct Client {
    pub(crate) lb: Balancer,
    pub(crate) sender: SendRequest<Sent>,
    pub(crate) connection: tokio::task::JoinHandle<()>,
}

pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn of(setup: Setup) -> Self {
        Self::with(setup, |b| b).await
    }

    pub(crate) async fn with(setup: Setup, change: impl FnOnce(Builder) -> Builder) -> Self {
        let authority = Authority::new();
        let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
        let lb = setup.start_with(Some(tls), change).await;
        let stream = connect(&lb, &authority, "a.example.com", None, &[b"h2"]).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        // As much of an answer's head as anybody sends.
        builder.max_header_list_size(1 << 20);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Client { lb, sender, connection }
    }

    pub(crate) fn get(path: &str) -> http::request::Builder {
        Request::get(format!("https://a.example.com{path}"))
    }

    pub(crate) async fn ask(&mut self, request: http::request::Builder) -> Seen {
        self.send(request.body(NOTHING).unwrap()).await
    }

    async fn send(&mut self, request: Request<Sent>) -> Seen {
        self.sender.ready().await.unwrap();
        let (parts, body) = self.sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        Seen { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// A target that reads a request and says nothing.
async fn silent() -> std::net::SocketAddr {
    target(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await
}

#[tokio::test]
async fn heads_have_the_same_limits_as_in_http1() {
    let mut client = Client::of(https(echo().await)).await;
    for (status, path, fields) in [
        (200, 15_000, vec![15_000]),
        (414, 17_000, vec![]),
        (400, 1, vec![17_000]),
        (400, 1, vec![14_000; 5]),
        (200, 1, vec![14_000; 4]),
    ] {
        let mut request = Client::get(&format!("/{}", "p".repeat(path)));
        for (n, length) in fields.iter().enumerate() {
            request = request.header(format!("x-{n}"), "v".repeat(*length));
        }
        let seen = client.ask(request).await;
        assert_eq!(seen.status, status, "{path} {fields:?}");
    }
    assert!(client.lb.logged(2).await.contains(" - -1 -1 -1 414 - "));
    let list = vec!["10.0.0.1"; 31].join(", ");
    assert_eq!(client.ask(Client::get("/").header("x-forwarded-for", list)).await.status, 463);
    assert_eq!(fields(&client.lb.logged(6).await)[21], "-");
    let trace = Request::builder().method("TRACE").uri("https://a.example.com/");
    assert_eq!(client.ask(trace).await.status, 405);
}

#[tokio::test]
async fn protocols_that_do_not_fit_are_464() {
    // The table of the specification, without its row for HTTP/1.
    for (version, get, post, grpc, web) in
        [("HTTP1", 200, 200, 464, 200), ("HTTP2", 502, 502, 502, 502), ("GRPC", 464, 502, 502, 502)]
    {
        // It speaks HTTP/1: what is sent there fails, which is not 464.
        let setup = Setup { group: json!({"ProtocolVersion": version}), ..https(echo().await) };
        let mut client = Client::of(setup).await;
        for (method, content_type, status) in [
            ("GET", "text/plain", get),
            ("POST", "text/plain", post),
            ("POST", "application/grpc", grpc),
            ("POST", "application/grpc+proto", grpc),
            ("POST", "application/grpc-web+proto", web),
        ] {
            let request = Request::builder().method(method).uri("https://a.example.com/t.T/M");
            let seen = client.ask(request.header("content-type", content_type)).await;
            assert_eq!(seen.status, status, "{method} {content_type} to {version}");
            let calls = content_type.starts_with("application/grpc") && !content_type.contains("web");
            assert_eq!(seen.headers.contains_key("grpc-status"), calls && status != 200, "{content_type}");
        }
    }
}

#[tokio::test]
async fn who_resets_a_request_is_logged() {
    let mut client = Client::of(https(silent().await)).await;
    // Dropped before it is answered, which resets the stream.
    let asked = client.sender.send_request(Client::get("/left").body(NOTHING).unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(500), asked).await.is_err());
    let field = fields(&client.lb.logged(1).await);
    assert_eq!((field[9].as_str(), field[10].as_str()), ("460", "-"), "{field:?}");
    assert!(field[6].parse::<f64>().unwrap() >= 0.0 && field[7] == "-1" && field[5] != "-", "{field:?}");
    // With half of it on its way it was no request.
    let post = Request::post("https://a.example.com/half").body(half()).unwrap();
    let asked = client.sender.send_request(post);
    assert!(tokio::time::timeout(Duration::from_millis(500), asked).await.is_err());
    let field = fields(&client.lb.logged(2).await);
    assert_eq!(field[9], "400", "{field:?}");
    // Nor is one lost that ends with its connection.
    let last = client.sender.send_request(Client::get("/gone").body(NOTHING).unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(500), last).await.is_err());
    client.connection.abort();
    assert_eq!(fields(&client.lb.logged(3).await)[9], "460");
    assert!(
        client.lb.running.metrics().contains("HTTPCode_ELB_4XX_Count_total{LoadBalancer=\"app/lb/1\"} 3")
    );
    assert_eq!(client.lb.running.status()["TargetGroups"][0]["TargetHealthDescriptions"][0]["InFlight"], 0);
}

#[tokio::test]
async fn who_is_silent_decides_between_408_and_504() {
    let idle = |target| https(target).with("idle_timeout.timeout_seconds", "1");
    let mut client = Client::of(idle(silent().await)).await;
    assert_eq!(client.ask(Client::get("/")).await.status, 504);
    let post = Request::post("https://a.example.com/").body(half()).unwrap();
    assert_eq!(client.send(post).await.status, 408, "the client owes the rest");
    // It does not read: the client has more to give than anybody takes.
    let deaf = target(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let mut client = Client::of(idle(deaf)).await;
    let much = Sent { bytes: Some(Bytes::from(vec![b'm'; 64 << 20])), ends: true };
    assert_eq!(client.send(Request::post("https://a.example.com/").body(much).unwrap()).await.status, 504);
}

#[tokio::test]
async fn heads_of_answers_have_the_same_limit_as_in_http1() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok");
    // There is no limit to how many there are.
    let many: String = (0..300).map(|n| format!("X-{n}: {}\r\n", "v".repeat(80))).collect();
    let long = format!("X: {}\r\n", "v".repeat(33 * 1024));
    let mut client = Client::of(https(answers(head(&many)).await)).await;
    let seen = client.ask(Client::get("/")).await;
    assert_eq!((seen.status, seen.headers.len() > 300, seen.body.as_str()), (200, true, "ok"));
    let plain = Setup::new(&[answers(head(&many)).await]).start().await.get("/").await;
    assert_eq!((plain.status, plain.header("x-299").is_some(), plain.body.as_str()), (200, true, "ok"));
    let mut client = Client::of(https(answers(head(&long)).await)).await;
    assert_eq!(client.ask(Client::get("/")).await.status, 502);
    assert_eq!(fields(&client.lb.logged(1).await)[10], "-");
}

#[tokio::test]
async fn fields_pass_as_in_http1() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x_env", "Values": ["1"]}}],
        "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418"}}]}]);
    for (drop, status, counted) in [("false", 418, "Forwarded"), ("true", 200, "Dropped")] {
        let setup = Setup { rules: rules.clone(), ..https(echo().await) }
            .with("routing.http.drop_invalid_header_fields.enabled", drop);
        let mut client = Client::of(setup).await;
        assert_eq!(client.ask(Client::get("/").header("x_env", "1")).await.status, status);
        let seen = client.ask(Client::get("/").header("x_other", "1").header("expect", "100-continue")).await;
        assert_eq!(seen.body.contains("x_other"), drop == "false", "{}", seen.body);
        assert!(!seen.body.contains("expect"), "{}", seen.body);
        let metrics = client.lb.running.metrics();
        let line = |n| format!("{counted}InvalidHeaderRequestCount_total{{LoadBalancer=\"app/lb/1\"}} {n}");
        // What a rule answers is forwarded to nobody.
        assert!(metrics.contains(&line(if drop == "true" { 2 } else { 1 })), "{metrics}");
    }
}

#[tokio::test]
async fn hooks_have_a_say() {
    let actions = json!([{"Type": "authenticate-cognito", "Order": 1, "AuthenticateCognitoConfig":
            {"UserPoolArn": "arn:p", "UserPoolClientId": "c", "UserPoolDomain": "d"}},
        {"Type": "forward", "Order": 2, "TargetGroupArn": "arn:targetgroup/g/1"}]);
    let setup = Setup { default_actions: actions, ..https(echo().await) };
    let login = |request: podway::forwarder::HookRequest| async move {
        if request.uri == "/callback" {
            let host = request.headers["host"].to_str().unwrap();
            let answer =
                http::Response::builder().status(302).header("location", format!("https://{host}/in"));
            return HookAnswer::Answer(answer.body(Vec::new()).unwrap());
        }
        let mut fields = HeaderMap::new();
        fields.insert("x-amzn-oidc-identity", "me".parse().unwrap());
        HookAnswer::Continue(fields)
    };
    let failing = |request: podway::forwarder::HookRequest| async move {
        match request.uri.as_str() {
            "/blocked" => HookAnswer::Refuse { status: 403, reason: String::new() },
            "/broken" => HookAnswer::Failed { reason: "WAFServiceError".into() },
            _ => HookAnswer::Continue(HeaderMap::new()),
        }
    };
    let mut client = Client::with(setup, |b| b.authenticate(login).firewall(failing)).await;
    let seen = client
        .ask(Client::get("/").header("x-amzn-oidc-identity", "you").header("x-amzn-oidc-data", "forged"))
        .await;
    assert!(seen.body.contains("x-amzn-oidc-identity: me") && !seen.body.contains("forged"), "{}", seen.body);
    assert_eq!(fields(&client.lb.logged(1).await)[23], "waf,authenticate,forward");
    let seen = client.ask(Client::get("/callback")).await;
    assert_eq!((seen.status, seen.headers["location"].to_str().unwrap()), (302, "https://a.example.com/in"));
    assert_eq!(client.ask(Client::get("/blocked")).await.status, 403);
    assert_eq!(client.ask(Client::get("/broken")).await.status, 500);
    let field = fields(&client.lb.logged(4).await);
    assert_eq!((field[23].as_str(), field[25].as_str()), ("waf-failed", "WAFServiceError"));
    let metrics = client.lb.running.metrics();
    assert!(metrics.contains("RequestCount_total{LoadBalancer=\"app/lb/1\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn what_a_listener_inserts_and_its_pages() {
    let setup = https(
        answers("HTTP/1.1 200 OK\r\nServer: mine\r\nX-Frame-Options: ALLOW\r\nContent-Length: 0\r\n\r\n")
            .await,
    )
    .on_listener("routing.http.response.x_frame_options.header_value", "DENY")
    .on_listener("routing.http.response.server.enabled", "false");
    let mut client = Client::of(setup).await;
    let seen = client.ask(Client::get("/")).await;
    assert_eq!((seen.header("server"), seen.header("x-frame-options")), ("mine", "DENY"));
    assert_eq!(seen.headers.get_all("x-frame-options").iter().count(), 1);
    let trace = Request::builder().method("TRACE").uri("https://a.example.com/");
    let seen = client.ask(trace).await;
    assert_eq!((seen.header("server"), seen.header("x-frame-options")), ("", "DENY"));
    let head = Request::head("https://a.example.com/");
    let mut client = Client::of(Setup { targets: Vec::new(), ..https(echo().await) }).await;
    let seen = client.ask(head).await;
    assert_eq!((seen.status, seen.body.as_str()), (503, ""));
    assert_eq!((seen.header("content-length"), seen.header("server")), ("162", "awselb/2.0"));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let authority = Authority::new();
    let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
    let lb = https(echo().await).with("routing.http2.enabled", "false").start_with(Some(tls), |b| b).await;
    let mut stream = connect(&lb, &authority, "a.example.com", None, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(crate::support::read_answer(&mut stream, false).await.status, 200);
}

#[tokio::test]
async fn a_connection_ends_after_ten_thousand_requests() {
    let actions = json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "204"}}]);
    let mut client = Client::of(Setup { default_actions: actions, ..https(echo().await) }).await;
    let mut answered = 0;
    // More than that cannot be asked; all that is asked is answered.
    while client.sender.ready().await.is_ok() {
        let asked = (0..100).map(|_| client.sender.send_request(Client::get("/").body(NOTHING).unwrap()));
        for asked in asked.collect::<Vec<_>>() {
            match asked.await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 204);
                    answered += 1;
                }
                Err(refused) => assert!(answered >= 9_900, "{answered}: {refused}"),
            }
        }
        assert!(answered <= 10_200, "{answered}");
    }
    assert!(answered >= 10_000, "{answered}");
}

#[tokio::test]
async fn names_are_lower_case_but_for_those_of_the_load_balancer() {
    let mut client = Client::of(https(echo().await)).await;
    let body = "\r\nhost: a\r\nx-forwarded-for: b";
    for _ in 0..3 {
        for sent in [None, Some(body)] {
            let request =
                Request::post("https://a.example.com/").header("x-mine", "1").header("x-forwarded-for", "c");
            let bytes = sent.map(|b| Bytes::from_static(b.as_bytes()));
            let seen = client.send(request.body(Sent { bytes, ends: true }).unwrap()).await.body;
            let (head, rest) = seen.split_once("\r\n\r\n").unwrap();
            for line in [
                "Host: a.example.com",
                "X-Forwarded-For: c, 127.0.0.1",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Port: 443",
                "x-mine: 1",
            ] {
                assert!(format!("{head}\r\n").contains(&format!("\r\n{line}\r\n")), "{line}: {seen}");
            }
            assert!(head.contains("\r\nX-Amzn-Trace-Id: Root=1-"), "{seen}");
            assert!(sent.is_none_or(|b| rest.contains(b)), "nothing else is touched: {seen}");
        }
    }
}
