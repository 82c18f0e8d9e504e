//! `podway explain` for people: what the rules saw, rule by rule, and where the request goes.

use serde::Deserialize;
use serde_json::Value;

use super::output;
use super::route::{goes_to, text};
use crate::model::RuleCondition;

/// Tells each answer on its own: no two requests need have been told by the same rules.
pub(super) fn people(all: &[Value]) {
    for (i, answer) in all.iter().enumerate() {
        if i > 0 {
            anstream::println!();
        }
        one(answer);
    }
}

fn one(answer: &Value) {
    let listener = format!("{} {}", text(&answer["Listener"]["Protocol"]), answer["Listener"]["Port"]);
    let seen = &answer["Request"];
    if seen.is_object() {
        let query = seen["Query"].as_str().map(|q| format!("?{q}")).unwrap_or_default();
        let host = seen["Host"].as_str().unwrap_or("(no host)");
        anstream::println!(
            "{} {host} {}{query} from {}",
            text(&seen["Method"]),
            text(&seen["Path"]),
            text(&seen["SourceIp"])
        );
    }
    anstream::println!("{} {listener}", text(&answer["LoadBalancer"]));
    let mut table = output::table(&["rule", "if", "saw", ""]);
    for rule in answer["Rules"].as_array().into_iter().flatten() {
        let mut priority = text(&rule["Priority"]);
        for condition in rule["Conditions"].as_array().into_iter().flatten() {
            let asked =
                RuleCondition::deserialize(condition).map(|c| output::condition(&c)).unwrap_or_default();
            table.add_row([std::mem::take(&mut priority), asked, saw(condition), verdict(condition)]);
        }
    }
    let matched = text(&answer["Rule"]["Priority"]);
    if matched == "default" {
        table.add_row([
            "default".to_owned(),
            String::new(),
            String::new(),
            "no rule before it matches".to_owned(),
        ]);
    }
    if !table.is_empty() {
        anstream::println!("{table}");
    }
    match answer["NotReached"].as_u64() {
        Some(1) => anstream::println!("1 rule after it was not looked at"),
        Some(n) if n > 1 => anstream::println!("{n} rules after it were not looked at"),
        _ => {}
    }
    let (service, goes) = goes_to(answer);
    let rule = if matched.is_empty() { "before any rule".to_owned() } else { format!("rule {matched}") };
    let service = if service.is_empty() { service } else { format!("{service} at ") };
    anstream::println!("{rule}: {service}{goes}");
    for cookie in answer["SetCookie"].as_array().into_iter().flatten() {
        anstream::println!("Set-Cookie: {}", text(cookie));
    }
}

fn saw(condition: &Value) -> String {
    let all: Vec<String> = condition["Saw"].as_array().into_iter().flatten().map(text).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(" | ") }
}

fn verdict(condition: &Value) -> String {
    match condition["MatchedValue"].as_str() {
        Some(value) => format!("matches {value}"),
        None => "does not match".to_owned(),
    }
}
