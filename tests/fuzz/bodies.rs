//! What the fuzz targets do with their bytes, as plain functions: libFuzzer calls them with what it makes
//! up, and `tests/fuzz_seeds.rs` calls them on stable Rust with every file below `seeds/`, among them each
//! input that was ever found to break something.
//!
//! ```sh
//! cd tests/fuzz && mkdir -p corpus/manifests
//! cargo +nightly fuzz run --fuzz-dir . manifests corpus/manifests seeds/manifests -- -max_total_time=600
//! ```
//!
//! `requests` wants `-detect_leaks=0` as well: a buffer that was read to its end keeps a pointer behind its memory
//! and none into it, which the leak checker takes for lost when it looks between two steps of the runtime.
//!
//! To add a target: a function here and its line in [`TARGETS`], a file in `targets/`, a `[[bin]]` in
//! `Cargo.toml`, and some seeds in `seeds/NAME/`. A test holds the four together.

#[path = "rules.rs"]
mod any_rules;
#[path = "requests.rs"]
mod from_clients;

use podway::local::LocalCluster;
use podway::manifest::{Settings, Source};
use podway::model::Model;
use podway::{Error, KeyRing, Now, Options, Router};
use serde_json::json;

/// A target's name, which is also that of its folder of seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("manifests", manifests),
    ("annotations", annotations),
    ("elbv2", elbv2),
    ("cookies", cookies),
    ("rules", rules),
    ("requests", requests),
];

/// Manifests as they come: any text at all becomes a model that is sound, or an error that points into it.
pub fn manifests(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        load(text);
    }
}

/// Annotations: each line is a key, a space and a value; it stands on the Service where the key starts with
/// `@`, else on the Ingress. What they hang on is whole, so that the values themselves are reached.
pub fn annotations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut of_ingress, mut of_service) = (serde_json::Map::new(), serde_json::Map::new());
    for line in text.split('\n') {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let (map, key) = match key.strip_prefix('@') {
            Some(key) => (&mut of_service, key),
            None => (&mut of_ingress, key),
        };
        let key = if key.contains('/') { key.to_owned() } else { format!("alb.ingress.kubernetes.io/{key}") };
        map.insert(key, json!(value));
    }
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let by_action = json!({"service": {"name": "act", "port": {"name": "use-annotation"}}});
    let paths = json!([
        {"path": "/web", "pathType": "Prefix", "backend": backend},
        {"path": "/act", "pathType": "ImplementationSpecific", "backend": by_action},
    ]);
    let manifests = json!({"kind": "List", "items": [
        {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "alb"},
         "spec": {"controller": "ingress.k8s.aws/alb"}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
         "metadata": {"name": "web", "annotations": of_ingress},
         "spec": {"ingressClassName": "alb", "defaultBackend": backend,
                  "rules": [{"host": "a.example.com", "http": {"paths": paths}}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "annotations": of_service},
         "spec": {"type": "NodePort", "selector": {"app": "web"},
                  "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": 8080}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
         "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}}}},
    ]});
    load(&manifests.to_string());
}

/// Answers of `aws elbv2 describe-*`, in two files where the bytes hold a zero.
pub fn elbv2(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\0').unwrap_or((text, ""));
    let sources = [Source::new("api-web.json", first), Source::new("health-web.json", second)];
    for source in &sources {
        podway::elbv2::recognise(&source.text);
    }
    match podway::elbv2::read(&sources.each_ref().map(|s| (s.name.as_str(), s.text.as_str()))) {
        Ok(described) => sound(&described.model),
        Err(error) => points_into(&error, &sources),
    }
}

