//! The dependencies between the rooms: which rooms each may use, and which crates it must not use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Room, the crate's rooms it may use, the outside crates it must not know.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    (
        "domain",
        &["domain"],
        &["burn", "wgpu", "egui", "eframe", "rusqlite", "crossbeam_channel", "std::fs", "std::thread"],
    ),
    ("raster", &["raster", "domain"], &["burn", "wgpu", "egui", "eframe", "crossbeam_channel", "rusqlite"]),
    ("project", &["project", "domain", "raster"], &["burn", "wgpu", "egui", "eframe", "crossbeam_channel"]),
    ("engine", &["engine", "domain"], &["egui", "eframe", "rusqlite", "crossbeam_channel", "rfd"]),
    (
        "worker",
        &["worker", "domain", "engine", "project", "raster"],
        &["burn", "wgpu", "egui", "eframe", "rusqlite", "rfd"],
    ),
    ("app", &["app", "domain", "worker"], &["burn", "wgpu", "egui", "eframe", "rusqlite", "rfd", "std::thread"]),
    ("ui", &["ui", "app", "domain", "worker"], &["burn", "rusqlite"]),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with one file's code, given its room.
fn faults(text: &str, may_use: &[&str], must_not_know: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or("")) {
        for (at, _) in line.match_indices("crate::") {
            let room: String = line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !may_use.contains(&room.as_str()) {
                faults.push(format!("uses crate::{room}: {}", line.trim()));
            }
        }
        for name in must_not_know {
            let mentions = |(at, _): (usize, &str)| {
                let before = line[..at].chars().next_back();
                line[at + name.len()..].starts_with("::") && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    || line.trim_start().starts_with(&format!("use {name}"))
            };
            if line.match_indices(name).any(mentions) {
                faults.push(format!("knows {name}: {}", line.trim()));
            }
        }
    }
    faults
}

#[test]
fn no_room_has_a_forbidden_arrow() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    for (room, may_use, must_not_know) in ROOMS {
        let mut files = Vec::new();
        rust_files(&src.join(room), &mut files);
        assert!(!files.is_empty(), "room {room} is empty");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            all.extend(faults(&text, may_use, must_not_know).into_iter().map(|f| format!("{}: {f}", file.display())));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Rooms whose messages reach the window and the command line alike. They name neither keys nor options: those are in the
/// words of `app::remedies` and `cli::remedies`.
const SPEAK_TO_BOTH: [&str; 5] = ["domain", "raster", "project", "engine", "worker"];

/// The keys, options and commands of the program that a line of code names.
fn names_of_an_edge(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or("");
    // gdcmconv is a program of others, whose option has no other name.
    if code.contains("gdcmconv") {
        return Vec::new();
    }
    let words = code.split(|c: char| !(c.is_alphanumeric() || "-+_".contains(c)));
    let is_option = |word: &str| word.strip_prefix("--").is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    let named = words.filter(|word| is_option(word) || word.contains("Ctrl+") || word.contains("Shift+"));
    let commands = code.match_indices("qualm ").map(|(at, word)| &code[at + word.len()..]);
    named.chain(commands.filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))).collect()
}

#[test]
fn inner_rooms_name_no_keys_and_no_options() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    SPEAK_TO_BOTH.iter().for_each(|room| rust_files(&src.join(room), &mut files));
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            assert_eq!(names_of_an_edge(line), [""; 0], "{}: {line}", file.display());
        }
    }
    assert_eq!(names_of_an_edge("give --device cpu (Ctrl+T)"), ["--device", "Ctrl+T"]);
    assert_eq!(names_of_an_edge("see `qualm status`"), ["status`"]);
}

/// Folders of the binary: composition, as `main.rs` and `cli.rs` are.
const COMPOSITION: &[&str] = &["cli", "report", "simulate"];

#[test]
fn every_folder_of_src_is_a_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(src).unwrap().map(|e| e.unwrap()).filter(|e| e.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        let is_known = ROOMS.iter().any(|(room, ..)| *room == name) || COMPOSITION.contains(&name.as_str());
        assert!(is_known, "src/{name} is in no row of the table of rooms");
    }
}

#[test]
fn a_forbidden_arrow_is_seen() {
    assert_eq!(faults("use crate::engine::Net;", &["domain"], &[]).len(), 1);
    assert_eq!(faults("let x = burn::tensor::Tensor::new();", &[], &["burn"]).len(), 1);
    assert_eq!(faults("use burn::prelude::*;", &[], &["burn"]).len(), 1);
    assert!(faults("// burn::tensor is not for this room", &[], &["burn"]).is_empty());
    assert!(faults("heartburn::ache();", &[], &["burn"]).is_empty());
}

/// The name of the type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub").map_or(line, |rest| match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(") ").map_or(rest, |(_, rest)| rest),
        None => rest.trim_start(),
    });
    let kinds = ["struct ", "enum ", "trait ", "union "];
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().filter(|name| !name.is_empty())
}

#[test]
fn a_type_s_name_means_one_thing() {
    let (mut files, mut homes) = (Vec::new(), HashMap::new());
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in &files {
        for name in std::fs::read_to_string(file).unwrap().lines().filter_map(defined) {
            if let Some(other) = homes.insert(name.to_owned(), file) {
                panic!("{name} is a type in {} and in {}", other.display(), file.display());
            }
        }
    }
    assert!(homes.contains_key("Study"));
    assert_eq!(defined("    pub(super) struct Row {"), Some("Row"));
    assert_eq!(defined("pub enum Side {"), Some("Side"));
    assert_eq!(defined("// struct"), None);
}
