//! Vectors as the lines of words that `vectors.c` reads, and what its answers are held against.

use serde_json::{Map, Value, json};

/// What an answer is held against.
pub(crate) enum Expect {
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
    /// A decision with these fields, or none.
    Retry(Option<Map<String, Value>>),
    /// The cookies that are added, by `name=value` with `*` for a value that is sealed.
    Cookies(Vec<Value>),
    /// A list in JSON, of each only the fields that are there.
    List(Vec<Value>),
    /// How often each target was chosen since the last such line, within a share.
    Counts { repeat: u64, counts: Map<String, Value>, within: f64 },
}

/// The lines of one case.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) lines: String,
    /// One for each line, and `Counts` after the lines that they count.
    pub(crate) expect: Vec<(usize, Expect)>,
}

impl Script {
    fn line(&mut self, step: usize, words: &[String], expect: Expect) {
        self.lines.push_str(&words.join(" "));
        self.lines.push('\n');
        self.expect.push((step, expect));
    }
}

pub(crate) fn text_of(value: &Value) -> &str {
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

pub(crate) fn unword(word: &str) -> Option<String> {
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

/// The lines of a case.
pub(crate) fn script(case: &Value) -> Script {
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
            "app_cookie" => app_cookie(&mut script, i, step, now),
            "retry" => {
                let words = asked("retry", i, step, now, 0, &step["failed"].to_string());
                script.line(i, &words, Expect::Retry(step["expect"].as_object().cloned()));
            }
            "why_unsticky" => {
                let words = asked("why", i, step, now, 0, &steps(&step["history_from"]));
                script.line(i, &words, Expect::List(list(&step["expect"])));
            }
            "zone_health" => {
                let expect = Expect::List(list(&step["expect"]));
                script.line(i, &["zones".into(), word(group)], expect);
            }
            "zonal_shift" => {
                let zone = step["zone"].as_str().map_or("-".to_owned(), word);
                let balancer = word(text_of(&step["load_balancer"]));
                script.line(i, &["shift".into(), balancer, zone, mono, unix], Expect::Ok);
            }
            other => panic!("unknown step `{other}`"),
        }
    }
    script.line(0, &["end".into()], Expect::Ok);
    script
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Numbers of steps as one word.
fn steps(value: &Value) -> String {
    let numbers: Vec<String> = list(value).iter().map(Value::to_string).collect();
    if numbers.is_empty() { "-".to_owned() } else { numbers.join(",") }
}

/// The line of a verb that asks about a request: the `n`th repetition, with one word more.
fn asked(verb: &str, i: usize, step: &Value, now: podway::Now, n: u64, other: &str) -> Vec<String> {
    let request = &step["request"];
    let entropy = step["entropy"].as_u64().unwrap_or_default();
    let mut words = vec![
        verb.to_owned(),
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
        steps(&step["cookies_from"]),
        other.to_owned(),
    ];
    words.extend(headers(&request["headers"]));
    words
}

fn headers(given: &Value) -> impl Iterator<Item = String> {
    list(given).into_iter().flat_map(|header| [word(text_of(&header[0])), word(text_of(&header[1]))])
}

fn app_cookie(script: &mut Script, i: usize, step: &Value, now: podway::Now) {
    let sets = list(&step["sets"]);
    let mut words = vec![
        "app_cookie".to_owned(),
        i.to_string(),
        now.mono_ms.to_string(),
        now.unix_s.to_string(),
        step["entropy"].as_u64().unwrap_or_default().to_string(),
        step["step"].to_string(),
        steps(&step["cookies_from"]),
        sets.len().to_string(),
    ];
    words.extend(sets.iter().map(|name| word(text_of(name))));
    words.extend(headers(&step["headers"]));
    script.line(i, &words, Expect::Cookies(list(&step["expect"])));
}

fn decide(script: &mut Script, i: usize, step: &Value, now: podway::Now) {
    let repeat = step["repeat"].as_u64().unwrap_or(1);
    let expect = step["expect"].as_object().cloned().unwrap_or_default();
    for n in 0..repeat {
        let words = asked("decide", i, step, now, n, "-");
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
