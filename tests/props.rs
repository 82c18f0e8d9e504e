//! The index is an optimisation of "first match by priority": on random rule sets the router decides, and
//! explains, as a scan does that is written from the specification and shares no code with it.

use podway::Output;
use podway_tests::naive::{Condition, Probe, Rule, decided, explained, router, scan};
use proptest::prelude::*;

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..40u8).prop_map(|n| format!("h{n}.example.com")),
        2 => (0..4u8).prop_map(|n| format!("*.z{n}.example.com")),
        1 => Just("*.example.com".to_owned()),
        1 => Just("H1.Example.COM".to_owned()),
        1 => Just("h?.example.com".to_owned()),
        1 => Just("a*.z1.example.com".to_owned()),
        1 => Just("*.z1.*".to_owned()),
        1 => Just("*".to_owned()),
    ]
}

fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "api", "v1", "v2", "img", "x.png", ""])
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..4).prop_map(|s| format!("/{}", s.join("/")))
}

fn path_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => path(),
        4 => path().prop_map(|p| format!("{}/*", p.trim_end_matches('/'))),
        2 => path().prop_map(|p| format!("{p}*")),
        1 => (path(), path()).prop_map(|(a, b)| format!("{a}*{b}")),
        1 => Just("*.png".to_owned()),
        1 => (segment(), segment()).prop_map(|(a, b)| format!("/*/{a}*{b}/*")),
        1 => (segment(), segment()).prop_map(|(a, b)| format!("/?/{a}*{b}?")),
        1 => Just("/?/*".to_owned()),
        1 => Just("/*".to_owned()),
        1 => Just("*".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let regexes = |list: &[&str]| {
        let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
        prop::collection::vec(prop::sample::select(list), 1..3)
    };
    let value = || prop::sample::select(vec!["1", "2", "*", "v?", "x*y", "", "\\*"]).prop_map(str::to_owned);
    let key = || prop::sample::select(vec!["k", "K2", "k*", "?"]).prop_map(str::to_owned);
    prop_oneof![
        6 => prop::collection::vec(host(), 1..3).prop_map(Condition::Host),
        1 => regexes(&["^h[0-9]\\.", "z1", "COM$"]).prop_map(Condition::HostRegex),
        8 => prop::collection::vec(path_pattern(), 1..4).prop_map(Condition::Path),
        1 => regexes(&["^/v[0-9]+", "png$", "/API", "^/a(b|/b)$", "^/ab?/", "^/api|^/img", "(?i)^/API", "^/a{1,2}b"]).prop_map(Condition::PathRegex),
        1 => (prop::sample::select(vec!["X-A", "x-b"]), prop::collection::vec(value(), 1..3))
            .prop_map(|(n, v)| Condition::Header(n.to_owned(), v)),
        1 => (prop::sample::select(vec!["X-A", "x-b"]), regexes(&["^1$", "V."]))
            .prop_map(|(n, v)| Condition::HeaderRegex(n.to_owned(), v)),
        1 => prop::collection::vec(prop::sample::select(vec!["GET", "POST", "HEAD"]), 1..3)
            .prop_map(|v| Condition::Method(v.into_iter().map(str::to_owned).collect())),
        1 => prop::collection::vec((prop::option::of(key()), value()), 1..3).prop_map(Condition::Query),
        1 => prop::collection::vec(
                prop::sample::select(vec!["10.0.0.0/8", "192.0.2.0/25", "2001:db8::/32", "192.0.2.1/32"]), 1..3)
            .prop_map(|v| Condition::SourceIp(v.into_iter().map(str::to_owned).collect())),
    ]
}

fn rule() -> impl Strategy<Value = Vec<Condition>> {
    prop::collection::vec(condition(), 1..4)
}

