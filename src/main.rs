//! The program: the window, or one headless command.

use std::process::ExitCode;

mod bench;
mod cli;
mod report;
mod simulate;

fn main() -> ExitCode {
    // What happens inside, on standard error: QUALM_LOG=qualm=debug, for example.
    let filter = tracing_subscriber::EnvFilter::try_from_env("QUALM_LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qualm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
