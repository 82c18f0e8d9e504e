//! The routing vectors and how Rust runs them. The format is told in `vectors/README.md`; unknown fields
//! are refused, so that no language can pass by not reading an expectation.

pub mod naive;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use podway::model::{Model, TargetHealth, TargetHealthState};
use podway::{
    Decision, Error, KeyRing, Now, Options, Outcome, Output, ProbeResult, Request, Router, Stickiness,
    TargetInfo, Verdict,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[allow(dead_code)] // for people
    about: String,
    #[serde(default)]
    #[allow(dead_code)] // for people
    source: String,
    cases: Vec<Case>,
}

/// One case of a vector file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of the file it stands in.
    #[serde(skip)]
    pub file: String,
    /// For example `TV-009`.
    pub id: String,
    #[serde(default)]
    #[allow(dead_code)] // for people
    about: String,
    #[serde(default)]
    #[allow(dead_code)] // for people
    source: String,
    #[serde(default)]
    options: Options,
    model: Option<Value>,
    manifests: Option<String>,
    #[serde(default)]
    rejects: Vec<String>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Decide(Box<Decide>),
    Health { target_group: String, target: String, state: TargetHealthState },
    Probe { target_group: String, target: String, result: Value, expect: Option<TargetHealth2> },
    Advance { ms: u64 },
    Report { step: usize, outcome: String, status: Option<u16> },
    Reload { model: Value },
    Target { target_group: String, target: String, expect: Option<BTreeMap<String, Value>> },
    Probes { ms: u64, expect: Vec<ExpectedProbe> },
    Hop(Box<HopStep>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide {
    load_balancer: String,
    port: u16,
    request: RequestJson,
    #[serde(default)]
    entropy: u64,
    #[serde(default = "one")]
    repeat: u64,
    #[serde(default)]
    cookies_from: Vec<usize>,
    #[serde(default)]
    expect: BTreeMap<String, Value>,
    counts: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    within: f64,
    /// How each decision is reported at once: by target, `*` for the others.
    #[serde(default)]
    report: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HopStep {
    target_group: String,
    target: String,
    client: IpAddr,
    #[serde(default)]
    entropy: u64,
    #[serde(default = "one")]
    repeat: u64,
    #[serde(default)]
    expect: BTreeMap<String, Value>,
    counts: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    within: f64,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct ExpectedProbe {
    address: String,
    host: String,
    path: String,
}

const fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestJson {
    method: String,
    target: String,
    host: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    peer: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetHealth2 {
    state: TargetHealthState,
    reason: Option<String>,
    description: Option<String>,
}

/// The folder of the vectors.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// All routing cases, in the order of their files.
pub fn cases() -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(vectors().join("routing"))
        .expect("the folder of the routing vectors")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a vector file");
        let file: File = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(file.cases.into_iter().map(|case| Case { file: name.clone(), ..case }));
    }
    all
}

/// Stands around every `decide` and `report`, so that a test can count what happens inside.
pub trait Observer {
    /// Runs `call`.
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T;
}

/// Observes nothing.
pub struct Plain;

impl Observer for Plain {
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// The moment every case starts at.
pub const START: Now = Now { mono_ms: 0, unix_s: 1_767_225_600 };

/// The keys every case runs with.
pub fn keys() -> KeyRing {
    KeyRing::from_secret(&[7; 32]).expect("a key of 32 bytes")
}

/// Runs a case; says what was not as expected.
pub fn run(case: &Case, observer: &mut impl Observer) -> Result<(), String> {
    if !case.rejects.is_empty() {
        return rejects(case);
    }
    let model = case_model(case).map_err(|e| e.to_string())?;
    let router = Router::new(&model, case.options.clone(), keys(), START).map_err(|e| e.to_string())?;
    let mut run = Run { router, now: START, output: Output::new(), done: Vec::new() };
    for (i, step) in case.steps.iter().enumerate() {
        run.step(step, observer).map_err(|e| format!("step {i}: {e}"))?;
    }
    Ok(())
}

fn case_model(case: &Case) -> Result<Model, Error> {
    match (&case.model, &case.manifests) {
        (Some(model), _) => Model::from_json(&model.to_string()),
        (None, folder) => {
            let folder = vectors().join(folder.as_deref().expect("a case has a model or manifests"));
            let sources = podway::manifest::read_paths(&[folder])?;
            let settings = podway::manifest::Settings::default();
            let cluster = podway::local::LocalCluster::default();
            podway::local::load(&sources, &settings, &cluster).map(|loaded| loaded.model)
        }
    }
}

/// A model is refused when it is read, or by a strict router.
fn rejects(case: &Case) -> Result<(), String> {
    let strict = Options { strict: true, ..case.options.clone() };
    match case_model(case).and_then(|model| Router::new(&model, strict, keys(), START)) {
        Ok(_) => Err(format!("accepted, should be rejected with {:?}", case.rejects)),
        Err(e) => codes(&e, &case.rejects),
    }
}

fn codes(error: &Error, expected: &[String]) -> Result<(), String> {
    let found: Vec<_> = error.diagnostics().iter().map(|d| d.code.as_str()).collect();
    match expected.iter().find(|code| !found.contains(&code.as_str())) {
        None => Ok(()),
        Some(code) => Err(format!("rejected with {found:?}, not with {code}")),
    }
}

struct Run {
    router: Router,
    now: Now,
    output: Output,
    /// By step: the decision and the cookies it set.
    done: Vec<Option<(Decision, Vec<String>)>>,
}

impl Run {
    fn step(&mut self, step: &Step, observer: &mut impl Observer) -> Result<(), String> {
        let mut done = None;
        match step {
            Step::Decide(decide) => done = self.decide(decide, observer)?,
            Step::Health { target_group, target, state } => {
                let id = self.target(target_group, target)?.id;
                let health = TargetHealth { state: *state, reason: None, description: None };
                self.router.set_target_health(id, health, self.now).map_err(|e| e.to_string())?;
            }
            Step::Probe { target_group, target, result, expect } => {
                let id = self.target(target_group, target)?.id;
                let result = match result {
                    Value::Number(n) => ProbeResult::Status(n.as_u64().unwrap_or_default() as u16),
                    Value::String(s) if s == "timed-out" => ProbeResult::TimedOut,
                    Value::String(s) if s == "failed" => ProbeResult::Failed,
                    other => return Err(format!("unknown probe result {other}")),
                };
                self.router.report_probe(id, &result, self.now);
                if let Some(expect) = expect {
                    let health = self.target(target_group, target)?.health;
                    let same = health.state == expect.state
                        && health.reason == expect.reason
                        && health.description == expect.description;
                    if !same {
                        return Err(format!("health is {health:?}"));
                    }
                }
            }
            Step::Advance { ms } => {
                self.now = self.now.plus_ms(*ms);
                self.router.poll(self.now, &mut Vec::new());
            }
            Step::Report { step, outcome, status } => {
                let (decision, _) = self.done.get(*step).and_then(Clone::clone).ok_or("no such decision")?;
                let outcome = Outcome::from_name(outcome, status.unwrap_or(200)).ok_or("unknown outcome")?;
                observer.around(|| self.router.report(&decision, outcome, self.now));
            }
            Step::Reload { model } => {
                let model: Model = serde_json::from_value(model.clone()).map_err(|e| e.to_string())?;
                self.router.reload(&model, self.now).map_err(|e| e.to_string())?;
            }
            Step::Target { target_group, target, expect } => {
                self.is(target_group, target, expect.as_ref())?
            }
            Step::Probes { ms, expect } => {
                self.now = self.now.plus_ms(*ms);
                let mut probes = Vec::new();
                self.router.poll(self.now, &mut probes);
                let mut due: Vec<ExpectedProbe> = probes
                    .into_iter()
                    .map(|p| ExpectedProbe { address: p.address.to_string(), host: p.host, path: p.path })
                    .collect();
                due.sort_by(|a, b| a.address.cmp(&b.address));
                if due != *expect {
                    return Err(format!("probes {due:?}"));
                }
            }
            Step::Hop(hop) => self.hop(hop)?,
        }
        self.done.push(done);
        Ok(())
    }

    fn is(&self, group: &str, target: &str, expect: Option<&BTreeMap<String, Value>>) -> Result<(), String> {
        let Some(expect) = expect else {
            return self.target(group, target).map_or(Ok(()), |t| Err(format!("{t:?} is still there")));
        };
        let told = serde_json::to_value(self.target(group, target)?).map_err(|e| e.to_string())?;
        match expect.iter().find(|(key, value)| told.get(key) != Some(value)) {
            None => Ok(()),
            Some((key, value)) => Err(format!("{key}: expected {value}, got {told}")),
        }
    }

    fn hop(&self, step: &HopStep) -> Result<(), String> {
        let id = self.target(&step.target_group, &step.target)?.id;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for i in 0..step.repeat {
            let hop = self.router.hop(id, step.client, self.now, step.entropy.wrapping_add(i));
            let told = serde_json::to_value(hop.ok_or("no NodePort")?).map_err(|e| e.to_string())?;
            if let Some((key, value)) = step.expect.iter().find(|(key, value)| told.get(key) != Some(value)) {
                return Err(format!("{key}: expected {value}, got {told}"));
            }
            *counts.entry(told["pod"].as_str().unwrap_or("-").to_owned()).or_default() += 1;
        }
        match &step.counts {
            Some(expected) => compare(expected, &counts, step.within * step.repeat as f64),
            None => Ok(()),
        }
    }

    fn target(&self, group: &str, target: &str) -> Result<TargetInfo, String> {
        self.router
            .targets()
            .into_iter()
            .find(|t| t.group_name == group && format!("{}:{}", t.target, t.port) == target)
            .ok_or_else(|| format!("no target {target} in {group}"))
    }

    fn decide(
        &mut self,
        step: &Decide,
        observer: &mut impl Observer,
    ) -> Result<Option<(Decision, Vec<String>)>, String> {
        let listener = self.router.listener(&step.load_balancer, step.port).ok_or("no such listener")?;
        let cookie: Vec<&str> = step
            .cookies_from
            .iter()
            .filter_map(|i| self.done.get(*i).and_then(Option::as_ref))
            .flat_map(|(_, cookies)| cookies)
            .filter_map(|c| c.split(';').next())
            .collect();
        let cookie = cookie.join("; ");
        let mut headers: Vec<(&str, &str)> =
            step.request.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if !step.cookies_from.is_empty() {
            headers.push(("cookie", &cookie));
        }
        let mut request =
            Request::new(&step.request.method, &step.request.target, step.request.peer).headers(&headers);
        if let Some(host) = &step.request.host {
            request = request.host(host);
        }
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut last = None;
        for i in 0..step.repeat {
            let (router, output, now) = (&self.router, &mut self.output, self.now);
            let decision = observer
                .around(|| router.decide(listener, &request, now, step.entropy.wrapping_add(i), output));
            let said = describe(&self.router, &decision, &self.output);
            for (key, expected) in &step.expect {
                let actual = said.get(key.as_str()).ok_or_else(|| format!("unknown expectation `{key}`"))?;
                if actual != expected {
                    return Err(format!("{key}: expected {expected}, got {actual} (all: {said:?})"));
                }
            }
            let chosen = said.get("target").and_then(Value::as_str).unwrap_or("-");
            *counts.entry(chosen.to_owned()).or_default() += 1;
            match step.report.get(chosen).or_else(|| step.report.get("*")) {
                Some(Value::Number(status)) => {
                    let outcome = Outcome::Response(status.as_u64().unwrap_or_default() as u16);
                    observer.around(|| self.router.report(&decision, outcome, now));
                }
                Some(name) => {
                    let name = name.as_str().unwrap_or_default();
                    let outcome = Outcome::from_name(name, 0).ok_or("unknown outcome")?;
                    observer.around(|| self.router.report(&decision, outcome, now));
                }
                None => {}
            }
            last = Some((decision, self.output.set_cookies().map(str::to_owned).collect()));
        }
        if let Some(expected) = &step.counts {
            compare(expected, &counts, step.within * step.repeat as f64)?;
        }
        Ok(last)
    }
}

/// Whether each was chosen as often as expected.
fn compare(
    expected: &BTreeMap<String, u64>,
    counts: &BTreeMap<String, u64>,
    within: f64,
) -> Result<(), String> {
    for name in expected.keys().chain(counts.keys()) {
        let of = |all: &BTreeMap<String, u64>| all.get(name).copied().unwrap_or_default();
        if of(expected).abs_diff(of(counts)) as f64 > within {
            return Err(format!(
                "{name} was chosen {} times, expected {} ({counts:?})",
                of(counts),
                of(expected)
            ));
        }
    }
    Ok(())
}

/// A decision in the words of the vectors.
fn describe(router: &Router, decision: &Decision, output: &Output) -> BTreeMap<&'static str, Value> {
    let text = |t: Option<&str>| t.map_or(Value::Null, Value::from);
    let mut said: BTreeMap<&'static str, Value> = [
        ("priority", decision.priority.map_or(Value::Null, |p| p.to_string().into())),
        ("authenticate", decision.authenticate.map_or(Value::Null, |a| a.as_str().into())),
        ("location", text(output.location())),
        ("content_type", text(output.content_type())),
        ("uri", text(output.uri())),
        ("host", text(output.host())),
        ("body", output.body().map_or(Value::Null, |b| String::from_utf8_lossy(b).into())),
        ("set_cookies", output.set_cookies().count().into()),
        ("target_group", Value::Null),
        ("target", Value::Null),
        ("fail_open", Value::Null),
        ("stickiness", Value::Null),
        ("status", Value::Null),
        ("reason", Value::Null),
    ]
    .into();
    let kind = match decision.verdict {
        Verdict::Forward(forward) => {
            let target = router.target(forward.target).map(|t| format!("{}:{}", t.target, t.port));
            said.insert("target", target.map_or(Value::Null, Value::from));
            said.insert("target_group", router.group(forward.group).map_or(Value::Null, |g| g.name.into()));
            said.insert("fail_open", forward.fail_open.into());
            said.insert(
                "stickiness",
                match forward.stickiness {
                    Stickiness::Off => "off",
                    Stickiness::New => "new",
                    Stickiness::Kept => "kept",
                    Stickiness::Broken(why) => why.as_str(),
                }
                .into(),
            );
            "forward"
        }
        Verdict::Redirect { status } => {
            said.insert("status", status.into());
            "redirect"
        }
        Verdict::FixedResponse { status } => {
            said.insert("status", status.into());
            "fixed-response"
        }
        Verdict::Error { status, reason } => {
            said.insert("status", status.into());
            said.insert("reason", reason.as_str().into());
            "error"
        }
    };
    said.insert("type", kind.into());
    said
}
