//! The import rule of the crate, held by a machine: data flows one way, imports follow it backwards.
//! Reads `core/src/**` and checks every `crate::…` path against the table below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules of the crate a module may name. `lib` re-exports, so it is left out.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("time", &[]),
    ("mix", &[]),
    ("sync", &[]),
    ("texts", &[]),
    ("options", &[]),
    ("request", &["error", "time"]),
    ("decision", &["error", "time", "model"]),
    ("model", &["error", "time"]),
    ("matcher", &["request", "model", "options"]),
    ("table", &["model", "matcher", "decision", "request", "options", "health", "texts"]),
    ("compile", &["model", "table", "matcher", "error", "options", "health", "decision", "sticky", "mix"]),
    ("health", &["model", "time"]),
    ("state", &["table", "health", "time", "model", "decision", "sync"]),
    ("sticky", &["model", "time", "error", "decision", "request", "texts"]),
    ("select", &["table", "state", "sticky", "time", "model", "decision", "options", "request", "mix"]),
    ("kube_proxy", &["model", "time", "mix"]),
    ("elbv2", &["model", "error"]),
    ("manifest", &["model", "error"]),
    ("local", &["model", "error", "manifest", "mix"]),
    ("cluster", &["model", "error", "manifest"]),
];

/// Modules that stand above the router may use what is public; these may not name each other.
const CLIENTS: &[&str] = &["capi", "forwarder", "cli"];

/// What only the decision's own half of the crate may name.
const INTERNAL: &[&str] = &["table", "matcher", "compile", "state", "select", "sticky", "health"];

#[test]
fn imports_follow_the_layers() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let rules: BTreeMap<&str, BTreeSet<&str>> =
        MAY_IMPORT.iter().map(|(m, may)| (*m, may.iter().copied().collect())).collect();
    let mut files = Vec::new();
    collect(&core, &mut files);
    let mut modules = BTreeSet::new();
    let mut broken = Vec::new();
    for file in &files {
        let module = module_of(&core, file);
        let text = std::fs::read_to_string(file).expect("a source file");
        for (line, named) in named_modules(&text) {
            let allowed = match rules.get(module.as_str()) {
                Some(may) => named == module || may.contains(named.as_str()),
                None if CLIENTS.contains(&module.as_str()) => {
                    let other_client = CLIENTS.contains(&named.as_str()) && named != module;
                    // The command is also a client of the forwarder.
                    let cli_uses_forwarder = module == "cli" && named == "forwarder";
                    (!other_client || cli_uses_forwarder) && !INTERNAL.contains(&named.as_str())
                }
                None => true, // lib, router, explain, describe: everything below them
            };
            if !allowed {
                broken.push(format!("{}:{line}: {module} must not use {named}", file.display()));
            }
        }
        modules.insert(module);
    }
    for (module, _) in MAY_IMPORT.iter().filter(|(m, _)| !["elbv2", "cluster", "local"].contains(m)) {
        assert!(modules.contains(*module), "{module} is gone: the table of this test is out of date");
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_edges_read_clocks_and_open_sockets() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let mut files = Vec::new();
    collect(&core, &mut files);
    let edges = ["forwarder", "cluster", "cli", "podway"];
    let forbidden = ["Instant::now", "SystemTime::now", "std::net::Tcp", "std::net::Udp", "thread::sleep"];
    let mut broken = Vec::new();
    for file in files.iter().filter(|f| !edges.contains(&module_of(&core, f).as_str())) {
        let text = std::fs::read_to_string(file).expect("a source file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (i, line) in code.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            if let Some(what) = forbidden.iter().find(|f| line.contains(**f)) {
                broken.push(format!("{}:{}: {what}", file.display(), i + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The top-level module a file belongs to.
fn module_of(core: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(core).expect("a file of the crate");
    let first = inside.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
    match first.as_str() {
        "bin" => "podway".to_owned(),
        other => other.trim_end_matches(".rs").to_owned(),
    }
}

/// The modules that code outside of tests and comments names as `crate::module`.
fn named_modules(text: &str) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut named = Vec::new();
    for (i, line) in code.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        for rest in line.split("crate::").skip(1) {
            let inside = rest.strip_prefix('{').unwrap_or(rest);
            let names: Vec<&str> =
                if rest.starts_with('{') { inside.split(',').collect() } else { vec![inside] };
            for name in names {
                let name: String =
                    name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // Capitalised names are re-exports of the crate's root: the public API.
                if name.starts_with(char::is_lowercase) {
                    named.push((i + 1, name));
                }
            }
        }
    }
    named
}
