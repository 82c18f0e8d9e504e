//! Requests that no target gets, whatever the rules say of them: what the client, the log and the metrics have
//! of it (spec: dataplane §1.2, §7.3, §8.1).

use std::time::Duration;

use podway::forwarder::HookAnswer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Balancer, Setup, echo, fields, read_answer};

fn fixed(status: &str) -> Value {
    json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status, "MessageBody": "here"}}])
}

fn redirect() -> Value {
    json!([{"Type": "redirect", "RedirectConfig":
        {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}])
}

fn authenticated(kind: &str) -> Value {
    let first = match kind {
        "jwt-validation" => json!({"Type": kind, "Order": 1, "JwtValidationConfig":
            {"JwksEndpoint": "https://a.example.com/k", "Issuer": "a"}}),
        _ => json!({"Type": kind, "Order": 1, "AuthenticateOidcConfig": {"Issuer": "https://a.example.com",
            "AuthorizationEndpoint": "https://a.example.com/a", "TokenEndpoint": "https://a.example.com/t",
            "UserInfoEndpoint": "https://a.example.com/u", "ClientId": "c", "ClientSecret": "s"}}),
    };
    json!([first, {"Type": "forward", "Order": 2, "TargetGroupArn": "arn:targetgroup/g/1"}])
}

/// A counter of the load balancer.
fn count(lb: &Balancer, name: &str) -> u64 {
    let start = format!("{name}_total{{LoadBalancer=\"app/lb/1\"}} ");
    let metrics = lb.running.metrics();
    let line = metrics.lines().find_map(|l| l.strip_prefix(&start)).expect(name);
    line.parse().unwrap()
}

#[tokio::test]
async fn no_action_answers_what_is_no_request() {
    let many = vec!["10.0.0.1"; 31].join(", ");
    for actions in [fixed("200"), redirect(), Setup::new(&[]).default_actions] {
        let lb = Setup { default_actions: actions.clone(), ..Setup::new(&[echo().await]) }.start().await;
        for (n, (status, request)) in [
            (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
            (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned()),
            (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned()),
            (463, format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {many}\r\n\r\n")),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(lb.ask(&request).await.status, status, "{request}: {actions}");
            let line = lb.logged(n + 1).await;
            let field = fields(&line);
            assert_eq!((field[5].as_str(), field[10].as_str()), ("-", "-"), "no target: {line}");
            assert_eq!(field[6..9].join(" "), "-1 -1 -1", "{line}");
            assert_eq!((field[17].as_str(), field[21].as_str()), ("-", "-"), "no group, no rule: {line}");
            assert_eq!(field[23], "-", "{line}");
        }
        assert_eq!((count(&lb, "RequestCount"), count(&lb, "HTTPCode_ELB_4XX_Count")), (0, 4));
        // A client of HTTP/1.0 need not say for which host it asks.
        assert_ne!(lb.ask("GET / HTTP/1.0\r\n\r\n").await.status, 400);
    }
}

#[tokio::test]
async fn hosts_count_in_every_mode_of_x_forwarded_for() {
    for mode in ["append", "preserve", "remove"] {
        let setup = Setup::new(&[echo().await]).with("routing.http.xff_header_processing.mode", mode);
        let lb = setup.start().await;
        // On several lines they are as many.
        let lines = "X-Forwarded-For: 10.0.0.1,10.0.0.2\r\n".repeat(16);
        assert_eq!(lb.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await.status, 463, "{mode}");
    }
}

#[tokio::test]
async fn who_is_turned_away_was_no_request_of_a_target() {
    let setup = Setup { default_actions: authenticated("jwt-validation"), ..Setup::new(&[echo().await]) };
    let refuse = |_| async { HookAnswer::Refuse { status: 401, reason: "JWTClaimNotPresent".into() } };
    let block = |request: podway::forwarder::HookRequest| async move {
        if request.uri == "/blocked" {
            HookAnswer::Refuse { status: 403, reason: String::new() }
        } else {
            HookAnswer::Continue(http::HeaderMap::new())
        }
    };
    let lb = setup.start_with(None, |b| b.authenticate(refuse).firewall(block)).await;
    assert_eq!(lb.get("/").await.status, 401);
    assert_eq!(lb.get("/blocked").await.status, 403);
    let refused = fields(&lb.logged(1).await);
    assert_eq!((refused[5].as_str(), refused[21].as_str(), refused[23].as_str()), ("-", "0", "waf"));
    assert_eq!(refused[25], "JWTClaimNotPresent");
    assert!(refused[18].starts_with("Root=1-"), "{refused:?}");
    assert_eq!(count(&lb, "RequestCount"), 0);
    assert_eq!(count(&lb, "JWTValidationFailureCount"), 1);
    assert_eq!(count(&lb, "ELBAuthFailure"), 0, "a token is no login");
    assert!(
        !lb.running
            .metrics()
            .contains("RequestCount_total{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1")
    );
}

#[tokio::test]
async fn who_is_logged_in_is_told_by_nobody_else() {
    let setup = Setup { default_actions: authenticated("authenticate-oidc"), ..Setup::new(&[echo().await]) };
    // As `OnUnauthenticatedRequest: allow` has it: on, without a name.
    let allow = |_| async { HookAnswer::Continue(http::HeaderMap::new()) };
    let lb = setup.start_with(None, |b| b.authenticate(allow)).await;
    let forged = "X-Amzn-Oidc-Identity: me\r\nx-amzn-oidc-data: x.y.z\r\nX-Amzn-Oidc: kept\r\n";
    let seen = lb.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{forged}\r\n")).await.body;
    assert!(!seen.to_lowercase().contains("x-amzn-oidc-") && seen.contains("X-Amzn-Oidc: kept"), "{seen}");
    // Without a host there is nowhere to come back to from a login.
    assert_eq!(lb.ask("GET / HTTP/1.0\r\n\r\n").await.status, 401);
    assert_eq!(fields(&lb.logged(2).await)[25], "AuthMissingHostHeader");
    assert_eq!((count(&lb, "ELBAuthSuccess"), count(&lb, "ELBAuthFailure")), (1, 1));
    // Where nobody logs in they are fields like any other.
    let plain = Setup::new(&[echo().await]).start().await;
    let seen = plain.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{forged}\r\n")).await.body;
    assert!(seen.contains("X-Amzn-Oidc-Identity: me"), "{seen}");
}

#[tokio::test]
async fn a_field_that_is_dropped_matches_no_rule() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X_Env", "Values": ["1"]}}],
        "Actions": fixed("418")}]);
    for (drop, status) in [("false", 418), ("true", 200)] {
        let setup = Setup { rules: rules.clone(), ..Setup::new(&[echo().await]) };
        let lb = setup.with("routing.http.drop_invalid_header_fields.enabled", drop).start().await;
        let answer = lb.ask("GET / HTTP/1.1\r\nHost: a\r\nX_Env: 1\r\n\r\n").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(!answer.body.contains("X_Env"));
    }
}

