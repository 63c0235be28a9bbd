//! The headless commands, run with the built program.

use std::path::Path;
use std::process::{Command, Output};

use image::{GrayImage, Luma};
use qualm::domain::scores::{Moments, Scores};
use qualm::domain::study::Side;
use serde_json::Value;
use tempfile::TempDir;

const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/images");
const MASKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/masks");

fn qualm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qualm"))
        .args(arguments)
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .output()
        .unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// The last line of a successful command, as JSON.
fn json(arguments: &[&str]) -> Value {
    let output = qualm(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = qualm(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    let said = text(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("qualm: ")).collect();
    assert_eq!(lines.len(), 1, "not one line: {said}");
    lines[0].to_owned()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_project_goes_through_two_rounds_and_predicts() {
    let temp = TempDir::new().unwrap();
    let (project, out, few) = (path(temp.path(), "p"), path(temp.path(), "out"), path(temp.path(), "few"));
    let made = qualm(&[
        "new",
        &project,
        "--images",
        IMAGES,
        "--masks",
        MASKS,
        "--set",
        "widths=4,8",
        "--set",
        "rows=32",
        "--set",
        "columns=48",
        "--set",
        "epochs=2",
        "--set",
        "passes=4",
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("60 images, 24 of them labelled"));
    assert!(text(&made.stdout).contains("36 images without a mask"));

    let status = json(&["status", &project, "--json"]);
    assert_eq!((&status["counts"]["labelled"], &status["counts"]["unlabelled"]), (&24.into(), &36.into()));
    assert_eq!(status["active_round"], Value::Null);
    assert!(refused(&["predict", &project, "--images", IMAGES, "--out", &out]).contains("no round has been trained"));

    let round = json(&["round", &project, "--device", "cpu", "--json"]);
    assert_eq!((&round["round"], &round["labelled"], &round["scored"]), (&1.into(), &24.into(), &36.into()));
    assert_eq!(round["validation"]["images"], 5);
    assert!(round["seconds"]["total"].as_f64().unwrap() >= round["seconds"]["train"].as_f64().unwrap());
    let proposed = round["proposed"].as_array().unwrap();
    assert!((10..=15).contains(&proposed.len()));
    assert!(proposed.iter().all(|p| p["image"].is_string() && p["reason"].is_string() && p["score"].is_f64()));
    let second = json(&["round", &project, "--device", "cpu", "--set", "epochs_later=1", "--json"]);
    assert_eq!((&second["round"], second["curve"].as_array().unwrap().len()), (&2.into(), 1));

    let status = json(&["status", &project, "--json"]);
    assert_eq!(status["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(status["counts"]["validation"], 5);
    assert_eq!(status["proposed"][0]["rank"], 1);

    std::fs::create_dir(&few).unwrap();
    for name in ["ISIC_0000042.jpg", "ISIC_0000119.jpg"] {
        std::fs::copy(Path::new(IMAGES).join(name), Path::new(&few).join(name)).unwrap();
    }
    let made = json(&[
        "predict", &project, "--images", &few, "--out", &out, "--passes", "5", "--npy", "--json", "--device", "cpu",
    ]);
    let images = made["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for made in images {
        check_prediction(Path::new(&out), made);
    }
}

/// The scores follow from the written passes, and the maps match them to 16 bits.
fn check_prediction(out: &Path, made: &Value) {
    let stem = made["stem"].as_str().unwrap();
    let bytes = std::fs::read(out.join(format!("{stem}.passes.npy"))).unwrap();
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(npy.shape(), [5, 32, 48]);
    let moments = Moments::of_stack(&npy.into_vec::<f32>().unwrap(), 48, 32);
    let (expected, found): (Scores, Scores) =
        (moments.scores(), serde_json::from_value(made["scores"].clone()).unwrap());
    for (a, b) in [
        (expected.variance_sum, found.variance_sum),
        (expected.variance_edt_sum, found.variance_edt_sum),
        (expected.entropy_mean, found.entropy_mean),
        (expected.mutual_information_mean, found.mutual_information_mean),
    ] {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{expected:?} {found:?}");
    }
    for (name, scale, values) in [
        ("mean", made["mean_scale"].as_f64().unwrap(), moments.class_at(1, 256, 256)),
        ("variance", made["variance_scale"].as_f64().unwrap(), moments.variance_at(256, 256)),
    ] {
        let map = image::open(out.join(format!("{stem}.{name}.png"))).unwrap().into_luma16();
        assert_eq!(map.dimensions(), (256, 256), "at the image's size, not the network's");
        for (word, value) in map.as_raw().iter().zip(&values) {
            assert!((f64::from(*word) / 65535.0 * scale - f64::from(*value)).abs() < scale / 65535.0 + 1e-6);
        }
    }
    let mask = qualm::raster::read_label(&out.join(format!("{stem}.mask.png"))).unwrap();
    assert_eq!((mask.width(), mask.height()), (256, 256));
}

#[test]
fn bad_input_gets_one_line_and_a_failure() {
    let temp = TempDir::new().unwrap();
    let (empty, project) = (path(temp.path(), "empty"), path(temp.path(), "p"));
    std::fs::create_dir(&empty).unwrap();
    assert!(refused(&["new", &project, "--images", &empty]).contains("no image"));
    assert!(!Path::new(&project).exists());
    assert!(refused(&["new", &project, "--images", IMAGES, "--set", "epochs=none"]).contains("whole number"));
    assert!(refused(&["new", &project, "--images", IMAGES, "--set", "rows=97"]).contains("multiple of 32"));
    assert!(refused(&["new", &project, "--images", IMAGES, "--preset", "slow"]).contains("quick or paper"));
    let said = refused(&["status", &empty]);
    assert!(said.contains("not a Qualm project") && said.contains(&format!("qualm new {empty} --images")), "{said}");
    assert!(qualm(&["new", &project, "--images", IMAGES]).status.success());
    assert!(refused(&["new", &project, "--images", IMAGES]).contains("holds a project already"));
    let said = refused(&["round", &project, "--device", "cpu"]);
    assert!(said.contains("no labelled image") && said.contains("qualm import"), "{said}");
}

#[test]
fn a_question_comes_with_the_options_that_answer_it() {
    let temp = TempDir::new().unwrap();
    let (images, masks) = (path(temp.path(), "images"), path(temp.path(), "masks"));
    for folder in [&images, &masks] {
        std::fs::create_dir(folder).unwrap();
        let grey = GrayImage::from_fn(12, 12, |x, _| Luma([[0, 100, 200][x as usize / 4]]));
        grey.save(Path::new(folder).join("im0.png")).unwrap();
    }
    let check = ["check", "--images", &images, "--masks", &masks];
    let said = refused(&check);
    assert!(said.contains("0, 100, 200") && said.contains("--map '100=1'"), "{said}");
    let done = qualm(&[&check[..], &["--json"]].concat());
    let told: Value = serde_json::from_str(text(&done.stdout).lines().next().unwrap()).unwrap();
    assert!(told["questions"][0]["flags"].as_str().unwrap().contains("--map '200=2'"), "{told}");
}

#[test]
fn without_a_display_the_window_names_the_other_commands() {
    let said = refused(&["demo", "/nowhere"]);
    assert!(said.contains("qualm new, round, predict and status"), "{said}");
}

/// A tiny experiment on the demo's images that have masks.
fn simulate(out: &str, more: &[&str]) -> Output {
    simulate_from(out, &["--initial", "6", "--query", "3"], more)
}

fn simulate_from(out: &str, labels: &[&str], more: &[&str]) -> Output {
    let settings = [
        "widths=4,8",
        "rows=16",
        "columns=16",
        "epochs=1",
        "epochs_later=1",
        "passes=2",
        "pseudo_from=1",
        "pseudo_dice=0",
        "pseudo_calibration=1",
    ];
    let mut arguments = vec!["simulate", "--images", IMAGES, "--masks", MASKS, "--device", "cpu", "--out", out];
    arguments.extend(["--set", "pseudo_count=2"]);
    arguments.extend(labels);
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    arguments.extend(more);
    qualm(&arguments)
}

fn lines(out: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(out).join("results.jsonl")).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter_mut().for_each(|line| line["seconds"] = Value::Null);
    lines
}

#[test]
fn a_simulation_compares_policies_and_goes_on_where_it_was() {
    let temp = TempDir::new().unwrap();
    let (whole, parts) = (path(temp.path(), "whole"), path(temp.path(), "parts"));
    let policies = ["--policy", "random", "--policy", "ceal-diverse", "--seeds", "2"];
    let done = simulate(&whole, &[&policies[..], &["--rounds", "2"]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let found = lines(&whole);
    assert_eq!(found.len(), 2 * 2 * 3 + 2, "two policies, two seeds, three rounds, and the whole pool for each seed");
    let of = |policy: &str, seed: u64| -> Vec<&Value> {
        found.iter().filter(|line| line["policy"] == policy && line["seed"] == seed).collect()
    };
    for seed in 0..2 {
        let (random, ceal) = (of("random", seed), of("ceal-diverse", seed));
        assert_eq!(random[0]["test_dice"], ceal[0]["test_dice"], "the same start");
        assert_eq!(random.iter().map(|l| l["labelled"].as_u64().unwrap()).collect::<Vec<_>>(), [6, 9, 12]);
        assert_eq!(random[2]["pseudo"], 0);
        assert!(ceal.iter().all(|l| l["ece"].is_f64() && l["test_jaccard"].is_f64()));
        assert_eq!(of("full", seed)[0]["labelled"], 19);
    }
    for name in ["curves.svg", "curves.png", "report.md", "experiment.json"] {
        assert!(Path::new(&whole).join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let report = std::fs::read_to_string(Path::new(&whole).join("report.md")).unwrap();
    assert!(report.contains("90 % of the full-data Dice") && report.contains("`ceal-diverse` | 2 |"), "{report}");

    // A run interrupted after one policy's first seed and one round of the other's gives the same results.
    assert!(simulate(&parts, &["--policy", "random", "--seeds", "1", "--rounds", "1", "--no-full"]).status.success());
    assert!(simulate(&parts, &["--policy", "ceal-diverse", "--seeds", "1", "--rounds", "0"]).status.success());
    assert!(simulate(&parts, &[&policies[..], &["--rounds", "2"]].concat()).status.success());
    assert_eq!(lines(&parts), found);
    let other = simulate(&parts, &["--set", "epochs=2", "--rounds", "0"]);
    assert!(!other.status.success() && text(&other.stderr).contains("results of other settings"));
}

#[test]
fn a_simulation_measures_at_the_numbers_of_labels_asked_for() {
    let temp = TempDir::new().unwrap();
    let out = path(temp.path(), "out");
    let more = [
        "--labels",
        "2,3,6,10",
        "--policy",
        "uncertain-noisy",
        "--policy",
        "representative",
        "--seeds",
        "1",
        "--no-full",
    ];
    let done = simulate_from(&out, &[], &more);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let labelled: Vec<u64> = lines(&out).iter().map(|line| line["labelled"].as_u64().unwrap()).collect();
    assert_eq!(labelled, [2, 3, 6, 10, 2, 3, 6, 10]);
    assert!(lines(&out).iter().all(|line| (0.0..=1.0).contains(&line["aurc"].as_f64().unwrap())));
    let falling = simulate_from(&out, &[], &["--labels", "6,3"]);
    assert!(!falling.status.success() && text(&falling.stderr).contains("larger than the one before"));
}

#[test]
fn images_are_proposed_before_there_is_a_network() {
    let temp = TempDir::new().unwrap();
    let project = path(temp.path(), "p");
    assert!(qualm(&["new", &project, "--images", IMAGES, "--set", "query_random=2"]).status.success());
    assert!(refused(&["score", &project, "--device", "cpu"]).contains("no round has been trained"));
    let done = qualm(&["propose", &project, "--device", "cpu", "--json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said: Value = serde_json::from_str(text(&done.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(said["proposed"], 12, "5 + 5 + 2, as many as a query");
    let status: Value = serde_json::from_str(&text(&qualm(&["status", &project, "--json"]).stdout)).unwrap();
    let proposed = status["proposed"].as_array().unwrap();
    let names: std::collections::HashSet<&str> = proposed.iter().map(|p| p["image"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 12, "{status}");
    assert!(proposed.iter().all(|p| p["reason"] == "representative"), "{status}");
}

#[test]
fn a_round_by_tiles_predicts_at_the_images_own_size() {
    let temp = TempDir::new().unwrap();
    let (project, out, few) = (path(temp.path(), "p"), path(temp.path(), "out"), path(temp.path(), "few"));
    let mut new = vec!["new", &project, "--images", IMAGES, "--masks", MASKS];
    let settings = ["geometry=tiles", "widths=4,8", "rows=64", "columns=96", "epochs=1", "passes=2", "tiles_image=2"];
    settings.iter().for_each(|setting| new.extend(["--set", setting]));
    assert!(qualm(&new).status.success());
    let round = json(&["round", &project, "--device", "cpu", "--json"]);
    assert_eq!((&round["labelled"], &round["scored"]), (&24.into(), &36.into()));
    assert_eq!(round["validation"]["images"], 5, "tiles of one image are measured together");
    assert_eq!(round["validation_images"].as_array().unwrap().len(), 5);
    std::fs::create_dir(&few).unwrap();
    std::fs::copy(Path::new(IMAGES).join("ISIC_0000042.jpg"), Path::new(&few).join("a.jpg")).unwrap();
    json(&["predict", &project, "--images", &few, "--out", &out, "--json", "--device", "cpu"]);
    let map = image::open(Path::new(&out).join("a.mean.png")).unwrap();
    assert_eq!((map.width(), map.height()), (256, 256), "not the network's 96 × 64");
    let npy = refused(&["predict", &project, "--images", &few, "--out", &out, "--npy", "--device", "cpu"]);
    assert!(npy.contains("cannot be written when images are predicted in tiles"), "{npy}");
}

#[test]
fn groups_keep_together_and_pseudo_labels_are_told() {
    let temp = TempDir::new().unwrap();
    let project = path(temp.path(), "p");
    let mut new = vec!["new", &project, "--images", IMAGES, "--masks", MASKS];
    let settings =
        ["widths=4,8", "rows=32", "columns=32", "epochs=1", "epochs_later=1", "passes=2", "pseudo_ask=false"];
    settings
        .iter()
        .chain(&["pseudo_from=1", "pseudo_count=4", "pseudo_dice=0", "pseudo_calibration=1"])
        .for_each(|setting| new.extend(["--set", setting]));
    assert!(qualm(&new).status.success());
    let said = qualm(&["groups", &project, "pattern:ISIC_00(..)"]);
    assert!(text(&said.stdout).contains("60 images are in 11 groups"), "{}", text(&said.stdout));
    assert!(refused(&["groups", &project, "pattern:("]).contains("pattern:("));
    let first = json(&["round", &project, "--device", "cpu", "--json"]);
    assert_eq!(first["pseudo"], 0);
    let offered = first["pseudo_labelled"].as_u64().unwrap();
    let status = json(&["status", &project, "--json"]);
    assert_eq!(status["pseudo"].as_array().unwrap().len() as u64, offered);
    assert_eq!(status["counts"]["pseudo_labelled"], offered);
    // Images of validation groups get no pseudo-labels either.
    let kept = qualm::project::Project::open(Path::new(&project)).unwrap().images().unwrap();
    let in_validation: Vec<_> = kept.iter().filter(|i| i.side == Side::Validation).map(|i| &i.group).collect();
    assert!(kept.iter().all(|i| i.side != Side::Training || !in_validation.contains(&&i.group)));
    assert!(kept.iter().all(|i| i.pseudo.is_none() || !in_validation.contains(&&i.group)));
    let second = json(&["round", &project, "--device", "cpu", "--json"]);
    assert_eq!(second["pseudo"], offered, "what nobody rejected is learned from, where the settings say so");
}
