//! The C ABI met from C: compiles the programs in `c/` as strict C11 against the static library, once
//! plain and once with sanitizers where the compiler has them, and holds what `vectors.c` prints against
//! the routing vectors.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Map, Value, json};

const STRICT: &[&str] = &["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"];
const SANITIZERS: &[&str] = &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

#[test]
fn c_programs_see_what_the_header_promises() {
    let kit = Kit::new();
    assert_header_is_cpp(&kit);
    assert_header_is_c(&kit);
    for (name, flags) in kit.variants() {
        let abi = kit.compile("abi", name, flags);
        let run = Command::new(&abi).output().expect("abi runs");
        assert!(run.status.success(), "{name}: {}", said(&run));
        println!("c: {name}: {}", String::from_utf8_lossy(&run.stdout).trim());

        let vectors = kit.compile("vectors", name, flags);
        let (passed, misses, counted) = run_vectors(&vectors);
        println!("vectors c: {passed} passed, {} failed ({name})", misses.len());
        if !counted.is_empty() {
            println!("allocations c: {counted}");
        }
        assert!(misses.is_empty(), "{name}: {} misses:\n{}", misses.len(), misses.join("\n"));
        assert_eq!(passed, podway_tests::cases().len(), "every vector ran");
    }
}

/// The library and the compiler.
struct Kit {
    root: PathBuf,
    folder: PathBuf,
    library: PathBuf,
    native: Vec<String>,
}

impl Kit {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo)
            .current_dir(&root)
            .args(["rustc", "-q", "-p", "podway", "--lib", "--features", "capi", "--crate-type", "staticlib"])
            .args(["--message-format", "json", "--", "--print", "native-static-libs"])
            .output()
            .expect("cargo runs");
        assert!(build.status.success(), "{}", said(&build));
        let text = String::from_utf8(build.stdout).expect("messages are text");
        let messages = || text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let library = messages()
            .flat_map(|m| m["filenames"].as_array().cloned().unwrap_or_default())
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .find(|file| file.file_stem().is_some_and(|s| s == "libpodway" || s == "podway"))
            .expect("cargo says where the library is");
        // Only told when the library was built just now.
        let told = messages().find_map(|m| {
            let message = m["message"]["message"].as_str()?.strip_prefix("native-static-libs: ")?.to_owned();
            Some(message.split_whitespace().map(str::to_owned).collect())
        });
        let usual = || ["-lpthread", "-lm", "-ldl"].map(str::to_owned).to_vec();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
        std::fs::create_dir_all(&folder).expect("a folder for programs");
        Kit { root, folder, library, native: told.unwrap_or_else(usual) }
    }

    /// Plain, and with sanitizers where they can be linked.
    fn variants(&self) -> Vec<(&'static str, &'static [&'static str])> {
        // Only glibc lets a program count allocations this way; the sanitizers have allocators of their own.
        let count: &[&str] =
            if cfg!(all(target_os = "linux", target_env = "gnu")) { &["-DCOUNT_ALLOCATIONS"] } else { &[] };
        let mut variants: Vec<(_, &'static [&'static str])> = vec![("plain", count)];
        let probe = self.folder.join("probe.c");
        std::fs::write(&probe, "int main(void) { return 0; }\n").expect("a probe");
        let linked =
            compiler().args(SANITIZERS).arg(&probe).arg("-o").arg(self.folder.join("probe")).output();
        if linked.is_ok_and(|o| o.status.success()) {
            variants.push(("sanitizers", SANITIZERS));
        } else {
            println!("c: the compiler has no sanitizers, so only the plain programs run");
        }
        variants
    }

    fn compile(&self, program: &str, variant: &str, flags: &[&str]) -> PathBuf {
        let out = self.folder.join(format!("{program}-{variant}"));
        let built = compiler()
            .args(STRICT)
            .args(flags)
            .arg("-I")
            .arg(self.root.join("include"))
            .arg(self.root.join("tests/c").join(program).with_extension("c"))
            .arg(&self.library)
            .args(&self.native)
            .arg("-o")
            .arg(&out)
            .output()
            .expect("a C compiler: set CC");
        assert!(built.status.success(), "{program}.c: {}", said(&built));
        out
    }
}

