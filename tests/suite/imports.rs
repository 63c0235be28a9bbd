//! Imports: how masks are interpreted and paired with images, and what happens to files afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::mask_values::{MaskValue, Numbers, ValueRules};
use qualm::domain::settings::Settings;
use qualm::domain::study::FileState;
use qualm::project::import::{MaskPlan, Several, Target, pairing};
use qualm::project::{ImportPlan, ImportRules, Project, ProjectError};
use qualm::raster;
use tempfile::TempDir;

use crate::create;

const SIDE: u32 = 24;

/// Two images and their masks; `mask` writes the mask of a number to a path without an extension.
fn folders(mask: impl Fn(u32, &Path)) -> TempDir {
    let temp = TempDir::new().unwrap();
    for folder in ["images", "masks"] {
        std::fs::create_dir(temp.path().join(folder)).unwrap();
    }
    for number in 0..2 {
        let image = RgbImage::from_pixel(SIDE, SIDE, Rgb([90 + number as u8, 80, 70]));
        image.save(temp.path().join(format!("images/im{number}.png"))).unwrap();
        mask(number, &temp.path().join(format!("masks/im{number}")));
    }
    temp
}

fn plan(temp: &TempDir, rules: &ImportRules) -> ImportPlan {
    let at = |name: &str| temp.path().join(name);
    ImportPlan::read(&at("images"), Some(&at("masks")), None, rules, &|_, _| {}).unwrap()
}

/// The label of the first image, or the open questions.
fn label(temp: &TempDir, rules: &ImportRules) -> Result<Mask, String> {
    let plan = plan(temp, rules);
    let questions = plan.questions();
    if !questions.is_empty() {
        return Err(questions.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    let masks: &MaskPlan = plan.masks.as_ref().unwrap();
    Ok(masks.labels(0).unwrap().remove(0).1)
}

/// Four vertical stripes of these values.
fn stripe<T: Copy>(x: u32, values: [T; 4]) -> T {
    values[(x * 4 / SIDE) as usize]
}

fn stripes(mask: &Mask) -> [u8; 4] {
    [2, 8, 14, 20].map(|x| mask.get(x, 5).unwrap())
}

fn grey(values: [[u8; 4]; 2]) -> TempDir {
    folders(|number, path| {
        let mask = GrayImage::from_fn(SIDE, SIDE, |x, _| Luma([stripe(x, values[number as usize])]));
        mask.save(path.with_extension("png")).unwrap();
    })
}

fn default() -> ImportRules {
    ImportRules::default()
}

fn mapped(map: &[(MaskValue, u8)], nearest: bool) -> ImportRules {
    let values = ValueRules { map: Some(map.iter().copied().collect()), nearest, ..Default::default() };
    ImportRules { values, ..default() }
}

#[test]
fn a_value_is_one_class_in_the_whole_folder() {
    let temp = grey([[0, 0, 3, 3], [0, 1, 2, 3]]);
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [0, 0, 3, 3], "3 is class 3, also where 1 and 2 are not");
    let temp = grey([[0, 0, 100, 100], [0, 200, 200, 0]]);
    let asked = label(&temp, &default()).unwrap_err();
    assert!(asked.contains("0, 100, 200"), "{asked}");
    let temp = grey([[0, 0, 1, 255], [0, 1, 1, 255]]);
    assert!(label(&temp, &default()).unwrap_err().contains("255 may be a class or mean not labelled"));
    let temp = grey([[0, 255, 255, 0], [0, 0, 0, 0]]);
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [0, 1, 1, 0]);
    assert_eq!(plan(&temp, &default()).masks.unwrap().empty(), 1, "a mask of background alone is told");
}

#[test]
fn a_map_names_every_value_or_the_nearest_is_asked_for() {
    let temp = grey([[0, 127, 254, 255], [0, 0, 255, 255]]);
    let white = (MaskValue::Number(255), 1);
    let error = label(&temp, &mapped(&[white], false)).unwrap_err();
    assert!(error.contains("127, 254"), "{error}");
    assert_eq!(stripes(&label(&temp, &mapped(&[white], true)).unwrap()), [0, 0, 1, 1], "127 is nearer to 0");
    let values = ValueRules { threshold: Some(100.0), ..Default::default() };
    assert_eq!(stripes(&label(&temp, &ImportRules { values, ..default() }).unwrap()), [0, 1, 1, 1]);
}

