//! A server in a process of its own, its clients, and a proxy between them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/images");
const MASKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/masks");
/// No command of these tests may take longer.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A user's folders, and a project in them.
pub struct Home(pub TempDir);

impl Home {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qualm"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HOME", self.at("home")).env("XDG_CONFIG_HOME", self.at("config"));
        command.env("XDG_DATA_HOME", self.at("data")).env("QUALM_LOG_DIR", self.at("logs"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        finished(self.command(arguments).spawn().unwrap())
    }

    /// What a command that succeeds writes.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(self.text(arguments).lines().last().unwrap()).unwrap()
    }

    /// What a command that is refused says.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        said(&output)
    }

    /// A project of a tiny network.
    pub fn project(&self, set: &[&str]) -> String {
        let project = self.at("project").display().to_string();
        let tiny = ["widths=4,8", "rows=32", "columns=48", "epochs=2", "passes=4", "encoder=unet"];
        let set = tiny.iter().chain(set).flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> =
            ["new", &project, "--images", IMAGES, "--masks", MASKS].into_iter().chain(set).collect();
        self.text(&arguments);
        project
    }

    /// Remembers a server as `lab`.
    pub fn add(&self, address: &str, token: &Path) -> Output {
        self.run(&["servers", "add", "lab", address, "--token-file", token.to_str().unwrap()])
    }

    /// How often a phase has begun, as the log says.
    fn phases(&self, phase: &str) -> usize {
        let logs = std::fs::read_dir(self.at("logs")).into_iter().flatten().flatten();
        let texts = logs.map(|log| std::fs::read_to_string(log.path()).unwrap_or_default());
        texts.map(|text| text.matches(&format!("phase={phase}")).count()).sum()
    }

    /// Starts a command, and waits until a phase of its job has begun.
    pub fn start_until(&self, phase: &str, arguments: &[&str]) -> Child {
        let before = self.phases(phase);
        let mut child = self.command(arguments).spawn().unwrap();
        let begun = Instant::now();
        loop {
            if self.phases(phase) > before {
                return child;
            }
            if child.try_wait().unwrap().is_some() {
                panic!("it ended before: {}", said(&child.wait_with_output().unwrap()));
            }
            assert!(begun.elapsed() < LIMIT, "{phase} did not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for a command; one that does not end is a failure.
pub fn finished(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("it did not end: {}{}", String::from_utf8_lossy(&output.stdout), said(&output));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// A server, on this machine's CPU unless it is told otherwise.
pub struct Server {
    pub child: Child,
    /// What it writes.
    pub lines: Receiver<String>,
    /// Its address on this machine.
    pub address: String,
    pub token: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        let (token, key) = (home.at("token"), home.at("key"));
        let files = ["--token-file", token.to_str().unwrap()];
        let key = ["--identity", key.to_str().unwrap()];
        let key = if arguments.contains(&"--websocket") { [].as_slice() } else { &key };
        let device = if arguments.contains(&"--device") { [].as_slice() } else { &["--device", "cpu"] };
        let all = [["serve"].as_slice(), device, &files, key, arguments].concat();
        let mut child = home.command(&all).stderr(Stdio::null()).spawn().unwrap();
        let (say, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut server = Self { child, lines, address: String::new(), token };
        loop {
            let line = server.lines.recv_timeout(LIMIT).expect("the server says how it is reached");
            if let Some((_, at)) = line.split_once("servers add NAME ") {
                at.clone_into(&mut server.address);
            }
            if line.starts_with("Token: ") {
                return server;
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

/// Forwards to a server; it can count, and it can stop forwarding.
pub struct Proxy {
    pub port: u16,
    pub is_stalled: Arc<AtomicBool>,
    /// Bytes to the server, and from it.
    counts: Arc<[AtomicU64; 2]>,
}

impl Proxy {
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_stalled, counts): (Arc<AtomicBool>, Arc<[AtomicU64; 2]>) = Default::default();
        let (stalled, counted) = (is_stalled.clone(), counts.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
                let both = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
                for (direction, (from, to)) in both.into_iter().enumerate() {
                    let (stalled, counted) = (stalled.clone(), counted.clone());
                    std::thread::spawn(move || forward(from, to, &stalled, &counted[direction]));
                }
            }
        });
        Self { port, is_stalled, counts }
    }

    /// Bytes so far: to the server, and from it.
    pub fn bytes(&self) -> [u64; 2] {
        [0, 1].map(|direction: usize| self.counts[direction].load(Ordering::Relaxed))
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, is_stalled: &AtomicBool, count: &AtomicU64) {
    to.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        while is_stalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        count.fetch_add(n as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}
