//! The state of one target (spec: dataplane §5.2): results in, transitions out. From `initial` one success
//! is enough; otherwise thresholds count results in a row.

use super::{HealthCheck, ProbeResult, checking, health};
use crate::model::{TargetHealth, TargetHealthState};

/// A target's health and the results in a row that led to it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    health: TargetHealth,
    successes: u32,
    failures: u32,
}

impl Machine {
    pub(crate) fn new(health: TargetHealth) -> Self {
        Machine { health, successes: 0, failures: 0 }
    }

    pub(crate) fn health(&self) -> &TargetHealth {
        &self.health
    }

    /// Sets the health by hand; counting starts anew.
    pub(crate) fn set(&mut self, health: TargetHealth) {
        *self = Machine::new(health);
    }

    /// A check was handed out: a target that was only registered is now being checked.
    pub(crate) fn checked(&mut self) {
        let registering = self.health.reason.as_deref() == Some("Elb.RegistrationInProgress");
        if self.health.state == TargetHealthState::Initial && (registering || self.health.reason.is_none()) {
            self.health = checking();
        }
    }

    /// Takes a result.
    pub(crate) fn result(&mut self, result: &ProbeResult, check: &HealthCheck) {
        use TargetHealthState::{Healthy, Initial, Unavailable, Unhealthy};
        let state = self.health.state;
        if !matches!(state, Initial | Healthy | Unhealthy | Unavailable) {
            return; // draining and unused targets are not judged
        }
        let failure = failure(result, check);
        if let Some(failed) = failure {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if state == Unhealthy || self.failures >= check.unhealthy_threshold {
                self.health = failed;
            } else if state == Initial {
                self.health = checking();
            }
        } else {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if state == Initial || self.successes >= check.healthy_threshold {
                self.health = health(Healthy, None, None);
            }
        }
    }
}

/// The unhealthy state a result speaks for; `None` for a success.
fn failure(result: &ProbeResult, check: &HealthCheck) -> Option<TargetHealth> {
    let unhealthy =
        |reason, description: &str| health(TargetHealthState::Unhealthy, Some(reason), Some(description));
    match result {
        ProbeResult::Status(code) if check.codes.contain(*code) => None,
        ProbeResult::Status(code) => Some(unhealthy(
            "Target.ResponseCodeMismatch",
            &format!("Health checks failed with these codes: [{code}]"),
        )),
        ProbeResult::TimedOut => Some(unhealthy("Target.Timeout", "Request timed out")),
        ProbeResult::Failed => Some(unhealthy("Target.FailedHealthChecks", "Health checks failed")),
        ProbeResult::InternalError => {
            Some(unhealthy("Elb.InternalError", "Health checks failed due to an internal error"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TargetHealthState::{Healthy, Initial, Unhealthy};

    const GOOD: ProbeResult = ProbeResult::Status(200);
    const BAD: ProbeResult = ProbeResult::Status(500);

    fn after(from: TargetHealth, results: &[ProbeResult]) -> TargetHealth {
        let check = HealthCheck { healthy_threshold: 5, unhealthy_threshold: 2, ..HealthCheck::default() };
        let mut machine = Machine::new(from);
        results.iter().for_each(|r| machine.result(r, &check));
        machine.health().clone()
    }

    fn state(from: TargetHealthState, results: &[ProbeResult]) -> TargetHealthState {
        after(health(from, None, None), results).state
    }

    #[test]
    fn one_success_makes_a_new_target_healthy() {
        assert_eq!(state(Initial, &[GOOD]), Healthy);
        assert_eq!(state(Initial, &[BAD]), Initial);
        assert_eq!(state(Initial, &[BAD, BAD]), Unhealthy);
    }

    #[test]
    fn thresholds_count_results_in_a_row() {
        assert_eq!(state(Healthy, &[BAD, GOOD, BAD]), Healthy);
        assert_eq!(state(Healthy, &[BAD, BAD]), Unhealthy);
        assert_eq!(state(Unhealthy, &[GOOD; 4]), Unhealthy);
        assert_eq!(state(Unhealthy, &[GOOD; 5]), Healthy);
        assert_eq!(state(Unhealthy, &[GOOD, GOOD, BAD, GOOD, GOOD, GOOD, GOOD]), Unhealthy);
    }

    #[test]
    fn reasons_are_the_last_failures() {
        let h = after(health(Healthy, None, None), &[BAD, ProbeResult::TimedOut]);
        assert_eq!(h.reason.as_deref(), Some("Target.Timeout"));
        let h = after(h, &[ProbeResult::Status(302)]);
        assert_eq!(h.description.as_deref(), Some("Health checks failed with these codes: [302]"));
        assert_eq!(after(super::super::draining(), &[GOOD]).state, TargetHealthState::Draining);
    }

    #[test]
    fn a_first_check_ends_registration() {
        let mut machine = Machine::new(super::super::registering());
        machine.checked();
        assert_eq!(machine.health().reason.as_deref(), Some("Elb.InitialHealthChecking"));
    }
}
