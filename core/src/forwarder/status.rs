//! What a running forwarder tells about itself: the model with the health of its targets as it is now.

use serde_json::{Value, json};

use crate::model::Model;
use crate::router::Router;

/// The model's JSON (the shapes of the ELBv2 API), with `TargetHealthDescriptions` from the router.
pub(crate) fn of(model: &Model, router: &Router) -> Value {
    let mut value = serde_json::to_value(model).unwrap_or(Value::Null);
    let targets = router.targets();
    for group in value.get_mut("TargetGroups").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = group.get("TargetGroupName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let health: Vec<Value> = targets
            .iter()
            .filter(|t| t.group_name == name)
            .map(|t| {
                json!({
                    "Target": {"Id": t.target, "Port": t.port, "AvailabilityZone": t.zone},
                    "TargetHealth": t.health,
                    "InFlight": t.in_flight,
                })
            })
            .collect();
        if let Some(group) = group.as_object_mut() {
            group.insert("TargetHealthDescriptions".to_owned(), Value::Array(health));
        }
    }
    value
}
