//! Randomly corrupted files: whatever they claim, reading one ends soon, takes no more memory than a file of its size
//! may, and never terminates the program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use qualm::domain::edit::Edit;
use qualm::domain::mask::Mask;
use qualm::domain::prediction::Prediction;
use qualm::domain::settings::Settings;
use qualm::domain::value_range::ValueRange;
use qualm::engine::device::{DeviceChoice, SELF_CHECK_LIMIT, choose};
use qualm::engine::model::Model;
use qualm::project::groups::GroupRule;
use qualm::project::{ImportPlan, ImportRules, Project};
use qualm::raster::{self, NiftiGrid, NiftiWriter, SliceValues, Stack, TiffWriter};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tempfile::TempDir;

use crate::engine::tiny;
use crate::volumes::slice;

/// Changed files of each kind.
const EACH: u64 = 1000;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Memory limit of the child, in KiB: what the program itself needs plus the most that any of these files may.
const MEMORY: u64 = 6 << 20;

fn disc(x: u32, y: u32) -> bool {
    (f64::from(x) - 30.0).hypot(f64::from(y) - 20.0) < 14.0
}

/// Whole files of the formats that are read.
fn seeds(folder: &Path) -> Vec<PathBuf> {
    let colour =
        RgbImage::from_fn(64, 48, |x, y| Rgb([if disc(x, y) { 220 } else { 40 }, (x * 3) as u8, (y * 5) as u8]));
    let grey = GrayImage::from_fn(64, 48, |x, y| Luma([if disc(x, y) { 1 } else { 0 }]));
    let deep = image::ImageBuffer::from_fn(64, 48, |x, y| Luma([(x * 900 + y) as u16]));
    let mut files = Vec::new();
    let mut save = |name: &str, image: DynamicImage, format: ImageFormat| {
        image.save_with_format(folder.join(name), format).unwrap();
        files.push(folder.join(name));
    };
    save("colour.png", colour.clone().into(), ImageFormat::Png);
    save("deep.png", DynamicImage::ImageLuma16(deep), ImageFormat::Png);
    save("colour.jpg", colour.clone().into(), ImageFormat::Jpeg);
    save("colour.bmp", colour.clone().into(), ImageFormat::Bmp);
    save("colour.gif", colour.clone().into(), ImageFormat::Gif);
    save("colour.tif", colour.clone().into(), ImageFormat::Tiff);
    save("colour.webp", colour.into(), ImageFormat::WebP);
    let classes = grey.as_raw();
    let label = Mask::from_pixels(64, 48, classes.clone()).unwrap();
    raster::write_label(&folder.join("label.png"), &label, &[[1, 2, 3]]).unwrap();
    let stack =
        Stack { width: 64, height: 48, slices: 3, spacing_mm: Some([0.5; 2]), slice_mm: Some(2.0), is_label: true };
    let mut tiff = TiffWriter::create(&folder.join("stack.tif"), stack).unwrap();
    let mut nifti =
        NiftiWriter::create(&folder.join("volume.nii.gz"), [64, 48, 3], &NiftiGrid::Spacing([0.5; 2]), true).unwrap();
    for _ in 0..3 {
        tiff.add(SliceValues::Classes(classes)).unwrap();
        nifti.add(SliceValues::Classes(classes)).unwrap();
    }
    tiff.finish().unwrap();
    nifti.finish().unwrap();
    // Uncompressed, so that changes reach the header.
    let packed = std::fs::read(folder.join("volume.nii.gz")).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).unwrap();
    std::fs::write(folder.join("volume.nii"), plain).unwrap();
    slice(&folder.join("slice.dcm"), "patient", 1);
    files.extend(["label.png", "stack.tif", "volume.nii.gz", "volume.nii", "slice.dcm"].map(|name| folder.join(name)));
    files
}

/// A corruption of the bytes: some changed, cut, duplicated, or set to extreme values.
fn change(bytes: &[u8], rng: &mut Pcg64Mcg) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let length = bytes.len();
        if length < 8 {
            break;
        }
        // Half of the changes are at the beginning, where headers are.
        let reach = if rng.random_bool(0.5) { length.min(512) } else { length };
        let at = rng.random_range(0..reach);
        match rng.random_range(0..6) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at.max(4)),
            3 => {
                let part = bytes[at..(at + 64).min(length)].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let number: u32 = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x0001_0000][rng.random_range(0..6)];
                let number = if rng.random_bool(0.5) { number.to_le_bytes() } else { number.to_be_bytes() };
                bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
            }
            _ => bytes[at..(at + 16).min(length)].fill(rng.random()),
        }
    }
    bytes
}

/// Files on which a decoder panics, found by fuzzing: an item of a DICOM sequence outside of any.
const PANICS: [&[u8]; 1] = [b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\x00\xe0ype\xff"];

#[test]
fn a_decoder_that_panics_is_an_error_of_its_file() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("scan");
    for bytes in PANICS {
        std::fs::write(&path, bytes).unwrap();
        let error = raster::segmentation(&path).unwrap_err().to_string();
        assert!(error.contains("scan") && error.contains("cannot be decoded"), "{error}");
    }
}

fn timed(what: &str, seed: u64, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    assert!(begun.elapsed() < LIMIT, "{what}, change {seed}, took {:?}", begun.elapsed());
}

