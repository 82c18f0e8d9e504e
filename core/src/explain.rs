//! A decision told rule by rule: which rules were looked at, what each of their conditions saw, and why it
//! held or not. Cold: it compiles the conditions anew, one value at a time, and asks every rule in the order
//! of priorities, where `decide` asks an index; both have to find the same rule.

use serde::Serialize;

use crate::compile::{compile_condition, grpc_patterns};
use crate::decision::{Decision, ListenerId, Outcome};
use crate::matcher::Subject;
use crate::model::{Priority, RuleCondition};
use crate::options::Options;
use crate::request::RequestView;
use crate::router::{Output, Router, rules_read};
use crate::time::Now;

/// Why a request goes where it goes. As JSON it has ELBv2's names where ELBv2 has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Explanation {
    /// What was decided.
    #[serde(skip)]
    pub decision: Decision,
    /// The request as rules see it; absent where it never got to the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<SeenRequest>,
    /// The rules that were looked at, in the order of their priorities; the last of them decides, unless it
    /// is none of them and the default rule does.
    pub rules: Vec<RuleExplanation>,
    /// How many rules come after the one that matched. They were not looked at.
    pub not_reached: usize,
}

/// The parts of a request that rules look at, normalised (spec: dataplane §1.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// The Host, or the authority of an absolute target, with its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path after normalisation.
    pub path: String,
    /// The query without its `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The peer's address, IPv4 where it is one.
    pub source_ip: String,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct RuleExplanation {
    /// Its priority.
    pub priority: Priority,
    /// Whether all of its conditions hold.
    pub matches: bool,
    /// Its conditions. All of them are told, also after one that does not hold.
    pub conditions: Vec<ConditionExplanation>,
}

/// A condition and what it saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ConditionExplanation {
    /// The condition as it stands in the model.
    #[serde(flatten)]
    pub condition: RuleCondition,
    /// Whether it holds.
    pub matches: bool,
    /// What it looked at: the host, the path, the lines of the header, the method, the pairs of the query, the
    /// peer. Empty where the request has no such thing, and then nothing can match.
    pub saw: Vec<String>,
    /// The first of its values that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_value: Option<String>,
}

impl Router {
    /// Decides as [`Router::decide`] does, and tells why. `output` takes the text of the decision.
    ///
    /// Owes no report: the target's turn is taken, but no request is counted as under way.
    ///
    /// ```
    /// # use podway::{KeyRing, Now, Options, Output, Request, Router};
    /// # let model = podway::model::Model::from_json(r#"{"LoadBalancers": [{"LoadBalancerArn": "arn:web",
    /// #   "LoadBalancerName": "web", "Listeners": [{"Port": 80, "Protocol": "HTTP", "DefaultActions": [
    /// #     {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}], "Rules": [
    /// #     {"Priority": "1", "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/a", "/b/*"]}}],
    /// #      "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]}]}]}]}"#)?;
    /// # let router = Router::new(&model, Options::default(), KeyRing::from_secret(&[7; 32])?, Now::default())?;
    /// let listener = router.listener("web", 80).ok_or("no such listener")?;
    /// let request = Request::new("GET", "/b/%63", "192.0.2.9:40000".parse()?);
    /// let why = router.explain(listener, &request, Now::default(), 0, &mut Output::new());
    /// let condition = &why.rules[0].conditions[0];
    /// assert!(condition.matches);
    /// assert_eq!(condition.saw, ["/b/c"]);
    /// assert_eq!(condition.matched_value.as_deref(), Some("/b/*"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain<R: RequestView>(
        &self,
        listener: ListenerId,
        request: &R,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) -> Explanation {
        let decision = self.decide(listener, request, now, entropy, output);
        self.report(&decision, Outcome::Cancelled, now);
        let mut explanation = Explanation { decision, request: None, rules: Vec::new(), not_reached: 0 };
        if decision.priority.is_none() {
            return explanation; // it never got to the rules
        }
        let mut buffer = Vec::with_capacity(request.target().len());
        let Some((rules, options)) = rules_read(output, listener) else { return explanation };
        let Ok(subject) = Subject::new(request, options, &mut buffer) else { return explanation };
        explanation.request = Some(seen(request, &subject));
        for (priority, told) in rules {
            let conditions: Vec<_> =
                told.conditions.iter().map(|c| explain(c, told.grpc, request, &subject, options)).collect();
            let matches = conditions.iter().all(|c| c.matches);
            explanation.rules.push(RuleExplanation { priority: *priority, matches, conditions });
            if matches {
                break;
            }
        }
        explanation.not_reached = rules.len() - explanation.rules.len();
        explanation
    }
}

