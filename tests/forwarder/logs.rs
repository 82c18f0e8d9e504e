//! The access log, the connection log and the metrics (spec: dataplane §8).

use std::sync::{Arc, Mutex};

use podway::forwarder::{Builder, ClientAuth, TlsConfig, TlsOptions};
use regex::Regex;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Balancer, Setup, echo, fields, read_answer};
use crate::tls::{Authority, connect, https};

/// The usual way to read the log with Athena: one group for each of the 33 fields of the documented list.
fn athena() -> Regex {
    let plain = "([^ ]*)";
    let quoted = "\"([^\"]*)\"";
    let fields = [
        plain,
        plain,
        plain,
        "([^ ]*:[0-9]*)",
        "([^ ]*:[0-9]+|-)",
        "([-.0-9]*)",
        "([-.0-9]*)",
        "([-.0-9]*)",
        "([0-9]*|-)",
        "([0-9]*|-)",
        "([0-9]*)",
        "([0-9]*)",
        "\"([^ ]* .* - |[^ ]* [^ ]* [^ ]*)\"",
        quoted,
        plain,
        plain,
        plain,
        quoted,
        quoted,
        quoted,
        "([-0-9]*)",
        plain,
        quoted,
        quoted,
        quoted,
        quoted,
        quoted,
        quoted,
        quoted,
        "(TID_[0-9a-f]*)",
        quoted,
        quoted,
        quoted,
    ];
    assert_eq!(fields.len(), 33);
    Regex::new(&format!("^{}( .*)?$", fields.join(" "))).unwrap()
}

#[tokio::test]
async fn lines_are_what_athena_reads() {
    let target = echo().await;
    let lb = Setup::new(&[target]).start().await;
    let hostile = "GET /a\"b?c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: a \"b\" \\ c\r\nX-Amzn-Trace-Id: Root=1-a-b\r\n\r\n";
    assert_eq!(lb.ask(hostile).await.status, 200);
    let line = lb.logged(1).await;
    let found = athena().captures(&line).unwrap_or_else(|| panic!("{line}"));
    let field = |n: usize| found.get(n).unwrap().as_str();
    assert_eq!(field(1), "http");
    assert_eq!(field(3), "app/lb/1");
    assert_eq!(field(5), target.to_string());
    for time in [6, 7, 8] {
        assert!(field(time).parse::<f64>().unwrap() >= 0.0);
    }
    assert_eq!((field(9), field(10)), ("200", "200"));
    assert_eq!(field(11), hostile.len().to_string());
    assert!(field(12).parse::<usize>().unwrap() > 200);
    assert_eq!(field(13), "GET http://example.com:80/a\\x22b?c HTTP/1.1");
    assert_eq!(field(14), "a \\x22b\\x22 \\x5C c");
    assert_eq!((field(15), field(16)), ("-", "-"));
    assert_eq!(field(17), "arn:targetgroup/g/1");
    assert!(field(18).starts_with("Self=1-") && field(18).ends_with(";Root=1-a-b"));
    assert_eq!((field(21), field(23)), ("0", "forward"));
    assert_eq!((field(26), field(27)), (field(5), "200"));
    lb.ask("nonsense\r\n\r\n").await;
    let line = lb.logged(2).await;
    let found = athena().captures(&line).unwrap_or_else(|| panic!("{line}"));
    assert_eq!((&found[9], &found[10], &found[5], &found[21]), ("400", "-", "-", "-"));
}