fn probe() -> impl Strategy<Value = Probe> {
    let text = || prop::sample::select(vec!["1", "2", "vx", "xzy", "", "*"]);
    let pair = (prop::sample::select(vec!["k", "K2", "k9", "q"]), prop::option::of(text()))
        .prop_map(|(k, v)| v.map_or(k.to_owned(), |v| format!("{k}={v}")));
    (
        prop::sample::select(vec!["GET", "POST", "HEAD", "get"]),
        prop_oneof![8 => path(), 1 => path().prop_map(|p| format!("/./x/..{p}")),
                    1 => path().prop_map(|p| p.replace('a', "%61")), 1 => Just("/../x".to_owned())],
        prop::collection::vec(pair, 0..3),
        prop::option::weighted(
            0.95,
            prop_oneof![
                6 => (0..40u8).prop_map(|n| format!("h{n}.example.com")),
                2 => (0..4u8).prop_map(|n| format!("abc.Z{n}.example.com")),
                1 => Just("h1.example.com:8443".to_owned()),
                1 => Just("example.com".to_owned()),
            ],
        ),
        prop::collection::vec((prop::sample::select(vec!["x-a", "X-B", "x-c"]), text()), 0..3),
        prop::sample::select(vec!["10.1.2.3", "192.0.2.1", "192.0.2.200", "2001:db8::5", "::ffff:10.0.0.1"]),
    )
        .prop_map(|(method, path, pairs, host, headers, peer)| Probe {
            method: method.to_owned(),
            target: if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) },
            host,
            headers: headers.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            peer: peer.parse().expect("an address"),
        })
}

/// Priorities are a shuffled, gappy sequence: neither position nor insertion order may matter.
fn with_priorities(rules: Vec<Vec<Condition>>, seed: u32) -> Vec<Rule> {
    let n = rules.len() as u32;
    let step =
        (1..).map(|i| (seed.wrapping_mul(2).wrapping_add(i) % 9973) | 1).find(|s| gcd(*s, n.max(1)) == 1);
    let step = u64::from(step.unwrap_or(1));
    rules
        .into_iter()
        .enumerate()
        .map(|(i, rule)| ((i as u64 * step % u64::from(n)) as u32 * 3 + 1, rule))
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn few_rules_decide_as_the_scan(
        rules in prop::collection::vec(rule(), 1..40), seed in any::<u32>(),
        probes in prop::collection::vec(probe(), 1..60),
    ) {
        agree(&with_priorities(rules, seed), &probes)?;
    }
}

/// A path condition, most often alone, whose patterns share their heads: what stands at, below and beside the same
/// node of the index.
fn crowded() -> impl Strategy<Value = Vec<Condition>> {
    let pattern = prop_oneof![
        3 => "/[ab/]{0,3}",
        4 => "/[ab/]{0,3}/\\*",
        2 => "/[ab/]{0,3}\\*",
        2 => "/[ab/*?]{0,5}",
        1 => "[ab/*?]{1,3}",
    ];
    let paths = prop::collection::vec(pattern, 1..3).prop_map(Condition::Path);
    let asked = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Condition::Method(vec!["POST".to_owned()]))),
        1 => Just(Some(Condition::Host(vec!["h1.example.com".to_owned()]))),
        1 => Just(Some(Condition::PathRegex(vec!["^/a".to_owned()]))),
    ];
    (paths, asked).prop_map(|(paths, asked)| std::iter::once(paths).chain(asked).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crowded_paths_decide_as_the_scan(
        rules in prop::collection::vec(crowded(), 1..14), seed in any::<u32>(),
        targets in prop::collection::vec("/[ab/]{0,6}", 1..40), method in prop::sample::select(vec!["GET", "POST"]),
    ) {
        let probe = |target| Probe {
            method: method.to_owned(),
            target,
            host: Some("h1.example.com".to_owned()),
            headers: Vec::new(),
            peer: [192, 0, 2, 1].into(),
        };
        agree(&with_priorities(rules, seed), &targets.into_iter().map(probe).collect::<Vec<_>>())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn many_rules_decide_as_the_scan(
        rules in prop::collection::vec(rule(), 1500..2000), seed in any::<u32>(),
        probes in prop::collection::vec(probe(), 30..60),
    ) {
        agree(&with_priorities(rules, seed), &probes)?;
    }
}

fn agree(rules: &[Rule], probes: &[Probe]) -> Result<(), TestCaseError> {
    let router = router(rules);
    let mut output = Output::new();
    for (i, probe) in probes.iter().enumerate() {
        let naive = scan(rules, probe);
        prop_assert_eq!(decided(&router, probe, &mut output), naive, "{:?}", probe);
        // An explanation compiles every condition it tells anew: a few of them are enough.
        if i < 3 && rules.len() < 100 {
            prop_assert_eq!(explained(&router, probe, &mut output), naive, "explained: {:?}", probe);
        }
    }
    Ok(())
}