fn seen<R: RequestView>(request: &R, subject: &Subject<'_>) -> SeenRequest {
    SeenRequest {
        method: text(request.method()),
        host: subject.host.map(text),
        path: text(subject.path),
        query: subject.query.map(text),
        source_ip: request.peer().ip().to_canonical().to_string(),
    }
}

fn explain<R: RequestView>(
    condition: &RuleCondition,
    grpc: bool,
    request: &R,
    subject: &Subject<'_>,
    options: &Options,
) -> ConditionExplanation {
    let matched = one_by_one(condition, grpc).into_iter().find(|(_, alone)| {
        compile_condition(alone, options).is_ok_and(|compiled| compiled.holds(subject, request, options))
    });
    ConditionExplanation {
        condition: condition.clone(),
        matches: matched.is_some(),
        saw: looked_at(condition, request, subject, options),
        matched_value: matched.map(|(value, _)| value),
    }
}

/// A condition taken apart into conditions of one value each, with the value as text.
fn one_by_one(condition: &RuleCondition, grpc: bool) -> Vec<(String, RuleCondition)> {
    let each = |values: &[String], one: &dyn Fn(Vec<String>) -> RuleCondition| {
        values.iter().map(|v| (v.clone(), one(vec![v.clone()]))).collect()
    };
    match condition {
        RuleCondition::HostHeader { values, regex_values } => match regex_values.as_slice() {
            [] => each(values, &|values| RuleCondition::HostHeader { values, regex_values: vec![] }),
            _ => {
                each(regex_values, &|regex_values| RuleCondition::HostHeader { values: vec![], regex_values })
            }
        },
        RuleCondition::PathPattern { values, regex_values } => match regex_values.as_slice() {
            [] => values
                .iter()
                .map(|v| {
                    let values = if grpc { grpc_patterns(v).to_vec() } else { vec![v.clone()] };
                    (v.clone(), RuleCondition::PathPattern { values, regex_values: vec![] })
                })
                .collect(),
            _ => each(regex_values, &|regex_values| RuleCondition::PathPattern {
                values: vec![],
                regex_values,
            }),
        },
        RuleCondition::HttpHeader { http_header_name, values, regex_values } => {
            let name = || http_header_name.clone();
            let mut all: Vec<_> = each(values, &|values| RuleCondition::HttpHeader {
                http_header_name: name(),
                values,
                regex_values: vec![],
            });
            all.extend::<Vec<_>>(each(regex_values, &|regex_values| RuleCondition::HttpHeader {
                http_header_name: name(),
                values: vec![],
                regex_values,
            }));
            all
        }
        RuleCondition::HttpRequestMethod { values } => {
            each(values, &|values| RuleCondition::HttpRequestMethod { values })
        }
        RuleCondition::QueryString { values } => values
            .iter()
            .map(|pair| {
                let value = pair.value.as_deref().unwrap_or_default();
                let said = pair.key.as_ref().map_or_else(|| value.to_owned(), |key| format!("{key}={value}"));
                (said, RuleCondition::QueryString { values: vec![pair.clone()] })
            })
            .collect(),
        RuleCondition::SourceIp { values } => each(values, &|values| RuleCondition::SourceIp { values }),
    }
}

/// What a condition compares its values with.
fn looked_at<R: RequestView>(
    condition: &RuleCondition,
    request: &R,
    subject: &Subject<'_>,
    options: &Options,
) -> Vec<String> {
    match condition {
        RuleCondition::HostHeader { regex_values, .. } => {
            let without_port = if regex_values.is_empty() {
                options.host_ignores_port
            } else {
                options.host_regex_ignores_port
            };
            let host = if without_port { subject.host_name() } else { subject.host };
            host.map(text).into_iter().collect()
        }
        RuleCondition::PathPattern { .. } => vec![text(subject.path)],
        RuleCondition::HttpHeader { http_header_name, .. } => {
            let mut lines = Vec::new();
            request.any_header(&http_header_name.to_ascii_lowercase(), |line| {
                lines.push(text(line.trim_ascii()));
                false
            });
            lines
        }
        RuleCondition::HttpRequestMethod { .. } => vec![text(request.method())],
        RuleCondition::QueryString { .. } => {
            let pairs = subject.query.unwrap_or_default().split(|b| *b == b'&');
            pairs.filter(|pair| !pair.is_empty()).map(text).collect()
        }
        RuleCondition::SourceIp { .. } => vec![request.peer().ip().to_canonical().to_string()],
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
