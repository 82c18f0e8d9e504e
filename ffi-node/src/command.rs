//! The command `podway`, which comes along with the package.

use std::ffi::OsString;

use napi_derive::napi;

/// Runs the command with the arguments of a process, the program's name first; gives back its exit code.
#[napi]
pub fn command(arguments: Vec<String>) -> u8 {
    podway::cli::run(arguments.into_iter().map(OsString::from))
}
