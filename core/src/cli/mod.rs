//! The command: one file a verb. A client of the library like any other, and the place where files are
//! read, clocks are looked at and people are talked to.

mod controller;
mod explain;
mod input;
mod output;
mod plan;
mod route;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;

/// Exit code for bad usage and bad input.
const BAD_INPUT: u8 = 2;

/// An AWS Application Load Balancer's routing on your machine, from the Ingress manifests you have.
#[derive(Debug, Parser)]
#[command(name = "podway", version, about, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the load balancers, rules, target groups and records that manifests become
    Plan(plan::PlanArgs),
    /// Show where a request goes
    #[command(override_usage = "podway route [OPTIONS] <PATH>... <METHOD> <URL>")]
    Route(route::RouteArgs),
    /// Show where a request goes and why: which rules were looked at, and what did not match
    #[command(override_usage = "podway explain [OPTIONS] <PATH>... <METHOD> <URL>")]
    Explain(route::RouteArgs),
    /// Run the load balancers on this machine, with a local cluster behind them
    Serve(serve::ServeArgs),
}

/// Runs the command with the arguments of a process, the program's name first. Prints to standard output
/// and standard error; gives back 0, 1 for an answer that is no, or 2 for bad usage and bad input.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            let help = matches!(
                e.kind(),
                clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
            );
            let _ = e.print();
            return ExitCode::from(if help { 0 } else { BAD_INPUT });
        }
    };
    match cli.verb {
        Verb::Plan(args) => plan::run(&args),
        Verb::Route(args) => route::run(&args),
        Verb::Explain(args) => route::explain(&args),
        Verb::Serve(args) => serve::run(args),
    }
}

/// As [`main`], with the exit code as a number: for a process that is not Rust's own, where the command comes
/// along with a binding.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let code = main(arguments);
    (0..BAD_INPUT).find(|number| code == ExitCode::from(*number)).unwrap_or(BAD_INPUT)
}

/// Prints an error of the library for a person.
fn refuse(error: &Error) -> ExitCode {
    for diagnostic in error.diagnostics() {
        anstream::eprintln!("\x1b[31merror\x1b[0m: {diagnostic}");
    }
    ExitCode::from(BAD_INPUT)
}

/// Prints a sentence about bad usage.
fn misused(message: impl std::fmt::Display) -> ExitCode {
    anstream::eprintln!("\x1b[31merror\x1b[0m: {message}");
    ExitCode::from(BAD_INPUT)
}
