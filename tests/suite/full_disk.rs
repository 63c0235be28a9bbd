//! A full disk: commands on a file system of a few MB either succeed or fail in words, and lose nothing.

use std::path::Path;
use std::process::Command;

use qualm::project::Project;
use tempfile::TempDir;

use crate::driven::tiny_demo;
use crate::kills::{labels, whole_masks};

/// Free space in KiB beside the project.
const FREE: [u64; 8] = [16, 64, 128, 256, 512, 1024, 2048, 16_384];

/// In a mount namespace: a file system of `$1` KiB with a copy of project `$2`, in which masks `$3` are imported by program
/// `$4` and a round is trained. The exit codes and the project then lie in `$5`.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=$1k tmpfs "$5" && cp -a "$2" "$5/project" || exit 1
"$4" import "$5/project" --replace --masks "$3" > /dev/null 2> "$6/import.err"; echo $? > "$6/import"
"$4" round "$5/project" --device cpu --set budget=steps --set steps=2 > /dev/null 2> "$6/round.err"; echo $? > "$6/round"
cp -a "$5/project" "$6/project"
"#;

fn bytes(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).into_iter().flatten();
    // A file takes whole pages.
    files.map(|file| file.metadata().map_or(0, |data| data.len()).next_multiple_of(4096)).sum()
}

#[test]
fn a_full_disk_loses_neither_a_label_nor_a_round() {
    let may_mount = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        eprintln!("not tried: this system lets a program mount no file system of its own");
        return;
    }
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let [masks, mounted] = ["masks", "mounted"].map(|name| temp.path().join(name));
    std::fs::create_dir(&mounted).unwrap();
    whole_masks(&root, &masks);
    let (before, size) = (labels(&root), bytes(&root) / 1024);
    let mut failed = 0;
    for free in FREE {
        let out = temp.path().join(free.to_string());
        std::fs::create_dir(&out).unwrap();
        let status = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", &(size + free).to_string()])
            .args([&root, &masks, Path::new(env!("CARGO_BIN_EXE_qualm")), &mounted, &out])
            .status();
        assert!(status.unwrap().success(), "{free} KiB");
        let code = |name: &str| std::fs::read_to_string(out.join(name)).unwrap().trim().to_owned();
        let said = |name: &str| std::fs::read_to_string(out.join(format!("{name}.err"))).unwrap();
        for name in ["import", "round"] {
            assert!(["0", "1"].contains(&code(name).as_str()), "{free} KiB, {name}: {}: {}", code(name), said(name));
            assert_eq!(code(name) == "1", said(name).contains("qualm: "), "{free} KiB, {name}: {}", said(name));
        }
        failed += u32::from(code("import") == "1") + u32::from(code("round") == "1");
        let project = Project::open(&out.join("project")).unwrap_or_else(|error| panic!("{free} KiB: {error}"));
        let rounds = project.rounds().unwrap();
        assert!(code("round") == "1" || rounds.len() == 1, "{free} KiB: {rounds:?}");
        for round in rounds {
            assert!(project.model_folder(round.report.round).join("weights.safetensors").is_file(), "{free} KiB");
        }
        drop(project);
        for ((image, labelled, mask), (_, was_labelled, was)) in labels(&out.join("project")).iter().zip(&before) {
            let is_imported = *labelled && mask.pixels().iter().all(|class| *class == 1);
            let is_kept = mask == was && labelled == was_labelled;
            assert!(is_imported || is_kept && code("import") == "1", "{free} KiB: image {image}");
        }
    }
    assert!(failed > 1, "the disk was never full");
    assert!(failed < 2 * FREE.len() as u32 - 1, "the disk was always full");
}
