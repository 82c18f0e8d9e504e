//! What `serve` shows: a live table on a terminal, plain lines anywhere else.

use std::io::Write;

use crate::cli::output;
use crate::model::{Model, TargetHealth};
use crate::{HealthEvent, Router, TargetInfo};

/// Prints a line.
#[allow(clippy::needless_pass_by_value)] // callers make the text for it
pub(super) fn say(line: String) {
    anstream::println!("{line}");
    let _ = anstream::stdout().flush();
}

/// Prints a change of health.
pub(super) fn event(event: &HealthEvent) {
    let said = |health: &TargetHealth| match &health.reason {
        Some(reason) => format!("{} ({reason})", health.state),
        None => health.state.to_string(),
    };
    let from = event.from.as_ref().map_or_else(|| "new".to_owned(), said);
    let to = event.to.as_ref().map_or_else(|| "drained, gone".to_owned(), said);
    say(format!("{} {}: {from} -> {to}", event.group_name, event.name));
}

/// Draws everything anew.
pub(super) fn draw(model: &Model, router: &Router, places: &[(String, u16, String)]) {
    let targets = router.targets();
    let mut text = String::from("\x1b[H\x1b[2J");
    for balancer in &model.load_balancers {
        text += &format!("\x1b[1m{}\x1b[0m  {}\n", balancer.load_balancer_name, balancer.scheme.as_str());
        let rules = output::rules(balancer, model, |listener| {
            let place = places
                .iter()
                .find(|(name, port, _)| *name == balancer.load_balancer_name && *port == listener.port);
            place.map_or_else(|| listener.port.to_string(), |(_, port, url)| format!("{port} at {url}"))
        });
        text += &format!("{rules}\n");
    }
    text += &format!("{}\n", target_table(model, &targets));
    text += "Ctrl-C drains and stops\n";
    let mut out = anstream::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn target_table(model: &Model, targets: &[TargetInfo]) -> comfy_table::Table {
    let mut table = output::table(&["service", "target", "health", "reason", "in flight"]);
    for target in targets {
        let group = model.target_groups.iter().find(|g| g.target_group_name == target.group_name);
        let service = group.and_then(output::service).unwrap_or_else(|| target.group_name.clone());
        table.add_row([
            service,
            format!("{}:{}", target.target, target.port),
            target.health.state.to_string(),
            target.health.description.clone().unwrap_or_default(),
            target.in_flight.to_string(),
        ]);
    }
    table
}
