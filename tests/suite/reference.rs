//! The reference page is what the program itself says: `UPDATE_REFERENCE=1 cargo test --release reference` writes it.

use std::fmt::Write;
use std::process::Command;

use qualm::domain::settings;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/manual/reference.md");

fn help(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_qualm")).args(arguments).output().unwrap();
    assert!(done.status.success(), "qualm {arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// The names of the subcommands, as `qualm help` lists them.
fn commands(overview: &str) -> Vec<&str> {
    let listed = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn the_reference_page_is_what_the_program_says() {
    let overview = help(&["help"]);
    let mut page = "# Reference\n\n\
        With `--json` the last line of standard output is one JSON object. The exit code is 0 only on success. `--set` changes the\n\
        project's settings, so it also holds for later rounds. `status` and `predict` work on projects that they may not write to.\n\n\
        `predict` writes for each image `STEM.mask.png` (8-bit indexed, at the image's size), `STEM.mean.png` and\n\
        `STEM.variance.png` (16-bit grey, at the network's size; the JSON says what 65535 stands for) and, with `--npy`,\n\
        `STEM.passes.npy`: the probability maps of the dropout passes, float32 `[passes, rows, columns]`, or `[passes, classes,\n\
        rows, columns]` if there are several classes.\n"
        .to_owned();
    write!(page, "\n## Command line\n\n```text\n{}\n```\n", overview.trim_end()).unwrap();
    for name in commands(&overview) {
        write!(page, "\n### qualm {name}\n\n```text\n{}\n```\n", help(&["help", name]).trim_end()).unwrap();
    }
    write!(
        page,
        "\n## Settings\n\nAlso in the window (`Ctrl+,`) and printed by `qualm settings`.\n\n{}",
        settings::reference()
    )
    .unwrap();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert_eq!(found, page, "run UPDATE_REFERENCE=1 cargo test --release reference");
}
