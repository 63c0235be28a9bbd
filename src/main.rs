//! The program: the window, or one headless command.

use std::process::ExitCode;

use qualm::domain::text::escaped;

mod bench;
mod cli;
mod report;
mod simulate;

fn main() -> ExitCode {
    // What happens inside, on standard error: QUALM_LOG=qualm=debug, for example.
    let filter = tracing_subscriber::EnvFilter::try_from_env("QUALM_LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    end_quietly_where_nobody_reads();
    let Err(error) = cli::run() else { return ExitCode::SUCCESS };
    let text = format!("{error:#}");
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::json!({ "error": text }));
    }
    eprintln!("qualm: {}", escaped(&text, true));
    if error.is::<cli::Interrupted>() { ExitCode::from(cli::INTERRUPTED) } else { ExitCode::FAILURE }
}

/// Standard output that is closed, as by `qualm status | head`, ends the program without a word.
fn end_quietly_where_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout")) {
            std::process::exit(0);
        }
        usual(panic);
    }));
}