/// The Cookie header of a client, each line one header line: every decision goes somewhere or says why not, a
/// cookie is only kept where it was sealed here, and what answers it can be read again.
pub fn cookies(data: &[u8]) {
    static ROUTER: std::sync::OnceLock<Router> = std::sync::OnceLock::new();
    let router = ROUTER.get_or_init(|| {
        let model = Model::from_json(include_str!("cookies.json")).expect("a model");
        let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
        let options = Options { ip_reregistration_waits: true, ..Options::default() };
        Router::new(&model, options, keys, NOW).expect("a router")
    });
    let listener = router.listener("alb", 80).expect("a listener");
    let lines: Vec<(&[u8], &[u8])> = data.split(|b| *b == b'\n').map(|line| (&b"cookie"[..], line)).collect();
    let mut output = podway::Output::new();
    for path in ["/lb", "/app", "/split"] {
        let request = podway::Request::new("GET", path, ([192, 0, 2, 9], 1).into()).header_bytes(&lines);
        let decision = router.decide(listener, &request, NOW, 1, &mut output);
        router.why_unsticky(listener, &request, &[std::str::from_utf8(data).unwrap_or("")], NOW);
        let podway::Verdict::Forward(forward) = decision.verdict else {
            assert_eq!(path, "/split", "only a group cookie can fail a request: {decision:?}");
            continue;
        };
        let count = output.set_cookies().count();
        assert_eq!(
            count,
            match path {
                "/lb" => 2,
                "/split" => 4,
                _ => 0,
            }
        );
        // What was set is kept by the next request.
        let pairs: Vec<String> =
            output.set_cookies().map(|c| c.split(';').next().unwrap_or_default().to_owned()).collect();
        router.app_cookie(&decision, &request, |name| name == "SID", NOW, 1, &mut output);
        assert_eq!(output.set_cookies().count(), if path == "/app" { 4 } else { 0 });
        let app: Vec<String> =
            output.set_cookies().map(|c| c.split(';').next().unwrap_or_default().to_owned()).collect();
        let line = format!("SID=1; {}", [pairs, app].concat().join("; "));
        router.report(&decision, podway::Outcome::Response(200), NOW);
        let lines = [("cookie", line.as_str())];
        let again = podway::Request::new("GET", path, ([192, 0, 2, 9], 1).into()).headers(&lines);
        let decision = router.decide(listener, &again, NOW, 2, &mut output);
        let podway::Verdict::Forward(kept) = decision.verdict else { panic!("{decision:?}") };
        assert_eq!(kept.target, forward.target);
        assert_eq!(kept.stickiness, podway::Stickiness::Kept);
        router.report(&decision, podway::Outcome::Response(200), NOW);
    }
}

/// What a client sends over HTTP/1, good or bad, to a forwarder in each desync mode.
pub fn requests(data: &[u8]) {
    from_clients::requests(data, false);
}

/// The same where targets and values are ordinary: then a strict server reads everything that it is sent.
pub fn requests_to_be_read(data: &[u8]) {
    from_clients::requests(data, true);
}

/// When the seeds' cookies were sealed.
const NOW: Now = Now { mono_ms: 0, unix_s: 1_767_225_600 };

fn load(text: &str) {
    let sources = [Source::new("fuzz.yml", text)];
    let mut settings = Settings::default();
    let cluster = LocalCluster::default();
    match podway::load(&sources, &settings, &cluster) {
        Ok(loaded) => sound(&loaded.model),
        Err(error) => {
            points_into(&error, &sources);
            settings.skip_broken = true;
            if let Ok(loaded) = podway::load(&sources, &settings, &cluster) {
                sound(&loaded.model);
            }
        }
    }
}

/// Reads back the same, and becomes a router or a reason why not.
fn sound(model: &Model) {
    assert_eq!(&Model::from_json(&model.to_json()).expect("what was written reads back"), model);
    let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
    if let Err(error) = Router::new(model, Options::default(), keys, Now::default()) {
        assert!(!error.diagnostics().is_empty());
    }
}

/// Every problem says something, and its place is one that the input has.
fn points_into(error: &Error, sources: &[Source]) {
    assert!(!error.diagnostics().is_empty());
    for problem in error.diagnostics() {
        assert!(!problem.message.is_empty());
        let Some(place) = &problem.location else { continue };
        let source = sources.iter().find(|s| s.name == place.file).expect("a file of the input");
        let lines = source.text.split(['\n', '\r']).count() as u32;
        assert!((1..=lines).contains(&place.line), "{place} in a text of {lines} lines");
        assert!(place.column >= 1, "{place}");
    }
}

/// Rules and requests of few letters: the router decides, and explains, as a plain scan of the rules does.
pub fn rules(data: &[u8]) {
    any_rules::run(data);
}
