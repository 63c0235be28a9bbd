//! Writes binary DICOM segmentations (PS3.3, A.51), with a frame for each image and segment that occurs in it.

use std::path::{Path, PathBuf};

use chrono::Utc;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use sha2::{Digest, Sha256};

use super::elements::{self, File, fixed, text};
use super::{Layout, open, plane};
use crate::raster::output::NewFile;
use crate::raster::plane::length;
use crate::raster::{Format, Plane, RasterError, Result};

/// Attributes of the patient and the study that are copied from the source, and whether they must exist even if empty.
const OF_THE_SOURCE: [(Tag, VR, bool); 12] = [
    (tags::STUDY_DATE, VR::DA, true),
    (tags::STUDY_TIME, VR::TM, true),
    (tags::ACCESSION_NUMBER, VR::SH, true),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, true),
    (tags::STUDY_DESCRIPTION, VR::LO, false),
    (tags::PATIENT_NAME, VR::PN, true),
    (tags::PATIENT_ID, VR::LO, true),
    (tags::PATIENT_BIRTH_DATE, VR::DA, true),
    (tags::PATIENT_SEX, VR::CS, true),
    (tags::STUDY_INSTANCE_UID, VR::UI, true),
    (tags::STUDY_ID, VR::SH, true),
    (tags::FRAME_OF_REFERENCE_UID, VR::UI, false),
];

/// Model name in the segmentations that this program writes, which have a frame for every labelled image.
pub(super) const MODEL_NAME: &str = "Qualm";

/// A segment, which represents a class.
#[derive(Clone, Debug)]
pub struct Segment {
    /// From 1.
    pub number: u8,
    /// Its name.
    pub label: String,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

/// An image that was segmented.
struct Source {
    class: String,
    instance: String,
    series: String,
    frame: usize,
    frames: usize,
    plane: Option<Plane>,
}

/// A segmentation being written, image by image.
pub struct SegmentationWriter {
    path: PathBuf,
    segments: Vec<Segment>,
    /// Whether the user drew it.
    is_manual: bool,
    sources: Vec<Source>,
    /// For each frame, the index of its image in `sources` and its segment number.
    frames: Vec<(usize, u8)>,
    /// The frames' pixels, one bit each, with no padding between frames.
    bits: Vec<u8>,
    used: usize,
    /// The data set being built, which starts with the attributes of the first image.
    object: InMemDicomObject,
    layout: Option<Layout>,
    thickness_mm: Option<f64>,
}

impl SegmentationWriter {
    /// Begins a segmentation.
    pub fn new(path: &Path, segments: Vec<Segment>, is_manual: bool) -> Self {
        Self {
            path: path.to_owned(),
            segments,
            is_manual,
            sources: Vec::new(),
            frames: Vec::new(),
            bits: Vec::new(),
            used: 0,
            object: InMemDicomObject::new_empty(),
            layout: None,
            thickness_mm: None,
        }
    }

    /// Adds the classes of one frame of a DICOM file, `[rows, columns]`. All frames must have the same size and
    /// belong to the same patient's study.
    pub fn add(&mut self, source: &Path, frame: usize, classes: &[u8]) -> Result<()> {
        let (file, layout) = open(source)?;
        let missing =
            |what: &str| RasterError::unsupported(source, format!("DICOM without {what}"), "export another format");
        let uid = |tag, what| text(&file.object, tag).ok_or_else(|| missing(what));
        let image = Source {
            class: uid(tags::SOP_CLASS_UID, "an SOP Class UID")?,
            instance: uid(tags::SOP_INSTANCE_UID, "an SOP Instance UID")?,
            series: uid(tags::SERIES_INSTANCE_UID, "a Series Instance UID")?,
            frame,
            frames: layout.frames,
            plane: plane(&file.object, &layout, frame),
        };
        if self.layout.is_none() {
            uid(tags::STUDY_INSTANCE_UID, "a Study Instance UID")?;
            self.begin(&file);
        }
        if classes.len() != layout.pixels() {
            return Err(RasterError::damaged(source, Format::Dicom, "its size is not that of the label"));
        }
        let place = self.sources.len();
        let numbers: Vec<u8> = self.segments.iter().map(|segment| segment.number).collect();
        let before = self.frames.len();
        for number in numbers {
            if classes.contains(&number) {
                self.frames.push((place, number));
                self.draw(classes, number);
            }
        }
        if self.frames.len() == before {
            // An empty frame records that the image contains no segment; nothing is known about images without a frame.
            let number = self.segments.first().map_or(1, |segment| segment.number);
            self.frames.push((place, number));
            self.draw(&vec![0; classes.len()], number);
        }
        self.sources.push(image);
        self.layout = Some(layout);
        Ok(())
    }

