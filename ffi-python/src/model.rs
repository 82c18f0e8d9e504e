//! `Model`: load balancers with their rules, target groups and targets.

use std::path::PathBuf;

use podway::local::LocalCluster;
use podway::manifest::{Loaded, Settings, Source, read_paths};
use podway::{Error, Options};
use pyo3::prelude::*;

use crate::errors::raise;

/// A model, immutable.
#[pyclass(frozen, module = "podway._podway")]
pub(crate) struct Model {
    pub(crate) model: podway::model::Model,
    diagnostics: String,
}

#[pymethods]
impl Model {
    /// Reads a model from its JSON document.
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        let model = py.detach(|| podway::model::Model::from_json(text)).map_err(|e| raise(py, &e))?;
        Ok(Model { model, diagnostics: "[]".to_owned() })
    }

    /// The model as JSON.
    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.model.to_json())
    }

    /// What the ELBv2 API would refuse, as JSON. `options` is a JSON object.
    fn validate(&self, py: Python<'_>, options: &str) -> PyResult<String> {
        let options = Options::from_json(options).map_err(|e| raise(py, &e))?;
        let found = py.detach(|| self.model.validate(&options));
        Ok(serde_json::to_string(&found).unwrap_or_default())
    }

    /// What loading came across, as JSON.
    #[getter]
    fn diagnostics(&self) -> &str {
        &self.diagnostics
    }
}

/// Loads files and folders. `controller` is a JSON object.
#[pyfunction]
pub(crate) fn load_paths(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    controller: &str,
    cluster_name: Option<&str>,
    nodes: usize,
    skip_broken: bool,
) -> PyResult<Model> {
    build(py, || read_paths(&paths), controller, cluster_name, nodes, skip_broken)
}

/// Loads texts, each with a name. `controller` is a JSON object.
#[pyfunction]
pub(crate) fn load_texts(
    py: Python<'_>,
    texts: Vec<(String, String)>,
    controller: &str,
    cluster_name: Option<&str>,
    nodes: usize,
    skip_broken: bool,
) -> PyResult<Model> {
    let sources = || Ok(texts.into_iter().map(|(name, text)| Source::new(name, text)).collect());
    build(py, sources, controller, cluster_name, nodes, skip_broken)
}

fn build(
    py: Python<'_>,
    sources: impl FnOnce() -> Result<Vec<Source>, Error> + Send,
    controller: &str,
    cluster_name: Option<&str>,
    nodes: usize,
    skip_broken: bool,
) -> PyResult<Model> {
    let mut settings = Settings::from_json(controller).map_err(|e| raise(py, &e))?;
    if let Some(name) = cluster_name {
        settings.cluster_name = name.to_owned();
    }
    settings.skip_broken |= skip_broken;
    let mut cluster = LocalCluster::default();
    cluster.nodes = nodes;
    let Loaded { model, diagnostics, .. } =
        py.detach(|| podway::load(&sources()?, &settings, &cluster)).map_err(|e: Error| raise(py, &e))?;
    let diagnostics = serde_json::to_string(&diagnostics).unwrap_or_default();
    Ok(Model { model, diagnostics })
}
