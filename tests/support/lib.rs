//! The routing vectors and how Rust runs them. The format is told in `vectors/README.md`.

mod format;
pub mod naive;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use podway::model::{Model, TargetHealth};
use podway::{
    Decision, Error, KeyRing, Now, Options, Outcome, Output, ProbeResult, Request, Router, TargetInfo,
};
use serde::Serialize;
use serde_json::Value;

pub use self::format::Case;
use self::format::{AppCookie, Decide, ExpectedProbe, File, HopStep, RequestJson, Retry, Step, Why};

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
                let decision = self.decision(*step)?;
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
            Step::AppCookie(step) => done = Some(self.app_cookie(step, observer)?),
            Step::Retry(step) => done = self.retry(step, observer)?,
            Step::WhyUnsticky(step) => self.why_unsticky(step)?,
            Step::ZoneHealth { target_group, expect } => {
                let group = self.router.find_target_group(target_group).ok_or("no such group")?;
                fits_all(expect, &self.router.zone_health(group))?;
            }
            Step::ZonalShift { load_balancer, zone } => {
                let shifted = match zone {
                    Some(zone) => self.router.start_zonal_shift(load_balancer, zone, self.now),
                    None => self.router.cancel_zonal_shift(load_balancer, self.now),
                };
                shifted.map_err(|e| e.to_string())?;
            }
        }
        self.done.push(done);
        Ok(())
    }

    fn is(&self, group: &str, target: &str, expect: Option<&BTreeMap<String, Value>>) -> Result<(), String> {
        let Some(expect) = expect else {
            return self.target(group, target).map_or(Ok(()), |t| Err(format!("{t:?} is still there")));
        };
        fits(expect, &self.target(group, target)?).map(|_| ())
    }

    fn hop(&self, step: &HopStep) -> Result<(), String> {
        let id = self.target(&step.target_group, &step.target)?.id;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for i in 0..step.repeat {
            let hop = self.router.hop(id, step.client, self.now, step.entropy.wrapping_add(i));
            let told = fits(&step.expect, &hop.ok_or("no NodePort")?)?;
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

    /// What a client sends back that got the cookies of these steps.
    fn cookies(&self, from: &[usize]) -> Option<String> {
        let sent = from.iter().filter_map(|i| self.done.get(*i).and_then(Option::as_ref));
        let pairs: Vec<&str> =
            sent.flat_map(|(_, cookies)| cookies).filter_map(|c| c.split(';').next()).collect();
        (!from.is_empty()).then(|| pairs.join("; "))
    }

    /// A decision with the cookies that it set.
    fn settled(&self, decision: Decision) -> (Decision, Vec<String>) {
        (decision, self.output.set_cookies().map(str::to_owned).collect())
    }

    fn decision(&self, step: usize) -> Result<Decision, String> {
        let done = self.done.get(step).and_then(Option::as_ref);
        done.map(|(decision, _)| *decision).ok_or_else(|| "no such decision".to_owned())
    }

    fn app_cookie(
        &mut self,
        step: &AppCookie,
        observer: &mut impl Observer,
    ) -> Result<(Decision, Vec<String>), String> {
        let decision = self.decision(step.step)?;
        let cookie = self.cookies(&step.cookies_from);
        let headers = headers(&step.headers, cookie.as_deref());
        let request = Request::new("", "", ([0, 0, 0, 0], 0).into()).headers(&headers);
        let sets = |name: &str| step.sets.iter().any(|set| set == name);
        let (router, now, output) = (&self.router, self.now, &mut self.output);
        observer.around(|| router.app_cookie(&decision, &request, sets, now, step.entropy, output));
        let added: Vec<String> = self.output.set_cookies().map(shown).collect();
        if added != step.expect {
            return Err(format!("expected {:?}, got {added:?}", step.expect));
        }
        Ok(self.settled(decision))
    }

    fn retry(
        &mut self,
        step: &Retry,
        observer: &mut impl Observer,
    ) -> Result<Option<(Decision, Vec<String>)>, String> {
        let failed = self.decision(step.failed)?;
        let listener = self.router.listener(&step.load_balancer, step.port).ok_or("no such listener")?;
        let cookie = self.cookies(&step.cookies_from);
        let headers = headers(&step.request.headers, cookie.as_deref());
        let request = request(&step.request, &headers);
        let (router, now, output) = (&self.router, self.now, &mut self.output);
        let decision =
            observer.around(|| router.retry(listener, &request, &failed, now, step.entropy, output));
        match (decision, &step.expect) {
            (None, None) => Ok(None),
            (Some(decision), Some(expect)) => {
                agrees(expect, &describe(&self.router, &decision, &self.output))?;
                Ok(Some(self.settled(decision)))
            }
            (decision, _) => Err(format!("decided {decision:?}")),
        }
    }

    fn why_unsticky(&self, step: &Why) -> Result<(), String> {
        let listener = self.router.listener(&step.load_balancer, step.port).ok_or("no such listener")?;
        let cookie = self.cookies(&step.cookies_from);
        let headers = headers(&step.request.headers, cookie.as_deref());
        let request = request(&step.request, &headers);
        let sent = step.history_from.iter().filter_map(|i| self.done.get(*i).and_then(Option::as_ref));
        let history: Vec<&str> = sent.flat_map(|(_, cookies)| cookies).map(String::as_str).collect();
        fits_all(&step.expect, &self.router.why_unsticky(listener, &request, &history, self.now))
    }

    fn decide(
        &mut self,
        step: &Decide,
        observer: &mut impl Observer,
    ) -> Result<Option<(Decision, Vec<String>)>, String> {
        let listener = self.router.listener(&step.load_balancer, step.port).ok_or("no such listener")?;
        let cookie = self.cookies(&step.cookies_from);
        let headers = headers(&step.request.headers, cookie.as_deref());
        let request = request(&step.request, &headers);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut last = None;
        for i in 0..step.repeat {
            let (router, output, now) = (&self.router, &mut self.output, self.now);
            let decision = observer
                .around(|| router.decide(listener, &request, now, step.entropy.wrapping_add(i), output));
            let said = describe(&self.router, &decision, &self.output);
            agrees(&step.expect, &said)?;
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
            last = Some(self.settled(decision));
        }
        if let Some(expected) = &step.counts {
            compare(expected, &counts, step.within * step.repeat as f64)?;
        }
        Ok(last)
    }
}

/// The headers of a request, with one more for what the client was given.
fn headers<'a>(given: &'a [(String, String)], cookie: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let given = given.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    given.chain(cookie.map(|cookie| ("cookie", cookie))).collect()
}

