//! How many instructions a decision takes, counted by valgrind's callgrind: the same on every run, however
//! busy the machine. Needs `valgrind` on the path; prints a table.
//!
//! The program runs itself under callgrind once for each case, which counts inside [`measured`] only.

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};

use podway_benches::through_c::{through_c, through_rust};
use podway_benches::{Mix, RuleSet};

/// Over how many requests a count is taken.
const TIMES: usize = 1_000;

type Work = Box<dyn FnMut(usize)>;
/// A name and how to get ready for the work.
type Case = (&'static str, fn() -> Work);

fn podway(set: RuleSet) -> Work {
    let (mut decider, asked) = (set.decider(), set.requests(set.rules.min(TIMES)));
    Box::new(move |n| {
        let (host, target) = &asked[n % asked.len()];
        black_box(decider.decide(black_box(host), black_box(target)));
    })
}

fn with_report(set: RuleSet) -> Work {
    let (mut decider, asked) = (set.decider(), set.requests(set.rules.min(TIMES)));
    Box::new(move |n| {
        let (host, target) = &asked[n % asked.len()];
        black_box(decider.decide_and_report(black_box(host), black_box(target)));
    })
}

fn through(mut call: impl FnMut(&str, &str) + 'static, set: RuleSet) -> Work {
    let asked = set.requests(set.rules.min(TIMES));
    Box::new(move |n| {
        let (host, target) = &asked[n % asked.len()];
        call(black_box(host), black_box(target));
    })
}

fn rust(set: RuleSet) -> Work {
    through(through_rust(set), set)
}

fn c(set: RuleSet) -> Work {
    through(through_c(set), set)
}

fn matchit(set: RuleSet) -> Work {
    let (routes, asked) = (set.matchit(), set.requests(set.rules.min(TIMES)));
    Box::new(move |n| {
        let (host, path) = &asked[n % asked.len()];
        black_box(routes.at(black_box(host), black_box(path)));
    })
}

const CASES: &[Case] = &[
    ("1 rule", || podway(RuleSet::one_host(1))),
    ("100 rules, ten a host", || podway(RuleSet::spread(100))),
    ("100 rules, ten a host, with report", || with_report(RuleSet::spread(100))),
    ("100 rules, ten a host, kept and reported: Rust", || rust(RuleSet::spread(100))),
    ("the same through C", || c(RuleSet::spread(100))),
    ("10,000 rules, ten a host, kept and reported: Rust", || rust(RuleSet::spread(10_000))),
    ("the same of 10,000 through C", || c(RuleSet::spread(10_000))),
    ("100 rules, ten a host, matchit", || matchit(RuleSet::spread(100))),
    ("100 rules, one host", || podway(RuleSet::one_host(100))),
    ("100 rules, one host, matchit", || matchit(RuleSet::one_host(100))),
    ("10,000 rules, ten a host", || podway(RuleSet::spread(10_000))),
    ("10,000 rules, ten a host, matchit", || matchit(RuleSet::spread(10_000))),
    ("10,000 rules, one host", || podway(RuleSet::one_host(10_000))),
    ("10,000 rules, one host, matchit", || matchit(RuleSet::one_host(10_000))),
    ("100 rules, one host, 10 % globs", || podway(RuleSet::one_host(100).with(Mix::Globs(10)))),
    ("100 rules, one host, 10 % regexes", || podway(RuleSet::one_host(100).with(Mix::Regexes(10)))),
    ("100 rules, one host, 10 % other conditions", || {
        podway(RuleSet::one_host(100).with(Mix::Conditions(10)))
    }),
    ("100 rules, one host, 100 % globs", || podway(RuleSet::one_host(100).with(Mix::Globs(100)))),
];

/// Callgrind counts in here and below.
#[inline(never)]
fn measured(work: &mut Work) {
    for n in 0..TIMES {
        work(n);
    }
}

fn count(case: &str, folder: &Path) -> Result<u64, String> {
    let itself = std::env::current_exe().map_err(|e| e.to_string())?;
    let out = folder.join("callgrind.out");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(itself)
        .args(["--case", case])
        .output()
        .map_err(|e| format!("valgrind does not run: {e}"))?;
    if !ran.status.success() {
        return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
    }
    let counted = std::fs::read_to_string(&out).map_err(|e| e.to_string())?;
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|t| t.trim().parse().ok()).ok_or_else(|| "callgrind wrote no total".to_owned())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` runs this too; there is nothing to test.
    if arguments.iter().any(|a| a == "--test") {
        return ExitCode::SUCCESS;
    }
    if let Some(at) = arguments.iter().position(|a| a == "--case") {
        let wanted = arguments.get(at + 1);
        if let Some((_, ready)) = CASES.iter().find(|(name, _)| wanted.is_some_and(|w| w == name)) {
            let mut work = ready();
            work(0);
            measured(&mut work);
        }
        return ExitCode::SUCCESS;
    }
    let folder = std::env::temp_dir().join(format!("podway-instructions-{}", std::process::id()));
    if let Err(e) = std::fs::create_dir_all(&folder) {
        eprintln!("{}: {e}", folder.display());
        return ExitCode::FAILURE;
    }
    println!("| a decision among | instructions |\n|---|---:|");
    let mut code = ExitCode::SUCCESS;
    for (name, _) in CASES {
        match count(name, &folder) {
            Ok(total) => println!("| {name} | {} |", total / TIMES as u64),
            Err(e) => {
                eprintln!("{name}: {e}");
                code = ExitCode::FAILURE;
                break;
            }
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    code
}
