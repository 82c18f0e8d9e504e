//! What a running forwarder tells about itself: the model with the health of its targets as it is now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::{Shared, settings};
use crate::model::Model;
use crate::router::Router;

/// Tells about a running forwarder. Cheap to clone; every call looks anew.
#[derive(Clone, Debug)]
pub struct Observer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) model: Arc<ArcSwap<Model>>,
}

impl Observer {
    /// All metrics as OpenMetrics text, under CloudWatch's names (spec: dataplane §8.7).
    pub fn metrics(&self) -> String {
        let model = self.model.load();
        self.shared.metrics.text(&self.shared.router, |group| settings::dimensions(&model, group))
    }

    /// Load balancers, listeners, rules, target groups and the health of targets as they are now: the
    /// model's JSON (the shapes of the ELBv2 API) with the health that the router knows.
    pub fn status(&self) -> Value {
        of(&self.model.load(), &self.shared.router)
    }
}

/// The model's JSON, with `TargetHealthDescriptions` from the router.
fn of(model: &Model, router: &Router) -> Value {
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
