//! What people read: aligned columns, short words.

use comfy_table::{ContentArrangement, LineStyle, Table, presets};

use crate::model::{
    Action, ActionConfig, ForwardConfig, Listener, LoadBalancer, Model, Priority, RuleCondition, TargetGroup,
    TargetHealthDescription,
};

/// How wide a table may become.
const WIDTH: u16 = 110;

/// A table with a head and no frame.
pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(head.to_vec());
    table
}

/// The rules of a load balancer, the default ones last; `name` tells what a listener is called.
pub(crate) fn rules(balancer: &LoadBalancer, model: &Model, name: impl Fn(&Listener) -> String) -> Table {
    let mut table = table(&["listener", "rule", "if", "then"]);
    let actions = |all: &[Action]| all.iter().map(|a| action(a, model)).collect::<Vec<_>>().join(", then ");
    for listener in &balancer.listeners {
        let name = name(listener);
        for rule in &listener.rules {
            let conditions: Vec<String> = rule.conditions.iter().map(condition).collect();
            table.add_row([
                name.clone(),
                rule.priority.to_string(),
                conditions.join(" and "),
                actions(&rule.actions),
            ]);
        }
        let default = Priority::Default.to_string();
        table.add_row([name, default, String::new(), actions(&listener.default_actions)]);
    }
    table
}

/// A condition as one would say it.
pub(crate) fn condition(condition: &RuleCondition) -> String {
    let any = |values: &[String], regexes: &[String]| {
        let regexes = regexes.iter().map(|r| format!("~{r}"));
        values.iter().cloned().chain(regexes).collect::<Vec<_>>().join(" | ")
    };
    match condition {
        RuleCondition::HostHeader { values, regex_values } => format!("host {}", any(values, regex_values)),
        RuleCondition::PathPattern { values, regex_values } => format!("path {}", any(values, regex_values)),
        RuleCondition::HttpHeader { http_header_name, values, regex_values } => {
            format!("header {http_header_name}: {}", any(values, regex_values))
        }
        RuleCondition::HttpRequestMethod { values } => format!("method {}", any(values, &[])),
        RuleCondition::SourceIp { values } => format!("source {}", any(values, &[])),
        RuleCondition::QueryString { values } => {
            let pairs = values.iter().map(|p| {
                let value = p.value.as_deref().unwrap_or_default();
                p.key.as_ref().map_or_else(|| value.to_owned(), |k| format!("{k}={value}"))
            });
            format!("query {}", pairs.collect::<Vec<_>>().join(" | "))
        }
    }
}

/// An action as one would say it.
pub(crate) fn action(action: &Action, model: &Model) -> String {
    match &action.config {
        ActionConfig::Forward(config) => forward(config, model),
        ActionConfig::Redirect(r) => {
            let part = |v: &Option<String>, default: &str| v.clone().unwrap_or_else(|| default.to_owned());
            let query = r.query.as_ref().map(|q| format!("?{q}")).unwrap_or_default();
            format!(
                "redirect {} {}://{}:{}{}{query}",
                r.status_code.trim_start_matches("HTTP_"),
                part(&r.protocol, "#{protocol}"),
                part(&r.host, "#{host}"),
                part(&r.port, "#{port}"),
                part(&r.path, "/#{path}"),
            )
        }
        ActionConfig::FixedResponse(f) => {
            format!("answer {} {}", f.status_code, f.message_body.as_deref().unwrap_or_default())
                .trim()
                .to_owned()
        }
        ActionConfig::AuthenticateOidc(c) => format!("authenticate at {}", c.issuer),
        ActionConfig::AuthenticateCognito(c) => format!("authenticate at {}", c.user_pool_domain),
        ActionConfig::JwtValidation(c) => format!("validate a token of {}", c.issuer),
    }
}

fn forward(config: &ForwardConfig, model: &Model) -> String {
    let total: i32 = config.target_groups.iter().map(|t| t.weight.unwrap_or(1)).sum();
    let several = config.target_groups.len() > 1;
    let one = |t: &crate::model::TargetGroupTuple| {
        let name = model.target_group(&t.target_group_arn).map_or_else(
            || t.target_group_arn.clone(),
            |g| service(g).unwrap_or_else(|| g.target_group_name.clone()),
        );
        if several { format!("{name} ({}/{total})", t.weight.unwrap_or(1)) } else { name }
    };
    config.target_groups.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `name:port` of the Service a group was made for.
pub(crate) fn service(group: &TargetGroup) -> Option<String> {
    group.service_ref.as_ref().map(|s| format!("{}:{}", s.name, s.port))
}

/// `id:port`.
pub(crate) fn target(description: &TargetHealthDescription) -> String {
    match description.target.port {
        Some(port) => format!("{}:{port}", description.target.id),
        None => description.target.id.clone(),
    }
}