#[tokio::test]
async fn rules_looked_at_are_counted() {
    let rule = |priority: &str, path: &str| {
        json!({"Priority": priority,
            "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
            "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]})
    };
    let rules = json!([rule("30", "/c"), rule("10", "/a"), rule("20", "/b")]);
    let lb = Setup { rules, ..Setup::new(&[]) }.start().await;
    for (path, sum) in [("/a", 1), ("/b", 3), ("/c", 6), ("/nothing", 9)] {
        lb.get(path).await;
        let line = format!("RuleEvaluations_total{{LoadBalancer=\"app/lb/1\"}} {sum}\n");
        for _ in 0..300 {
            if lb.running.metrics().contains(&line) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(lb.running.metrics().contains(&line), "{path}: {}", lb.running.metrics());
    }
}

#[tokio::test]
async fn metrics_have_the_names_of_cloudwatch() {
    let lb = Setup::new(&[echo().await]).start().await;
    lb.get("/").await;
    lb.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    lb.logged(2).await;
    let text = lb.running.metrics();
    for line in [
        "RequestCount_total{LoadBalancer=\"app/lb/1\"} 1",
        "HTTPCode_ELB_4XX_Count_total{LoadBalancer=\"app/lb/1\"} 1",
        "HTTPCode_Target_2XX_Count_total{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1",
        "HealthyHostCount{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1",
        "TargetResponseTime_count{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // Two requests, no rule but the default one, which does not count.
    assert!(text.contains("RuleEvaluations_total{LoadBalancer=\"app/lb/1\"} 0"), "{text}");
    let status = lb.running.status();
    assert_eq!(status["TargetGroups"][0]["TargetHealthDescriptions"][0]["TargetHealth"]["State"], "healthy");
}

type Lines = Arc<Mutex<Vec<String>>>;

fn to(lines: &Lines) -> impl FnOnce(Builder) -> Builder + use<> {
    let lines = lines.clone();
    move |b| b.connection_log(move |line| lines.lock().unwrap().push(line.to_owned()))
}

/// The fields of the `n`th line of the connection log, numbered as in the specification.
async fn connection(lines: &Lines, n: usize) -> Vec<String> {
    for _ in 0..3000 {
        if let Some(line) = lines.lock().unwrap().get(n - 1) {
            let all = fields(line);
            assert_eq!(all.len(), 1 + 13, "{line}");
            assert_eq!(line.split('"').count(), 3, "one field is quoted: {line}");
            return all;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("only {:?}", lines.lock().unwrap());
}

#[tokio::test]
async fn connections_have_a_line_each() {
    let lines = Lines::default();
    let lb = Setup::new(&[echo().await]).start_with(None, to(&lines)).await;
    let mut stream = lb.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut stream, false).await.status, 200);
    }
    let field = connection(&lines, 1).await;
    assert!(
        Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$").unwrap().is_match(&field[1]),
        "{field:?}"
    );
    let port = stream.local_addr().unwrap().port().to_string();
    assert_eq!(field[2..5], ["127.0.0.1", &port, "80"]);
    assert_eq!(field[5..12].join(" "), "- - - - - - -");
    assert!(field[12].starts_with("TID_") && field[13] == "-", "{field:?}");
    // Both requests name the connection that they came on.
    for n in 1..=2 {
        assert_eq!(fields(&lb.logged(n).await)[30], field[12]);
    }
    assert_eq!(lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn handshakes_are_told_whether_they_succeed_or_not() {
    let (authority, stranger) = (Authority::new(), Authority::named("Another authority"));
    let verify = ClientAuth::Verify { trust_store: authority.pem(), ignore_expiry: false };
    let options = TlsOptions { client_auth: verify, ..TlsOptions::default() };
    let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], &options).unwrap();
    let setup = crate::support::Setup { mutual: Some(json!({"Mode": "verify"})), ..https(echo().await) };
    let lines = Lines::default();
    let lb = setup.start_with(Some(tls), to(&lines)).await;
    let mut client = authority.issue("client.example.com");
    let mut stream = connect(&lb, &authority, "a.example.com", Some(&client), &[]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let seen = read_answer(&mut stream, false).await.body;
    let field = connection(&lines, 1).await;
    assert_eq!((field[4].as_str(), field[5].as_str()), ("443", "TLSv1.3"));
    assert!(field[6].starts_with("TLS_AES_") && field[7].parse::<f64>().unwrap() >= 0.0, "{field:?}");
    assert_eq!(field[8], "CN=client.example.com,O=A\\, Inc");
    assert!(
        Regex::new(r"^NotBefore=[-\dT:]+Z;NotAfter=[-\dT:]+Z$").unwrap().is_match(&field[9]),
        "{field:?}"
    );
    // The target is told the same.
    assert!(seen.contains(&format!("X-Amzn-Mtls-Clientcert-Validity: {}\r\n", field[9])), "{seen}");
    assert!(seen.contains(&format!("X-Amzn-Mtls-Clientcert-Serial-Number: {}\r\n", field[10])), "{seen}");
    assert_eq!(field[11], "Success");
    assert!(!field[13].is_empty() && field[13] != "-", "{field:?}");
    // What is shown of authorities that nobody trusts, in chains that nobody needs, or not at all.
    let unknown = stranger.issue("client.example.com");
    let once = client.chain.clone();
    for _ in 0..4 {
        client.chain.extend_from_slice(&once);
    }
    for (n, (shown, why)) in [
        (Some(&unknown), "Failed:ClientCertUntrusted"),
        (Some(&client), "Failed:ClientCertMaxChainDepthExceeded"),
        (None, "Failed:ClientCertRejected"),
    ]
    .into_iter()
    .enumerate()
    {
        refused(&lb, &authority, shown).await;
        let field = connection(&lines, n + 2).await;
        assert_eq!((field[11].as_str(), field[8].as_str(), field[10].as_str()), (why, "-", "-"), "{field:?}");
    }
    // Whoever does not speak TLS to the end.
    let mut half = lb.connect().await;
    half.write_all(&[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]).await.unwrap();
    assert_eq!(connection(&lines, 5).await[11], "Failed:UnmappedConnectionError");
    let metrics = lb.running.metrics();
    assert!(
        metrics.contains("ClientTLSNegotiationErrorCount_total{LoadBalancer=\"app/lb/1\"} 4\n"),
        "{metrics}"
    );
    assert_eq!(lb.log.lock().unwrap().len(), 1, "none of them was a request");
}

/// In TLS 1.3 the client learns with its first read that it is not wanted.
async fn refused(lb: &Balancer, authority: &Authority, shown: Option<&podway::forwarder::CertificatePem>) {
    if let Ok(mut stream) = connect(lb, authority, "a.example.com", shown, &[]).await {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(read_answer(&mut stream, false).await.status, 0);
    }
}
