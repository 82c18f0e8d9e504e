//! The cases that AWS publishes with its classifier, sent over a socket in each mode (spec: dataplane §6.8).

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, echo, read_answer};

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    uri: String,
    method: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    headers: Option<Vec<Header>>,
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Expected {
    tier: String,
    reason: String,
}

/// The platform, as cargo calls it.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|l| l.strip_prefix("host: ")).expect("a host").to_owned()
}

/// The package's own folder: its test cases come with it.
fn cases() -> Vec<(String, Case)> {
    let metadata = Command::new(env!("CARGO"))
        // Packages of other platforms need not be here.
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &host()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == "http_desync_guardian")
        .and_then(|p| p["manifest_path"].as_str())
        .expect("the package")
        .to_owned();
    let folder = PathBuf::from(manifest).parent().expect("a folder").join("tests");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).expect("text");
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let read: Vec<Case> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
            all.extend(read.into_iter().map(|c| (file.clone(), c)));
        }
    }
    all
}

/// The cases write bytes that YAML cannot hold as escapes of their own.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'\\', [b'x', a, b, more @ ..]) => {
                let hex = String::from_utf8_lossy(&[*a, *b]).into_owned();
                out.push(u8::from_str_radix(&hex, 16).expect("hex"));
                rest = more;
            }
            (b'\\', [b'u', b'{', more @ ..]) => {
                let end = more.iter().position(|b| *b == b'}').expect("an end");
                let hex = String::from_utf8_lossy(&more[..end]).into_owned();
                let c = char::from_u32(u32::from_str_radix(&hex, 16).expect("hex")).expect("a character");
                out.extend(c.to_string().bytes());
                rest = &more[end + 1..];
            }
            (b'\\', [c @ (b'r' | b'n' | b't' | b'0' | b'\\'), more @ ..]) => {
                out.push(match c {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    _ => b'\\',
                });
                rest = more;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

impl Case {
    fn has_folded_name(&self) -> bool {
        self.headers
            .iter()
            .flatten()
            .any(|h| bytes(&h.name).first().is_some_and(|b| matches!(b, b' ' | b'\t')))
    }

    /// The case on the wire. A case with a line break inside a field cannot be sent as what it is.
    fn raw(&self) -> Option<Vec<u8>> {
        let mut out = bytes(&self.method);
        out.push(b' ');
        out.extend(bytes(&self.uri));
        if !self.version.is_empty() {
            out.push(b' ');
            out.extend(bytes(&self.version));
        }
        let mut lines = vec![out];
        for header in self.headers.iter().flatten() {
            lines.push([bytes(&header.name), b": ".to_vec(), bytes(&header.value)].concat());
        }
        // A space within the version belongs to the target, once it is on a wire.
        if self.version.trim().contains(' ') {
            return None;
        }
        if lines.iter().any(|l| l.contains(&b'\n')) || (self.version.is_empty() && lines.len() > 1) {
            return None;
        }
        let has_host = self.headers.iter().flatten().any(|h| h.name.eq_ignore_ascii_case("host"));
        if !has_host && !self.version.is_empty() {
            lines.push(b"Host: example.com".to_vec());
        }
        let mut out = lines.join(b"\r\n".as_slice());
        out.extend_from_slice(if self.version.is_empty() { b"\r\n" } else { b"\r\n\r\n" });
        Some(out)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_cases_pass_over_a_socket() {
    let cases = cases();
    let target = echo().await;
    let (mut sent, mut unsendable, mut wrong) = (0, 0, Vec::new());
    for mode in ["monitor", "defensive", "strictest"] {
        let setup = Setup::new(&[target])
            .with("routing.http.desync_mitigation_mode", mode)
            .with("idle_timeout.timeout_seconds", "1");
        let lb = setup.start().await;
        for (file, case) in &cases {
            let Some(raw) = case.raw() else {
                unsendable += 1;
                continue;
            };
            let mut stream = lb.connect().await;
            let before = lb.log.lock().unwrap().len();
            stream.write_all(&raw).await.unwrap();
            // Bodies that are announced do not come: the verdict is of the head.
            stream.shutdown().await.unwrap();
            let answer = read_answer(&mut stream, case.method == "HEAD").await;
            let line = lb.logged(before + 1).await;
            sent += 1;
            let class = match case.expected.tier.as_str() {
                "Compliant" => "\"-\" \"-\" TID_".to_owned(),
                tier => format!("\"{tier}\" \"{}\" TID_", case.expected.reason),
            };
            let tier = case.expected.tier.as_str();
            let blocked = match mode {
                "monitor" => false,
                "defensive" => tier == "Severe",
                _ => tier != "Compliant",
            };
            let routed = line.contains("\"forward\"");
            // 501 and 505 have their own causes, whatever the class is.
            let other = line.contains(" 501 - ") || line.contains(" 505 - ");
            // A line that begins with white space is a continuation on a wire, whatever its name was.
            let folded = format!("\"{}\" \"MultilineHeader\" TID_", case.expected.tier);
            let named = line.contains(&class) || (case.has_folded_name() && line.contains(&folded));
            if (!named && !other) || (blocked && routed) {
                wrong.push(format!("{mode} {file} `{}`: {} {line}", case.name, answer.status));
            } else if !blocked && !routed && !other && !refused_anyway(case) {
                wrong.push(format!("{mode} {file} `{}` should pass: {} {line}", case.name, answer.status));
            }
        }
    }
    println!("desync: {sent} requests sent, {unsendable} cannot be written on a wire");
    assert!(sent > 300, "{sent}");
    assert!(wrong.is_empty(), "{} of {sent}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What no mode can let pass, because it cannot be written as a request to a target.
fn refused_anyway(case: &Case) -> bool {
    let severe = case.expected.tier == "Severe";
    severe || case.uri.is_empty() || !case.uri.starts_with('/')
}