#[test]
fn masks_of_16_bits_of_colours_and_of_alpha_are_what_they_hold() {
    let temp = folders(|_, path| {
        let mask = ImageBuffer::<Luma<u16>, _>::from_fn(SIDE, SIDE, |x, _| Luma([stripe(x, [0u16, 1, 2, 1])]));
        mask.save(path.with_extension("png")).unwrap();
    });
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [0, 1, 2, 1], "16 bits are not cut to 8");
    // Both colours are equally bright.
    let temp = folders(|_, path| {
        let colours = [[0, 0, 0], [255, 0, 0], [0, 76, 0], [255, 0, 0]];
        let mask = RgbImage::from_fn(SIDE, SIDE, |x, _| Rgb(stripe(x, colours)));
        mask.save(path.with_extension("png")).unwrap();
    });
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [0, 2, 1, 2]);
    let names = plan(&temp, &default()).masks.unwrap().class_names();
    assert_eq!(names.values().map(String::as_str).collect::<Vec<_>>(), ["#004c00", "red"]);
    let temp = folders(|_, path| {
        let mask = RgbaImage::from_fn(SIDE, SIDE, |x, _| Rgba([255, 255, 255, stripe(x, [0, 255, 255, 0])]));
        mask.save(path.with_extension("png")).unwrap();
    });
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [0, 1, 1, 0], "alpha tells the object");
    let temp = folders(|_, path| {
        let colours = [[255, 0, 0, 180], [0, 255, 0, 180], [0, 0, 0, 0], [0, 255, 0, 180]];
        let mask = RgbaImage::from_fn(SIDE, SIDE, |x, _| Rgba(stripe(x, colours)));
        mask.save(path.with_extension("png")).unwrap();
    });
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [1, 0, 255, 0], "RootPainter's annotations");
}

#[test]
fn numbers_of_single_objects_are_recognised_and_asked_about() {
    // Nine squares, each with a number of its own.
    let temp = folders(|_, path| {
        let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| {
            Luma([if x % 8 < 5 && y % 8 < 5 { 1 + (y / 8 * 3 + x / 8) as u8 } else { 0 }])
        });
        mask.save(path.with_extension("png")).unwrap();
    });
    let asked = label(&temp, &default()).unwrap_err();
    assert!(asked.contains("instance numbers"), "{asked}");
    let said = |numbers| {
        let values = ValueRules { numbers: Some(numbers), ..Default::default() };
        label(&temp, &ImportRules { values, ..default() }).unwrap()
    };
    let classes = |mask: Mask| mask.pixels().iter().copied().collect::<BTreeSet<u8>>().len();
    assert_eq!(classes(said(Numbers::Instances)), 2, "one class and the background");
    assert_eq!(classes(said(Numbers::Classes)), 10);
}

#[test]
fn a_single_number_that_is_said_to_be_a_class_is_that_class() {
    let temp = grey([[0, 40, 40, 0]; 2]);
    let values = ValueRules { numbers: Some(Numbers::Classes), ..Default::default() };
    assert_eq!(stripes(&label(&temp, &ImportRules { values, ..default() }).unwrap()), [0, 40, 40, 0]);
    assert_eq!(stripes(&label(&temp, &default()).unwrap()), [0, 1, 1, 0], "nothing is said");
}

#[test]
fn several_masks_of_one_image_are_joined_or_a_class_each_as_a_person_says() {
    let temp = folders(|_, _| {});
    for (class, x) in [("tumour", 3), ("vessel", 15)] {
        std::fs::create_dir_all(temp.path().join("masks").join(class)).unwrap();
        for number in 0..2 {
            let mask = GrayImage::from_fn(SIDE, SIDE, |at, _| Luma([if at / 6 == x / 6 { 255 } else { 0 }]));
            mask.save(temp.path().join(format!("masks/{class}/im{number}.png"))).unwrap();
        }
    }
    let asked = label(&temp, &default()).unwrap_err();
    assert!(asked.contains("2 images have more than one mask"), "{asked}");
    let said = |several| label(&temp, &ImportRules { several: Some(several), ..default() }).unwrap();
    assert_eq!(stripes(&said(Several::Union)), [1, 0, 1, 0]);
    assert_eq!(stripes(&said(Several::Classes)), [1, 0, 2, 0]);
}

