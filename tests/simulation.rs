//! A day in the life of a load balancer, on a clock of its own: deploys, failures, key rotations and weight
//! changes at random, and at every step what must hold is checked against a shadow that knows nothing of the
//! library's code. That the checks are awake is shown by lives in which one thing is done wrong on purpose:
//! each has to end in the check that is there for it. 200,000 requests here;
//! `SIMULATED_REQUESTS=10000000 cargo test --release -p podway-tests --test simulation -- --nocapture` for more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};

use podway::model::{Model, TargetHealthState};
use podway::{
    Decision, KeyRing, ListenerId, Now, Options, Outcome, Output, ProbeResult, Request, Router, Stickiness,
    Verdict,
};
use serde_json::{Value, json};

const DAY_MS: u64 = 24 * 3600 * 1000;
const MINUTE_MS: u64 = 60_000;
const START_S: u64 = 1_767_225_600;
const STICKY_S: u64 = 1800;
const DELAY_S: u64 = 300;
const THRESHOLD: u32 = 2;
const CLIENTS: usize = 1500;

/// The groups: a sticky one, one by requests in flight, one by weighted chance, and two behind one rule with a
/// group cookie, the first of them sticky too.
const GROUPS: [(&str, &str, bool); 5] = [
    ("sticky", "round_robin", true),
    ("fewest", "least_outstanding_requests", false),
    ("chance", "weighted_random", false),
    ("blue", "round_robin", true),
    ("green", "round_robin", true),
];
const PATHS: [&str; 4] = ["/sticky", "/fewest", "/chance", "/split"];

/// splitmix64: the same at every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn once_in(&mut self, every_ms: u64, step_ms: u64) -> bool {
        self.below(every_ms.max(1)) < step_ms
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initial,
    Healthy,
    Unhealthy,
    Draining { until_ms: u64 },
}

/// A registration as the shadow sees it.
#[derive(Debug)]
struct Shadow {
    /// Another one each time the same address is registered.
    serial: u64,
    state: State,
    successes: u32,
    failures: u32,
    in_flight: u64,
    /// Whether the target fails its checks now.
    bad: bool,
    /// Whether the model has it.
    wanted: bool,
}

/// A request under way.
#[derive(PartialEq, Eq)]
struct Under {
    ends_ms: u64,
    number: u64,
    key: (usize, IpAddr),
    serial: u64,
    decision: Decision2,
}

/// A decision in a heap: it has no order of its own.
#[derive(PartialEq, Eq)]
struct Decision2(Decision);

impl Ord for Under {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ends_ms, self.number).cmp(&(other.ends_ms, other.number))
    }
}

impl PartialOrd for Under {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What is done wrong on purpose, behind the shadow's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// One request is never reported.
    LostReport,
    /// One request is reported twice.
    DoubleReport,
    /// Failed checks are reported as good.
    FalseProbes,
    /// A model that lacks a target never arrives.
    LostReload,
    /// A rotation keeps no key of before.
    ForgottenKeys,
    /// Clients have each other's cookies.
    SwappedCookies,
}

/// What a client holds.
#[derive(Clone, Default)]
struct Client {
    cookies: BTreeMap<String, String>,
    /// Where its last request went, and when.
    last: Option<(usize, IpAddr, u64, u64)>,
}

struct Life {
    wrong: Wrong,
    router: Router,
    listener: ListenerId,
    chance: Chance,
    now_ms: u64,
    next_poll: u64,
    shadows: BTreeMap<(usize, IpAddr), Shadow>,
    serial: u64,
    fresh_ip: u32,
    weights: [u64; 2],
    keys: Vec<[u8; 32]>,
    rotated_ms: u64,
    under: BinaryHeap<Reverse<Under>>,
    clients: Vec<Client>,
    output: Output,
    late: u64,
    tally: BTreeMap<&'static str, u64>,
}

