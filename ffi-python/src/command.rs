//! The command `podway`, which comes along with the package.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command with the arguments of a process, the program's name first; gives back its exit code.
#[pyfunction]
pub(crate) fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| podway::cli::run(arguments))
}
