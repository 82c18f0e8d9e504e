//! Every error and warning that manifests can bring about: its code, its place and its words. `@@` stands in
//! front of the scalar that is to blame; the test cuts it out and expects the diagnostic to point there. With
//! `-- --nocapture` every line is printed as a person would read it.

mod cases;

use std::collections::BTreeSet;

use podway::local::{LocalCluster, load};
use podway::manifest::{KnownCertificate, Settings, Source};
use podway::{Code, Diagnostic, Layer, Location, Severity};

use cases::{Case, errors, warnings};

/// The text without its marks, and the place of each.
fn unmarked(text: &str) -> (String, Vec<Location>) {
    let mut places = Vec::new();
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line;
        let mut clean = String::new();
        while let Some((before, after)) = rest.split_once("@@") {
            clean.push_str(before);
            places.push(Location {
                file: "web.yml".into(),
                line: number as u32 + 1,
                column: clean.chars().count() as u32 + 1,
            });
            rest = after;
        }
        clean.push_str(rest);
        out.push_str(&clean);
        out.push('\n');
    }
    (out, places)
}

fn diagnostics(case: &Case) -> (Vec<Diagnostic>, Vec<Location>) {
    let (text, places) = unmarked(&case.manifests);
    let mut settings = Settings::default();
    (case.settings)(&mut settings);
    let loaded = load(&[Source::new("web.yml", text)], &settings, &LocalCluster::default());
    let told = match loaded {
        Ok(loaded) => loaded.diagnostics,
        Err(error) => error.diagnostics().to_vec(),
    };
    (told, places)
}

/// What is wrong with the answer to a case.
fn miss(case: &Case, severity: Severity) -> Option<String> {
    let (told, places) = diagnostics(case);
    let all = || told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ");
    let Some(found) = told.iter().find(|d| d.code == case.code) else {
        return Some(format!("not told; instead:\n    {}", all()));
    };
    if found.severity != severity {
        return Some(format!("severity {:?}: {found}", found.severity));
    }
    if !places.is_empty() && !found.location.as_ref().is_some_and(|l| places.contains(l)) {
        let expected: Vec<String> = places.iter().map(ToString::to_string).collect();
        return Some(format!("told at the wrong place, expected {}: {found}", expected.join(" or ")));
    }
    let text = found.to_string();
    let missing: Vec<&str> = case.says.iter().copied().filter(|part| !text.contains(part)).collect();
    if !missing.is_empty() {
        return Some(format!("does not say {missing:?}: {text}"));
    }
    println!("{text}");
    None
}