impl Life {
    fn new(seed: u64, wrong: Wrong) -> Self {
        let mut shadows = BTreeMap::new();
        let mut serial = 0;
        for group in 0..GROUPS.len() {
            for i in 0..4u8 {
                serial += 1;
                shadows.insert((group, IpAddr::from([10, 1, group as u8, i])), Shadow::new(serial, true));
            }
        }
        let keys = vec![[1; 32]];
        let weights = [1, 1];
        let ring = KeyRing::from_secrets(&keys).expect("keys");
        let router =
            Router::new(&model(&shadows, weights), Options::default(), ring, at(0)).expect("a router");
        let listener = router.listener("alb", 80).expect("a listener");
        Life {
            wrong,
            router,
            listener,
            chance: Chance(seed),
            now_ms: 0,
            next_poll: 0,
            shadows,
            serial,
            fresh_ip: 0,
            weights,
            keys,
            rotated_ms: 0,
            under: BinaryHeap::new(),
            clients: vec![Client::default(); CLIENTS],
            output: Output::new(),
            late: 0,
            tally: BTreeMap::new(),
        }
    }

    fn live(&mut self, requests: u64) {
        let step_ms = DAY_MS / requests;
        for number in 0..requests {
            self.now_ms += step_ms;
            self.changes(step_ms);
            self.finish(self.now_ms);
            self.poll();
            self.request(number);
            if number % (requests / 500).max(1) == 0 {
                self.compare();
            }
        }
        self.finish(u64::MAX);
        self.compare();
        assert!(self.router.targets().iter().all(|t| t.in_flight == 0), "nothing stays in flight");
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// What operators and fate do.
    fn changes(&mut self, step_ms: u64) {
        if self.chance.once_in(4 * MINUTE_MS, step_ms) {
            self.deploy();
        }
        if self.chance.once_in(3 * MINUTE_MS, step_ms) {
            let at = self.chance.below(self.shadows.len() as u64) as usize;
            if let Some(shadow) = self.shadows.values_mut().nth(at) {
                shadow.bad = !shadow.bad;
            }
            self.count("turns of health");
        }
        if self.chance.once_in(45 * MINUTE_MS, step_ms) {
            // A whole group fails, or recovers.
            let (group, bad) = (self.chance.below(GROUPS.len() as u64) as usize, self.chance.below(3) == 0);
            self.shadows.iter_mut().filter(|((g, _), _)| *g == group).for_each(|(_, s)| s.bad = bad);
            self.count("failures of a group");
        }
        // A key outlives every session it sealed.
        let outlived = self.now_ms - self.rotated_ms > STICKY_S * 1000;
        if outlived && self.chance.once_in(60 * MINUTE_MS, step_ms) {
            self.rotated_ms = self.now_ms;
            let fresh = self.chance.next() as u8;
            self.keys.insert(0, [fresh; 32]);
            self.keys.truncate(if self.wrong == Wrong::ForgottenKeys { 1 } else { 2 });
            self.router.set_cookie_keys(KeyRing::from_secrets(&self.keys).expect("keys"));
            self.count("key rotations");
        }
        if self.chance.once_in(20 * MINUTE_MS, step_ms) {
            self.weights = [1 + self.chance.below(9), 1 + self.chance.below(9)];
            self.reload();
            self.count("weight changes");
        }
    }

    /// One target of a group leaves, and another comes: sometimes one that left before.
    fn deploy(&mut self) {
        let group = self.chance.below(GROUPS.len() as u64) as usize;
        let wanted: Vec<_> =
            self.shadows.iter().filter(|((g, _), s)| *g == group && s.wanted).map(|(k, _)| *k).collect();
        let leaves = wanted[self.chance.below(wanted.len() as u64) as usize];
        let back = self.shadows.iter().find(|((g, _), s)| *g == group && !s.wanted).map(|(k, _)| *k);
        match back.filter(|_| self.chance.below(3) == 0) {
            // It waits until its delay is over.
            Some(back) => self.shadows.get_mut(&back).expect("it").wanted = true,
            None => {
                self.fresh_ip += 1;
                let [_, a, b, c] = self.fresh_ip.to_be_bytes();
                self.serial += 1;
                self.shadows.insert((group, [10, 100 + a, b, c].into()), Shadow::new(self.serial, true));
            }
        }
        let shadow = self.shadows.get_mut(&leaves).expect("it");
        shadow.wanted = false;
        if !matches!(shadow.state, State::Draining { .. }) {
            shadow.state = State::Draining { until_ms: self.now_ms + DELAY_S * 1000 };
        }
        if self.wrong != Wrong::LostReload {
            self.reload();
        }
        self.count("deploys");
    }

    fn reload(&mut self) {
        self.router.reload(&model(&self.shadows, self.weights), at(self.now_ms)).expect("a good model");
    }

    /// Lets time pass: what drained ends, and what is due is probed.
    fn poll(&mut self) {
        if self.now_ms < self.next_poll {
            return;
        }
        let mut probes = Vec::new();
        self.next_poll = self.router.poll(at(self.now_ms), &mut probes).max(self.now_ms + 1);
        let (mut over, mut again) = (Vec::new(), Vec::new());
        for (key, shadow) in &self.shadows {
            if matches!(shadow.state, State::Draining { until_ms } if until_ms <= self.now_ms) {
                if shadow.wanted { again.push((*key, shadow.bad)) } else { over.push(*key) }
            }
        }
        for key in over {
            self.shadows.remove(&key);
        }
        for (key, bad) in again {
            self.serial += 1;
            self.shadows.insert(key, Shadow { bad, ..Shadow::new(self.serial, true) });
            self.count("registered again");
        }
        for probe in probes {
            let info = self.router.target(probe.target).expect("a probe is for a registered target");
            let group = GROUPS.iter().position(|(name, ..)| *name == info.group_name).expect("a group");
            let shadow = self.shadows.get_mut(&(group, probe.address.ip())).expect("it");
            assert!(!matches!(shadow.state, State::Draining { .. }), "who drains is not probed");
            shadow.probed(!shadow.bad);
            let good = !shadow.bad || self.wrong == Wrong::FalseProbes;
            let result = if good { ProbeResult::Status(200) } else { ProbeResult::Status(500) };
            self.router.report_probe(probe.target, &result, at(self.now_ms));
            self.count("probes");
        }
    }

    /// Who may be chosen in a group, and whether that is because too few are well.
    fn may_be_chosen(&self, group: usize) -> (Vec<IpAddr>, bool) {
        let all = self.shadows.range((group, [0, 0, 0, 0].into())..(group + 1, [0, 0, 0, 0].into()));
        let those = |fits: &dyn Fn(State) -> bool| -> Vec<IpAddr> {
            all.clone().filter(|(_, s)| fits(s.state)).map(|((_, ip), _)| *ip).collect()
        };
        let well = those(&|s| s == State::Healthy);
        if well.is_empty() { (those(&|s| !matches!(s, State::Draining { .. })), true) } else { (well, false) }
    }

    fn request(&mut self, number: u64) {
        if (self.wrong, number) == (Wrong::SwappedCookies, 5000) {
            for eight in self.clients.chunks_exact_mut(2 * PATHS.len()) {
                let (some, others) = eight.split_at_mut(PATHS.len());
                some.iter_mut().zip(others).for_each(|(a, b)| std::mem::swap(&mut a.cookies, &mut b.cookies));
            }
        }
        let who = self.chance.below(CLIENTS as u64) as usize;
        let path = PATHS[who % PATHS.len()];
        let client = self.clients[who].clone();
        let sent: Vec<String> =
            client.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let sent = sent.join("; ");
        let headers = [("cookie", sent.as_str())];
        let peer: SocketAddr = ([192, 0, 2, 1], 40_000).into();
        let request = Request::new("GET", path, peer).headers(&headers);
        let now = at(self.now_ms);
        let decision = self.router.decide(self.listener, &request, now, number, &mut self.output);
        let Verdict::Forward(forward) = decision.verdict else { panic!("{path}: {decision:?}") };
        let name = self.router.group(forward.group).expect("a group").name;
        let group = GROUPS.iter().position(|(known, ..)| *known == name).expect("a group");
        let ip = forward.address.ip();

        let (eligible, fail_open) = self.may_be_chosen(group);
        assert!(eligible.contains(&ip), "at {now:?} {name} {ip} was not eligible: {eligible:?}");
        assert_eq!(forward.fail_open, fail_open, "at {now:?} in {name}");
        if path == "/split" {
            assert!(name == "blue" || name == "green");
        } else {
            assert_eq!(&path[1..], name);
        }
        let fresh = client.last.filter(|(.., at_ms)| self.now_ms - at_ms < STICKY_S * 1000);
        if let Some((last_group, last_ip, serial, _)) = fresh {
            if path == "/split" {
                assert_eq!(group, last_group, "at {now:?} the group cookie was not honoured");
            }
            let there = self.shadows.get(&(last_group, last_ip)).filter(|s| s.serial == serial);
            let same = group == last_group && there.is_some() && eligible.contains(&last_ip);
            if GROUPS[group].2 && same {
                assert_eq!(ip, last_ip, "at {now:?} a sticky client was moved: {:?}", forward.stickiness);
                assert_eq!(forward.stickiness, Stickiness::Kept);
                self.count("kept");
            } else if GROUPS[group].2 {
                self.count("moved, its target was not eligible");
            }
        }
        self.count(if fail_open { "in fail-open" } else { "to healthy targets" });

        let client = &mut self.clients[who];
        for cookie in self.output.set_cookies() {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            let (name, value) = pair.expect("a cookie");
            client.cookies.insert(name.to_owned(), value.to_owned());
        }
        let shadow = self.shadows.get_mut(&(group, ip)).expect("it");
        shadow.in_flight += 1;
        client.last = Some((group, ip, shadow.serial, self.now_ms));
        // Mostly soon over; one in a thousand outlives a deregistration delay.
        let long = if self.chance.below(1000) == 0 { 900_000 } else { 400 };
        let ends_ms = self.now_ms + 1 + self.chance.below(long);
        let key = (group, ip);
        let serial = self.shadows[&key].serial;
        self.under.push(Reverse(Under { ends_ms, number, key, serial, decision: Decision2(decision) }));
    }

    /// Settles what has ended.
    fn finish(&mut self, until_ms: u64) {
        while self.under.peek().is_some_and(|Reverse(under)| under.ends_ms <= until_ms) {
            let Some(Reverse(under)) = self.under.pop() else { return };
            let outcome = match self.chance.below(20) {
                0 => Outcome::Response(502),
                1 => Outcome::ConnectFailed,
                2 => Outcome::TimedOut,
                3 => Outcome::Closed,
                4 => Outcome::Cancelled,
                _ => Outcome::Response(200),
            };
            let times = match (self.wrong, under.number) {
                (Wrong::LostReport, 1000) => 0,
                (Wrong::DoubleReport, 1000) => 2,
                _ => 1,
            };
            for _ in 0..times {
                self.router.report(&under.decision.0, outcome, at(self.now_ms));
            }
            match self.shadows.get_mut(&under.key).filter(|s| s.serial == under.serial) {
                Some(shadow) => shadow.in_flight -= 1,
                None => self.late += 1,
            }
        }
        assert_eq!(self.router.late_reports(), self.late, "only reports for what is gone are late");
    }

    /// The router and the shadow say the same of every target.
    fn compare(&self) {
        let mut told: HashMap<(usize, IpAddr), (TargetHealthState, u32)> = HashMap::new();
        for target in self.router.targets() {
            let group = GROUPS.iter().position(|(name, ..)| *name == target.group_name).expect("a group");
            told.insert(
                (group, target.target.parse().expect("an address")),
                (target.health.state, target.in_flight),
            );
        }
        assert_eq!(told.len(), self.shadows.len());
        for (key, shadow) in &self.shadows {
            let state = match shadow.state {
                State::Initial => TargetHealthState::Initial,
                State::Healthy => TargetHealthState::Healthy,
                State::Unhealthy => TargetHealthState::Unhealthy,
                State::Draining { .. } => TargetHealthState::Draining,
            };
            assert_eq!(told.get(key), Some(&(state, shadow.in_flight as u32)), "{key:?} {shadow:?}");
        }
    }
}

impl Shadow {
    fn new(serial: u64, wanted: bool) -> Self {
        Shadow { serial, state: State::Initial, successes: 0, failures: 0, in_flight: 0, bad: false, wanted }
    }

