//! The client's side: connections that are checked, measured and watched.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DispatchDevice, Remote};
use burn::remote::{ConnectError, CustomOpClient, EndpointAddr, IrohHost, RemoteHost};
use burn::server::CustomOpIr;
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_ir::TensorIr;
use iroh::endpoint::{Builder, PortmapperConfig, QuicTransportConfig, presets};
use iroh::{Endpoint, RelayMode};
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use super::about::About;
use super::address::ServerAddress;
use super::servers::{self, Server};
use crate::engine::config::UNetConfig;
use crate::engine::device_report::{AdapterKind, DeviceReport, Link};
use crate::engine::read;
use crate::engine::self_check::{SELF_CHECK, SELF_CHECK_LIMIT, compare, within};

/// The operation by which a server says what it is: [`About`] as JSON, a byte per element, then zeros.
pub(super) const ABOUT: &str = "qualm.about";
/// The length of its result.
pub(super) const ABOUT_LENGTH: usize = 1024;
/// Why a transport is closed whose server does not answer an existing session, and one that nobody needs.
const LOST: &str = "the connection was lost: the server ended, or the network failed";
const UNUSED: &str = "it is not used any more";
/// What may be wrong where nothing answers.
const AWAY: &str = "is the server running, and its port open?";
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may be silent, though it is asked for a number.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it is asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long an answer may take where a session is suspected to have ended.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long measuring a link may take.
const MEASURE_LIMIT: Duration = Duration::from_secs(60);
/// Bytes sent and received to measure a link.
const MEASURED_BYTES: usize = 4 << 20;

/// What a connection runs over. Once it is closed, every wait for the server ends with an error.
struct Transport {
    /// Why it was closed.
    closed: OnceLock<String>,
    carrier: Carrier,
}

enum Carrier {
    /// An endpoint of its own: closing it closes nothing else.
    Iroh(Endpoint),
    /// The task that forwards WebSocket to the server: Burn cannot close a connection of its own.
    Forwarder(AbortHandle),
}

impl Transport {
    fn close(&self, reason: &str) {
        if self.closed.set(reason.to_owned()).is_err() {
            return;
        }
        match &self.carrier {
            Carrier::Iroh(endpoint) => {
                let endpoint = endpoint.clone();
                runtime().spawn(async move { endpoint.close().await });
            }
            Carrier::Forwarder(task) => task.abort(),
        }
    }
}

/// A server in use.
struct Connection {
    server: Server,
    transport: Arc<Transport>,
    device: Device,
    /// A number on the server, in a session of its own.
    beacon: Tensor<1>,
    report: DeviceReport,
    /// The networks that were to run there, and the largest difference to the CPU, or why they do not.
    networks: Mutex<Vec<(UNetConfig, Result<f32, String>)>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.transport.close(UNUSED);
    }
}

/// The servers in use, by name.
static IN_USE: Mutex<Option<HashMap<String, Arc<Connection>>>> = Mutex::new(None);
/// The transports over which servers are being connected, by name.
static OPENING: Mutex<Option<HashMap<String, Arc<Transport>>>> = Mutex::new(None);

