//! The binary: hands the arguments to the command line and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_agent::cli::main(std::env::args_os()).into()
}
