//! Masks of whole volumes for series that are stored as one DICOM file a slice.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use qualm::domain::remedy::Remedy;
use qualm::project::import::{ImportRules, Pages};
use qualm::project::{ImportPlan, Project};
use tempfile::TempDir;

const COLUMNS: usize = 8;
const ROWS: usize = 4;

fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    object.put(DataElement::new(tag, vr, value.into()));
}

fn put_items(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

fn of(fill: impl FnOnce(&mut InMemDicomObject)) -> InMemDicomObject {
    let mut object = InMemDicomObject::new_empty();
    fill(&mut object);
    object
}

fn save(path: &Path, mut object: InMemDicomObject, uid: &str, bits: u16, pixels: Vec<u8>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    put(&mut object, tags::SOP_INSTANCE_UID, VR::UI, uid);
    put(&mut object, tags::ROWS, VR::US, ROWS as u16);
    put(&mut object, tags::COLUMNS, VR::US, COLUMNS as u16);
    put(&mut object, tags::SAMPLES_PER_PIXEL, VR::US, 1u16);
    put(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    put(&mut object, tags::BITS_ALLOCATED, VR::US, bits);
    put(&mut object, tags::BITS_STORED, VR::US, bits);
    put(&mut object, tags::HIGH_BIT, VR::US, bits - 1);
    put(&mut object, tags::PIXEL_REPRESENTATION, VR::US, 0u16);
    put(&mut object, tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into()));
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.2")
        .media_storage_sop_instance_uid(uid)
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).unwrap().write_to_file(path).unwrap();
}

