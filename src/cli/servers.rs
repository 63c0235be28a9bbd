//! The servers that are remembered.

use std::io::{BufRead, IsTerminal};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use qualm::engine::remote;
use qualm::engine::remote::servers;
use qualm::worker::{Server, Token};

use super::arguments::ServersCommand;

/// Lists, adds, checks or removes servers.
pub fn run(command: ServersCommand) -> Result<()> {
    match command {
        ServersCommand::List => {
            for Server { name, address, .. } in servers::list()? {
                println!("{name}  {address}");
            }
            Ok(())
        }
        ServersCommand::Add { name, address, token_file, insecure_lan } => {
            let token = Token(token(token_file.as_deref())?);
            let server = Server { name, address, token, allows_unencrypted: insecure_lan };
            servers::check(&server)?;
            try_out(&server)?;
            let name = server.name.clone();
            servers::add(server)?;
            println!("compute on it with --device remote:{name}");
            Ok(())
        }
        ServersCommand::Check { name } => try_out(&servers::find(&name)?),
        ServersCommand::Remove { name } => Ok(servers::remove(&name)?),
    }
}

fn try_out(server: &Server) -> Result<()> {
    if server.address.is_readable_by_others() {
        eprintln!("qualm: {} is not encrypted: others on the network can read the images", server.address);
    }
    let report = remote::try_out(server).map_err(|reason| anyhow!(reason))?;
    report.lines().iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn token(file: Option<&Path>) -> Result<String> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?,
        None => {
            if std::io::stdin().is_terminal() {
                eprint!("Token (it is shown as you type it; --token-file reads it from a file): ");
            }
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line
        }
    };
    Ok(text.trim().to_owned())
}