fn in_use<T>(with: impl FnOnce(&mut HashMap<String, Arc<Connection>>) -> T) -> T {
    with(IN_USE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn opening<T>(with: impl FnOnce(&mut HashMap<String, Arc<Transport>>) -> T) -> T {
    with(OPENING.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// The name of the server that is chosen by this name, or by its id.
fn name_of(chosen: &str) -> String {
    servers::find(chosen).map_or_else(|_| chosen.to_owned(), |server| server.name)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    RUNTIME.get_or_init(|| build().expect("a runtime can be started"))
}

/// The device of the server remembered under this name, for a network of this shape: connected, checked and measured where it
/// is not yet.
pub fn device(name: &str, network: Option<&UNetConfig>) -> Result<(Device, DeviceReport), String> {
    let server = servers::find(name).map_err(|error| error.to_string())?;
    let known = || in_use(|all| all.get(&server.name).filter(|known| known.is_of(&server)).cloned());
    let connection = match known() {
        Some(known) => known,
        None => {
            let new = Arc::new(connect(&server)?);
            in_use(|all| {
                // Another engine may have connected meanwhile.
                let known = all.entry(server.name.clone()).or_insert_with(|| new.clone());
                if !known.is_of(&server) {
                    *known = new;
                }
                known.clone()
            })
        }
    };
    let mut report = connection.report.clone();
    if let Some(network) = network {
        let difference = check_network(&connection, network).map_err(|reason| format!("{report}: {reason}"))?;
        report.difference = report.difference.max(difference);
    }
    Ok((connection.device.clone(), report))
}

/// Connects to a server, checks and measures it, and leaves it again.
pub fn try_out(server: &Server) -> Result<DeviceReport, String> {
    connect(server).map(|connection| connection.report.clone())
}

/// Ends the use of a server, which then frees what it held for this program.
pub fn release(name: &str) {
    interrupt(name);
    if let Some(connection) = in_use(|all| all.remove(&name_of(name))) {
        connection.transport.close(UNUSED);
    }
}

/// Ends the connecting to a server that is under way.
pub fn interrupt(name: &str) {
    if let Some(transport) = opening(|all| all.remove(&name_of(name))) {
        transport.close("connecting was interrupted");
    }
}

/// Why work on a server failed, given what failed. Where the server or the connection is the cause, its use is ended.
pub fn explain(name: &str, reason: &str) -> String {
    let Some(connection) = in_use(|all| all.get(&name_of(name)).cloned()) else { return format!("{name}: {reason}") };
    match connection.fault() {
        None => format!("{}: {reason}", connection.report),
        Some(fault) => {
            connection.end(&fault);
            format!("{}: {fault}. The next job connects again", connection.report)
        }
    }
}

impl Connection {
    /// Whether it is an open connection to this server.
    fn is_of(&self, server: &Server) -> bool {
        self.server == *server && self.transport.closed.get().is_none()
    }

    /// Why it cannot be used any more; `None` if its session still computes.
    fn fault(&self) -> Option<String> {
        if let Some(why) = self.transport.closed.get() {
            return Some(why.clone());
        }
        let answers = |work: Box<dyn FnOnce() -> Result<(), String> + Send>| within(ANSWER_LIMIT, "its answer", work);
        let (device, beacon) = (self.device.clone(), self.beacon.clone());
        if answers(Box::new(move || ask(&Tensor::from_floats([1.0], &device)))).is_ok() {
            return None;
        }
        Some(match answers(Box::new(move || ask(&beacon))) {
            Ok(()) => "it ended the session, or does not go on; lack of memory is one cause. The server's output says more",
            Err(_) => self.transport.closed.get().map_or(LOST, String::as_str),
        }
        .to_owned())
    }

    fn end(&self, reason: &str) {
        self.transport.close(reason);
        in_use(|all| all.retain(|_, known| known.transport.closed.get().is_none()));
    }
}

fn check_network(connection: &Connection, network: &UNetConfig) -> Result<f32, String> {
    let networks = || connection.networks.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, verdict)) = networks().iter().find(|(of, _)| of == network) {
        return verdict.clone();
    }
    let (device, of) = (connection.device.clone(), network.clone());
    let verdict = within(SELF_CHECK_LIMIT, SELF_CHECK, move || compare(&device, Some(&of)));
    let UNetConfig { rows, columns, .. } = network;
    let verdict = verdict.map_err(|reason| format!("at this network's size, {columns} × {rows}: {reason}"));
    // What ends the session says nothing of the network's results.
    if let Some(fault) = verdict.as_ref().err().and_then(|_| connection.fault()) {
        connection.end(&fault);
        return Err(fault);
    }
    networks().push((network.clone(), verdict.clone()));
    verdict
}

fn connect(server: &Server) -> Result<Connection, String> {
    let failed = |reason: String| format!("server {}: {reason}", server.name);
    servers::check(server).map_err(|error| failed(error.to_string()))?;
    let begun = Instant::now();
    let opened = server.clone();
    let (transport, host) = within(CONNECT_LIMIT, "looking for it", move || {
        let (transport, host) = open(&opened)?;
        opening(|all| all.insert(opened.name, transport.clone()));
        Ok((transport, host.with_credential(opened.token.0.as_str())))
    })
    .map_err(failed)?;
    let set_up = || -> Result<Connection, String> {
        let (device, beacon, about) = within(CONNECT_LIMIT, "connecting", move || Ok(sessions(&host)))
            .map_err(|reason| format!("{reason}; {AWAY}"))??;
        let here = env!("CARGO_PKG_VERSION");
        if about.version != here {
            let there = &about.version;
            return Err(format!("it runs version {there}, and this is {here}; install the same version on both"));
        }
        watch(&transport, &beacon);
        let measured = device.clone();
        let link = within(MEASURE_LIMIT, "measuring the link", move || measure(&measured))?;
        let checked = device.clone();
        let difference = within(SELF_CHECK_LIMIT, SELF_CHECK, move || compare(&checked, None))?;
        let report = DeviceReport {
            name: format!("{}: {}", server.name, about.device),
            api: about.api,
            kind: AdapterKind::Server,
            difference,
            seconds: begun.elapsed().as_secs_f64(),
            refused: None,
            link: Some(link),
        };
        let (server, transport) = (server.clone(), transport.clone());
        Ok(Connection { server, transport, device, beacon, report, networks: Mutex::default() })
    };
    let connected = set_up();
    opening(|all| all.retain(|_, other| !Arc::ptr_eq(other, &transport)));
    connected.map_err(|reason| {
        let why = transport.closed.get().cloned();
        transport.close(&reason);
        failed(why.unwrap_or(reason))
    })
}

/// Opens the way to a server; nothing of ours is sent yet.
fn open(server: &Server) -> Result<(Arc<Transport>, RemoteHost), String> {
    let transport = |carrier| Arc::new(Transport { closed: OnceLock::new(), carrier });
    match &server.address {
        ServerAddress::Direct { id, host } => {
            let endpoint = bind(private())?;
            let server = resolved(host)?.into_iter().fold(endpoint_addr(id)?, EndpointAddr::with_ip_addr);
            let host = RemoteHost::iroh(IrohHost::new(server).with_endpoint(endpoint.clone()));
            Ok((transport(Carrier::Iroh(endpoint)), host))
        }
        ServerAddress::Relayed { id } => {
            let endpoint = bind(Endpoint::builder(presets::N0))?;
            let host = RemoteHost::iroh(IrohHost::new(endpoint_addr(id)?).with_endpoint(endpoint.clone()));
            Ok((transport(Carrier::Iroh(endpoint)), host))
        }
        ServerAddress::Plain { host } => {
            let to = resolved(host)?;
            if let Some(other) = to.iter().find(|to| !server.allows_unencrypted && !to.ip().is_loopback()) {
                return Err(format!(
                    "{host} is {other}, which is not this machine: the traffic would not be encrypted"
                ));
            }
            reach(host, &to)?;
            let near = runtime().block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)));
            let near = near.map_err(|error| error.to_string())?;
            let port = near.local_addr().map_err(|error| error.to_string())?.port();
            let task = runtime().spawn(forward(near, to)).abort_handle();
            Ok((transport(Carrier::Forwarder(task)), RemoteHost::websocket(&format!("ws://127.0.0.1:{port}"))))
        }
    }
}

