//! The server's side: hosts a device for clients that have the token. It holds no project, and writes nothing but its key.

use std::future::Future;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Cube, DispatchDevice, Flex};
use burn::server::{
    AuthorizationRequest, BURN_REMOTE_ALPN, IrohIdentity, PeerAuthorizer, RemoteServer, TokenAuthorizer,
    WebSocketTransport,
};
use burn::tensor::{Device, TensorData};
use iroh::endpoint::{BindOpts, presets};
use iroh::protocol::Router;
use iroh::{Endpoint, SecretKey};

use super::about::About;
use super::address::ServerAddress;
use super::client::{ABOUT, ABOUT_LENGTH, private, segmented};
use super::servers::Token;
use crate::engine::EngineError;

/// What a server gives, and to whom.
pub struct Hosted {
    /// The device.
    pub device: Device,
    /// What clients are told of it.
    pub about: About,
    /// What they must present.
    pub token: Token,
}

/// How clients reach a server.
pub enum Listening {
    /// QUIC on a UDP port of all this machine's addresses, encrypted.
    Encrypted {
        /// The file of the server's key, which is made if it is missing.
        identity: PathBuf,
        /// The UDP port; 0 takes any.
        port: u16,
        /// Whether it is also found and relayed by the iroh project's public servers.
        is_relayed: bool,
    },
    /// WebSocket on this address, not encrypted.
    Plain(SocketAddr),
}

/// The token in this file, which is made with a random one, readable by the user alone, if it is missing.
pub fn load_or_create_token(file: &Path) -> Result<Token, EngineError> {
    match std::fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => {
            Err(EngineError::Refused(format!("{} holds no token; write one into it, or delete it", file.display())))
        }
        Ok(_) if is_open_to_others(file) => Err(EngineError::Refused(format!(
            "other users of this machine may read {}, which holds the token; take that right from them",
            file.display()
        ))),
        Ok(text) => Ok(Token(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // 32 bytes of the system's random numbers.
            let token = IrohIdentity::random().to_bytes().map(|byte| format!("{byte:02x}")).concat();
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let write = || -> std::io::Result<()> {
                let mut new = tempfile::NamedTempFile::new_in(folder)?;
                writeln!(new, "{token}")?;
                new.persist_noclobber(file)?;
                Ok(())
            };
            write().map_err(EngineError::file(file))?;
            Ok(Token(token))
        }
        Err(error) => Err(EngineError::file(file)(error)),
    }
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

/// Serves until `end` completes. `ready` receives the addresses of the server, `said` a line whenever a client connects or is
/// refused.
pub fn serve(
    hosted: Hosted,
    listening: Listening,
    ready: impl FnOnce(&[ServerAddress]),
    said: impl Fn(String) + Send + Sync + 'static,
    end: impl Future<Output = ()>,
) -> Result<(), EngineError> {
    let failed = |reason: String| EngineError::Refused(reason);
    let server = server(hosted, said).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        match listening {
            Listening::Encrypted { identity, port, is_relayed } => {
                if is_open_to_others(&identity) {
                    return Err(failed(format!("other users of this machine may read {}", identity.display())));
                }
                let key = IrohIdentity::load_or_create(&identity).map_err(EngineError::file(identity))?;
                let endpoint = endpoint(&key, port, is_relayed).await.map_err(failed)?;
                let protocol = server.into_protocol(&endpoint).map_err(|error| failed(error.to_string()))?;
                let router = Router::builder(endpoint.clone()).accept(BURN_REMOTE_ALPN, protocol).spawn();
                ready(&addresses(&endpoint, is_relayed));
                end.await;
                router.shutdown().await.map_err(|error| failed(error.to_string()))
            }
            Listening::Plain(address) => {
                let listener = TcpListener::bind(address).map_err(|error| failed(format!("{address}: {error}")))?;
                let address = listener.local_addr().map_err(|error| failed(error.to_string()))?;
                ready(&[ServerAddress::Plain { host: address.to_string() }]);
                tokio::select! {
                    served = server.serve_async(WebSocketTransport::from_listener(listener)) => {
                        served.map_err(|error| failed(error.to_string()))
                    }
                    () = end => Ok(()),
                }
            }
        }
    })
}

/// The server, with the operation by which it says what it is. It hosts its device twice: for computing, and for asking
/// whether it still answers.
fn server(hosted: Hosted, said: impl Fn(String) + Send + Sync + 'static) -> Result<RemoteServer, String> {
    let Hosted { device, about, token } = hosted;
    let token = TokenAuthorizer::new(token.0).map_err(|error| error.to_string())?;
    let authorize = move |request: AuthorizationRequest<'_>| {
        let (client, index) = (request.client, request.device_index);
        let verdict = token.authorize(request);
        match (&verdict, index) {
            (Ok(()), 0) => said(format!("{client} connected")),
            (Ok(()), _) => {}
            (Err(reason), _) => said(format!("refused: {reason}")),
        }
        verdict
    };
    let mut text: Vec<f32> =
        serde_json::to_vec(&about).map_err(|e| e.to_string())?.into_iter().map(f32::from).collect();
    text.resize(ABOUT_LENGTH, 0.0);
    let text = move || TensorData::new(text.clone(), [ABOUT_LENGTH]);
    let server = RemoteServer::new([device.clone(), device.clone()]).with_authorizer(authorize);
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => Ok(server.with_custom_op::<Flex, _>(ABOUT, move |handles, ir, device| {
            handles.register_float_tensor::<Flex>(&ir.outputs[0].id, Flex::float_from_data(text(), device));
        })),
        DispatchDevice::Cube(_) => Ok(server.with_custom_op::<Cube, _>(ABOUT, move |handles, ir, device| {
            handles.register_float_tensor::<Cube>(&ir.outputs[0].id, Cube::float_from_data(text(), device));
        })),
        DispatchDevice::Remote(_) | DispatchDevice::Autodiff(_) => {
            Err("only a device of this machine can be served".to_owned())
        }
    }
}

async fn endpoint(key: &IrohIdentity, port: u16, is_relayed: bool) -> Result<Endpoint, String> {
    let builder = if is_relayed { Endpoint::builder(presets::N0) } else { private() };
    let builder = segmented(builder).secret_key(SecretKey::from_bytes(&key.to_bytes())).clear_ip_transports();
    // Where a machine has no IPv6, IPv4 is enough.
    let optional = BindOpts::default().set_is_required(false);
    let builder = builder.bind_addr((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| error.to_string())?;
    let builder =
        builder.bind_addr_with_opts((Ipv6Addr::UNSPECIFIED, port), optional).map_err(|error| error.to_string())?;
    builder.bind().await.map_err(|error| format!("UDP port {port} cannot be opened: {error}"))
}

/// How the endpoint is reached: by each of the machine's addresses, its own last.
fn addresses(endpoint: &Endpoint, is_relayed: bool) -> Vec<ServerAddress> {
    let id = endpoint.id().to_string();
    if is_relayed {
        return vec![ServerAddress::Relayed { id }];
    }
    let direct = |address: SocketAddr| ServerAddress::Direct { id: id.clone(), host: address.to_string() };
    let addr = endpoint.addr();
    let mut found: Vec<SocketAddr> = addr.ip_addrs().copied().filter(|address| !address.ip().is_loopback()).collect();
    found.sort_by_key(|address| (address.is_ipv6(), *address));
    let port = endpoint.bound_sockets().first().map_or(0, SocketAddr::port);
    found.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    found.into_iter().map(direct).collect()
}