#[test]
fn a_project_is_never_made_of_nothing() {
    let temp = folders(|_, _| {});
    let at = |name: &str| temp.path().join(name);
    let error = create(&at("p"), &at("images"), Some(&at("masks")), &Settings::default()).err().unwrap();
    assert!(matches!(&error, ProjectError::Unsettled(_)), "{error}");
    assert!(!at("p").exists());
    let file = at("images").join("im0.png");
    let error = create(&at("p"), &file, None, &Settings::default()).err().unwrap().to_string();
    assert!(error.contains("give the folder that it lies in"), "{error}");
    // Images and masks in one folder are told apart by their names, or refused.
    let error = create(&at("p"), &at("images"), Some(&at("images")), &Settings::default()).err().unwrap().to_string();
    assert!(error.contains("their names do not tell which is which"), "{error}");
    GrayImage::from_pixel(SIDE, SIDE, Luma([255])).save(at("images").join("im0_mask.png")).unwrap();
    let (project, import) = create(&at("p"), &at("images"), Some(&at("images")), &Settings::default()).unwrap();
    assert_eq!((import.images, import.masks), (2, 1), "a mask is not an image");
    assert!(project.images().unwrap()[0].labelled);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Labels that the program writes are read back bit for bit, both as labels and as masks to import.
    #[test]
    fn any_label_reads_back_bit_for_bit(
        (width, height) in (1usize..40, 1usize..40),
        seed in any::<u64>(),
        classes in 0u8..6,
    ) {
        let pixel = |place: usize| {
            let bits = seed.rotate_left((place * 7 % 64) as u32) ^ place as u64;
            match (bits % 7) as u8 { 6 => 255, class => class.min(classes) }
        };
        let mask = Mask::from_pixels(width, height, (0..width * height).map(pixel).collect()).unwrap();
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("a.png");
        raster::write_label(&path, &mask, &[[1, 2, 3], [4, 5, 6]]).unwrap();
        prop_assert_eq!(&raster::read_label(&path).unwrap(), &mask);
        let target = Target { path: "a.png".into(), width, height, pages: 1, series: None };
        let plan = MaskPlan::of(temp.path(), Path::new("/nowhere"), vec![target], &[], &default(), &|_, _| {}).unwrap();
        prop_assert!(plan.questions().is_empty());
        let labels: Vec<Mask> = plan.labels(0).unwrap().into_iter().map(|(_, label)| label).collect();
        let is_label = mask.pixels().iter().any(|class| *class != UNLABELLED);
        prop_assert_eq!(labels, if is_label { vec![mask] } else { vec![] }, "a mask on which nothing is labelled is none");
    }

    /// However files are named and nested, a mask goes to the image that it was made for, or to none.
    #[test]
    fn any_folders_pair_each_image_with_its_own_mask_or_none(
        names in prop::collection::btree_set("(p[12]/)?(t[12]/)?(im|s|im_mask|x_1|Ü)[0-3]{0,2}", 1..12),
        suffix in prop::sample::select(vec!["", "_mask", "_segmentation", "_cp_masks"]),
        is_flat in any::<bool>(),
    ) {
        let images: Vec<PathBuf> = names.iter().map(|name| PathBuf::from(format!("{name}.tif"))).collect();
        let mask_of = |image: &PathBuf| {
            let name = format!("{}{suffix}.png", image.file_stem().unwrap().to_string_lossy());
            if is_flat { PathBuf::from(name) } else { image.with_file_name(name) }
        };
        // Masks of the same name in a flat folder are one file, which cannot be attributed to an image.
        let mut masks: Vec<PathBuf> = images.iter().map(mask_of).collect();
        masks.sort();
        masks.dedup();
        let pairing = pairing::pair(&images, &masks, None);
        for (image, found) in &pairing.masks {
            for (mask, rule) in found {
                prop_assert_eq!(&mask_of(&images[*image]), &masks[*mask], "of {:?}", images[*image]);
                if matches!(rule, pairing::PairingRule::Path(_)) {
                    continue; // Both lie at the same place below their folders.
                }
                let alike = images.iter().filter(|other| mask_of(other) == masks[*mask]).count();
                prop_assert_eq!(alike, 1, "more than one image could be meant");
            }
        }
        if !is_flat && suffix == "_segmentation" {
            prop_assert_eq!(pairing.masks.len(), images.len(), "a tree that mirrors the images' is paired whole");
        }
    }
}

#[test]
fn names_are_compared_by_unicode_form_and_letter_case_where_that_is_unique() {
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let pairs = |images: &[&str], masks: &[&str]| pairing::pair(&paths(images), &paths(masks), None).masks.len();
    assert_eq!(pairs(&["M\u{fc}ller.png"], &["Mu\u{308}ller.png"]), 1, "composed and decomposed");
    assert_eq!(pairs(&["IM1.JPG"], &["im1_Mask.png"]), 1);
    assert_eq!(pairs(&["IM1.JPG", "im1.jpg"], &["Im1.png"]), 0, "two images differ in their case only");
    assert_eq!(pairs(&["case0_0000.png", "case1_0000.png"], &["case0.png", "case1.png"]), 2, "nnU-Net's names");
}