#[tokio::test]
async fn invalid_fields_are_counted_by_the_request() {
    for (drop, name) in
        [("false", "ForwardedInvalidHeaderRequestCount"), ("true", "DroppedInvalidHeaderRequestCount")]
    {
        let setup = Setup::new(&[echo().await]);
        let lb = setup.with("routing.http.drop_invalid_header_fields.enabled", drop).start().await;
        lb.ask("GET / HTTP/1.1\r\nHost: a\r\nX_A: 1\r\nX_B: 1\r\n\r\n").await;
        lb.ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n").await;
        let counts = ["Forwarded", "Dropped"].map(|w| count(&lb, &format!("{w}InvalidHeaderRequestCount")));
        assert_eq!((counts[0] + counts[1], count(&lb, name)), (1, 1), "{drop}");
    }
}

#[tokio::test]
async fn answers_of_the_rules_have_a_trace_of_their_own() {
    let lb = Setup { default_actions: redirect(), ..Setup::new(&[]) }.start().await;
    lb.get("/").await;
    let line = lb.logged(1).await;
    let trace = fields(&line)[18].clone();
    let root = trace.strip_prefix("Root=1-").unwrap_or_else(|| panic!("{line}"));
    let (time, id) = root.split_once('-').unwrap();
    assert_eq!((time.len(), id.len()), (8, 24), "{trace}");
    lb.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Trace-Id: Root=1-a-b\r\n\r\n").await;
    let line = lb.logged(2).await;
    assert!(fields(&line)[18].ends_with(";Root=1-a-b"), "{line}");
}

#[tokio::test]
async fn a_request_that_never_came_whole_has_no_line_of_its_own() {
    let lb = Setup::new(&[echo().await]).with("idle_timeout.timeout_seconds", "1").start().await;
    assert_eq!(lb.ask("GET / HTTP/1.1\r\nHo").await.status, 408);
    assert_eq!(lb.get(&format!("/{}", "x".repeat(17_000))).await.status, 414);
    for n in 1..=2 {
        let line = lb.logged(n).await;
        let field = fields(&line);
        assert_eq!(field[13], "- http://lb.example.com:80- -", "{line}");
        assert_eq!((field[14].as_str(), field[18].as_str(), field[21].as_str()), ("-", "-", "-"), "{line}");
    }
}

