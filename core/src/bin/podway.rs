//! The command `podway`; everything is in the library's `cli`.

fn main() -> std::process::ExitCode {
    podway::cli::main(std::env::args_os())
}
