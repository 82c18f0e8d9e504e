//! Stickiness over the wire: what is set, what is honoured (spec: dataplane §4).

use podway::forwarder::TlsConfig;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::http2_front::Client;
use crate::support::{Answer, Balancer, Setup, answers, echo, fields, read_answer};
use crate::tls::{Authority, connect, https};

fn sticky(more: &[(&str, &str)]) -> Value {
    let all = [&[("stickiness.enabled", "true")], more].concat();
    json!({"Attributes": all.iter().map(|(k, v)| json!({"Key": k, "Value": v})).collect::<Vec<_>>()})
}

async fn get(lb: &Balancer, cookie: &str) -> Answer {
    lb.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")).await
}

/// `name=value` of a `Set-Cookie`.
fn pair(cookie: &str) -> &str {
    cookie.split(';').next().unwrap()
}

/// Name, value and the attributes behind it, of which the date becomes `DATE`.
fn parts(cookie: &str) -> (&str, &str, String) {
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    let date = attributes.strip_prefix("Expires=").unwrap().split(';').next().unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    (name, value, attributes.replacen(date, "DATE", 1))
}

/// The target of the newest of so many lines.
async fn asked(lb: &Balancer, lines: usize) -> String {
    fields(&lb.logged(lines).await)[5].clone()
}

