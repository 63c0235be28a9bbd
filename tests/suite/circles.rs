//! No circles inside a room: a file may not use another that, by way of others, uses it. A file and those in its folder
//! (`mod.rs` and its children) are one another's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Module = Vec<String>;

/// The modules of the crate, each with its code.
fn modules() -> BTreeMap<Module, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(&src).into_iter().map(|entry| entry.unwrap().into_path());
    let rust = files.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.map(|path| {
        let parts = path.strip_prefix(&src).unwrap().with_extension("");
        let mut module: Module = parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| last == "mod");
        (module, std::fs::read_to_string(&path).unwrap())
    })
    .collect()
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((before, group)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let group = group.trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[begin..]);
    let named = parts.into_iter().filter(|part| !part.trim().is_empty());
    named.flat_map(|part| paths(part).into_iter().map(|path| format!("{}{path}", before.trim()))).collect()
}

/// The modules that a module's `use` declarations name.
fn used(module: &Module, code: &str, all: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let code = code.split("#[cfg(test)]").next().unwrap();
    let mut found = BTreeSet::new();
    for statement in code.split(';') {
        let is_use = |line: &&str| line.trim_start().trim_start_matches("pub ").starts_with("use ");
        let Some(begin) = statement.lines().find(is_use) else { continue };
        let (_, tree) = statement[statement.find(begin).unwrap()..].split_once("use ").unwrap();
        for path in paths(tree) {
            let mut parts: Vec<&str> = path.split("::").map(|part| part.split(" as ").next().unwrap().trim()).collect();
            let mut base: Module = match parts[0] {
                "crate" => Vec::new(),
                "self" | "super" => module.clone(),
                _ => continue,
            };
            while let Some(first) = parts.first().filter(|part| ["crate", "self", "super"].contains(part)) {
                if *first == "super" {
                    base.pop();
                }
                parts.remove(0);
            }
            base.extend(parts.into_iter().map(str::to_owned));
            while !base.is_empty() && !all.contains_key(&base) {
                base.pop();
            }
            found.insert(base);
        }
    }
    found
}

/// The circles among modules of one room, each as the way around.
fn circles(all: &BTreeMap<Module, String>) -> Vec<String> {
    let is_own = |a: &Module, b: &Module| a.starts_with(b) || b.starts_with(a);
    let uses: BTreeMap<&Module, BTreeSet<Module>> = all
        .iter()
        .map(|(module, code)| {
            let mut used = used(module, code, all);
            used.retain(|other| !other.is_empty() && other[0] == module[0] && !is_own(module, other));
            (module, used)
        })
        .collect();
    let mut found = Vec::new();
    for start in all.keys() {
        // The shortest way from a module back to it.
        let mut ways: Vec<Vec<&Module>> = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
            let last = way[way.len() - 1];
            if uses[last].contains(start) {
                let names: Vec<String> = way.iter().chain([&start]).map(|module| module.join("/")).collect();
                found.push(names.join(" uses "));
                break;
            }
            for next in uses[last].iter().filter(|next| seen.insert((*next).clone())) {
                ways.push([way.clone(), vec![next]].concat());
            }
        }
    }
    found
}

#[test]
fn no_room_has_a_circle() {
    let found = circles(&modules());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_circle_is_seen() {
    let module = |name: &str| vec!["room".to_owned(), name.to_owned()];
    let code = [
        ("a", "use std::fs;\nuse crate::room::{b::Thing, c::{self, Other}};"),
        ("b", "pub use super::c::Other;"),
        ("c", "#[cfg(test)]\nuse crate::room::a::Thing;"),
    ];
    let mut all: BTreeMap<Module, String> =
        code.iter().map(|(name, code)| (module(name), (*code).to_owned())).collect();
    assert_eq!(used(&module("a"), &all[&module("a")], &all), [module("b"), module("c")].into());
    assert!(circles(&all).is_empty(), "what tests use does not count");
    all.insert(module("c"), "use crate::room::a::Thing;".to_owned());
    assert_eq!(circles(&all)[0], "room/a uses room/c uses room/a");
}
