//! The C ABI met from C: compiles the programs in `c/` as strict C11 against the static library, once
//! plain and once with sanitizers where the compiler has them, and holds what `vectors.c` prints against
//! the routing vectors.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

#[path = "c/judge.rs"]
mod judge;
#[path = "c/script.rs"]
mod script;

use judge::judge;
use script::{Script, script, text_of};

const STRICT: &[&str] = &["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"];
const SANITIZERS: &[&str] = &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

#[test]
fn c_programs_see_what_the_header_promises() {
    let kit = Kit::new();
    assert_header_is_cpp(&kit);
    assert_header_is_c(&kit);
    let latin = kit.folder.join("latin.yml");
    std::fs::write(&latin, b"metadata: {name: caf\xe9}\n").expect("a file that is not UTF-8");
    for (name, flags) in kit.variants() {
        let abi = kit.compile("abi", name, flags);
        let run = Command::new(&abi).arg(&latin).output().expect("abi runs");
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

/// `abi.c` says of every function what it does with wrong arguments, or calls it at least.
#[test]
fn every_function_is_met_by_abi_c() {
    let kit = |path: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        std::fs::read_to_string(file).expect("a source")
    };
    let (header, program) = (kit("include/podway.h"), kit("tests/c/abi.c"));
    let declared: Vec<&str> = header
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '(')
        .filter_map(|word| word.split_once('(')?.0.strip_prefix("podway_"))
        .collect();
    assert!(declared.len() > 50, "{declared:?}");
    let missing: Vec<_> = declared.iter().filter(|f| !program.contains(&format!("podway_{f}("))).collect();
    assert!(missing.is_empty(), "abi.c calls no {missing:?}");
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
