//! Serving a device to other machines.

use anyhow::{Result, bail};

use super::arguments::ServeArguments;

#[cfg(not(feature = "remote"))]
pub fn serve(_: ServeArguments) -> Result<()> {
    bail!("this program was built without servers; build it with --features remote")
}

/// Serves until Ctrl+C.
#[cfg(feature = "remote")]
pub fn serve(arguments: ServeArguments) -> Result<()> {
    use std::io::{IsTerminal, Write};
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use anyhow::Context;
    use qualm::engine::device::{self, SELF_CHECK_LIMIT};
    use qualm::engine::remote::About;
    use qualm::engine::remote::host::{Hosted, Listening, load_or_create_token, serve};
    use qualm::worker::{DeviceChoice, ServerAddress};

    let ServeArguments { device, port, identity, token_file, websocket, insecure_lan, public_relay } = arguments;
    if matches!(device, DeviceChoice::Server(_)) {
        bail!("only a device of this machine can be served: --device auto, cpu or gpu");
    }
    let listening = match websocket {
        Some(address) if !address.is_loopback() && !insecure_lan => bail!(
            "WebSocket on {address} is not encrypted: others on the network could read the images. Leave out --websocket, or \
             give --insecure-lan"
        ),
        Some(address) => Listening::Plain(SocketAddr::new(address, port)),
        None => Listening::Encrypted {
            identity: identity.map_or_else(|| data("server.key"), Ok)?,
            port,
            is_relayed: public_relay,
        },
    };
    let token_file = token_file.map_or_else(|| data("server.token"), Ok)?;
    let token = load_or_create_token(&token_file)?;
    let (device, reports) = device::choose(&device, SELF_CHECK_LIMIT)?;
    for refused in reports.iter().filter(|report| report.refused.is_some()) {
        println!("{refused} was refused: {}", refused.refused.as_deref().unwrap_or_default());
    }
    let report = reports.last().context("no device was found")?;
    println!("Serving {report} to clients of version {}.", env!("CARGO_PKG_VERSION"));
    match &listening {
        Listening::Plain(address) if !address.ip().is_loopback() => {
            println!("NOT encrypted: others on the network can read the images that clients send.");
        }
        Listening::Plain(_) => println!("Not encrypted: only for clients on this machine."),
        Listening::Encrypted { is_relayed: true, .. } => {
            println!("Encrypted; found and relayed by the public servers of the iroh project.");
        }
        Listening::Encrypted { is_relayed: false, .. } => println!("Encrypted; no relay, no discovery."),
    }
    let shown = token.0.clone();
    let ready = move |addresses: &[ServerAddress]| {
        println!("On the other machine: Device, Add server in the window, or one of");
        for address in addresses {
            // No machine is reached by the address that stands for all of its own.
            let address_text =
                address.to_string().replace("//0.0.0.0:", "//THIS-MACHINE:").replace("//[::]:", "//THIS-MACHINE:");
            println!(
                "  qualm servers add NAME {address_text}{}",
                if address.is_readable_by_others() { " --insecure-lan" } else { "" }
            );
        }
        // What is not a terminal may be kept as a log.
        if std::io::stdout().is_terminal() {
            println!("Token: {shown}");
        } else {
            println!("Token: in {}", token_file.display());
        }
        let _ = std::io::stdout().flush();
    };
    let say = |line: String| {
        println!("{line}");
        let _ = std::io::stdout().flush();
    };
    serve(Hosted { device, about: About::new(report), token }, listening, ready, say, interrupted())?;
    return Ok(());

    fn data(name: &str) -> Result<PathBuf> {
        let folders = directories::ProjectDirs::from("", "", "qualm");
        let folder =
            folders.context("there is no home folder: give --identity and --token-file")?.data_local_dir().to_owned();
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder.join(name))
    }

    async fn interrupted() {
        #[cfg(unix)]
        if let Ok(mut ended) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            tokio::select! {
                _ = ended.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}
