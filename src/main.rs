//! The program: the window, or one headless command.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qualm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
