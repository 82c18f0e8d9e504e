//! What the real controller answered, case by case: the manifests of `vectors/controller` become the
//! recorded plan, or are refused with the recorded code. `vectors/controller/README.md` tells where the
//! answers come from and what is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use podway::local::LocalCluster;
use podway::manifest::Settings;
use serde_json::{Map, Value, json};

#[test]
fn plans_are_the_controllers() {
    let folder = podway_tests::vectors().join("controller");
    let mut expected: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the corpus")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.to_string_lossy().ends_with(".expected.json"))
        .collect();
    expected.sort();
    assert!(expected.len() > 300, "{} cases", expected.len());
    let mut misses = Vec::new();
    for path in &expected {
        let name = path.file_name().expect("a name").to_string_lossy().replace(".expected.json", "");
        let case: Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("a case")).expect("JSON");
        let input = path.with_file_name(format!("{name}.yaml"));
        if let Err(miss) = check(&case, input) {
            misses.push(format!("{name}: {miss}"));
        }
    }
    println!("vectors controller: {} passed, {} failed", expected.len() - misses.len(), misses.len());
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

fn check(case: &Value, input: PathBuf) -> Result<(), String> {
    let mut settings = Settings::default();
    settings.cluster_name = case["clusterName"].as_str().unwrap_or_default().to_owned();
    let sources = podway::manifest::read_paths(&[input]).map_err(|e| e.to_string())?;
    let loaded = podway::local::load(&sources, &settings, &LocalCluster::default());
    match (case["result"].as_str(), loaded) {
        (Some("ok"), Ok(loaded)) => {
            let plan = serde_json::to_value(&loaded.model).map_err(|e| e.to_string())?;
            let foreign = foreign_arns(&case["plan"]);
            let mut misses = Vec::new();
            compare("plan", &normal(&case["plan"], &foreign), &normal(&plan, &foreign), &mut misses);
            if misses.is_empty() { Ok(()) } else { Err(misses.join("; ")) }
        }
        (Some("ok"), Err(e)) => Err(format!("refused: {e}")),
        (_, Ok(_)) => Err(format!("accepted; expected {}", case["errors"])),
        (_, Err(e)) => refused_as_recorded(case, &e),
    }
}

/// One of the failing groups is named with its code.
fn refused_as_recorded(case: &Value, error: &podway::Error) -> Result<(), String> {
    let text = error.to_string();
    let named = |ingress: &Value| text.contains(ingress.as_str().unwrap_or("?"));
    let recorded = case["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let right = recorded.iter().any(|e| {
        e["Ingresses"].as_array().is_some_and(|all| all.iter().any(named))
            && e["Code"]
                .as_str()
                .is_none_or(|code| error.diagnostics().iter().any(|d| d.code.as_str() == code))
    });
    if right { Ok(()) } else { Err(format!("refused with {text}; expected {}", case["errors"])) }
}

/// Target groups that the manifests name by ARN: the controller does not make those.
fn foreign_arns(plan: &Value) -> BTreeSet<String> {
    fn walk(v: &Value, out: &mut BTreeSet<String>) {
        match v {
            Value::Object(map) => {
                if let (Some(Value::String(arn)), None) =
                    (map.get("TargetGroupArn"), map.get("TargetGroupName"))
                {
                    out.insert(arn.clone());
                }
                map.values().for_each(|v| walk(v, out));
            }
            Value::Array(all) => all.iter().for_each(|v| walk(v, out)),
            _ => {}
        }
    }
    let mut out = BTreeSet::new();
    for balancer in plan["LoadBalancers"].as_array().into_iter().flatten() {
        walk(&balancer["Listeners"], &mut out);
    }
    out
}

// ------------------------------------------------------------------ one shape for both sides

fn array(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().into_iter().flatten()
}

/// Lists that are sets become objects by their key, target groups are named, defaults are filled in.
fn normal(plan: &Value, foreign: &BTreeSet<String>) -> Value {
    let names: BTreeMap<&str, &str> = array(&plan["TargetGroups"])
        .filter_map(|g| Some((g["TargetGroupArn"].as_str()?, g["TargetGroupName"].as_str()?)))
        .filter(|(arn, _)| !foreign.contains(*arn))
        .collect();
    let balancers = array(&plan["LoadBalancers"]).map(|b| {
        let mut out = b.as_object().cloned().unwrap_or_default();
        set_of_texts(&mut out, "Ingresses");
        pairs(&mut out, "Attributes");
        pairs(&mut out, "Tags");
        let listeners = array(&b["Listeners"]).map(|l| (l["Port"].to_string(), normal_listener(l, &names)));
        out.insert("Listeners".into(), listeners.collect::<Map<_, _>>().into());
        (text(&b["LoadBalancerName"]), Value::Object(out))
    });
    let groups = array(&plan["TargetGroups"])
        .filter(|g| !g["TargetGroupArn"].as_str().is_some_and(|a| foreign.contains(a)));
    let groups = groups.map(|g| {
        let mut out = g.as_object().cloned().unwrap_or_default();
        pairs(&mut out, "Attributes");
        pairs(&mut out, "Tags");
        if let Some(targets) = out.get("TargetHealthDescriptions") {
            let set = array(targets)
                .map(|t| (format!("{}:{}", text(&t["Target"]["Id"]), t["Target"]["Port"]), json!(true)));
            let set: Map<_, _> = set.collect();
            out.insert("TargetHealthDescriptions".into(), json!({"exactly": set}));
        }
        (text(&g["TargetGroupName"]), Value::Object(out))
    });
    json!({
        "LoadBalancers": {"exactly": balancers.collect::<Map<_, _>>()},
        "TargetGroups": {"exactly": groups.collect::<Map<_, _>>()},
    })
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_owned()
}