    /// A check's result: one success is enough at first, thresholds count in a row.
    fn probed(&mut self, good: bool) {
        (self.successes, self.failures) = if good { (self.successes + 1, 0) } else { (0, self.failures + 1) };
        self.state = match (self.state, good) {
            (State::Initial, true) => State::Healthy,
            (State::Unhealthy, true) if self.successes >= THRESHOLD => State::Healthy,
            (State::Initial | State::Healthy, false) if self.failures >= THRESHOLD => State::Unhealthy,
            (same, _) => same,
        };
    }
}

fn at(ms: u64) -> Now {
    Now { mono_ms: ms, unix_s: START_S + ms / 1000 }
}

fn model(shadows: &BTreeMap<(usize, IpAddr), Shadow>, weights: [u64; 2]) -> Model {
    let forward = |groups: Value, sticky: bool| {
        json!({"Type": "forward", "ForwardConfig": {"TargetGroups": groups,
            "TargetGroupStickinessConfig": {"Enabled": sticky, "DurationSeconds": STICKY_S}}})
    };
    let rules: Vec<Value> = (1..)
        .zip(PATHS)
        .map(|(priority, path)| {
            let action = if path == "/split" {
                let both = json!([{"TargetGroupArn": "arn:blue", "Weight": weights[0]},
                                  {"TargetGroupArn": "arn:green", "Weight": weights[1]}]);
                forward(both, true)
            } else {
                forward(json!([{"TargetGroupArn": format!("arn:{}", &path[1..]), "Weight": 1}]), false)
            };
            json!({"Priority": priority.to_string(), "Actions": [action], "Conditions": [
                {"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}]})
        })
        .collect();
    let groups: Vec<Value> = GROUPS
        .iter()
        .enumerate()
        .map(|(number, (name, algorithm, sticky))| {
            let targets: Vec<Value> = shadows
                .iter()
                .filter(|((group, _), shadow)| *group == number && shadow.wanted)
                .map(|((_, ip), _)| json!({"Target": {"Id": ip.to_string(), "Port": 80}}))
                .collect();
            json!({"TargetGroupArn": format!("arn:{name}"), "TargetGroupName": name, "TargetType": "ip",
                "HealthCheckIntervalSeconds": 10, "HealthCheckTimeoutSeconds": 5,
                "HealthyThresholdCount": THRESHOLD, "UnhealthyThresholdCount": THRESHOLD,
                "Attributes": [
                    {"Key": "load_balancing.algorithm.type", "Value": algorithm},
                    {"Key": "load_balancing.algorithm.anomaly_mitigation",
                     "Value": if *algorithm == "weighted_random" { "on" } else { "off" }},
                    {"Key": "stickiness.enabled", "Value": sticky.to_string()},
                    {"Key": "stickiness.lb_cookie.duration_seconds", "Value": STICKY_S.to_string()},
                    {"Key": "deregistration_delay.timeout_seconds", "Value": DELAY_S.to_string()}],
                "TargetHealthDescriptions": targets})
        })
        .collect();
    serde_json::from_value(json!({
        "LoadBalancers": [{"LoadBalancerArn": "arn:alb", "LoadBalancerName": "alb", "Listeners": [
            {"Port": 80, "Protocol": "HTTP", "Rules": rules, "DefaultActions": [
                {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}]}],
        "TargetGroups": groups,
    }))
    .expect("a model")
}

#[test]
fn a_day_goes_by_and_everything_holds() {
    let asked = std::env::var("SIMULATED_REQUESTS").ok().and_then(|n| n.parse().ok());
    let requests = asked.unwrap_or(200_000);
    let mut life = Life::new(5, Wrong::Nothing);
    life.live(requests);
    println!("simulation: {requests} requests in a day: {:?}", life.tally);
    for what in ["deploys", "key rotations", "weight changes", "in fail-open", "kept", "registered again"] {
        assert!(life.tally.get(what).is_some_and(|n| *n > 0), "there were {what}: {:?}", life.tally);
    }
}

/// A life in which one thing is wrong.
fn wrongly(wrong: Wrong) {
    Life::new(5, wrong).live(50_000);
}

#[test]
#[should_panic(expected = "Shadow {")]
fn a_lost_report_is_noticed() {
    wrongly(Wrong::LostReport);
}

#[test]
#[should_panic(expected = "only reports for what is gone are late")]
fn a_report_too_many_is_noticed() {
    wrongly(Wrong::DoubleReport);
}

#[test]
#[should_panic(expected = "was not eligible")]
fn a_request_to_a_sick_target_is_noticed() {
    wrongly(Wrong::FalseProbes);
}

#[test]
#[should_panic(expected = "who drains is not probed")]
fn a_target_that_should_have_left_is_noticed() {
    wrongly(Wrong::LostReload);
}

#[test]
#[should_panic(expected = "was not honoured")]
fn a_forgotten_group_cookie_is_noticed() {
    wrongly(Wrong::ForgottenKeys);
}

#[test]
#[should_panic(expected = "a sticky client was moved")]
fn a_client_that_is_moved_is_noticed() {
    wrongly(Wrong::SwappedCookies);
}