/// Writes a slice of a series at a position.
pub fn slice(path: &Path, patient: &str, place: usize) {
    let object = of(|object| {
        put(object, tags::SERIES_INSTANCE_UID, VR::UI, format!("1.2.{}", patient.len()));
        put(object, tags::IMAGE_POSITION_PATIENT, VR::DS, format!("10\\20\\{}", place * 3));
        put(object, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0");
        put(object, tags::PIXEL_SPACING, VR::DS, "0.8\\0.7");
    });
    save(path, object, &format!("1.9.{}.{place}", patient.len()), 8, vec![place as u8; COLUMNS * ROWS]);
}

/// A mask's pixels: which class is set where.
fn pixels(place: usize, class: u8) -> Vec<u8> {
    (0..COLUMNS * ROWS).map(|i| u8::from(i % COLUMNS == place + usize::from(class) * 4)).collect()
}

/// Writes a binary segmentation of a patient's slices, without a frame for the last one.
fn segmentation(path: &Path, patient: &str, labels: [&str; 2], names_images: bool) {
    let uid = |place: usize| format!("1.9.{}.{place}", patient.len());
    let object = of(|object| {
        put(object, tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
        put(object, tags::NUMBER_OF_FRAMES, VR::IS, "4");
        let segments = (1..).zip(labels).map(|(number, label): (u16, _)| {
            of(|item| {
                put(item, tags::SEGMENT_NUMBER, VR::US, number);
                put(item, tags::SEGMENT_LABEL, VR::LO, label);
            })
        });
        put_items(object, tags::SEGMENT_SEQUENCE, segments.collect());
        let images = (0..3).map(|place| of(|item| put(item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid(place))));
        let series = of(|item| put_items(item, tags::REFERENCED_INSTANCE_SEQUENCE, images.collect()));
        put_items(object, tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
        let shared = of(|item| {
            let measures = of(|item| put(item, tags::PIXEL_SPACING, VR::DS, "0.8\\0.7"));
            put_items(item, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
            let turned = of(|item| put(item, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"));
            put_items(item, tags::PLANE_ORIENTATION_SEQUENCE, vec![turned]);
        });
        put_items(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
        let frames = [(1u16, 0), (1, 1), (2, 0), (2, 1)].map(|(number, place)| {
            of(|frame| {
                let segment = of(|item| put(item, tags::REFERENCED_SEGMENT_NUMBER, VR::US, number));
                put_items(frame, tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![segment]);
                let position = format!("10\\20\\{}", place * 3);
                let position = of(|item| put(item, tags::IMAGE_POSITION_PATIENT, VR::DS, position));
                put_items(frame, tags::PLANE_POSITION_SEQUENCE, vec![position]);
                if names_images {
                    let image = of(|item| put(item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid(place)));
                    let derivation = of(|item| put_items(item, tags::SOURCE_IMAGE_SEQUENCE, vec![image]));
                    put_items(frame, tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]);
                }
            })
        });
        put_items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.into());
    });
    // Frames are packed bit by bit, least significant bit first.
    let bits: Vec<u8> = [(1, 0), (1, 1), (2, 0), (2, 1)].iter().flat_map(|(c, p)| pixels(*p, c - 1)).collect();
    let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (place, bit)| byte | bit << place);
    save(path, object, &format!("1.8.{}", patient.len()), 1, bits.chunks(8).map(byte).collect());
}

/// Two patients with three slices each, whose file names give a different order.
fn patients(temp: &Path) {
    for patient in ["p1", "other"] {
        for (place, name) in [(0, "c"), (1, "a"), (2, "b")] {
            slice(&temp.join("images").join(patient).join(format!("{name}.dcm")), patient, place);
        }
    }
}

/// The labels of a project by image and place in its stack.
fn labels(project: &Project) -> BTreeMap<(String, usize), Vec<u8>> {
    let images = project.images().unwrap().into_iter().filter(|image| image.labelled);
    let label = |image: qualm::domain::study::ImageRecord| {
        let (stack, place) = image.stack.unwrap();
        ((stack, place), project.label(image.id).unwrap().mask.pixels().to_vec())
    };
    images.map(label).collect()
}

#[test]
fn a_dicom_segmentation_goes_to_the_images_that_it_names_and_its_classes_have_the_segments_names() {
    let temp = TempDir::new().unwrap();
    patients(temp.path());
    let masks = temp.path().join("masks");
    // The same number is another segment in another file.
    segmentation(&masks.join("x.dcm"), "p1", ["liver", "kidney"], true);
    segmentation(&masks.join("y.dcm"), "other", ["kidney", "liver"], true);
    let images = temp.path().join("images");
    let root = temp.path().join("p");
    let (project, _) = crate::create(&root, &images, Some(&masks), &Default::default()).unwrap();
    let names: Vec<String> = project.classes().unwrap().into_iter().map(|class| class.name).collect();
    assert_eq!(names, ["kidney", "liver"]);
    let labels = labels(&project);
    assert_eq!(labels.len(), 6, "the slices without a frame are background");
    for (patient, [first, second]) in [("p1", [2, 1]), ("other", [1, 2])] {
        for place in 0..2 {
            let expected = pixels(place, 0).into_iter().zip(pixels(place, 1)).map(|(a, b)| a * first + b * second);
            assert_eq!(labels[&(patient.to_owned(), place)], expected.collect::<Vec<u8>>(), "{patient} {place}");
        }
        assert_eq!(labels[&(patient.to_owned(), 2)], [0; COLUMNS * ROWS], "{patient}: nothing in the last slice");
    }
    // Among the images it is a mask, not an image.
    segmentation(&images.join("x.dcm"), "p1", ["liver", "kidney"], true);
    let plan = ImportPlan::read(&images, None, None, &ImportRules::default(), &|_, _| ()).unwrap();
    assert_eq!((plan.images.images.len(), plan.images.masks_among.len()), (6, 1));
}

#[test]
fn a_segmentation_that_names_no_image_goes_to_the_one_at_its_place_and_to_none_where_two_are_there() {
    let temp = TempDir::new().unwrap();
    patients(temp.path());
    let masks = temp.path().join("masks");
    segmentation(&masks.join("x.dcm"), "p1", ["liver", "kidney"], false);
    let images = temp.path().join("images");
    let plan = ImportPlan::read(&images, Some(&masks), None, &ImportRules::default(), &|_, _| ()).unwrap();
    let pairing = plan.masks.unwrap().pairing;
    assert!(pairing.masks.is_empty() && pairing.unpaired[0].1.contains("several"), "{:?}", pairing.unpaired);
    std::fs::remove_dir_all(images.join("other")).unwrap();
    let root = temp.path().join("p");
    let (project, _) = crate::create(&root, &images, Some(&masks), &Default::default()).unwrap();
    assert_eq!(labels(&project)[&("p1".to_owned(), 1)].iter().filter(|class| **class == 1).count(), ROWS);
}

/// A volume of three slices of numbers, as NIfTI, its first slice at a height.
fn volume(path: &Path, height: f32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut bytes = vec![0u8; 352];
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(0, &348i32.to_le_bytes());
    for (place, side) in [3, COLUMNS as i16, ROWS as i16, 3, 1, 1, 1, 1].into_iter().enumerate() {
        set(40 + 2 * place, &side.to_le_bytes());
    }
    set(70, &2i16.to_le_bytes());
    set(72, &8i16.to_le_bytes());
    set(108, &352f32.to_le_bytes());
    set(254, &1i16.to_le_bytes());
    // From the right and the front to the left and the back, as the images lie.
    let rows: [[f32; 4]; 3] = [[-0.7, 0.0, 0.0, -10.0], [0.0, -0.8, 0.0, -20.0], [0.0, 0.0, 3.0, height]];
    for (place, value) in rows.into_iter().flatten().enumerate() {
        set(280 + 4 * place, &value.to_le_bytes());
    }
    set(344, b"n+1\0");
    bytes.extend((0..3).flat_map(|place| pixels(place, 0)));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_volume_goes_to_the_series_of_its_name_where_it_lies_on_its_slices() {
    let temp = TempDir::new().unwrap();
    patients(temp.path());
    let (images, masks) = (temp.path().join("images"), temp.path().join("masks"));
    volume(&masks.join("p1_seg.nii"), 0.0);
    volume(&masks.join("other.nii"), 1.5);
    let plan = ImportPlan::read(&images, Some(&masks), None, &ImportRules::default(), &|_, _| ()).unwrap();
    let unpaired = &plan.masks.as_ref().unwrap().pairing.unpaired;
    assert!(unpaired.len() == 1 && unpaired[0].1.contains("do not lie on"), "{unpaired:?}");
    let root = temp.path().join("p");
    let (project, _) = crate::create(&root, &images, Some(&masks), &Default::default()).unwrap();
    let labels = labels(&project);
    let expected = (0..3).map(|place| (("p1".to_owned(), place), pixels(place, 0))).collect();
    assert_eq!(labels, expected);
}

#[test]
fn a_mask_that_lies_elsewhere_by_its_header_is_told() {
    let temp = TempDir::new().unwrap();
    let (images, masks) = (temp.path().join("images"), temp.path().join("masks"));
    volume(&images.join("a.nii"), 0.0);
    volume(&images.join("b.nii"), 0.0);
    volume(&masks.join("a.nii"), 0.0);
    volume(&masks.join("b.nii"), 40.0);
    let plan = ImportPlan::read(&images, Some(&masks), None, &ImportRules::default(), &|_, _| ()).unwrap();
    let summary = plan.summary();
    assert_eq!(summary.masks.as_ref().unwrap().elsewhere, ["b.nii"]);
    assert!(summary.to_string().contains("lies elsewhere"), "{summary}");
}

#[test]
fn pages_of_a_mask_are_classes_only_where_a_person_says_so() {
    let temp = TempDir::new().unwrap();
    let (images, masks) = (temp.path().join("images"), temp.path().join("masks"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&masks).unwrap();
    image::GrayImage::new(8, 4).save(images.join("a.png")).unwrap();
    let write = |pages: &[Vec<u8>]| {
        let pages: Vec<Vec<u16>> =
            pages.iter().map(|page| page.iter().map(|value| u16::from(*value)).collect()).collect();
        crate::raster::tiff(&masks.join("a.tif"), (8, 4), &pages, &[]);
    };
    let background: Vec<u8> =
        pixels(1, 0).iter().zip(pixels(1, 1)).map(|(first, second)| u8::from(first + second == 0)).collect();
    write(&[background.clone(), pixels(1, 0), pixels(1, 1)]);
    let plan = |pages| {
        let rules = ImportRules { pages, ..ImportRules::default() };
        ImportPlan::read(&images, Some(&masks), None, &rules, &|_, _| ()).unwrap()
    };
    let asked = plan(None).questions();
    assert!(asked.len() == 1 && asked[0].remedy == Some(Remedy::Pages), "{asked:?}");
    let label = |plan: &ImportPlan| plan.masks.as_ref().unwrap().labels(0).unwrap()[0].1.pixels().to_vec();
    let expected: Vec<u8> = pixels(1, 0).iter().zip(pixels(1, 1)).map(|(first, second)| first + second * 2).collect();
    assert_eq!(label(&plan(Some(Pages::OneHot))), expected);
    write(&[pixels(1, 0), pixels(1, 1)]);
    assert_eq!(label(&plan(Some(Pages::Classes))), expected);
    assert!(!plan(Some(Pages::OneHot)).questions().is_empty(), "a pixel is set in none");
    write(&[pixels(1, 0), pixels(1, 0)]);
    assert!(!plan(Some(Pages::Classes)).questions().is_empty(), "a pixel is set in two");
}
