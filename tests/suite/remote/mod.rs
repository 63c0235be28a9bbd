//! Computing on a server: a real one, in a process of its own on this machine.

mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use qualm::domain::mask::Mask;
use qualm::domain::settings::Start;
use qualm::domain::study::ImageId;
use qualm::engine::device;
use qualm::engine::remote::About;
use qualm::engine::remote::host::{Hosted, Listening, serve};
use qualm::engine::remote::servers;
use qualm::worker::{DeviceChoice, Event, JobKind, Request, Token, Worker};
use serde_json::Value;
use tempfile::TempDir;

use self::server::{Home, LIMIT, Proxy, Server, copy, finished, said};
use crate::kills::labels;

/// The files of predictions that are cached, with when they were written.
fn cached(project: &str) -> Vec<(PathBuf, std::time::SystemTime)> {
    let files = walkdir::WalkDir::new(Path::new(project).join("cache")).into_iter().flatten();
    let files =
        files.filter(|file| file.file_type().is_file() && file.path().to_string_lossy().contains("predictions"));
    files.map(|file| (file.path().to_owned(), file.metadata().unwrap().modified().unwrap())).collect()
}

/// What a job that fails may not change: the labels, the rounds and what is proposed.
fn kept(home: &Home, project: &str) -> (Vec<(ImageId, bool, Mask)>, [Value; 3]) {
    let status = home.json(&["status", project, "--json"]);
    (labels(Path::new(project)), ["rounds", "active_round", "proposed"].map(|key| status[key].clone()))
}

/// A figure of a round on the server is that of one on this machine's CPU, but for rounding.
fn close(what: &str, there: &Value, here: &Value) {
    let (there, here) = (there.as_f64().unwrap(), here.as_f64().unwrap());
    assert!((there - here).abs() <= 2e-3 * here.abs().max(1e-3), "{what}: {there} on the server, {here} on the CPU");
}

#[test]
fn a_round_on_a_server_equals_one_on_the_cpu() {
    let home = Home::new();
    let server = Server::start(&home, &["--port", "0"]);
    assert!(server.address.contains("@127.0.0.1:"), "{}", server.address);
    let added = home.add(&server.address, &server.token);
    let shown = String::from_utf8_lossy(&added.stdout).into_owned();
    assert!(
        added.status.success() && shown.contains("latency") && shown.contains("MB/s up"),
        "{shown}{}",
        said(&added)
    );
    assert!(home.text(&["servers", "list"]).contains(&server.address));
    let project = home.project(&[]);
    let here = home.at("here").display().to_string();
    copy(Path::new(&project), Path::new(&here));
    let there = home.json(&["round", &project, "--device", "remote:lab", "--json"]);
    let here = home.json(&["round", &here, "--device", "cpu", "--json"]);
    assert!(there["device"].as_str().unwrap().starts_with("lab: CPU"), "{}", there["device"]);
    close("the loss", &there["train_loss"], &here["train_loss"]);
    close("the Dice", &there["validation"]["dice"], &here["validation"]["dice"]);
    assert_eq!(there["scored"], here["scored"]);
    let score = |round: &Value, name: &Value| {
        let proposed = round["proposed"].as_array().unwrap();
        proposed.iter().find(|p| p["image"] == *name).map(|p| p["score"].clone())
    };
    let both =
        there["proposed"].as_array().unwrap().iter().filter_map(|p| Some((&p["score"], score(&here, &p["image"])?)));
    let compared = both.map(|(a, b)| close("a score", a, &b)).count();
    assert!(compared > 5, "{compared} images are proposed by both");

    // The token is in the user's file, which only the user may read, and nowhere else.
    let token = std::fs::read_to_string(&server.token).unwrap();
    let remembered = home.at("config").join("qualm/servers.json");
    #[cfg(unix)]
    for file in [&remembered, &server.token, &home.at("key")] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", file.display());
    }
    assert!(std::fs::read_to_string(&remembered).unwrap().contains(token.trim()));
    for folder in [PathBuf::from(&project), home.at("logs")] {
        for file in walkdir::WalkDir::new(folder).into_iter().flatten().filter(|file| file.file_type().is_file()) {
            let bytes = std::fs::read(file.path()).unwrap();
            let is_in = bytes.windows(token.trim().len()).any(|part| part == token.trim().as_bytes());
            assert!(!is_in, "the token is in {}", file.path().display());
        }
    }
    home.text(&["servers", "remove", "lab"]);
    assert!(home.refused(&["score", &project, "--device", "remote:lab"]).contains("no server is remembered"));
}

