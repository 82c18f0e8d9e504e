//! Targets through the public API, where no vector reaches: the sizes of `app_cookie` sessions, whom a zonal
//! shift is refused, and the words for why a client did not stay.

use std::net::SocketAddr;

use podway::model::{Model, TargetHealth, TargetHealthState};
use podway::{
    AdministrativeOverride, Decision, Forward, KeyRing, ListenerId, Now, Options, Output, Request, Router,
    Stickiness, Unsticky, UnstickyReason, Verdict,
};
use serde_json::{Value, json};

const NOW: Now = Now { mono_ms: 0, unix_s: 1_767_225_600 };

fn peer() -> SocketAddr {
    ([192, 0, 2, 9], 40_000).into()
}

fn group(name: &str, attributes: &[(&str, &str)], targets: &[(&str, &str)]) -> Value {
    let attributes: Vec<_> = attributes.iter().map(|(k, v)| json!({"Key": k, "Value": v})).collect();
    let targets: Vec<_> = targets
        .iter()
        .map(|(ip, zone)| {
            json!({"Target": {"Id": ip, "Port": 80, "AvailabilityZone": zone},
                   "TargetHealth": {"State": "healthy"}})
        })
        .collect();
    json!({"TargetGroupArn": format!("arn:{name}"), "TargetGroupName": name, "TargetType": "ip",
           "Attributes": attributes, "TargetHealthDescriptions": targets})
}