fn set_of_texts(object: &mut Map<String, Value>, key: &str) {
    if let Some(list) = object.get(key) {
        let set: Map<String, Value> = array(list).map(|v| (text(v), json!(true))).collect();
        object.insert(key.into(), json!({"exactly": set}));
    }
}

/// `[{Key, Value}]` as an object; the recorded keys must be there, others may.
fn pairs(object: &mut Map<String, Value>, key: &str) {
    if let Some(list) = object.get(key) {
        let map: Map<String, Value> = array(list).map(|p| (text(&p["Key"]), p["Value"].clone())).collect();
        object.insert(key.into(), map.into());
    }
}

fn normal_listener(listener: &Value, names: &BTreeMap<&str, &str>) -> Value {
    let mut out = listener.as_object().cloned().unwrap_or_default();
    if let Some(certificates) = out.get("Certificates") {
        let arns: Vec<Value> = array(certificates).map(|c| c["CertificateArn"].clone()).collect();
        let set: Map<_, _> = arns.iter().map(|a| (text(a), json!(true))).collect();
        out.insert("Certificates".into(), json!({"default": arns.first(), "all": {"exactly": set}}));
    }
    let actions = |list: &Value| array(list).map(|a| normal_action(a, names)).collect::<Vec<_>>();
    out.insert("DefaultActions".into(), actions(&listener["DefaultActions"]).into());
    let mut rules: Vec<&Value> = array(&listener["Rules"]).collect();
    rules.sort_by_key(|r| r["Priority"].as_str().and_then(|p| p.parse::<u32>().ok()).unwrap_or(u32::MAX));
    let rules = rules.into_iter().map(|r| {
        let mut conditions: Vec<Value> = array(&r["Conditions"]).cloned().collect();
        conditions.sort_by_key(|c| text(&c["Field"])); // stable: several of one field keep their order
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.remove("Values");
            condition.remove("RegexValues");
        }
        json!({"Priority": r["Priority"], "IsDefault": r["IsDefault"], "Conditions": conditions,
               "Actions": actions(&r["Actions"])})
    });
    let rules: Vec<Value> = rules.collect();
    out.insert("Rules".into(), rules.into());
    out.into()
}

fn normal_action(action: &Value, names: &BTreeMap<&str, &str>) -> Value {
    let mut out = action.as_object().cloned().unwrap_or_default();
    for key in ["Order", "TargetGroupArn", "TargetGroupName"] {
        out.remove(key);
    }
    match action["Type"].as_str() {
        Some("forward") => {
            let config = &action["ForwardConfig"];
            let alone = [action.clone()];
            let tuples = config["TargetGroups"].as_array().map_or(&alone[..], Vec::as_slice);
            let mut tuples: Vec<Value> = tuples
                .iter()
                .map(|t| {
                    let arn = text(&t["TargetGroupArn"]);
                    let name = t["TargetGroupName"].as_str().or_else(|| names.get(arn.as_str()).copied());
                    let weight = if tuples.len() == 1 { Value::Null } else { t["Weight"].clone() };
                    json!({"group": name.unwrap_or(&arn), "Weight": weight})
                })
                .collect();
            tuples.sort_by_key(Value::to_string);
            let sticky = &config["TargetGroupStickinessConfig"];
            let sticky = if sticky["Enabled"] == true { sticky.clone() } else { json!(false) };
            out.insert("ForwardConfig".into(), json!({"TargetGroups": tuples, "Sticky": sticky}));
        }
        Some("redirect") => {
            let mut config = json!({"Protocol": "#{protocol}", "Host": "#{host}", "Port": "#{port}",
                                    "Path": "/#{path}", "Query": "#{query}"});
            for (k, v) in action["RedirectConfig"].as_object().into_iter().flatten() {
                config[k] = v.clone();
            }
            out.insert("RedirectConfig".into(), config);
        }
        Some("fixed-response") => {
            let mut config = json!({"MessageBody": ""});
            for (k, v) in action["FixedResponseConfig"].as_object().into_iter().flatten() {
                config[k] = v.clone();
            }
            out.insert("FixedResponseConfig".into(), config);
        }
        _ => {}
    }
    out.into()
}

/// What was recorded must be there; more may be, except where `exactly` says otherwise. Tags are compared
/// only where both sides have them.
fn compare(at: &str, expected: &Value, actual: &Value, misses: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(e), Value::Object(a)) => {
            for (key, value) in e {
                match a.get(key) {
                    Some(found) => compare(&format!("{at}.{key}"), value, found, misses),
                    None if key == "Tags" || value.is_null() => {}
                    None => misses.push(format!("{at}.{key} is missing, expected {value}")),
                }
            }
            if at.ends_with(".exactly") {
                misses.extend(
                    a.keys().filter(|k| !e.contains_key(*k)).map(|k| format!("{at}: {k} is too much")),
                );
            }
        }
        (Value::Array(e), Value::Array(a)) if e.len() == a.len() => {
            for (i, (e, a)) in e.iter().zip(a).enumerate() {
                compare(&format!("{at}[{i}]"), e, a, misses);
            }
        }
        _ if expected == actual => {}
        _ => misses.push(format!("{at}: expected {expected}, got {actual}")),
    }
}