fn compiler() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// The header by itself, in every C that programs are written in.
fn assert_header_is_c(kit: &Kit) {
    for standard in ["c99", "c11", "c17"] {
        let parsed = compiler()
            .arg(format!("-std={standard}"))
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-x", "c", "-fsyntax-only"])
            .arg(kit.root.join("include/podway.h"))
            .output()
            .expect("a C compiler: set CC");
        assert!(parsed.status.success(), "{standard}: {}", said(&parsed));
    }
}

/// C++ programs include the header too.
fn assert_header_is_cpp(kit: &Kit) {
    for standard in ["c++11", "c++17", "c++20"] {
        let mut command = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
        let parsed = command
            .arg(format!("-std={standard}"))
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-x", "c++", "-fsyntax-only"])
            .arg(kit.root.join("include/podway.h"))
            .output();
        match parsed {
            Ok(parsed) => assert!(parsed.status.success(), "{standard}: {}", said(&parsed)),
            Err(e) => return println!("c: no C++ compiler ({e}), the header was not parsed as C++"),
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What an answer is held against.
enum Expect {
    /// The word `ok`.
    Ok,
    /// A failure with these codes among its problems.
    Rejected(Vec<String>),
    /// A decision with these fields, told twice: as words and as JSON.
    Decision(Map<String, Value>),
    /// The health of the target of this group and name.
    Health(String, String, Option<Value>),
    /// What is told of the target of this group and name; `None` where it is gone.
    Target(String, String, Option<Map<String, Value>>),
    /// The probes that are due: Host, path and port of each, in the order of their addresses.
    Probes(Vec<Value>),
    /// A connection's way behind a NodePort.
    Hop(Map<String, Value>),
    /// How often each target was chosen since the last such line, within a share.
    Counts { repeat: u64, counts: Map<String, Value>, within: f64 },
}

/// The lines of one case.
#[derive(Default)]
struct Script {
    lines: String,
    /// One for each line, and `Counts` after the lines that they count.
    expect: Vec<(usize, Expect)>,
}

impl Script {
    fn line(&mut self, step: usize, words: &[String], expect: Expect) {
        self.lines.push_str(&words.join(" "));
        self.lines.push('\n');
        self.expect.push((step, expect));
    }
}

/// How many passed, what did not, and what the program says of its allocations.
fn run_vectors(program: &Path) -> (usize, Vec<String>, String) {
    let scripts: Vec<(String, Script)> =
        all_cases().iter().map(|(name, case)| (name.clone(), script(case))).collect();
    let input: String = scripts.iter().map(|(_, s)| s.lines.as_str()).collect();
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vectors runs");
    let mut stdin = child.stdin.take().expect("its input");
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("vectors ends");
    writer.join().expect("the writer").expect("its input is read");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("answers are text");
    let mut answers = text.lines();
    let (mut passed, mut misses) = (0, Vec::new());
    for (name, script) in &scripts {
        match judge(script, &mut answers) {
            Ok(()) => passed += 1,
            Err(miss) => misses.push(format!("{name}: {miss}")),
        }
    }
    assert_eq!(answers.next(), None, "one answer for each line");
    (passed, misses, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn all_cases() -> Vec<(String, Value)> {
    let folder = podway_tests::vectors().join("routing");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the routing vectors")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a vector file");
        let mut file: Value = serde_json::from_str(&text).expect("JSON");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Value::Array(cases) = file["cases"].take() else { panic!("{name}: no cases") };
        all.extend(cases.into_iter().map(|case| (format!("{name} {}", text_of(&case["id"])), case)));
    }
    all
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text as one word.
fn word(text: &str) -> String {
    let mut word = String::from("=");
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' => word.push(byte as char),
            _ => word.push_str(&format!("%{byte:02X}")),
        }
    }
    word
}

fn unword(word: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = word.strip_prefix('=')?.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn script(case: &Value) -> Script {
    let mut script = Script::default();
    let mut now = podway_tests::START;
    let moment = |now: podway::Now| [now.mono_ms.to_string(), now.unix_s.to_string()];
    let rejects: Vec<String> = serde_json::from_value(case["rejects"].clone()).unwrap_or_default();
    match case.get("model") {
        // Where reading is what refuses it, there is no model to make a router of.
        Some(model) if rejects.iter().any(|code| code == "E_OBJECT") => {
            script.line(0, &["model".into(), word(&model.to_string())], Expect::Rejected(rejects));
            return script;
        }
        Some(model) => script.line(0, &["model".into(), word(&model.to_string())], Expect::Ok),
        None => {
            let folder = podway_tests::vectors().join(text_of(&case["manifests"]));
            script.line(0, &["manifests".into(), word(&folder.to_string_lossy())], Expect::Ok);
        }
    }
    let mut options = case.get("options").cloned().unwrap_or_else(|| json!({}));
    let expect = if rejects.is_empty() {
        Expect::Ok
    } else {
        options["strict"] = true.into();
        Expect::Rejected(rejects)
    };
    let [mono, unix] = moment(now);
    script.line(0, &["router".into(), word(&options.to_string()), mono, unix], expect);
    for (i, step) in case["steps"].as_array().into_iter().flatten().enumerate() {
        let [mono, unix] = moment(now);
        let (group, target) = (text_of(&step["target_group"]), text_of(&step["target"]));
        match text_of(&step["do"]) {
            "decide" => decide(&mut script, i, step, now),
            "health" => {
                let state = word(text_of(&step["state"]));
                let words = ["health".into(), word(group), word(target), state, mono, unix];
                script.line(i, &words, Expect::Ok);
            }
            "probe" => {
                let (result, status) = match &step["result"] {
                    Value::Number(n) => ("status".to_owned(), n.to_string()),
                    other => (text_of(other).to_owned(), "0".to_owned()),
                };
                let expect = Expect::Health(group.into(), target.into(), step.get("expect").cloned());
                let words = ["probe".into(), word(group), word(target), result, status, mono, unix];
                script.line(i, &words, expect);
            }
            "advance" => {
                now = now.plus_ms(step["ms"].as_u64().expect("ms"));
                let [mono, unix] = moment(now);
                script.line(i, &["poll".into(), mono, unix], Expect::Ok);
            }
            "report" => {
                let status = step["status"].as_u64().unwrap_or(200).to_string();
                let outcome = text_of(&step["outcome"]).to_owned();
                let words = ["report".into(), step["step"].to_string(), outcome, status, mono, unix];
                script.line(i, &words, Expect::Ok);
            }
            "reload" => {
                let model = word(&step["model"].to_string());
                script.line(i, &["reload".into(), model, mono, unix], Expect::Ok);
            }
            "target" => {
                let expect = Expect::Target(group.into(), target.into(), step["expect"].as_object().cloned());
                script.line(i, &["target".into(), word(group), word(target)], expect);
            }
            "probes" => {
                now = now.plus_ms(step["ms"].as_u64().expect("ms"));
                let [mono, unix] = moment(now);
                let expect = Expect::Probes(step["expect"].as_array().cloned().unwrap_or_default());
                script.line(i, &["poll".into(), mono, unix], expect);
            }
            "hop" => {
                let entropy = step["entropy"].as_u64().unwrap_or_default();
                let repeat = step["repeat"].as_u64().unwrap_or(1);
                let client = text_of(&step["client"]);
                let client =
                    if client.contains(':') { format!("[{client}]:0") } else { format!("{client}:0") };
                let expect = step["expect"].as_object().cloned().unwrap_or_default();
                for n in 0..repeat {
                    let entropy = entropy.wrapping_add(n).to_string();
                    let [mono, unix] = moment(now);
                    let words = ["hop".into(), word(group), word(target), word(&client), mono, unix, entropy];
                    script.line(i, &words, Expect::Hop(expect.clone()));
                }
                counts(&mut script, i, step, repeat);
            }
            other => panic!("unknown step `{other}`"),
        }
    }
    script.line(0, &["end".into()], Expect::Ok);
    script
}

fn decide(script: &mut Script, i: usize, step: &Value, now: podway::Now) {
    let request = &step["request"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let entropy = step["entropy"].as_u64().unwrap_or_default();
    let repeat = step["repeat"].as_u64().unwrap_or(1);
    let cookies: Vec<String> = list(&step["cookies_from"]).iter().map(Value::to_string).collect();
    let expect = step["expect"].as_object().cloned().unwrap_or_default();
    for n in 0..repeat {
        let mut words = vec![
            "decide".to_owned(),
            i.to_string(),
            now.mono_ms.to_string(),
            now.unix_s.to_string(),
            entropy.wrapping_add(n).to_string(),
            word(text_of(&step["load_balancer"])),
            step["port"].to_string(),
            word(text_of(&request["method"])),
            word(text_of(&request["target"])),
            request["host"].as_str().map_or("-".to_owned(), word),
            word(text_of(&request["peer"])),
            if cookies.is_empty() { "-".to_owned() } else { cookies.join(",") },
        ];
        for header in list(&request["headers"]) {
            words.extend([word(text_of(&header[0])), word(text_of(&header[1]))]);
        }
        script.line(i, &words, Expect::Decision(expect.clone()));
        // How it is reported depends on the target, which C knows: one word for each.
        if let Some(reports) = step["report"].as_object() {
            let mut words =
                vec!["settle".to_owned(), i.to_string(), now.mono_ms.to_string(), now.unix_s.to_string()];
            for (target, outcome) in reports {
                let (name, status) = match outcome {
                    Value::Number(status) => ("response", status.to_string()),
                    name => (text_of(name), "0".to_owned()),
                };
                words.extend([word(target), name.to_owned(), status]);
            }
            script.line(i, &words, Expect::Ok);
        }
    }
    counts(script, i, step, repeat);
}

fn counts(script: &mut Script, i: usize, step: &Value, repeat: u64) {
    if let Some(counts) = step["counts"].as_object() {
        let within = step["within"].as_f64().unwrap_or_default();
        script.expect.push((i, Expect::Counts { repeat, counts: counts.clone(), within }));
    }
}

fn judge<'a>(script: &Script, answers: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut chosen: BTreeMap<String, u64> = BTreeMap::new();
    let mut chosen_in = usize::MAX;
    let mut miss = None;
    for (step, expect) in &script.expect {
        if let Expect::Counts { repeat, counts, within } = expect {
            if let Err(e) = judge_counts(&chosen, *repeat, counts, *within) {
                miss.get_or_insert(format!("step {step}: {e}"));
            }
            continue;
        }
        // Every answer is taken, also after a miss: the next case follows.
        let answer = answers.next().ok_or("no answer")?;
        if chosen_in != *step {
            chosen.clear();
            chosen_in = *step;
        }
        if let Err(e) = judge_one(expect, answer, &mut chosen) {
            miss.get_or_insert(format!("step {step}: {e}"));
        }
    }
    miss.map_or(Ok(()), Err)
}

fn judge_one(expect: &Expect, answer: &str, chosen: &mut BTreeMap<String, u64>) -> Result<(), String> {
    let mut words = answer.split(' ');
    let first = words.next().unwrap_or_default();
    match expect {
        Expect::Ok if first == "ok" => Ok(()),
        Expect::Rejected(codes) if first == "failed" => {
            let problems = told(answer).remove("json").unwrap_or_default();
            let problems: Value = serde_json::from_str(text_of(&problems)).map_err(|e| e.to_string())?;
            let found: Vec<_> =
                problems.as_array().into_iter().flatten().map(|p| text_of(&p["Code"])).collect();
            match codes.iter().find(|code| !found.contains(&code.as_str())) {
                None => Ok(()),
                Some(code) => Err(format!("rejected with {found:?}, not with {code}")),
            }
        }
        Expect::Decision(fields) if first == "decision" => {
            let mut said = told(answer);
            let described = said.remove("json").unwrap_or_default();
            let described: Map<String, Value> =
                serde_json::from_str(text_of(&described)).map_err(|e| e.to_string())?;
            let target = said.get("target").map_or("-", text_of);
            *chosen.entry(target.to_owned()).or_default() += 1;
            for (key, expected) in fields {
                let actual = said.get(key).unwrap_or(&Value::Null);
                if actual != expected {
                    return Err(format!("{key}: expected {expected}, got {actual} (all: {said:?})"));
                }
                let described = match (key.as_str(), described.get(key)) {
                    ("set_cookies", all) => all.and_then(Value::as_array).map_or(0, Vec::len).into(),
                    (_, value) => value.cloned().unwrap_or_default(),
                };
                if described != *expected {
                    return Err(format!("{key}: expected {expected}, described as {described}"));
                }
            }
            Ok(())
        }
        Expect::Health(group, target, health) if first == "targets" => {
            let Some(health) = health else { return Ok(()) };
            let targets = told(answer).remove("json").unwrap_or_default();
            let targets: Value = serde_json::from_str(text_of(&targets)).map_err(|e| e.to_string())?;
            let found = targets
                .as_array()
                .into_iter()
                .flatten()
                .find(|t| t["target_group"] == group.as_str() && t["target"] == target.as_str())
                .ok_or("the target is gone")?;
            match ["state", "reason", "description"].iter().find(|key| found[**key] != health[**key]) {
                None => Ok(()),
                Some(key) => Err(format!("{key}: expected {}, got {}", health[*key], found[*key])),
            }
        }
        Expect::Target(group, target, expect) if first == "targets" => {
            let targets = told(answer).remove("json").unwrap_or_default();
            let targets: Value = serde_json::from_str(text_of(&targets)).map_err(|e| e.to_string())?;
            let found = targets
                .as_array()
                .into_iter()
                .flatten()
                .find(|t| t["target_group"] == group.as_str() && t["target"] == target.as_str());
            match (found, expect) {
                (None, None) => Ok(()),
                (Some(found), Some(expect)) => fits(expect, found),
                (found, _) => Err(format!("it is there: {found:?}")),
            }
        }
        Expect::Probes(expect) if first == "ok" => {
            let words: Vec<&str> = words.collect();
            let mut due: Vec<(String, String, String)> = words
                .chunks_exact(6)
                .map(|w| {
                    (unword(w[1]).unwrap_or_default(), unword(w[3]).unwrap_or_default(), w[5].to_owned())
                })
                .collect();
            due.sort();
            let mut expected: Vec<(String, String, String)> = expect
                .iter()
                .map(|p| {
                    let port = text_of(&p["address"]).rsplit(':').next().unwrap_or_default();
                    (text_of(&p["host"]).to_owned(), text_of(&p["path"]).to_owned(), port.to_owned())
                })
                .collect();
            expected.sort();
            if due == expected { Ok(()) } else { Err(format!("probes {due:?}")) }
        }
        Expect::Hop(expect) if first == "hop" => {
            let hop = told(answer).remove("json").unwrap_or_default();
            let hop: Value = serde_json::from_str(text_of(&hop)).map_err(|e| e.to_string())?;
            *chosen.entry(hop["pod"].as_str().unwrap_or("-").to_owned()).or_default() += 1;
            fits(expect, &hop)
        }
        _ => Err(format!("answered `{answer}`")),
    }
}

/// Whether what is told has the expected fields.
fn fits(expect: &Map<String, Value>, told: &Value) -> Result<(), String> {
    match expect.iter().find(|(key, value)| told[key.as_str()] != **value) {
        None => Ok(()),
        Some((key, value)) => Err(format!("{key}: expected {value}, got {told}")),
    }
}

fn judge_counts(
    chosen: &BTreeMap<String, u64>,
    repeat: u64,
    counts: &Map<String, Value>,
    within: f64,
) -> Result<(), String> {
    for name in counts.keys().chain(chosen.keys()) {
        let want = counts.get(name).and_then(Value::as_u64).unwrap_or_default();
        let got = chosen.get(name).copied().unwrap_or_default();
        if want.abs_diff(got) as f64 > within * repeat as f64 {
            return Err(format!("{name} was chosen {got} times, expected {want} (all: {chosen:?})"));
        }
    }
    Ok(())
}

/// The fields of an answer: pairs of words after the first, or after `failed` and its number.
fn told(answer: &str) -> Map<String, Value> {
    let words: Vec<&str> = answer.split(' ').collect();
    let skip = if words.first() == Some(&"failed") { 2 } else { 1 };
    let pairs = words.get(skip..).unwrap_or_default().chunks_exact(2);
    pairs
        .filter_map(|pair| {
            let value = match pair[1] {
                "-" => return None,
                text if text.starts_with('=') => Value::from(unword(text)?),
                plain => serde_json::from_str(plain).ok()?,
            };
            Some((pair[0].to_owned(), value))
        })
        .collect()
}
