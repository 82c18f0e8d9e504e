//! PATH… of every verb: manifests, the JSON of `aws elbv2 describe-*`, or both.

use std::path::PathBuf;

use clap::Args;

use super::controller::ControllerArgs;
use crate::elbv2;
use crate::error::{Diagnostic, Error, Severity};
use crate::local::{LocalCluster, load};
use crate::manifest::{Loaded, Settings, Source, read_paths};

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// The name that goes into hashed names
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub(crate) cluster_name: String,
    /// How many nodes to make up where the input has none
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) nodes: usize,
    /// Leave broken Ingresses out, where the controller would hold back their whole group
    #[arg(long)]
    pub(crate) skip_broken: bool,
    #[command(flatten)]
    pub(crate) controller: ControllerArgs,
}

impl InputArgs {
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        let mut settings = Settings {
            cluster_name: self.cluster_name.clone(),
            skip_broken: self.skip_broken,
            ..Settings::default()
        };
        self.controller.apply(&mut settings)?;
        Ok(settings)
    }

    pub(crate) fn cluster(&self) -> LocalCluster {
        LocalCluster { nodes: self.nodes }
    }
}

/// Reads and builds what `paths` name; JSON with ELBv2 keys joins the model as it stands.
pub(crate) fn read(paths: &[PathBuf], args: &InputArgs) -> Result<Loaded, Error> {
    from_sources(read_paths(paths)?, args)
}

pub(crate) fn from_sources(sources: Vec<Source>, args: &InputArgs) -> Result<Loaded, Error> {
    let (described, manifests): (Vec<Source>, Vec<Source>) =
        sources.into_iter().partition(|s| elbv2::recognise(&s.text));
    let documents: Vec<(&str, &str)> = described.iter().map(|s| (s.name.as_str(), s.text.as_str())).collect();
    let mut loaded = if manifests.is_empty() && !described.is_empty() {
        Loaded::default()
    } else {
        load(&manifests, &args.settings()?, &args.cluster())?
    };
    if !documents.is_empty() {
        let model = elbv2::read(&documents)?;
        loaded.model.load_balancers.extend(model.load_balancers);
        loaded.model.target_groups.extend(model.target_groups);
        loaded.model.record_sets.extend(model.record_sets);
    }
    Ok(loaded)
}

/// Prints what is odd about the input on standard error.
pub(crate) fn tell(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Error => anstream::eprintln!("\x1b[31merror\x1b[0m: {diagnostic}"),
            Severity::Warning => anstream::eprintln!("\x1b[33m{diagnostic}\x1b[0m"),
        }
    }
}
