//! The program: the window, or one headless command.

use std::path::PathBuf;
use std::process::ExitCode;

use qualm::domain::text::escaped;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer};

mod bench;
mod cli;
mod report;
mod simulate;

fn main() -> ExitCode {
    let _log = log();
    end_quietly_where_nobody_reads();
    let Err(error) = cli::run() else { return ExitCode::SUCCESS };
    let text = cli::explained(&error);
    if std::env::args_os().any(|argument| argument == "--json") {
        println!("{}", serde_json::json!({ "error": text }));
    }
    eprintln!("qualm: {}", escaped(&text, true));
    if error.is::<cli::Interrupted>() { ExitCode::from(cli::INTERRUPTED) } else { ExitCode::FAILURE }
}

/// Sets up logging: errors go to standard error, events to daily files that are kept for a week, in the program's data
/// folder or in `QUALM_LOG_DIR`. `QUALM_LOG` sets the filter, for example `qualm=debug`. Dropping the returned guard
/// ends the log.
fn log() -> Option<WorkerGuard> {
    // At trace, the WebSocket's crates would write down whatever is sent to a server, its token too.
    let mute = ["tungstenite=info", "tokio_tungstenite=info"].map(|directive| directive.parse().expect("a directive"));
    let filter = |usual: &str| {
        let asked = EnvFilter::try_from_env("QUALM_LOG").unwrap_or_else(|_| usual.into());
        mute.iter().cloned().fold(asked, EnvFilter::add_directive)
    };
    let folder = std::env::var_os("QUALM_LOG_DIR").map(PathBuf::from).or_else(|| {
        let folders = directories::ProjectDirs::from("", "", "qualm")?;
        Some(folders.state_dir().unwrap_or(folders.data_local_dir()).join("logs"))
    });
    let file = folder.and_then(|folder| {
        let days =
            Builder::new().rotation(Rotation::DAILY).max_log_files(7).filename_prefix("qualm").filename_suffix("log");
        std::fs::create_dir_all(&folder).ok()?;
        // Work without a log if it cannot be written.
        days.build(folder).ok()
    });
    let (file, guard) = file.map(tracing_appender::non_blocking).unzip();
    let errors = layer().with_writer(std::io::stderr).with_filter(filter("error"));
    let all = file.map(|file| layer().with_ansi(false).with_writer(file).with_filter(filter("qualm=info,warn")));
    tracing_subscriber::registry().with(errors).with(all).init();
    guard
}

/// Ends the program silently when standard output is closed, as by `qualm status | head`.
fn end_quietly_where_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout")) {
            // The exit code of a program killed by SIGPIPE: output that nobody read is not a success.
            std::process::exit(128 + 13);
        }
        usual(panic);
    }));
}
