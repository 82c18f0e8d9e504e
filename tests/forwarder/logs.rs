//! The access log, the connection log and the metrics (spec: dataplane §8).

use regex::Regex;
use serde_json::json;

use crate::support::{Setup, echo};

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