#[test]
fn one_program_at_a_time_works_on_a_project_and_others_may_read() {
    let temp = grey([[0, 255, 255, 0]; 2]);
    let at = |name: &str| temp.path().join(name);
    let (project, _) = create(&at("p"), &at("images"), Some(&at("masks")), &Settings::default()).unwrap();
    let error = Project::open(&at("p")).err().unwrap();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(Project::open_to_read(&at("p")).unwrap().images().unwrap().len(), 2);
    drop(project);
    Project::open(&at("p")).unwrap();
}

#[test]
fn moved_missing_and_replaced_files_are_noticed_and_nothing_is_lost() {
    let temp = grey([[0, 255, 255, 0]; 2]);
    let at = |name: &str| temp.path().join(name);
    let (mut project, _) = create(&at("p"), &at("images"), Some(&at("masks")), &Settings::default()).unwrap();
    std::fs::rename(at("images"), at("elsewhere")).unwrap();
    project.check_files().unwrap();
    let states = |project: &Project| project.images().unwrap().iter().map(|i| i.file).collect::<Vec<_>>();
    assert_eq!(states(&project), [FileState::Missing; 2]);
    let error = project.relocate(&at("masks").join("..")).unwrap_err().to_string();
    assert!(error.contains("none of the project's images"), "{error}");
    assert_eq!(project.relocate(&at("elsewhere")).unwrap(), (2, Vec::new()));
    assert_eq!(states(&project), [FileState::Present; 2]);

    // The same content at another time is the same file; another content is not.
    let file = at("elsewhere").join("im0.png");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    project.check_files().unwrap();
    assert_eq!(states(&project), [FileState::Present; 2]);
    RgbImage::from_pixel(SIDE, SIDE, Rgb([1, 2, 3])).save(&file).unwrap();
    project.check_files().unwrap();
    assert_eq!(states(&project), [FileState::Replaced, FileState::Present]);
    assert_eq!(project.accept_replaced(true).unwrap(), 1);
    assert!(project.images().unwrap().iter().all(|image| image.labelled && image.file == FileState::Present));

    RgbImage::from_pixel(SIDE * 2, SIDE, Rgb([1, 2, 3])).save(&file).unwrap();
    project.check_files().unwrap();
    assert!(project.accept_replaced(true).is_err(), "a label of another size cannot hold");
    assert_eq!(project.accept_replaced(false).unwrap(), 1);
    let image = project.images().unwrap().remove(0);
    assert_eq!((image.width, image.labelled), (SIDE as usize * 2, false));
    assert!(!project.label_path(&image.stem).exists());
}

#[test]
fn an_image_can_leave_the_project_and_come_back_with_its_label() {
    let temp = grey([[0, 255, 255, 0]; 2]);
    let at = |name: &str| temp.path().join(name);
    let (mut project, _) = create(&at("p"), &at("images"), Some(&at("masks")), &Settings::default()).unwrap();
    let id = project.images().unwrap()[0].id;
    let before = project.label(id).unwrap().mask;
    project.remove_image(id).unwrap();
    assert_eq!(project.images().unwrap().len(), 1);
    let plan =
        |temp: &TempDir| ImportPlan::read(&temp.path().join("images"), None, None, &default(), &|_, _| {}).unwrap();
    RgbImage::new(8, 8).save(at("images").join("new.png")).unwrap();
    assert_eq!(project.add_new_files(&plan(&temp)).unwrap(), 1, "what was taken out stays out");
    assert!(project.image(id).unwrap().is_none());
    assert_eq!(project.restore_images().unwrap(), 1);
    let back = project.image(id).unwrap().unwrap();
    assert!(back.labelled);
    assert_eq!(project.label(id).unwrap().mask, before);
}

#[test]
fn a_value_without_a_background_is_asked_about() {
    let temp = grey([[1, 2, 3, 3], [1, 1, 2, 3]]);
    assert!(label(&temp, &default()).unwrap_err().contains("1, 2, 3"), "trimaps have no 0");
}