fn check(cases: &[Case], severity: Severity) {
    let misses: Vec<String> =
        cases.iter().filter_map(|c| Some(format!("{}: {}", c.code, miss(c, severity)?))).collect();
    println!("diagnostics: {} cases, {} missed", cases.len(), misses.len());
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

#[test]
fn errors_say_what_and_where() {
    check(&errors(), Severity::Error);
}

#[test]
fn warnings_say_what_and_where() {
    check(&warnings(), Severity::Warning);
}

#[test]
fn every_code_of_manifests_has_a_case() {
    let cases: BTreeSet<Code> = errors().iter().chain(&warnings()).map(|c| c.code).collect();
    // Files are read in `tests/cli`, ELBv2 answers in `elbv2`'s own tests.
    let elsewhere = [Code::E_READ, Code::W_PARTIAL];
    let of_manifests = |c: &&Code| matches!(c.layer(), Layer::Manifest | Layer::Input);
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(of_manifests)
        .filter(|c| !cases.contains(c) && !elsewhere.contains(c))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn messages_are_one_line_and_end_without_a_full_stop() {
    for case in errors().iter().chain(&warnings()) {
        for told in diagnostics(case).0 {
            let text = told.to_string();
            assert!(!text.contains('\n'), "{text}");
            assert!(!told.message.ends_with('.'), "{text}");
            assert!(
                !told.message.starts_with(|c: char| c.is_ascii_uppercase()) || starts_with_a_name(&told),
                "{text}"
            );
        }
    }
}

/// Sentences may start with a kind or with AWS.
fn starts_with_a_name(told: &Diagnostic) -> bool {
    ["Service", "Ingress", "AWS", "ELBv2", "Secret"].iter().any(|n| told.message.starts_with(n))
}

#[test]
fn a_broken_member_is_left_out_and_the_others_are_named() {
    let manifests = [
        cases::ingress("good", &["group.name: shop"], cases::TO_APP),
        cases::ingress("bad", &["group.name: shop", "group.order: '1'", "scheme: @@public"], cases::TO_APP),
        cases::SERVICE.to_owned(),
    ]
    .join("---\n");
    let (text, places) = unmarked(&manifests);
    let sources = [Source::new("web.yml", text)];
    let mut settings = Settings::default();
    let fatal = load(&sources, &settings, &LocalCluster::default()).unwrap_err();
    assert!(fatal.to_string().contains("this holds back Ingress default/good too"), "{fatal}");
    settings.skip_broken = true;
    let loaded = load(&sources, &settings, &LocalCluster::default()).unwrap();
    assert_eq!(loaded.model.load_balancers[0].ingresses, ["default/good"]);
    let told = &loaded.diagnostics[0];
    assert_eq!((told.code, told.severity), (Code::E_SCHEME, Severity::Error));
    assert_eq!(told.location.as_ref(), places.first());
    assert!(told.message.contains("left out: Ingress default/bad"), "{told}");
    assert!(told.message.contains("would hold back Ingress default/good too"), "{told}");
}

#[test]
fn of_a_conflict_the_impossible_value_is_the_broken_one() {
    let manifests = [
        cases::ingress("good", &["group.name: shop", "scheme: internal"], cases::TO_APP),
        cases::ingress("bad", &["group.name: shop", "scheme: internl"], cases::TO_APP),
        cases::SERVICE.to_owned(),
    ]
    .join("---\n");
    let sources = [Source::new("web.yml", manifests)];
    let mut settings = Settings::default();
    let fatal = load(&sources, &settings, &LocalCluster::default()).unwrap_err();
    assert_eq!(fatal.code(), Code::E_CONFLICT_SCHEME, "the controller compares before it judges");
    settings.skip_broken = true;
    let loaded = load(&sources, &settings, &LocalCluster::default()).unwrap();
    assert_eq!(loaded.model.load_balancers[0].ingresses, ["default/good"]);
    let errors: Vec<_> = loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].code, Code::E_SCHEME);
}

#[test]
fn an_error_about_a_service_leaves_out_only_its_ingress() {
    let broken = cases::SERVICE
        .replace("name: app\n", "name: sick\n  annotations: {alb.ingress.kubernetes.io/target-type: pod}\n");
    let manifests = [
        cases::ingress("good", &["group.name: shop"], cases::TO_APP),
        cases::ingress("bad", &["group.name: shop"], &cases::TO_APP.replace("app", "sick")),
        cases::SERVICE.to_owned(),
        broken,
    ]
    .join("---\n");
    let mut settings = Settings::default();
    settings.skip_broken = true;
    let loaded = load(&[Source::new("web.yml", manifests)], &settings, &LocalCluster::default()).unwrap();
    assert_eq!(loaded.model.load_balancers[0].ingresses, ["default/good"]);
    assert_eq!(loaded.diagnostics[0].object, "Service default/sick");
}

#[test]
fn nothing_is_told_of_the_demos_but_their_missing_certificate() {
    for demo in ["target-type-ip", "target-type-instance"] {
        let folder = podway_tests::vectors().join("../../core/examples").join(demo);
        let sources = podway::manifest::read_paths(&[folder]).unwrap();
        let loaded = load(&sources, &Settings::default(), &LocalCluster::default()).unwrap();
        let codes: Vec<Code> = loaded.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, [Code::W_CERTIFICATE], "{demo}");
    }
}

#[test]
fn discovery_takes_every_certificate_that_covers_a_host() {
    let manifests = [
        cases::ingress("web", &["listen-ports: '[{\"HTTPS\":443}]'"], cases::WITH_HOST),
        cases::SERVICE.to_owned(),
    ]
    .join("---\n");
    let mut settings = Settings::default();
    settings.certificates = KnownCertificate::from_json(
        "acm.json",
        r#"[{"arn": "arn:b", "domains": ["*.example.com"]}, {"arn": "arn:a", "domains": ["web.example.com"]},
            {"arn": "arn:c", "domains": ["example.com"]}]"#,
    )
    .unwrap();
    let loaded = load(&[Source::new("web.yml", manifests)], &settings, &LocalCluster::default()).unwrap();
    let arns: Vec<&str> = loaded.model.load_balancers[0].listeners[0]
        .certificates
        .iter()
        .map(|c| c.certificate_arn.as_str())
        .collect();
    assert_eq!(arns, ["arn:a", "arn:b"]);
}