#[tokio::test]
async fn transforms_are_logged_as_they_went() {
    let transform = |path: &str, kind: &str, config: &str, replace: &str| {
        json!({"Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
            "Transforms": [{"Type": kind, config: {"Rewrites": [{"Regex": "^(.*)/x$", "Replace": replace}]}}],
            "Actions": [{"Type": "forward", "TargetGroupArn": "arn:targetgroup/g/1"}]})
    };
    let mut rules = [
        transform("/good*", "url-rewrite", "UrlRewriteConfig", "/y"),
        transform("/bad*", "url-rewrite", "UrlRewriteConfig", "nowhere"),
        transform("/group*", "url-rewrite", "UrlRewriteConfig", "/$7"),
    ];
    for (n, rule) in rules.iter_mut().enumerate() {
        rule["Priority"] = json!((n + 1).to_string());
    }
    let lb = Setup { rules: json!(rules), ..Setup::new(&[echo().await]) }.start().await;
    for (n, (path, status, logged, priority, uri, actions)) in [
        ("/good/x", 200, "TransformSuccess", "1", "/y", "rewrite,forward"),
        ("/good/z", 200, "-", "1", "-", "forward"),
        ("/bad/x", 500, "TransformInvalidPath", "-1", "-", "-"),
        ("/group/x", 500, "TransformReplaceError", "-1", "-", "-"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(lb.get(path).await.status, status, "{path}");
        let line = lb.logged(n + 1).await;
        let field = fields(&line);
        assert_eq!(
            (field[33].as_str(), field[32].as_str(), field[31].as_str()),
            (logged, uri, "-"),
            "{line}"
        );
        assert_eq!(
            (field[21].as_str(), field[23].as_str(), field[25].as_str()),
            (priority, actions, "-"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_fixed_response_counts_as_what_it_says() {
    let lb = Setup { default_actions: fixed("503"), ..Setup::new(&[]) }.start().await;
    let answer = lb.get("/").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "here"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("server"), Some("awselb/2.0"));
    assert!(answer.header("date").is_some_and(|d| d.len() == 29 && d.ends_with(" GMT")), "{answer:?}");
    lb.logged(1).await;
    for name in ["HTTP_Fixed_Response_Count", "HTTPCode_ELB_5XX_Count", "HTTPCode_ELB_503_Count"] {
        assert_eq!(count(&lb, name), 1, "{name}");
    }
    assert_eq!(count(&lb, "RequestCount"), 0);
    let head = lb.ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (503, Some("4"), ""));
}

#[tokio::test]
async fn a_status_without_words_has_its_space() {
    let lb =
        Setup { group: json!({"ProtocolVersion": "HTTP2"}), ..Setup::new(&[echo().await]) }.start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 464 \r\nServer: awselb/2.0\r\n"), "{text}");
    assert_eq!(fields(&lb.logged(1).await)[5], "-", "the target was not asked");
    assert_eq!(count(&lb, "RequestCount"), 0);
}

#[tokio::test]
async fn control_characters_do_not_get_into_a_field_of_ours() {
    // Monitor lets the request pass; what cannot be written in a line stays behind.
    let setup = Setup::new(&[echo().await]).with("routing.http.desync_mitigation_mode", "monitor");
    let lb = setup.start().await;
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\rX-Forged: 1\r\nX-B: a\0b\r\nX-C: 1\r\n\r\n";
    let seen = lb.ask(request).await.body;
    assert!(seen.contains("X-Forwarded-For: 127.0.0.1\r\n") && seen.contains("X-C: 1\r\n"), "{seen}");
    assert!(!seen.contains("X-Forged") && !seen.contains("X-B"), "{seen}");
}

#[tokio::test]
async fn clients_over_ipv6_are_written_as_such() {
    let setup = |on: &'static str| Setup::new(&[]).with("routing.http.xff_client_port.enabled", on);
    for (on, written) in [("false", "2001:db8::1"), ("true", "[2001:db8::1]:4000")] {
        let setup = Setup { targets: vec![echo().await], ..setup(on) };
        let lb = setup.start().await;
        let mut served = Vec::new();
        for peer in ["[2001:db8::1]:4000", "[::ffff:192.0.2.7]:4001"] {
            let (mut near, far) = tokio::io::duplex(64 * 1024);
            assert!(lb.running.serve_connection(lb.listener, far, peer.parse().unwrap()));
            near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n").await.unwrap();
            served.push(read_answer(&mut near, false).await.body);
        }
        assert!(served[0].contains(&format!("X-Forwarded-For: 10.0.0.1, {written}\r\n")), "{}", served[0]);
        assert!(served[1].contains("X-Forwarded-For: 10.0.0.1, 192.0.2.7"), "{}", served[1]);
        assert_eq!(fields(&lb.logged(1).await)[4], "[2001:db8::1]:4000");
        assert_eq!(fields(&lb.logged(2).await)[4], "192.0.2.7:4001");
        assert_eq!((count(&lb, "IPv6RequestCount"), count(&lb, "RequestCount")), (1, 2));
        assert!(count(&lb, "IPv6ProcessedBytes") > 100);
        assert!(count(&lb, "ProcessedBytes") > count(&lb, "IPv6ProcessedBytes"));
    }
}

#[tokio::test]
async fn an_agent_is_cut_at_8_kib() {
    let lb = Setup::new(&[echo().await]).start().await;
    lb.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {}\r\n\r\n", "u".repeat(9000))).await;
    assert_eq!(fields(&lb.logged(1).await)[14].len(), 8192);
    // A connection that is only opened is no request.
    drop(lb.connect().await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lb.log.lock().unwrap().len(), 1);
}