    fn draw(&mut self, classes: &[u8], number: u8) {
        self.bits.resize((self.used + classes.len()).div_ceil(8), 0);
        for (place, _) in classes.iter().enumerate().filter(|(_, class)| **class == number) {
            let at = self.used + place;
            self.bits[at / 8] |= 1 << (at % 8);
        }
        self.used += classes.len();
    }

    fn begin(&mut self, file: &File) {
        for (tag, vr, is_needed) in OF_THE_SOURCE {
            match file.object.element(tag) {
                Ok(element) if element.value().primitive().is_some() => {
                    let value = element.to_str().map(|text| text.trim_end_matches('\0').to_owned()).unwrap_or_default();
                    put(&mut self.object, tag, vr, value);
                }
                _ if is_needed => put(&mut self.object, tag, vr, String::new()),
                _ => {}
            }
        }
        let thickness = elements::framed(&file.object, 0, tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS);
        self.thickness_mm = fixed::<1>(thickness).map(|[mm]| mm).filter(|mm| *mm > 0.0);
    }

    /// Writes the file.
    pub fn finish(mut self) -> Result<()> {
        let Some(layout) = self.layout.take() else { return Ok(()) };
        let now = Utc::now();
        let (date, time) = (now.format("%Y%m%d").to_string(), now.format("%H%M%S").to_string());
        let of_all = self.sources.iter().flat_map(|source| source.instance.as_bytes());
        let hashed: Vec<u8> = of_all.chain(&self.bits).copied().chain(now.timestamp_micros().to_le_bytes()).collect();
        let uid = |what: &str| {
            let digest = Sha256::digest([what.as_bytes(), &hashed].concat());
            let number = u128::from_le_bytes(digest[..16].try_into().expect("16 bytes of 32"));
            format!("2.25.{number}")
        };
        let instance = uid("instance");
        let o = &mut self.object;
        put(o, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        put(o, tags::IMAGE_TYPE, VR::CS, dicom_value!(Strs, ["DERIVED", "PRIMARY"]));
        put(o, tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE);
        put(o, tags::SOP_INSTANCE_UID, VR::UI, instance.as_str());
        for (tag, value) in [(tags::SERIES_DATE, &date), (tags::CONTENT_DATE, &date)] {
            put(o, tag, VR::DA, value.as_str());
        }
        for (tag, value) in [(tags::SERIES_TIME, &time), (tags::CONTENT_TIME, &time)] {
            put(o, tag, VR::TM, value.as_str());
        }
        put(o, tags::MODALITY, VR::CS, "SEG");
        put(o, tags::MANUFACTURER, VR::LO, "Qualm");
        put(o, tags::MANUFACTURER_MODEL_NAME, VR::LO, MODEL_NAME);
        put(o, tags::DEVICE_SERIAL_NUMBER, VR::LO, "1");
        put(o, tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
        put(o, tags::SERIES_DESCRIPTION, VR::LO, if self.is_manual { "Labels" } else { "Predictions" });
        put(o, tags::SERIES_INSTANCE_UID, VR::UI, uid("series"));
        put(o, tags::SERIES_NUMBER, VR::IS, "300");
        put(o, tags::INSTANCE_NUMBER, VR::IS, "1");
        put(o, tags::CONTENT_LABEL, VR::CS, "SEGMENTATION");
        put(o, tags::CONTENT_DESCRIPTION, VR::LO, "");
        put(o, tags::CONTENT_CREATOR_NAME, VR::PN, "");
        let has_planes = self.sources.iter().all(|source| source.plane.is_some());
        if o.get(tags::FRAME_OF_REFERENCE_UID).is_some() {
            put(o, tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
        }
        let words = [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, layout.rows as u16),
            (tags::COLUMNS, layout.columns as u16),
            (tags::BITS_ALLOCATED, 1),
            (tags::BITS_STORED, 1),
            (tags::HIGH_BIT, 0),
            (tags::PIXEL_REPRESENTATION, 0),
        ];
        words.into_iter().for_each(|(tag, value)| put(o, tag, VR::US, PrimitiveValue::from(value)));
        put(o, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        put(o, tags::NUMBER_OF_FRAMES, VR::IS, self.frames.len().to_string());
        put(o, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
        put(o, tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
        let segments = self.segments.iter().map(|segment| described(segment, self.is_manual)).collect();
        put_items(o, tags::SEGMENT_SEQUENCE, segments);
        let organization = uid("dimensions");
        put_items(
            o,
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            vec![item([(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str().into())])],
        );
        let pointer = |to: Tag, group: Tag| {
            item([
                (tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str().into()),
                (tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::Tags([to].as_slice().into())),
                (tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::Tags([group].as_slice().into())),
            ])
        };
        let mut dimensions = vec![pointer(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE)];
        if has_planes {
            dimensions.push(pointer(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE));
        }
        put_items(o, tags::DIMENSION_INDEX_SEQUENCE, dimensions);
        let thickness_mm = self.thickness_mm;
        let grid = self.sources.first().map_or_else(InMemDicomObject::new_empty, |first| grid_of(first, thickness_mm));
        let steps = |source: &Source| source.plane.map(|plane| (plane.column_step, plane.row_step));
        let is_parallel = self.sources.iter().all(|source| steps(source) == self.sources.first().and_then(steps));
        put_items(
            o,
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
            vec![if is_parallel { grid.clone() } else { InMemDicomObject::new_empty() }],
        );
        let frames: Vec<InMemDicomObject> =
            self.frames.iter().map(|(place, segment)| framed(&self.sources, *place, *segment, has_planes)).collect();
        let of_source = |(frame, (place, _)): (InMemDicomObject, &(usize, u8))| {
            let mut frame = frame;
            if !is_parallel {
                grid_of(&self.sources[*place], thickness_mm).into_iter().for_each(|element| drop(frame.put(element)));
            }
            frame
        };
        let frames: Vec<InMemDicomObject> = frames.into_iter().zip(&self.frames).map(of_source).collect();
        put_items(o, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
        put_items(o, tags::REFERENCED_SERIES_SEQUENCE, referenced(&self.sources));
        if self.bits.len() % 2 == 1 {
            self.bits.push(0);
        }
        put(o, tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(std::mem::take(&mut self.bits)));
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(uids::SEGMENTATION_STORAGE)
            .media_storage_sop_instance_uid(instance);
        let whole = self.object.with_meta(meta).map_err(|e| RasterError::damaged(&self.path, Format::Dicom, e))?;
        NewFile::write_all(&self.path, |file| whole.write_all(file).map_err(std::io::Error::other))
    }
}

fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    object.put(DataElement::new(tag, vr, value.into()));
}

fn put_items(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

fn item<const N: usize>(elements: [(Tag, VR, PrimitiveValue); N]) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements.map(|(tag, vr, value)| DataElement::new(tag, vr, value)))
}

/// A coded concept.
fn code(value: &str, scheme: &str, meaning: &str) -> Vec<InMemDicomObject> {
    vec![item([
        (tags::CODE_VALUE, VR::SH, value.into()),
        (tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme.into()),
        (tags::CODE_MEANING, VR::LO, meaning.into()),
    ])]
}

fn described(segment: &Segment, is_manual: bool) -> InMemDicomObject {
    // At most 64 characters, without the value separator.
    let label: String =
        segment.label.chars().map(|c| if c == '\\' || c.is_control() { '_' } else { c }).take(64).collect();
    let algorithm = if is_manual { "MANUAL" } else { "AUTOMATIC" };
    let mut found = item([
        (tags::SEGMENT_NUMBER, VR::US, PrimitiveValue::from(u16::from(segment.number))),
        (tags::SEGMENT_LABEL, VR::LO, label.as_str().into()),
        (tags::SEGMENT_ALGORITHM_TYPE, VR::CS, algorithm.into()),
        (tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, PrimitiveValue::U16(lab(segment.colour).as_slice().into())),
    ]);
    if !is_manual {
        put(&mut found, tags::SEGMENT_ALGORITHM_NAME, VR::LO, "Qualm");
    }
    // The classes have no SNOMED codes; tissue is the most general one.
    put_items(&mut found, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, code("85756007", "SCT", "Tissue"));
    put_items(&mut found, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, code("85756007", "SCT", "Tissue"));
    found
}

/// Converts an sRGB colour to CIELab as stored in DICOM (PS3.3, C.10.7.1.1), adapted to the white point D50.
fn lab(colour: [u8; 3]) -> [u16; 3] {
    let linear = colour.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let rows = [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]];
    let white = [0.9642, 1.0, 0.8252];
    let f = |axis: usize| {
        let t = rows[axis].iter().zip(linear).map(|(a, b)| a * b).sum::<f64>() / white[axis];
        if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    };
    let (x, y, z) = (f(0), f(1), f(2));
    let (l, a, b) = (116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z));
    let word = |share: f64| (share * 65535.0).round().clamp(0.0, 65535.0) as u16;
    [word(l / 100.0), word((a + 128.0) / 255.0), word((b + 128.0) / 255.0)]
}

/// The functional groups for pixel spacing, slice thickness and orientation.
fn grid_of(source: &Source, thickness_mm: Option<f64>) -> InMemDicomObject {
    let mut group = InMemDicomObject::new_empty();
    let Some(Plane { column_step, row_step, .. }) = source.plane else {
        return group;
    };
    let numbers = |values: &[f64]| PrimitiveValue::Strs(values.iter().map(|value| decimal(*value)).collect());
    let mut measures = item([(tags::PIXEL_SPACING, VR::DS, numbers(&[length(row_step), length(column_step)]))]);
    if let Some(mm) = thickness_mm {
        put(&mut measures, tags::SLICE_THICKNESS, VR::DS, numbers(&[mm]));
    }
    put_items(&mut group, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    let unit = |v: [f64; 3]| v.map(|mm| mm / length(v));
    let directions = [unit(column_step), unit(row_step)].concat();
    put_items(
        &mut group,
        tags::PLANE_ORIENTATION_SEQUENCE,
        vec![item([(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, numbers(&directions))])],
    );
    group
}

/// A number in the 16 characters that DICOM has for one.
fn decimal(value: f64) -> String {
    let exact = value.to_string();
    if exact.len() <= 16 {
        return exact;
    }
    let digits = |digits: usize| format!("{value:.digits$}");
    (0..=14).rev().map(digits).find(|text| text.len() <= 16).unwrap_or_else(|| format!("{value:.8e}"))
}

/// The functional groups of one frame.
fn framed(sources: &[Source], place: usize, segment: u8, has_planes: bool) -> InMemDicomObject {
    let source = &sources[place];
    let mut group = InMemDicomObject::new_empty();
    let mut indices = vec![u32::from(segment)];
    if has_planes {
        indices.push(place as u32 + 1);
    }
    put_items(
        &mut group,
        tags::FRAME_CONTENT_SEQUENCE,
        vec![item([(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32(indices.into()))])],
    );
    if let Some(plane) = source.plane {
        let origin = PrimitiveValue::Strs(plane.origin.iter().map(|mm| decimal(*mm)).collect());
        put_items(
            &mut group,
            tags::PLANE_POSITION_SEQUENCE,
            vec![item([(tags::IMAGE_POSITION_PATIENT, VR::DS, origin)])],
        );
    }
    put_items(
        &mut group,
        tags::SEGMENT_IDENTIFICATION_SEQUENCE,
        vec![item([(tags::REFERENCED_SEGMENT_NUMBER, VR::US, PrimitiveValue::from(u16::from(segment)))])],
    );
    let mut image = reference(source);
    put(&mut image, tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
    if source.frames > 1 {
        put(&mut image, tags::REFERENCED_FRAME_NUMBER, VR::IS, (source.frame + 1).to_string());
    }
    put_items(
        &mut image,
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        code("121322", "DCM", "Source image for image processing operation"),
    );
    let mut derivation = InMemDicomObject::new_empty();
    put_items(&mut derivation, tags::SOURCE_IMAGE_SEQUENCE, vec![image]);
    put_items(&mut derivation, tags::DERIVATION_CODE_SEQUENCE, code("113076", "DCM", "Segmentation"));
    put_items(&mut group, tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]);
    group
}

fn reference(source: &Source) -> InMemDicomObject {
    item([
        (tags::REFERENCED_SOP_CLASS_UID, VR::UI, source.class.as_str().into()),
        (tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, source.instance.as_str().into()),
    ])
}

/// The images, by series; each once.
fn referenced(sources: &[Source]) -> Vec<InMemDicomObject> {
    let mut series: Vec<(&str, Vec<&Source>)> = Vec::new();
    for source in sources {
        let place = series.iter().position(|(uid, _)| *uid == source.series).unwrap_or_else(|| {
            series.push((&source.series, Vec::new()));
            series.len() - 1
        });
        let images = &mut series[place].1;
        if images.iter().all(|image| image.instance != source.instance) {
            images.push(source);
        }
    }
    let of_series = |(uid, images): (&str, Vec<&Source>)| {
        let mut found = item([(tags::SERIES_INSTANCE_UID, VR::UI, uid.into())]);
        put_items(&mut found, tags::REFERENCED_INSTANCE_SEQUENCE, images.into_iter().map(reference).collect());
        found
    };
    series.into_iter().map(of_series).collect()
}