#[test]
fn palettes_that_mean_other_colours_by_one_index_are_asked_about() {
    let temp = folders(|number, path| {
        let file = std::fs::File::create(path.with_extension("png")).unwrap();
        let mut encoder = png::Encoder::new(file, SIDE, SIDE);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        let palettes = [vec![0, 0, 0, 255, 0, 0, 0, 255, 0], vec![0, 0, 0, 0, 255, 0]];
        encoder.set_palette(palettes[number as usize].clone());
        let pixels: Vec<u8> = (0..SIDE * SIDE).map(|i| u8::from(i % SIDE > 9)).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    });
    let asked = label(&temp, &default()).unwrap_err();
    assert!(asked.contains("index 1 different colours"), "{asked}");
}

#[test]
fn a_mask_volume_whose_axes_run_elsewhere_is_refused() {
    let temp = TempDir::new().unwrap();
    let voxels: Vec<i16> = (0..24).map(|v| i16::from(v % 4 == 0)).collect();
    let mut volume = crate::raster::nifti([4, 3, 2], &voxels, (1.0, 0.0), false);
    for folder in ["images", "masks"] {
        std::fs::create_dir(temp.path().join(folder)).unwrap();
        std::fs::write(temp.path().join(folder).join("a.nii"), &volume).unwrap();
    }
    let plan = |temp: &TempDir| self::plan(temp, &default());
    assert_eq!(plan(&temp).masks.unwrap().labels(0).unwrap().len(), 2, "a label for each slice");
    // The first axis reversed.
    volume[280..284].copy_from_slice(&0.5f32.to_le_bytes());
    std::fs::write(temp.path().join("masks/a.nii"), &volume).unwrap();
    let questions = plan(&temp).questions();
    assert!(questions[0].what.contains("axes of the mask run to RPS, those of its image to LPS"), "{questions:?}");
}

#[test]
fn classes_that_masks_name_are_those_of_the_project_by_name() {
    let temp = folders(|_, _| {});
    let at = |name: &str| temp.path().join(name);
    let mask = |folder: &str, number: u32, colour: [u8; 3]| {
        std::fs::create_dir_all(at(folder)).unwrap();
        let mask = RgbImage::from_fn(SIDE, SIDE, |x, _| Rgb(stripe(x, [[0; 3], colour, colour, [0; 3]])));
        mask.save(at(folder).join(format!("im{number}.png"))).unwrap();
    };
    mask("red", 0, [255, 0, 0]);
    mask("green", 1, [0, 255, 0]);
    let (mut project, _) = create(&at("p"), &at("images"), Some(&at("red")), &Settings::default()).unwrap();
    let plan = project.plan_masks(&at("green"), &default(), &|_, _| {}).unwrap();
    project.import_masks(&plan, &|_, _| {}).unwrap();
    let names: Vec<String> = project.classes().unwrap().into_iter().map(|class| class.name).collect();
    assert_eq!(names, ["red", "green"]);
    let images = project.images().unwrap();
    let label = |place: usize| stripes(&project.label(images[place].id).unwrap().mask);
    assert_eq!((label(0), label(1)), ([0, 1, 1, 0], [0, 2, 2, 0]), "green is not the class that is red");
}

#[test]
fn masks_in_a_folder_of_the_images_are_not_new_images_later() {
    let temp = grey([[0, 255, 255, 0]; 2]);
    std::fs::rename(temp.path().join("masks"), temp.path().join("images/truth")).unwrap();
    let at = |name: &str| temp.path().join(name);
    let (mut project, import) =
        create(&at("p"), &at("images"), Some(&at("images/truth")), &Settings::default()).unwrap();
    assert_eq!((import.images, import.masks), (2, 2));
    let found = project.image_source().unwrap().read(&|_, _| {}).unwrap();
    assert_eq!(project.count_new(&found).unwrap(), 0);
    assert_eq!(project.add_new_files(&found).unwrap(), 0);
}

