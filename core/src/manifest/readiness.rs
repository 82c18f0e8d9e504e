//! Pod readiness gates as the controller sets them (spec: controller §9.6): which gates a pod gets, and the
//! condition that a target's health becomes. Pure: who watches pods and patches them is the caller's.

use std::collections::BTreeMap;

use crate::model::{TargetHealth, TargetHealthState, TargetType};

/// The prefix of the condition types; the name of the TargetGroupBinding follows.
pub const READINESS_GATE_PREFIX: &str = "target-health.elbv2.k8s.aws/";

/// The prefix of an older controller: such gates go when one of ours comes.
const LEGACY_PREFIX: &str = "target-health.alb.ingress.k8s.aws";

/// A TargetGroupBinding as far as readiness gates need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateBinding {
    /// Its name.
    pub name: String,
    /// Its target type: only `ip` has gates.
    pub target_type: TargetType,
    /// The selector of its Service; `None` where the Service does not exist. An empty one matches nothing.
    pub selector: Option<BTreeMap<String, String>>,
}

/// A condition of a pod's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCondition {
    /// The condition's type: [`READINESS_GATE_PREFIX`] and the binding's name.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// AWS's reason; empty where there is none.
    pub reason: String,
    /// AWS's description; empty where there is none.
    pub message: String,
}

/// The readiness gates (condition types) of a pod that is created in a namespace with these bindings: those it
/// has, and one for each binding that selects it. Gates of an older controller go where one of ours comes.
///
/// ```
/// use podway::manifest::{GateBinding, readiness_gates};
/// use podway::model::TargetType;
/// let web = [("app".to_owned(), "web".to_owned())].into();
/// let binding = GateBinding { name: "k8s-web".into(), target_type: TargetType::Ip, selector: Some(web) };
/// let labels = [("app".to_owned(), "web".to_owned())].into();
/// assert_eq!(readiness_gates(&[], &labels, &[binding]), ["target-health.elbv2.k8s.aws/k8s-web"]);
/// ```
pub fn readiness_gates(
    has: &[String],
    labels: &BTreeMap<String, String>,
    bindings: &[GateBinding],
) -> Vec<String> {
    let selects = |selector: &BTreeMap<String, String>| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let ours: Vec<String> = bindings
        .iter()
        .filter(|b| b.target_type == TargetType::Ip && b.selector.as_ref().is_some_and(selects))
        .map(|b| format!("{READINESS_GATE_PREFIX}{}", b.name))
        .collect();
    let mut gates: Vec<String> =
        has.iter().filter(|gate| ours.is_empty() || !gate.starts_with(LEGACY_PREFIX)).cloned().collect();
    for gate in ours {
        if !gates.contains(&gate) {
            gates.push(gate);
        }
    }
    gates
}

/// The condition that a target's health gives the gate of a binding: `None` health is a target that is not
/// known yet. A registration that is new in this pass is `False`.
pub fn readiness_condition(binding: &str, health: Option<&TargetHealth>) -> PodCondition {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    PodCondition {
        r#type: format!("{READINESS_GATE_PREFIX}{binding}"),
        status: match health.map(|h| h.state) {
            None => "Unknown",
            Some(TargetHealthState::Healthy) => "True",
            Some(_) => "False",
        },
        reason: health.map(|h| text(&h.reason)).unwrap_or_default(),
        message: health.map(|h| text(&h.description)).unwrap_or_default(),
    }
}

/// What a gate becomes when its binding is deleted: nothing holds the pod back any more.
pub fn readiness_of_deleted(binding: &str) -> PodCondition {
    PodCondition {
        r#type: format!("{READINESS_GATE_PREFIX}{binding}"),
        status: "True",
        reason: String::new(),
        message: "TargetGroupBinding is deleted".to_owned(),
    }
}

/// The condition to write over the one a pod has, and whether its `lastTransitionTime` moves; `None` where
/// nothing changes. A gate that was seen healthy stays so: the controller does not look again
/// for five minutes, so `healthy_for_ms` is how long ago that was, if it was.
pub fn readiness_patch(
    had: Option<&PodCondition>,
    now: PodCondition,
    healthy_for_ms: Option<u64>,
) -> Option<(PodCondition, bool)> {
    const CACHED_MS: u64 = 5 * 60 * 1000;
    let Some(had) = had else { return Some((now, true)) };
    let held = had.status == "True" && healthy_for_ms.is_some_and(|ms| ms < CACHED_MS);
    if held || *had == now {
        return None;
    }
    let moves = had.status != now.status;
    Some((now, moves))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn binding(name: &str, target_type: TargetType, selector: Option<&str>) -> GateBinding {
        GateBinding { name: name.into(), target_type, selector: selector.map(labels) }
    }

    #[test]
    fn gates_are_of_bindings_that_select_the_pod() {
        let bindings = [
            binding("a", TargetType::Ip, Some("app=web")),
            binding("b", TargetType::Ip, Some("app=web,tier=2")),
            binding("c", TargetType::Instance, Some("app=web")),
            binding("d", TargetType::Ip, Some("")),
            binding("e", TargetType::Ip, None),
        ];
        let legacy = vec!["target-health.alb.ingress.k8s.aws/x".to_owned(), "other/gate".to_owned()];
        let gates = readiness_gates(&legacy, &labels("app=web"), &bindings);
        assert_eq!(gates, ["other/gate", "target-health.elbv2.k8s.aws/a"]);
        assert_eq!(readiness_gates(&gates, &labels("app=web"), &bindings), gates, "once is enough");
        assert_eq!(readiness_gates(&legacy, &labels("app=other"), &bindings), legacy);
    }

    #[test]
    fn conditions_follow_the_health_until_it_was_good() {
        let health = |state, reason: &str| TargetHealth {
            state,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            description: None,
        };
        let new =
            readiness_condition("a", Some(&health(TargetHealthState::Initial, "Elb.RegistrationInProgress")));
        assert_eq!((new.status, new.reason.as_str()), ("False", "Elb.RegistrationInProgress"));
        assert_eq!(readiness_condition("a", None).status, "Unknown");
        let good = readiness_condition("a", Some(&health(TargetHealthState::Healthy, "")));
        assert_eq!(good.status, "True");
        let bad = readiness_condition("a", Some(&health(TargetHealthState::Unhealthy, "Target.Timeout")));
        assert_eq!(readiness_patch(None, new.clone(), None), Some((new.clone(), true)));
        assert_eq!(readiness_patch(Some(&new), new.clone(), None), None);
        let other = PodCondition { reason: "Elb.InitialHealthChecking".into(), ..new.clone() };
        assert_eq!(readiness_patch(Some(&new), other.clone(), None), Some((other, false)));
        assert_eq!(readiness_patch(Some(&good), bad.clone(), Some(299_999)), None);
        assert_eq!(readiness_patch(Some(&good), bad.clone(), Some(300_000)), Some((bad, true)));
        assert_eq!(readiness_of_deleted("a").status, "True");
    }
}
