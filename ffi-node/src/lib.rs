//! The native half of the npm package `podway`: verbs with everything given, flat arguments, JSON for what
//! is not called per request. `index.js` puts clock, randomness and classes of JavaScript around it.

pub mod clock;
#[cfg(feature = "command")]
pub mod command;
mod errors;
pub mod hot;
mod raw;
mod router;

use napi::Result;
use napi_derive::napi;
use podway::Options;
use podway::local::LocalCluster;
use podway::manifest::{Settings, Source, read_paths};
use podway::model::Model;

use crate::errors::raise;

/// Reads files and folders (`paths`), or texts (`sources`, pairs of name and text), into a model.
/// `controller` is a JSON object. Gives back `[model as JSON, diagnostics as JSON]`.
#[napi]
pub fn load(
    paths: Vec<String>,
    sources: Vec<Vec<String>>,
    controller: String,
    cluster_name: Option<String>,
    nodes: u32,
    skip_broken: bool,
) -> Result<Vec<String>> {
    let mut settings = Settings::from_json(&controller).map_err(|e| raise(&e))?;
    if let Some(name) = cluster_name {
        settings.cluster_name = name;
    }
    settings.skip_broken |= skip_broken;
    let mut all = Vec::new();
    if !paths.is_empty() {
        all = read_paths(&paths).map_err(|e| raise(&e))?;
    }
    for source in sources {
        let mut parts = source.into_iter();
        let (name, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        all.push(Source { name, text });
    }
    let mut cluster = LocalCluster::default();
    cluster.nodes = nodes as usize;
    let input = podway::load(&all, &settings, &cluster).map_err(|e| raise(&e))?;
    let diagnostics = serde_json::to_string(&input.diagnostics).unwrap_or_default();
    Ok(vec![input.model.to_json(), diagnostics])
}

/// Checks that text is a model, and gives it back in its own shape.
#[napi]
pub fn parse_model(json: String) -> Result<String> {
    Model::from_json(&json).map(|model| model.to_json()).map_err(|e| raise(&e))
}

/// What the ELBv2 API would refuse in a model, as JSON.
#[napi]
pub fn validate(json: String, options: String) -> Result<String> {
    let model = Model::from_json(&json).map_err(|e| raise(&e))?;
    let options = Options::from_json(&options).map_err(|e| raise(&e))?;
    Ok(serde_json::to_string(&model.validate(&options)).unwrap_or_default())
}

/// What a decision's arguments cost by themselves, the way napi-rs takes them.
#[cfg(feature = "bench")]
#[napi]
pub fn nothing(listener: u32, method: String, target: String, host: Option<String>) {
    std::hint::black_box((listener, method, target, host));
}