#[test]
fn a_graphics_adapter_is_served_too() {
    let home = Home::new();
    let server = Server::start(&home, &["--port", "0", "--device", "gpu"]);
    assert!(home.add(&server.address, &server.token).status.success());
    let project = home.project(&["epochs=1"]);
    let here = home.at("here").display().to_string();
    copy(Path::new(&project), Path::new(&here));
    let there = home.json(&["round", &project, "--device", "remote:lab", "--json"]);
    let here = home.json(&["round", &here, "--device", "cpu", "--json"]);
    assert!(there["device"].as_str().unwrap().contains("(Vulkan)"), "{}", there["device"]);
    close("the loss", &there["train_loss"], &here["train_loss"]);
    assert_eq!(there["scored"], 36);
}

#[test]
fn a_server_that_is_killed_in_training_or_scoring_fails_the_job_and_leaves_the_project() {
    let home = Home::new();
    let mut server = Server::start(&home, &["--port", "0", "--websocket"]);
    let port = server.port().to_string();
    assert!(home.add(&server.address, &server.token).status.success());
    let project = home.project(&["epochs=10000", "passes=64"]);
    let before = kept(&home, &project);
    let training = home.start_until("Training", &["round", &project, "--device", "remote:lab"]);
    std::thread::sleep(Duration::from_secs(1));
    server.child.kill().unwrap();
    let begun = Instant::now();
    let output = finished(training);
    assert!(!output.status.success());
    assert!(said(&output).contains("the connection was lost"), "{}", said(&output));
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    assert!(kept(&home, &project) == before, "the project changed");
    // Nobody is there to score.
    assert!(home.refused(&["servers", "check", "lab"]).contains("cannot be reached"));

    // The same server again; a round is trained, and the server goes while it is scored.
    let arguments = ["--port", &port, "--websocket"];
    server = Server::start(&home, &arguments);
    let round = ["round", &project, "--device", "remote:lab", "--set", "epochs=1"];
    let scoring = home.command(&round).spawn().unwrap();
    let begun = Instant::now();
    while cached(&project).len() < 2 {
        assert!(begun.elapsed() < LIMIT, "nothing is scored");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.child.kill().unwrap();
    let output = finished(scoring);
    assert!(!output.status.success() && said(&output).contains("the connection was lost"), "{}", said(&output));
    let scored = cached(&project);
    assert!((2..36).contains(&scored.len()), "{} images were scored", scored.len());
    let status = home.json(&["status", &project, "--json"]);
    assert_eq!((status["rounds"].as_array().unwrap().len(), &status["rounds"][0]["scored"]), (1, &0.into()));

    // It goes on where it stopped.
    server = Server::start(&home, &arguments);
    let score = home.json(&["score", &project, "--device", "remote:lab", "--json"]);
    assert_eq!(score["scored"], 36);
    let all = cached(&project);
    assert!(all.len() == 36 && scored.iter().all(|file| all.contains(file)), "what was scored was scored again");
    drop(server);
}

#[test]
fn a_connection_that_stalls_fails_the_job_with_its_cause() {
    let home = Home::new();
    let server = Server::start(&home, &["--port", "0", "--websocket"]);
    let proxy = Proxy::start(server.port());
    assert!(home.add(&format!("ws://127.0.0.1:{}", proxy.port), &server.token).status.success());
    let project = home.project(&["epochs=10000"]);
    let before = kept(&home, &project);
    let training = home.start_until("Training", &["round", &project, "--device", "remote:lab"]);
    proxy.is_stalled.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let output = finished(training);
    assert!(!output.status.success());
    assert!(said(&output).contains("did not answer for 30 s"), "{}", said(&output));
    assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
    assert!(kept(&home, &project) == before, "the project changed");
}

#[test]
#[cfg(unix)]
fn a_server_that_hangs_fails_the_job_over_the_encrypted_transport_too() {
    let home = Home::new();
    let server = Server::start(&home, &["--port", "0"]);
    assert!(home.add(&server.address, &server.token).status.success());
    let project = home.project(&["epochs=10000"]);
    let training = home.start_until("Training", &["round", &project, "--device", "remote:lab"]);
    let stop = Command::new("kill").args(["-STOP", &server.child.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let begun = Instant::now();
    let output = finished(training);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(said(&output).contains("lab: CPU"), "{}", said(&output));
    assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
}

#[test]
fn a_wrong_token_is_refused_in_words() {
    let home = Home::new();
    let server = Server::start(&home, &["--port", "0"]);
    let wrong = home.at("wrong");
    std::fs::write(&wrong, "0000").unwrap();
    let output = home.add(&server.address, &wrong);
    assert!(!output.status.success() && said(&output).contains("does not accept this token"), "{}", said(&output));
    assert_eq!(home.text(&["servers", "list"]), "");
    let told = server.lines.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(told.contains("refused") && !told.contains("0000"), "{told}");
    // Another server's id at the same address is not this server.
    let other =
        format!("{}@127.0.0.1:{}", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", server.port());
    assert!(!home.add(&other, &server.token).status.success());
}

#[test]
fn a_server_of_another_version_is_refused_in_words() {
    let home = Home::new();
    let token = home.at("token");
    std::fs::write(&token, "secret").unwrap();
    let (device, report) = device::cpu();
    let about = About { version: "0.0.1".to_owned(), ..About::new(&report) };
    let hosted = Hosted { device, about, token: Token("secret".to_owned()) };
    let (say, address) = channel();
    std::thread::spawn(move || {
        let ready = move |addresses: &[qualm::worker::ServerAddress]| say.send(addresses[0].to_string()).unwrap();
        let listening = Listening::Plain("127.0.0.1:0".parse().unwrap());
        serve(hosted, listening, ready, |_| {}, std::future::pending()).unwrap();
    });
    let output = home.add(&address.recv_timeout(LIMIT).unwrap(), &token);
    assert!(!output.status.success());
    assert!(said(&output).contains("it runs version 0.0.1, and this is"), "{}", said(&output));
}

#[test]
fn what_is_not_encrypted_stays_on_this_machine_unless_that_is_allowed() {
    let home = Home::new();
    let refused = home.refused(&["serve", "--device", "cpu", "--websocket", "0.0.0.0", "--port", "0"]);
    assert!(refused.contains("not encrypted") && refused.contains("--insecure-lan"), "{refused}");
    let token = home.at("token");
    std::fs::write(&token, "secret").unwrap();
    let output = home.add("ws://192.0.2.1:7741", &token);
    assert!(!output.status.success() && said(&output).contains("not encrypted"), "{}", said(&output));
    assert!(!home.at("config").join("qualm/servers.json").exists());
}

/// The variable that names the home of [`one_program_uses_the_server_again_after_it_was_away`].
const HOME: &str = "QUALM_TEST_HOME";

#[test]
fn a_program_uses_a_server_again_that_was_away() {
    // In a process of its own, whose user has the home of this test.
    let home = TempDir::new().unwrap();
    let name = "remote::one_program_uses_the_server_again_after_it_was_away";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--ignored", "--exact", name])
        .env(HOME, home.path())
        .env("XDG_CONFIG_HOME", home.path().join("config"));
    let output = finished(child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", said(&output));
}

#[test]
#[ignore = "run by a_program_uses_a_server_again_that_was_away"]
fn one_program_uses_the_server_again_after_it_was_away() {
    let home = Home(tempfile::tempdir_in(std::env::var_os(HOME).unwrap()).unwrap());
    let mut server = Server::start(&home, &["--port", "0", "--websocket"]);
    let port = server.port().to_string();
    let token = Token(std::fs::read_to_string(&server.token).unwrap().trim().to_owned());
    let address = server.address.parse().unwrap();
    servers::add(qualm::worker::Server { name: "lab".to_owned(), address, token, allows_unencrypted: false }).unwrap();
    let project = home.project(&[]);
    let worker = Worker::start(|| {});
    worker.ask(Request::Open(project.into())).ok().unwrap();
    let mut jobs = 0;
    let mut run = |kind| {
        jobs += 1;
        let device = DeviceChoice::Server("lab".to_owned());
        worker.ask(Request::Job { id: jobs, device, kind }).ok().unwrap();
        loop {
            match worker.wait(LIMIT).expect("an event") {
                Event::Finished(id, _) if id == jobs => return Ok(()),
                Event::Failed(id, reason) if id == jobs => return Err(reason.text),
                _ => {}
            }
        }
    };
    run(JobKind::Round(None)).unwrap();
    // The model that predicts is on the server now.
    run(JobKind::Score).unwrap();
    drop(server);
    assert!(run(JobKind::Round(None)).unwrap_err().contains("lab"));
    server = Server::start(&home, &["--port", &port, "--websocket"]);
    // Training starts from it.
    run(JobKind::Round(Some(Start::Previous))).unwrap();
    drop(server);
    // While the server is back before anything failed, the connection is another all the same.
    server = Server::start(&home, &["--port", &port, "--websocket"]);
    std::thread::sleep(Duration::from_secs(4));
    run(JobKind::Round(Some(Start::Previous))).unwrap();
    drop(server);
}

/// Of a training step and a scored image; `--nocapture` shows them.
#[test]
fn only_tensors_travel() {
    let home = Home::new();
    let server = Server::start(&home, &["--port", "0", "--websocket"]);
    let proxy = Proxy::start(server.port());
    assert!(home.add(&format!("ws://127.0.0.1:{}", proxy.port), &server.token).status.success());
    let project = home.project(&[]);
    let used = |arguments: &[&str]| {
        let before = proxy.bytes();
        let result = home.json(arguments);
        let after = proxy.bytes();
        (result, [after[0] - before[0], after[1] - before[1]])
    };
    let round = |epochs: &str, project: &str| {
        used(&["round", project, "--device", "remote:lab", "--set", epochs, "--set", "budget=epochs", "--json"])
    };
    let copies: Vec<String> = ["few", "many"].iter().map(|name| home.at(name).display().to_string()).collect();
    copies.iter().for_each(|to| copy(Path::new(&project), Path::new(to)));
    let (few, few_bytes) = round("epochs=2", &copies[0]);
    let (_, many_bytes) = round("epochs=6", &copies[1]);
    let trained = few["labelled"].as_u64().unwrap() - few["validation"]["images"].as_u64().unwrap();
    let per_image = [0, 1].map(|way: usize| (many_bytes[way] - few_bytes[way]) / (4 * trained));
    println!("a training image: {} bytes to the server, {} back", per_image[0], per_image[1]);
    let pixels = 32 * 48;
    // There, the image's three channels and its label, 4 bytes each, and the operations; back, the loss. The validation
    // images go there after each epoch, and their maps come back.
    let validated = few["validation"]["images"].as_u64().unwrap() * 4 * pixels / trained;
    assert!(per_image[0] < 4 * 4 * pixels + 3 * validated + 25_000, "{per_image:?}");
    assert!(per_image[1] < validated + 200, "{per_image:?}");

    std::fs::remove_dir_all(Path::new(&copies[0]).join("cache")).unwrap();
    let scoring = home.start_until("Scoring", &["score", &copies[0], "--device", "remote:lab"]);
    let before = proxy.bytes();
    assert!(finished(scoring).status.success());
    let after = proxy.bytes();
    let per_image = [0, 1].map(|way: usize| (after[way] - before[way]) / few["scored"].as_u64().unwrap());
    println!("a scored image: {} bytes to the server, {} back", per_image[0], per_image[1]);
    // The image, and its four maps.
    assert!(per_image[0] < 4 * 3 * pixels + 60_000, "{per_image:?}");
    assert!(per_image[1] < 4 * 4 * pixels + 4_000, "{per_image:?}");
}