fn request<'a>(given: &'a RequestJson, headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
    let request = Request::new(&given.method, &given.target, given.peer).headers(headers);
    match &given.host {
        Some(host) => request.host(host),
        None => request,
    }
}

/// A cookie by `name=value`, with `*` for a value that is sealed.
fn shown(set_cookie: &str) -> String {
    let (name, value) =
        set_cookie.split(';').next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
    if value == "_remove_" { format!("{name}={value}") } else { format!("{name}=*") }
}

/// Whether what is told has the expected fields; gives back all of it.
fn fits(expect: &BTreeMap<String, Value>, told: &impl Serialize) -> Result<Value, String> {
    let told = serde_json::to_value(told).map_err(|e| e.to_string())?;
    match expect.iter().find(|(key, value)| told.get(key) != Some(value)) {
        None => Ok(told),
        Some((key, value)) => Err(format!("{key}: expected {value}, got {told}")),
    }
}

/// The same for a list.
fn fits_all(expect: &[BTreeMap<String, Value>], told: &[impl Serialize]) -> Result<(), String> {
    if expect.len() != told.len() {
        let told = serde_json::to_string(told).map_err(|e| e.to_string())?;
        return Err(format!("expected {} of them, got {told}", expect.len()));
    }
    expect.iter().zip(told).try_for_each(|(expect, told)| fits(expect, told).map(|_| ()))
}

/// Whether a decision in words is the expected one.
fn agrees(expect: &BTreeMap<String, Value>, said: &BTreeMap<&'static str, Value>) -> Result<(), String> {
    for (key, expected) in expect {
        let actual = said.get(key.as_str()).ok_or_else(|| format!("unknown expectation `{key}`"))?;
        if actual != expected {
            return Err(format!("{key}: expected {expected}, got {actual} (all: {said:?})"));
        }
    }
    Ok(())
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
    let d = router.describe(decision, output);
    let text = |t: Option<&str>| t.map_or(Value::Null, Value::from);
    [
        ("type", d.kind.into()),
        ("priority", d.priority.map_or(Value::Null, |p| p.to_string().into())),
        ("status", d.status.map_or(Value::Null, Value::from)),
        ("reason", text(d.reason)),
        ("authenticate", text(d.authenticate)),
        ("target_group", text(d.target_group.as_deref())),
        ("target", text(d.target.as_deref())),
        ("fail_open", d.fail_open.map_or(Value::Null, Value::from)),
        ("stickiness", text(d.stickiness)),
        ("location", text(d.location)),
        ("content_type", text(d.content_type)),
        ("body", d.body.map_or(Value::Null, |b| String::from_utf8_lossy(b).into())),
        ("uri", text(d.uri)),
        ("host", text(d.host)),
        ("set_cookies", d.set_cookies.len().into()),
    ]
    .into()
}