/// A listener on port 80 with a rule `/NAME` for each group.
fn model(groups: &[Value], attributes: Value) -> Model {
    let rules: Vec<_> = (1..)
        .zip(groups)
        .map(|(priority, group)| {
            let path = format!("/{}", group["TargetGroupName"].as_str().unwrap_or_default());
            json!({"Priority": priority.to_string(),
                   "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
                   "Actions": [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]})
        })
        .collect();
    serde_json::from_value(json!({
        "LoadBalancers": [{"LoadBalancerArn": "arn:alb", "LoadBalancerName": "alb", "Attributes": attributes,
            "Listeners": [{"Port": 80, "Protocol": "HTTP", "Rules": rules,
                "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}]}],
        "TargetGroups": groups}))
    .expect("a model")
}

struct Bench {
    router: Router,
    listener: ListenerId,
    output: Output,
}

impl Bench {
    fn new(model: &Model, options: Options) -> Self {
        let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
        let router = Router::new(model, options, keys, NOW).expect("a router");
        let listener = router.listener("alb", 80).expect("a listener");
        Bench { router, listener, output: Output::new() }
    }

    fn decide(&mut self, path: &str, cookies: &str) -> (Decision, Forward) {
        let headers = [("cookie", cookies)];
        let request = Request::new("GET", path, peer()).headers(&headers);
        let decision = self.router.decide(self.listener, &request, NOW, 1, &mut self.output);
        let Verdict::Forward(forward) = decision.verdict else { panic!("{decision:?}") };
        (decision, forward)
    }

    /// The cookies of a response that sets the application's own, or not; as a browser sends them back.
    fn app_cookie(&mut self, decision: &Decision, cookies: &str, sets: bool) -> Vec<String> {
        let headers = [("cookie", cookies)];
        let request = Request::new("GET", "/", peer()).headers(&headers);
        self.router.app_cookie(decision, &request, |n| sets && n == "SID", NOW, 1, &mut self.output);
        self.output.set_cookies().map(|c| c.split(';').next().unwrap_or_default().to_owned()).collect()
    }

    fn set_health(&self, group: &str, target: &str, state: TargetHealthState) {
        let id = self.router.find_target(group, target).expect("a target");
        self.router
            .set_target_health(id, TargetHealth { state, ..TargetHealth::default() }, NOW)
            .expect("set");
    }
}

const APP: &[(&str, &str)] = &[
    ("stickiness.enabled", "true"),
    ("stickiness.type", "app_cookie"),
    ("stickiness.app_cookie.cookie_name", "SID"),
];
const LB: &[(&str, &str)] = &[("stickiness.enabled", "true")];
const TWO: &[(&str, &str)] = &[("10.0.0.1", "a"), ("10.0.0.2", "b")];

#[test]
fn app_cookie_sessions_of_several_groups() {
    let m = model(&[group("a", APP, TWO), group("b", APP, TWO)], json!([]));
    let mut bench = Bench::new(&m, Options::default());
    // TV-192: the target sets nothing, so that nothing is recorded.
    let (first, forward) = bench.decide("/a", "");
    assert_eq!(forward.stickiness, Stickiness::New);
    let cookies = bench.app_cookie(&first, "", false);
    assert_eq!(cookies, ["0", "1", "2", "3"].map(|n| format!("AWSALBAPP-{n}=_remove_")));
    assert_eq!(bench.decide("/a", &cookies.join("; ")).1.stickiness, Stickiness::New);
    // It sets the cookie: with both back the client is sticky (TV-194), with one it is not (TV-193).
    let (first, a) = bench.decide("/a", "");
    let of_a = bench.app_cookie(&first, "", true);
    assert!(of_a[0].starts_with("AWSALBAPP-0=") && of_a[1] == "AWSALBAPP-1=_remove_");
    for _ in 0..4 {
        let (_, kept) = bench.decide("/a", &format!("SID=x; {}", of_a[0]));
        assert_eq!((kept.target, kept.stickiness), (a.target, Stickiness::Kept));
    }
    let (_, alone) = bench.decide("/a", &of_a[0]);
    assert_eq!(alone.stickiness, Stickiness::Broken(Unsticky::NoApplicationCookie));
    // The other group is met: the session with the first one goes along.
    let line = format!("SID=x; {}", of_a[0]);
    let (second, b) = bench.decide("/b", &line);
    assert_eq!(b.stickiness, Stickiness::New);
    let both = bench.app_cookie(&second, &line, true);
    let ticket = of_a[0].len() - "AWSALBAPP-0=".len();
    assert_eq!(both[0].len(), of_a[0].len() + ticket);
    let line = format!("SID=x; {}", both[0]);
    assert_eq!(bench.decide("/a", &line).1.target, a.target);
    assert_eq!(bench.decide("/b", &line).1.target, b.target);
    // Its target fails: the session moves, and stays when the old one is back.
    let failed = bench.router.target(a.target).expect("it").name();
    bench.set_health("a", &failed, TargetHealthState::Unhealthy);
    let (moved, other) = bench.decide("/a", &line);
    assert_eq!(other.stickiness, Stickiness::Broken(Unsticky::TargetUnhealthy));
    let after = bench.app_cookie(&moved, &line, false);
    bench.set_health("a", &failed, TargetHealthState::Healthy);
    let (_, stays) = bench.decide("/a", &format!("SID=x; {}", after[0]));
    assert_eq!((stays.target, stays.stickiness), (other.target, Stickiness::Kept));
}

#[test]
fn traffic_shifts_away_from_a_zone_and_back() {
    let off = &[("load_balancing.cross_zone.enabled", "false")];
    let enabled = json!([{"Key": "zonal_shift.config.enabled", "Value": "true"}]);
    let m = model(&[group("a", LB, TWO), group("zonal", off, TWO)], enabled);
    let mut bench = Bench::new(&m, Options::default());
    let (_, first) = bench.decide("/a", "");
    let cookies: Vec<_> = bench.output.set_cookies().map(str::to_owned).collect();
    let cookie = cookies[0].split(';').next().expect("a cookie").to_owned();
    let zone = bench.router.target(first.target).expect("it").zone.expect("a zone");
    bench.router.start_zonal_shift("alb", &zone, NOW).expect("it is enabled");
    for _ in 0..4 {
        let (_, shifted) = bench.decide("/a", &cookie);
        assert_ne!(shifted.target, first.target);
        assert_eq!(shifted.stickiness, Stickiness::Broken(Unsticky::TargetZone));
    }
    bench.router.reload(&m, NOW).expect("the same model");
    assert_ne!(bench.decide("/a", &cookie).1.target, first.target, "a shift outlives a reload");
    let told = |group: &str| {
        let targets = bench.router.targets();
        targets
            .into_iter()
            .filter(|t| t.group_name == group)
            .map(|t| t.administrative_override)
            .collect::<Vec<_>>()
    };
    assert!(told("a").contains(&AdministrativeOverride::ZonalShiftActive));
    assert!(told("zonal").contains(&AdministrativeOverride::ZonalShiftDelegatedToDns));
    bench.router.cancel_zonal_shift("arn:alb", NOW).expect("it is there");
    assert_eq!(bench.decide("/a", &cookie).1.target, first.target);
    assert!(bench.router.start_zonal_shift("other", "a", NOW).is_err());
    let without = Bench::new(&model(&[group("a", &[], TWO)], json!([])), Options::default());
    let refused = without.router.start_zonal_shift("alb", "a", NOW).expect_err("it is not enabled");
    assert_eq!(refused.code(), podway::Code::OperationNotPermitted);
}

#[test]
fn why_a_client_did_not_stay() {
    let m = model(&[group("a", LB, TWO), group("off", &[], TWO)], json!([]));
    let mut bench = Bench::new(&m, Options::default());
    let (_, first) = bench.decide("/a", "");
    let set: Vec<String> = bench.output.set_cookies().map(str::to_owned).collect();
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let cookie = set[0].split(';').next().expect("a cookie").to_owned();
    let ask = |bench: &Bench,
               path: &str,
               cookie: &str,
               history: &[&str],
               now: Now|
     -> Vec<(UnstickyReason, String)> {
        let headers = [("cookie", cookie)];
        let request = Request::new("GET", path, peer()).headers(&headers);
        let found = bench.router.why_unsticky(bench.listener, &request, history, now);
        found.into_iter().map(|why| (why.reason, why.text)).collect()
    };
    let reason =
        |found: &[(UnstickyReason, String)]| found.iter().map(|(reason, _)| *reason).collect::<Vec<_>>();
    assert_eq!(ask(&bench, "/a", &cookie, &set, NOW), [], "nothing is wrong");
    let lost = ask(&bench, "/a", "", &set, NOW);
    assert_eq!(reason(&lost), [UnstickyReason::NoCookie]);
    assert!(lost[0].1.contains("did not send it back"), "{lost:?}");
    assert!(ask(&bench, "/a", "", &[], NOW)[0].1.contains("has no cookie"));
    let later = Now { unix_s: NOW.unix_s + 8 * 86_400, ..NOW };
    assert!(ask(&bench, "/a", "", &set, later)[0].1.contains("expired"));
    assert_eq!(reason(&ask(&bench, "/a", &cookie, &[], later)), [UnstickyReason::Cookie(Unsticky::Expired)]);
    assert_eq!(reason(&ask(&bench, "/off", &cookie, &[], NOW)), [UnstickyReason::Off]);
    assert_eq!(reason(&ask(&bench, "/none", &cookie, &[], NOW)), [UnstickyReason::NotForwarded]);
    let forged = format!("{}x", &cookie[..cookie.len() - 1]);
    assert_eq!(reason(&ask(&bench, "/a", &forged, &[], NOW)), [UnstickyReason::Cookie(Unsticky::Invalid)]);
    let name = bench.router.target(first.target).expect("it").name();
    bench.set_health("a", &name, TargetHealthState::Unhealthy);
    let unhealthy = reason(&ask(&bench, "/a", &cookie, &[], NOW));
    assert_eq!(unhealthy, [UnstickyReason::Cookie(Unsticky::TargetUnhealthy)]);
    bench.router.set_cookie_keys(KeyRing::new(1, &[8; 32]).expect("a key"));
    assert_eq!(reason(&ask(&bench, "/a", &cookie, &[], NOW)), [UnstickyReason::Cookie(Unsticky::UnknownKey)]);
}
