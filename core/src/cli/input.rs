//! PATH… of every verb: manifests, the JSON of `aws elbv2 describe-*`, or both.

use std::path::PathBuf;

use clap::Args;

use super::controller::ControllerArgs;
use crate::error::{Diagnostic, Error, Severity};
use crate::local::LocalCluster;
use crate::manifest::{Loaded, Settings, read_paths};

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

/// Reads and builds what `paths` name.
pub(crate) fn read(paths: &[PathBuf], args: &InputArgs) -> Result<Loaded, Error> {
    crate::load(&read_paths(paths)?, &args.settings()?, &args.cluster())
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
