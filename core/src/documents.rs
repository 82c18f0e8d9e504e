//! The documents that configuration enters as, whatever the language: options and models as JSON,
//! manifests and ELBv2 answers as files or text. Clients call these, so that all refuse the same input in
//! the same words. Imports data types and the readers.

use serde::de::DeserializeOwned;

use crate::elbv2;
use crate::error::{Code, Diagnostic, Error, Location};
#[cfg(feature = "manifest")]
use crate::local;
#[cfg(feature = "manifest")]
use crate::manifest::{self, Loaded, Source};
use crate::model::Model;
use crate::options::Options;

impl Options {
    /// Reads options from a JSON object; fields left out have their defaults, unknown ones are refused.
    ///
    /// # Errors
    /// `E_ARGUMENT` with line and column.
    ///
    /// ```
    /// let options = podway::Options::from_json(r#"{"path_decode": "full", "strict": true}"#).unwrap();
    /// assert!(options.strict && options.host_ignores_port);
    /// assert!(podway::Options::from_json("[]").is_err());
    /// ```
    pub fn from_json(text: &str) -> Result<Self, Error> {
        object("options", text)
    }
}

#[cfg(feature = "manifest")]
impl crate::manifest::Settings {
    /// Reads settings from a JSON object; fields left out have their defaults, unknown ones are refused.
    ///
    /// # Errors
    /// `E_ARGUMENT` with line and column.
    ///
    /// ```
    /// use podway::manifest::Settings;
    /// let settings = Settings::from_json(r#"{"default_target_type": "ip", "quotas": {"targets_per_load_balancer": 500}}"#)?;
    /// assert_eq!(settings.quotas.targets_per_load_balancer, 500);
    /// assert!(Settings::from_json(r#"{"default_target_typ": "ip"}"#).is_err());
    /// # Ok::<(), podway::Error>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Self, Error> {
        object("settings", text)
    }
}

impl Model {
    /// Reads a model from one JSON document, as [`Model::to_json`] and `podway plan -o json` write it.
    /// What it says is judged when a router is made of it.
    ///
    /// # Errors
    /// `E_SYNTAX` for text that is not JSON, `E_OBJECT` for JSON that is not a model.
    ///
    /// ```
    /// use podway::model::Model;
    /// let model = Model::from_json(r#"{"LoadBalancers": [], "TargetGroups": []}"#).unwrap();
    /// assert_eq!(Model::from_json(&model.to_json()).unwrap(), model);
    /// assert!(Model::from_json(r#"{"kind": "Ingress"}"#).is_err());
    /// ```
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let model = serde_json::from_str(text).map_err(|e| {
            let code = if e.is_data() { Code::E_OBJECT } else { Code::E_SYNTAX };
            refusal("model", code, &e)
        })?;
        if !elbv2::recognise(text) {
            let missing = Diagnostic::error(Code::E_OBJECT, "the JSON has none of a model's keys")
                .expected("`LoadBalancers` and `TargetGroups`");
            return Err(missing.into());
        }
        Ok(model)
    }

    /// The model as one line of JSON.
    pub fn to_json(&self) -> String {
        // Plain data with text for keys: there is nothing in it that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Makes a model of manifests, of the JSON of `aws elbv2 describe-*`, or of both side by side; which is
/// which is recognised by content. What only manifests know (where a rule comes from, the cluster, Secrets)
/// is empty for the rest.
///
/// # Errors
/// As [`crate::local::load`] and [`elbv2::join`].
///
/// ```
/// use podway::manifest::Source;
/// let groups = Source::new("groups.json", r#"{"TargetGroups": [{"TargetGroupArn": "arn:a"}]}"#);
/// let loaded = podway::load(&[groups], &Default::default(), &Default::default())?;
/// assert_eq!(loaded.model.target_groups.len(), 1);
/// # Ok::<(), podway::Error>(())
/// ```
#[cfg(feature = "manifest")]
pub fn load(
    sources: &[Source],
    settings: &manifest::Settings,
    cluster: &local::LocalCluster,
) -> Result<Loaded, Error> {
    let (answers, manifests): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|s| elbv2::recognise(&s.text));
    if answers.is_empty() {
        return local::load(sources, settings, cluster);
    }
    let documents: Vec<(&str, &str)> = answers.iter().map(|s| (s.name.as_str(), s.text.as_str())).collect();
    let mut loaded = Loaded::default();
    if let Some(first) = manifests.first() {
        let manifests: Vec<Source> = manifests.iter().copied().cloned().collect();
        match local::load(&manifests, settings, cluster) {
            Ok(built) => loaded = built,
            // A folder of answers may hold other files.
            Err(e) if e.code() == Code::E_NO_INGRESS => {
                let message = "neither an answer of `aws elbv2 describe-*` nor a manifest with an Ingress";
                let place = Location { file: first.name.clone(), line: 1, column: 1 };
                loaded.diagnostics.push(Diagnostic::warning(Code::W_IGNORED, message).at(Some(place)));
            }
            Err(e) => return Err(e),
        }
    }
    let described = elbv2::join(std::mem::take(&mut loaded.model), &documents)?;
    loaded.model = described.model;
    loaded.diagnostics.extend(described.diagnostics);
    Ok(loaded)
}

/// Reads an object of options. An array is refused: serde would take it for the fields in their order.
fn object<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Error> {
    if text.trim_start().starts_with('[') {
        let place = Location { file: file.to_owned(), line: 1, column: 1 };
        return Err(Diagnostic::error(Code::E_ARGUMENT, "an array is not a JSON object")
            .at(Some(place))
            .into());
    }
    serde_json::from_str(text).map_err(|e| refusal(file, Code::E_ARGUMENT, &e))
}

/// A serde error with its place beside it instead of in it.
fn refusal(file: &str, code: Code, e: &serde_json::Error) -> Error {
    let (line, column) = (e.line() as u32, e.column() as u32);
    let text = e.to_string();
    let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    Diagnostic::error(code, message)
        .at((line > 0).then(|| Location { file: file.to_owned(), line, column: column.max(1) }))
        .into()
}