/// Runs every reader on one file.
fn read_all(path: &Path) {
    if let Ok(header) = raster::header(path) {
        for page in [0, header.pages.saturating_sub(1)] {
            if let Ok(raster) = raster::read(path, page) {
                assert_eq!(raster.samples.len(), header.width * header.height * raster.header.channels);
                raster::picture(&raster);
            }
        }
    }
    let _ = raster::read_mask(path, 0, None);
    let _ = raster::planes(path);
    let _ = raster::segmentation(path);
    let _ = raster::read_label(path);
}

/// The child: the readers catch panics, and the parent notices if it runs out of memory.
#[test]
#[ignore = "the next test starts it, with little memory"]
fn reads_changed_files() {
    let temp = TempDir::new().unwrap();
    let mut all = 0;
    for seed_file in seeds(temp.path()) {
        let whole = std::fs::read(&seed_file).unwrap();
        read_all(&seed_file);
        let name = seed_file.file_name().unwrap().to_string_lossy().into_owned();
        let changed = temp.path().join(format!("changed-{name}"));
        for seed in 0..EACH {
            std::fs::write(&changed, change(&whole, &mut Pcg64Mcg::seed_from_u64(seed))).unwrap();
            // Printed before reading, so that the last line names a file that terminates the program.
            println!("reading {name} {seed}");
            timed(&name, seed, || read_all(&changed));
            all += 1;
        }
    }
    assert_eq!(all, 12 * EACH);
}

#[test]
fn three_thousand_changed_files_neither_end_the_program_nor_hold_it_up() {
    let program = std::env::current_exe().unwrap();
    let limited = format!(
        "ulimit -v {MEMORY}; exec \"$0\" --exact hostile::reads_changed_files --ignored --nocapture --test-threads 1"
    );
    let done = Command::new("sh").arg("-c").arg(limited).arg(program).output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    let last = out.lines().rev().find(|line| line.starts_with("reading")).unwrap_or("nothing read");
    let error = String::from_utf8_lossy(&done.stderr);
    let end: String = error.chars().rev().take(600).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(done.status.success(), "{last}: {}\n{end}", done.status);
}

#[test]
fn changed_texts_models_and_databases_are_refused_or_read_and_never_end_the_program() {
    let temp = TempDir::new().unwrap();
    let images = temp.path().join("images");
    std::fs::create_dir_all(&images).unwrap();
    GrayImage::new(16, 12).save(images.join("a.png")).unwrap();
    let (root, coco) = (temp.path().join("project"), temp.path().join("coco.json"));
    let text = r#"{"images":[{"id":1,"file_name":"a.png","width":16,"height":12}],"categories":[{"id":1,"name":"x"}],
        "annotations":[{"id":1,"image_id":1,"category_id":1,"iscrowd":0,"area":4,"bbox":[1,1,2,2],
        "segmentation":{"size":[12,16],"counts":[10,2,10,2,168]}}]}"#;
    drop(crate::create(&root, &images, None, &Settings::default()).unwrap());
    let database = std::fs::read(root.join("qualm.db")).unwrap();
    let (device, _) = choose(&DeviceChoice::Cpu, SELF_CHECK_LIMIT).unwrap();
    let folder = temp.path().join("model");
    Model::untrained(&tiny(), ValueRange::default(), &device).save(&folder).unwrap();
    let files = ["model.json", "weights.safetensors"].map(|name| (name, std::fs::read(folder.join(name)).unwrap()));
    let edit = Edit::between(&Mask::filled(9, 9, 0), &Mask::filled(9, 9, 1)).unwrap().to_bytes();
    for seed in 0..150 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        std::fs::write(&coco, change(text.as_bytes(), &mut rng)).unwrap();
        timed("COCO", seed, || {
            let _ = ImportPlan::read(&images, Some(&coco), None, &ImportRules::default(), &|_, _| {});
        });
        let csv = String::from_utf8_lossy(&change(b"name,group\na.png,1\nb.png,2\n", &mut rng)).into_owned();
        std::fs::write(temp.path().join("groups.csv"), csv).unwrap();
        let _ = GroupRule::read(&format!("csv:{}", temp.path().join("groups.csv").display()));
        let assignment = String::from_utf8_lossy(&change(b"learning_rate=0.001", &mut rng)).into_owned();
        let _ = Settings::default().assign(&assignment);
        let _ = Edit::from_bytes(&change(&edit, &mut rng)).map(|edit| edit.toggle(&mut Mask::filled(9, 9, 0)));
        let _ = Prediction::from_bytes(&change(&edit, &mut rng));
        for (name, whole) in &files {
            std::fs::write(folder.join(name), change(whole, &mut rng)).unwrap();
            let load = || drop(Model::load(&folder, &device));
            timed(name, seed, || drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(load))));
            std::fs::write(folder.join(name), whole).unwrap();
        }
        let _ = std::fs::remove_file(root.join("qualm.db-wal"));
        let _ = std::fs::remove_file(root.join("qualm.db-shm"));
        std::fs::write(root.join("qualm.db"), change(&database, &mut rng)).unwrap();
        timed("database", seed, || {
            if let Ok(project) = Project::open(&root)
                && let Ok(study) = project.study()
            {
                study.images.iter().for_each(|image| drop(project.label(image.id)));
            }
        });
    }
}