/// An endpoint that asks nobody for addresses, uses no relay, and opens no port of the router.
pub(super) fn private() -> Builder {
    Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).portmapper_config(PortmapperConfig::Disabled)
}

fn bind(builder: Builder) -> Result<Endpoint, String> {
    runtime().block_on(segmented(builder).bind()).map_err(|error| format!("no UDP port can be opened: {error}"))
}

/// Without the network card's segmentation, whose batches can stall all connections (iroh #4555).
pub(super) fn segmented(builder: Builder) -> Builder {
    builder.transport_config(QuicTransportConfig::builder().enable_segmentation_offload(false).build())
}

fn endpoint_addr(id: &str) -> Result<EndpointAddr, String> {
    id.parse().map(EndpointAddr::new).map_err(|_| format!("{id} is not the id of a server"))
}

fn resolved(host: &str) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<SocketAddr> = host.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?.collect();
    if found.is_empty() { Err(format!("{host} has no address")) } else { Ok(found) }
}

/// Returns an error unless something listens at one of the host's addresses.
fn reach(host: &str, addresses: &[SocketAddr]) -> Result<(), String> {
    let mut failed = String::new();
    for address in addresses {
        match TcpStream::connect_timeout(address, Duration::from_secs(5)) {
            Ok(_) => return Ok(()),
            Err(error) => failed = error.to_string(),
        }
    }
    Err(format!("{host} cannot be reached: {failed}; {AWAY}"))
}