#[test]
fn a_coco_file_gives_classes_by_name_and_says_what_it_leaves_open() {
    let temp = folders(|_, _| {});
    let at = |name: &str| temp.path().join(name);
    RgbImage::new(SIDE, SIDE).save(at("images").join("im2.png")).unwrap();
    let square = |x: u32| format!("[[{x},2,{},2,{},8,{x},8]]", x + 6, x + 6);
    // A run of the first column's first ten pixels.
    let runs = format!(r#"{{"counts":[0,10,{}],"size":[{SIDE},{SIDE}]}}"#, SIDE * SIDE - 10);
    let text = format!(
        r#"{{"images":[{{"id":7,"file_name":"im0.png","width":{SIDE},"height":{SIDE}}},
            {{"id":8,"file_name":"elsewhere/im1.png","width":{SIDE},"height":{SIDE}}},
            {{"id":9,"file_name":"im2.png","width":{SIDE},"height":{SIDE}}},
            {{"id":10,"file_name":"gone.png","width":4,"height":4}}],
          "categories":[{{"id":30,"name":"vessel"}},{{"id":4,"name":"tumour"}}],
          "annotations":[{{"image_id":7,"category_id":30,"segmentation":{}}},
            {{"image_id":7,"category_id":4,"segmentation":{}}},
            {{"image_id":8,"category_id":4,"segmentation":{runs}}}]}}"#,
        square(2),
        square(6)
    );
    std::fs::write(at("a.json"), text).unwrap();
    let (project, import) = create(&at("p"), &at("images"), Some(&at("a.json")), &Settings::default()).unwrap();
    assert_eq!((import.images, import.masks), (3, 2));
    assert!(import.problems.iter().any(|problem| problem.contains("im2.png") && problem.contains("no annotation")));
    assert!(import.problems.iter().any(|problem| problem.contains("gone.png")));
    let classes: Vec<String> = project.classes().unwrap().into_iter().map(|class| class.name).collect();
    assert_eq!(classes, ["tumour", "vessel"], "in the order of the categories' numbers");
    let images = project.images().unwrap();
    let label = |place: usize| project.label(images[place].id).unwrap().mask;
    let row = [1, 3, 7, 9, 13].map(|x| label(0).get(x, 5).unwrap());
    assert_eq!(row, [0, 2, 255, 1, 0], "what both claim is not labelled");
    assert_eq!([(0, 0), (0, 9), (0, 10), (1, 0)].map(|(x, y)| label(1).get(x, y).unwrap()), [1, 1, 0, 0]);
    assert!(!images[2].labelled);
}

#[cfg(unix)]
#[test]
fn an_annotation_that_draws_nothing_does_not_make_its_image_background() {
    let temp = folders(|_, _| {});
    let at = |name: &str| temp.path().join(name);
    for (number, drawn) in ["[]", "[[]]", "[[1,1,5,5]]"].into_iter().enumerate() {
        let text = format!(
            r#"{{"images":[{{"id":7,"file_name":"im0.png","width":{SIDE},"height":{SIDE}}},
                {{"id":8,"file_name":"im1.png","width":{SIDE},"height":{SIDE}}}],
              "categories":[{{"id":1,"name":"vessel"}}],
              "annotations":[{{"image_id":7,"category_id":1,"bbox":[0,0,4,4],"segmentation":{drawn}}},
                {{"image_id":8,"category_id":1,"segmentation":[[2,2,8,2,8,8]]}}]}}"#
        );
        std::fs::write(at("a.json"), text).unwrap();
        let root = at(&format!("p{number}"));
        let (_, import) = create(&root, &at("images"), Some(&at("a.json")), &Settings::default()).unwrap();
        assert_eq!(import.masks, 1, "{drawn}");
        assert!(import.problems.iter().any(|problem| problem.contains("no segmentation")), "{:?}", import.problems);
    }
}

#[test]
fn an_image_that_goes_before_its_mask_is_imported_does_not_stop_the_others() {
    let temp = grey([[0, 255, 255, 0]; 2]);
    let plan = plan(&temp, &default());
    std::fs::remove_file(temp.path().join("images/im0.png")).unwrap();
    let (_, import) = Project::create(&temp.path().join("p"), &plan, &Settings::default(), &|_, _| {}).unwrap();
    assert_eq!((import.masks, import.problems.len()), (1, 1));
    assert!(import.problems[0].contains("im0.png"), "{:?}", import.problems);
}

#[test]
fn a_file_that_is_replaced_after_its_label_was_undone_is_read_anew() {
    let temp = grey([[0, 255, 255, 0]; 2]);
    let at = |name: &str| temp.path().join(name);
    let (mut project, _) = create(&at("p"), &at("images"), Some(&at("masks")), &Settings::default()).unwrap();
    let id = project.images().unwrap()[0].id;
    project.move_to(id, 0, Some(false)).unwrap();
    RgbImage::new(SIDE * 2, SIDE).save(at("images").join("im0.png")).unwrap();
    project.check_files().unwrap();
    let image = project.image(id).unwrap().unwrap();
    assert_eq!((image.width, image.file), (SIDE as usize * 2, FileState::Present));
    assert_eq!(project.label(id).unwrap().mask.width(), image.width);
}
