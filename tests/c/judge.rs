//! What `vectors.c` answers, held against the vectors.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::script::{Expect, Script, text_of, unword};

pub(crate) fn judge<'a>(script: &Script, answers: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
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
        Expect::Decision(fields) if first == "decision" => judge_decision(fields, answer, chosen),
        Expect::Retry(Some(fields)) if first == "decision" => judge_decision(fields, answer, chosen),
        Expect::Retry(None) if first == "none" => Ok(()),
        Expect::Cookies(expect) if first == "cookies" => {
            let words: Vec<&str> = words.collect();
            let added: Vec<Value> =
                words.chunks_exact(2).filter_map(|pair| Some(shown(&unword(pair[1])?).into())).collect();
            if added == *expect { Ok(()) } else { Err(format!("expected {expect:?}, got {added:?}")) }
        }
        Expect::List(expect) if first == "list" => {
            let told = told(answer).remove("json").unwrap_or_default();
            let told: Vec<Value> = serde_json::from_str(text_of(&told)).map_err(|e| e.to_string())?;
            if told.len() != expect.len() {
                return Err(format!("expected {expect:?}, got {told:?}"));
            }
            let fields = expect.iter().map(|e| e.as_object().cloned().unwrap_or_default());
            fields.zip(&told).try_for_each(|(fields, told)| fits(&fields, told))
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

/// A decision, told twice: as words and as JSON.
fn judge_decision(
    fields: &Map<String, Value>,
    answer: &str,
    chosen: &mut BTreeMap<String, u64>,
) -> Result<(), String> {
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

/// A cookie by `name=value`, with `*` for a value that is sealed.
fn shown(set_cookie: &str) -> String {
    let pair = set_cookie.split(';').next().unwrap_or_default();
    let (name, value) = pair.split_once('=').unwrap_or_default();
    if value == "_remove_" { pair.to_owned() } else { format!("{name}=*") }
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