#[tokio::test]
async fn both_cookies_are_set_as_the_listener_is() {
    let targets = [echo().await, echo().await];
    let plain = Setup { group: sticky(&[]), ..Setup::new(&targets) };
    let lb = plain.start().await;
    let set = lb.get("/").await.cookies();
    let (first, second) = (parts(&set[0]), parts(&set[1]));
    assert_eq!((first.0, first.2.as_str()), ("AWSALB", "Expires=DATE; Path=/"));
    assert_eq!((second.0, second.2.as_str()), ("AWSALBCORS", "Expires=DATE; Path=/; SameSite=None"));
    assert_eq!((first.1, set.len()), (second.1, 2));
    let authority = Authority::new();
    let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
    let secure = Setup { targets: targets.to_vec(), group: sticky(&[]), ..https(targets[0]) };
    let lb = secure.start_with(Some(tls), |b| b).await;
    let mut stream = connect(&lb, &authority, "a.example.com", None, &[]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let set = read_answer(&mut stream, false).await.cookies();
    assert_eq!(parts(&set[0]).2, "Expires=DATE; Path=/");
    assert_eq!(parts(&set[1]).2, "Expires=DATE; Path=/; SameSite=None; Secure");
}

#[tokio::test]
async fn a_cookie_leads_back_and_a_bad_one_nowhere() {
    let targets = [echo().await, echo().await, echo().await];
    let lb = Setup { group: sticky(&[]), ..Setup::new(&targets) }.start().await;
    let (one, two) = (lb.get("/").await.cookies(), lb.get("/").await.cookies());
    let (of_one, of_two) = (asked(&lb, 1).await, asked(&lb, 2).await);
    assert_ne!(of_one, of_two);
    for n in 3..9 {
        let answer = get(&lb, pair(&one[0])).await;
        assert!(answer.body.contains("Cookie: AWSALB="), "the target sees it: {}", answer.body);
        assert_eq!(answer.cookies().len(), 2, "each answer renews it");
        assert_eq!(asked(&lb, n).await, of_one);
    }
    // Of two the one for CORS counts.
    get(&lb, &format!("{}; {}", pair(&one[0]), pair(&two[1]))).await;
    assert_eq!(asked(&lb, 9).await, of_two);
    // What is none is no error, and is replaced.
    let before = lb.running.metrics();
    assert!(before.contains("NonStickyRequestCount_total{LoadBalancer=\"app/lb/1\"} 0\n"), "{before}");
    let answer = get(&lb, "AWSALB=nonsense").await;
    assert_eq!((answer.status, answer.cookies().len()), (200, 2));
    lb.logged(10).await;
    assert!(lb.running.metrics().contains("NonStickyRequestCount_total{LoadBalancer=\"app/lb/1\"} 1\n"));
}

#[tokio::test]
async fn answers_of_the_load_balancer_set_nothing() {
    for (target, status) in [(answers("").await, 502), (answers("x\r\n\r\n").await, 502)] {
        let lb = Setup { group: sticky(&[]), ..Setup::new(&[target]) }.start().await;
        let answer = lb.get("/").await;
        assert_eq!((answer.status, answer.cookies()), (status, Vec::new()));
    }
    let lb = Setup { group: sticky(&[]), ..Setup::new(&[]) }.start().await;
    let answer = lb.get("/").await;
    assert_eq!((answer.status, answer.cookies()), (503, Vec::new()));
}

#[tokio::test]
async fn a_group_is_kept_and_a_bad_cookie_for_it_is_an_error() {
    let (a, b) = (echo().await, echo().await);
    let other = json!({"TargetGroupArn": "arn:targetgroup/h/2", "TargetGroupName": "h", "TargetType": "ip",
        "Protocol": "HTTP", "LoadBalancerArns": ["arn:loadbalancer/app/lb/1"], "TargetHealthDescriptions":
            [{"Target": {"Id": b.ip().to_string(), "Port": b.port()}, "TargetHealth": {"State": "healthy"}}]});
    let actions = json!([{"Type": "forward", "ForwardConfig": {
        "TargetGroups": [{"TargetGroupArn": "arn:targetgroup/g/1", "Weight": 1},
            {"TargetGroupArn": "arn:targetgroup/h/2", "Weight": 1}],
        "TargetGroupStickinessConfig": {"Enabled": true, "DurationSeconds": 300}}}]);
    let lb = Setup { default_actions: actions, more_groups: vec![other], ..Setup::new(&[a]) }.start().await;
    let set = lb.get("/").await.cookies();
    assert_eq!(parts(&set[0]).0, "AWSALBTG");
    assert_eq!((parts(&set[1]).0, set.len()), ("AWSALBTGCORS", 2));
    let first = asked(&lb, 1).await;
    for n in 2..22 {
        get(&lb, pair(&set[0])).await;
        assert_eq!(asked(&lb, n).await, first);
    }
    let encoded = pair(&set[0]).replacen('=', "%3D", 1).replacen("%3D", "=%3D", 1);
    let answer = get(&lb, &encoded).await;
    assert!(matches!(answer.status, 400 | 500), "{answer:?}");
    let field = fields(&lb.logged(22).await);
    assert_eq!((field[25].as_str(), field[5].as_str()), ("AWSALBTGCookieInvalid", "-"));
}

#[tokio::test]
async fn an_applications_cookie_starts_a_session() {
    let app = [("stickiness.type", "app_cookie"), ("stickiness.app_cookie.cookie_name", "SID")];
    let sets = || answers("HTTP/1.1 200 OK\r\nSet-Cookie: SID=1; Path=/\r\nContent-Length: 0\r\n\r\n");
    let targets = [sets().await, sets().await, sets().await];
    let lb = Setup { group: sticky(&app), ..Setup::new(&targets) }.start().await;
    let set = lb.get("/").await.cookies();
    assert_eq!(set[0], "SID=1; Path=/", "untouched, and first");
    let first = asked(&lb, 1).await;
    let session = set.iter().find(|c| c.starts_with("AWSALBAPP-0=")).unwrap();
    assert_eq!(parts(session).2, "Expires=DATE; Path=/");
    assert!(set.iter().any(|c| c.starts_with("AWSALBAPP-3=_remove_;")), "{set:?}");
    let both = format!("SID=1; {}", pair(session));
    for n in 2..8 {
        get(&lb, &both).await;
        assert_eq!(asked(&lb, n).await, first);
    }
    // One of them alone leads nowhere: others are asked in turn.
    let mut seen = std::collections::BTreeSet::new();
    for n in 8..14 {
        get(&lb, pair(session)).await;
        seen.insert(asked(&lb, n).await);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    let silent = [echo().await, echo().await];
    let lb = Setup { group: sticky(&app), ..Setup::new(&silent) }.start().await;
    let set = lb.get("/").await.cookies();
    assert!(set.len() == 4 && set.iter().all(|c| c.contains("=_remove_; Expires=")), "{set:?}");
}

#[tokio::test]
async fn clients_over_http2_stay_too() {
    let app = [("stickiness.type", "app_cookie"), ("stickiness.app_cookie.cookie_name", "SID")];
    let sets = || answers("HTTP/1.1 200 OK\r\nSet-Cookie: SID=1\r\nContent-Length: 0\r\n\r\n");
    for (group, target) in [(sticky(&[]), None), (sticky(&app), Some(()))] {
        let targets = match target {
            None => vec![echo().await, echo().await, echo().await],
            Some(()) => vec![sets().await, sets().await, sets().await],
        };
        let mut client = Client::of(Setup { group, targets: targets.clone(), ..https(targets[0]) }).await;
        let set = client.ask(Client::get("/")).await.headers;
        let set: Vec<_> = set.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
        let first = asked(&client.lb, 1).await;
        assert!(set.len() >= 2, "{set:?}");
        for n in 2..8 {
            // Each cookie has a line of its own, as in HTTP/2 it may.
            let request = set.iter().fold(Client::get("/"), |r, c| r.header("cookie", pair(c)));
            client.ask(request).await;
            assert_eq!(asked(&client.lb, n).await, first);
        }
    }
}