/// Forwards connections to the server, until the task is aborted.
async fn forward(near: tokio::net::TcpListener, to: Vec<SocketAddr>) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = near.accept().await {
        let to = to.clone();
        open.spawn(async move {
            let Ok(mut far) = tokio::net::TcpStream::connect(&*to).await else { return };
            // Small messages are not to wait for larger ones.
            if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

/// The two sessions with a server: its device, and a number on it that shows whether the server still answers; and what it is.
fn sessions(host: &RemoteHost) -> Result<(Device, Tensor<1>, About), String> {
    let session = |index: usize| Device::remote_options(host).device_index(index).init().map_err(refusal);
    let about = about(&session(1)?)?;
    let beacon = Tensor::from_floats([1.0], &session(1)?);
    ask(&beacon)?;
    Ok((session(0)?, beacon, about))
}

fn refusal(error: ConnectError) -> String {
    match error {
        ConnectError::Unauthorized => {
            "it does not accept this token; give the one that it shows when it starts".to_owned()
        }
        ConnectError::IncompatibleProtocol { .. } => {
            format!("{error}; install the same version of the program on both")
        }
        ConnectError::Unreachable { .. } => format!("{error}; {AWAY}"),
        ConnectError::NoAddress
        | ConnectError::Bind { .. }
        | ConnectError::Interrupted
        | ConnectError::InvalidConfiguration { .. }
        | ConnectError::NoSuchDevice { .. }
        | ConnectError::Handshake { .. } => error.to_string(),
    }
}

fn ask(beacon: &Tensor<1>) -> Result<(), String> {
    read(beacon.clone()).map(drop).map_err(|error| error.to_string())
}

fn about(device: &Device) -> Result<About, String> {
    let DispatchDevice::Remote(remote) = device.as_dispatch() else { return Err("it is not a server".to_owned()) };
    let client = CustomOpClient::new(remote);
    let out = TensorIr::uninit(client.create_empty_handle(), Shape::from([ABOUT_LENGTH]), DType::F32);
    let answer = client.register(CustomOpIr::with_scalars(ABOUT, &[], &[out], Vec::new())).remove(0);
    let stranger = || "it is a server of another program, or of another version of this one".to_owned();
    let answer = pollster::block_on(Remote::float_into_data(answer)).map_err(|_| stranger())?;
    let text: Vec<u8> = answer.iter::<f32>().map(|byte| byte as u8).take_while(|byte| *byte != 0).collect();
    serde_json::from_slice(&text).map_err(|_| stranger())
}

/// Latency and throughput of the way to a device.
fn measure(device: &Device) -> Result<Link, String> {
    let said = |error: crate::engine::EngineError| error.to_string();
    let mut latencies = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        read(Tensor::<1>::from_floats([1.0], device)).map_err(said)?;
        latencies.push(begun.elapsed().as_secs_f64());
    }
    latencies.sort_by(f64::total_cmp);
    let latency_s = latencies[latencies.len() / 2];
    let seconds = |begun: Instant| (begun.elapsed().as_secs_f64() - latency_s).max(1e-6);
    let begun = Instant::now();
    let sent = Tensor::<1>::from_floats(vec![1.0f32; MEASURED_BYTES / 4].as_slice(), device);
    read(sent.clone().sum()).map_err(said)?;
    let upload = MEASURED_BYTES as f64 / seconds(begun);
    let begun = Instant::now();
    read(sent).map_err(said)?;
    Ok(Link { latency_s, upload, download: MEASURED_BYTES as f64 / seconds(begun) })
}

/// Watches a server from threads of its own: when it is silent, or gone, its transport is closed, and every wait for it ends.
fn watch(transport: &Arc<Transport>, beacon: &Tensor<1>) {
    let heard = Arc::new(Mutex::new(Instant::now()));
    let is_over = |transport: &Weak<Transport>| transport.upgrade().is_none_or(|open| open.closed.get().is_some());
    let close = |transport: &Weak<Transport>, reason: &str| {
        if let Some(transport) = transport.upgrade() {
            transport.close(reason);
        }
    };
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread can be started");
    };
    let (asked, beacon, last) = (Arc::downgrade(transport), beacon.clone(), heard.clone());
    spawn(
        "qualm-server-asks",
        Box::new(move || {
            while !is_over(&asked) {
                match ask(&beacon) {
                    Ok(()) => *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
                    Err(_) => close(&asked, LOST),
                }
                std::thread::sleep(INTERVAL);
            }
        }),
    );
    let watched = Arc::downgrade(transport);
    spawn(
        "qualm-server-watch",
        Box::new(move || {
            while !is_over(&watched) {
                std::thread::sleep(Duration::from_millis(200));
                if heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > SILENCE {
                    close(&watched, &format!("it did not answer for {} s", SILENCE.as_secs()));
                }
            }
        }),
    );
}
