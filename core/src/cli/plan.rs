//! `podway plan`: what manifests become, for people, programs and as a picture.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::input::{self, InputArgs};
use super::output;
use super::refuse;
use crate::error::Diagnostic;
use crate::manifest::Loaded;
use crate::model::{Listener, Model, TargetGroup};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Files, folders, or `-` for standard input: manifests, or JSON of `aws elbv2 describe-*`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Mermaid,
}

/// The JSON of a plan.
#[derive(Serialize)]
struct Plan<'a> {
    #[serde(flatten)]
    model: &'a Model,
    #[serde(rename = "Diagnostics")]
    diagnostics: &'a [Diagnostic],
}

pub(super) fn run(args: &PlanArgs) -> ExitCode {
    let loaded = match input::read(&args.paths, &args.input) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    input::tell(&loaded.diagnostics);
    match args.output {
        Format::Json => {
            let plan = Plan { model: &loaded.model, diagnostics: &loaded.diagnostics };
            match serde_json::to_string_pretty(&plan) {
                Ok(text) => anstream::println!("{text}"),
                Err(e) => return super::misused(e),
            }
        }
        Format::Mermaid => anstream::print!("{}", mermaid(&loaded.model)),
        Format::Table => people(&loaded),
    }
    ExitCode::SUCCESS
}

fn people(loaded: &Loaded) {
    let model = &loaded.model;
    for balancer in &model.load_balancers {
        anstream::println!(
            "\x1b[1m{}\x1b[0m  {}, {}",
            balancer.load_balancer_name,
            balancer.scheme.as_str(),
            balancer.ip_address_type.as_str()
        );
        anstream::println!("  {}", balancer.dns_name);
        for record in model.record_sets.iter().filter(|r| r.r#type == "A") {
            if record.alias_target.dns_name.eq_ignore_ascii_case(&balancer.dns_name) {
                anstream::println!("  {}", record.name);
            }
        }
        let name = |l: &Listener| format!("{} {}", l.protocol.as_str(), l.port);
        anstream::println!("{}\n", output::rules(balancer, model, name));
    }
    anstream::println!("{}", target_groups(model));
}

fn target_groups(model: &Model) -> comfy_table::Table {
    let mut table = output::table(&["target group", "type", "service", "health check", "targets"]);
    for group in &model.target_groups {
        let codes = group.matcher.http_code.as_ref().or(group.matcher.grpc_code.as_ref());
        let targets: Vec<String> = group.target_health_descriptions.iter().map(output::target).collect();
        table.add_row([
            group.target_group_name.clone(),
            group.target_type.to_string(),
            output::service(group).unwrap_or_default(),
            format!(
                "{} {} every {} s = {}",
                group.health_check_protocol.as_str(),
                group.health_check_path,
                group.health_check_interval_seconds,
                codes.map(String::as_str).unwrap_or_default()
            ),
            if targets.is_empty() { "none".to_owned() } else { targets.join(" ") },
        ]);
    }
    table
}

/// A flowchart: load balancer, listeners, rules, target groups, targets.
fn mermaid(model: &Model) -> String {
    use std::fmt::Write;
    let mut out = String::from("flowchart LR\n");
    let text = |t: &str| t.replace('"', "#quot;").replace('|', "#124;");
    let mut edge = |line: String| {
        let _ = writeln!(out, "    {line}");
    };
    for (b, balancer) in model.load_balancers.iter().enumerate() {
        edge(format!("b{b}([\"{}\"])", text(&balancer.load_balancer_name)));
        for listener in &balancer.listeners {
            let id = format!("b{b}l{}", listener.port);
            edge(format!("b{b} --> {id}[\"{} {}\"]", listener.protocol.as_str(), listener.port));
            for (label, actions) in labelled(listener) {
                for action in actions {
                    let label = text(&label);
                    match &action.config {
                        crate::model::ActionConfig::Forward(config) => {
                            for tuple in &config.target_groups {
                                let place = model
                                    .target_groups
                                    .iter()
                                    .position(|g| g.target_group_arn == tuple.target_group_arn);
                                if let Some(g) = place {
                                    edge(format!("{id} -->|\"{label}\"| g{g}"));
                                }
                            }
                        }
                        _ => {
                            let answer = text(&output::action(action, model));
                            edge(format!("{id} -->|\"{label}\"| {id}a{}[/\"{answer}\"/]", label.len()));
                        }
                    }
                }
            }
        }
    }
    for (g, group) in model.target_groups.iter().enumerate() {
        edge(format!("g{g}[[\"{}\"]]", text(&group_label(group))));
        for (t, target) in group.target_health_descriptions.iter().enumerate() {
            edge(format!("g{g} --> g{g}t{t}[(\"{}\")]", text(&output::target(target))));
        }
    }
    out
}

fn labelled(listener: &Listener) -> Vec<(String, &[crate::model::Action])> {
    let rules = listener.rules.iter().map(|rule| {
        let conditions: Vec<String> = rule.conditions.iter().map(output::condition).collect();
        (format!("{}: {}", rule.priority, conditions.join(" and ")), rule.actions.as_slice())
    });
    rules.chain([("default".to_owned(), listener.default_actions.as_slice())]).collect()
}

fn group_label(group: &TargetGroup) -> String {
    output::service(group).unwrap_or_else(|| group.target_group_name.clone())
}
