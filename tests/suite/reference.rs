//! The reference page matches the program's own help; `UPDATE_REFERENCE=1 cargo test --release reference` writes it.

use std::fmt::Write;
use std::process::Command;

use qualm::domain::settings;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/manual/reference.md");

/// What of an export can be read back; `tests/interop/readers.py` tests it.
const FORMATS: &str = "
## Export formats

What `qualm export` writes, and what is kept when the files are imported as masks of the same images (`qualm new --masks`,
`qualm import`). *All* means each pixel's class, and 255 where nothing is labelled. Names of classes are kept by DICOM SEG and
COCO only; colours by the palettes of indexed PNG, for other programs.

| format | plain images (PNG, JPEG, one page) | TIFF stacks | NIfTI volumes | DICOM series | lost |
| --- | --- | --- | --- | --- | --- |
| `png` | all, a file each | all, a file a slice, not read back as a stack | as TIFF stacks | as TIFF stacks | names |
| `binary` | one class, or `--several classes` | not read back | not read back | not read back | not labelled becomes background |
| `tiff` | all | all | all | written; not read back, for it does not say where it lies | names |
| `nifti` | all | all | all, on the same affine | all, by the place in the patient | names |
| `dicom-seg` | DICOM only | not written | not written | all classes | not labelled becomes background; slices without a label are left out |
| `coco` | all classes | written; not read back | as TIFF stacks | as TIFF stacks | not labelled becomes background; images without an object look like images without a label |
| `coco-polygons` | as `coco`: outlines run along the pixels' sides | as `coco` | as `coco` | as `coco` | as `coco` |
| `geojson` | written for QuPath; not read back | written | written | written | not labelled becomes background |
| `csv` | measurements only | measurements only | measurements only | measurements only | the pixels |

With `--what predictions`, `tiff` and `nifti` also hold the probability of each class and the predictive variance as 32-bit
floats at the image's size (`STEM.probability.tif`, `STEM.variance.tif`; with several classes `STEM.probability-1_NAME.tif`),
and COCO and GeoJSON the mean probability of each region. `export-model` writes a network as `model.safetensors` (tensors in
PyTorch's layout), `model.json` and `model.py`, which runs it in PyTorch and, through `torch.onnx.export`, writes ONNX.
";

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
        `predict` writes for each image `STEM.mask.png` (8-bit indexed), `STEM.mean.png` and `STEM.variance.png` (16-bit grey;\n\
        `scores.csv` and the JSON say what 65535 stands for), all at the image's size, and, with `--npy`,\n\
        `STEM.passes.npy`: the probability maps of the dropout passes, float32 `[passes, rows, columns]`, or `[passes, classes,\n\
        rows, columns]` if there are several classes.\n\n\
        A log of each day, a week of them, is kept in the folder for the program's data, or where `QUALM_LOG_DIR` says;\n\
        `QUALM_LOG` says how much is logged, as in `QUALM_LOG=qualm=debug`. *Copy diagnostics* copies version, system, devices and\n\
        settings, and nothing of images.\n\n\
        An image whose samples take more than an eighth of the machine's memory (or the container's; at least 1 GiB) is refused\n\
        before it is decoded; `QUALM_IMAGE_MEMORY` sets another limit, in MiB.\n"
        .to_owned();
    write!(page, "\n## Command line\n\n```text\n{}\n```\n", overview.trim_end()).unwrap();
    for name in commands(&overview) {
        write!(page, "\n### qualm {name}\n\n```text\n{}\n```\n", help(&["help", name]).trim_end()).unwrap();
    }
    page.push_str(FORMATS);
    page.push_str("\n## JSON\n\nThe schemas of what commands print with `--json`; `watch` and `simulate` print an object a line.\n");
    for name in help(&["schema"]).lines() {
        write!(page, "\n### {name}\n\n```json\n{}\n```\n", help(&["schema", name]).trim_end()).unwrap();
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
    assert!(found == page, "run UPDATE_REFERENCE=1 cargo test --release reference");
}
