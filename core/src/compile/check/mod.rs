//! What the ELBv2 API would refuse, in its own error names (spec: dataplane §1.2–§1.4, §1.8, §2).
//! Collects everything; nothing here changes what a model decides.

mod action;
mod condition;
mod group;

use std::collections::{HashMap, HashSet};

use crate::error::{Code, Diagnostic};
use crate::model::{Listener, Model, Priority, Rule, TargetGroup};
use crate::options::Options;

impl Model {
    /// Everything that the ELBv2 API would refuse, under the API's own error names, and warnings about what
    /// its documentation is of two minds about. Without an error among them the API would accept the model.
    ///
    /// Of `options` it reads [`Options::wildcards_per_rule`] and [`Options::regex_size_limit`].
    ///
    /// ```
    /// use podway::{Code, Options, model::Model};
    /// let model: Model = serde_json::from_str(r#"{"LoadBalancers": [{"Listeners": [{"Port": 80,
    ///     "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "302"}}]}]}]}"#)?;
    /// assert_eq!(model.validate(&Options::default())[0].code, Code::ValidationError);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn validate(&self, options: &Options) -> Vec<Diagnostic> {
        validate(self, options)
    }
}

fn validate(model: &Model, options: &Options) -> Vec<Diagnostic> {
    let mut check = Check {
        options,
        groups: model.target_groups.iter().map(|g| (g.target_group_arn.as_str(), g)).collect(),
        found: Vec::new(),
        object: String::new(),
    };
    for balancer in &model.load_balancers {
        let mut ports = HashSet::new();
        for listener in &balancer.listeners {
            check.object = format!("listener {}:{}", balancer.load_balancer_name, listener.port);
            if !ports.insert(listener.port) {
                check.refuse(Code::DuplicateListener, format!("two listeners on port {}", listener.port));
            }
            check.listener(listener);
        }
    }
    for group in &model.target_groups {
        check.object = format!("target group {}", group.target_group_name);
        check.group(group);
    }
    check.found
}

struct Check<'m> {
    options: &'m Options,
    groups: HashMap<&'m str, &'m TargetGroup>,
    found: Vec<Diagnostic>,
    object: String,
}

impl Check<'_> {
    fn refuse(&mut self, code: Code, message: impl Into<String>) {
        self.found.push(Diagnostic::error(code, message).object(self.object.clone()));
    }

    fn warn(&mut self, code: Code, message: impl Into<String>) {
        self.found.push(Diagnostic::warning(code, message).object(self.object.clone()));
    }

    fn invalid(&mut self, message: impl Into<String>) {
        self.refuse(Code::ValidationError, message);
    }

    fn listener(&mut self, listener: &Listener) {
        let place = self.object.clone();
        if listener.default_actions.is_empty() {
            self.refuse(
                Code::OperationNotPermitted,
                "a listener must have a default rule; it cannot be deleted",
            );
        } else {
            self.actions(listener, &listener.default_actions);
        }
        if !listener.default_transforms.is_empty() {
            self.invalid("the default rule cannot have transforms");
        }
        let mut priorities = HashSet::new();
        for rule in &listener.rules {
            self.object = format!("{place} rule {}", rule.priority);
            if !priorities.insert(rule.priority) {
                self.refuse(Code::PriorityInUse, format!("priority is in use: {}", rule.priority));
            }
            self.rule(rule);
            self.actions(listener, &rule.actions);
        }
        self.object = place;
    }

    fn rule(&mut self, rule: &Rule) {
        match rule.priority {
            Priority::Rule(1..=50_000) => {}
            Priority::Rule(n) => self.invalid(format!("priority {n} is outside 1 to 50000")),
            Priority::Default => self.refuse(
                Code::OperationNotPermitted,
                "the default rule cannot have conditions or a place of its own",
            ),
        }
        self.conditions(&rule.conditions);
        self.transforms(&rule.transforms);
    }
}
