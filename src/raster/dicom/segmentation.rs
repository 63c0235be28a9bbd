//! DICOM segmentations (PS3.3, A.51 and C.8.20): frames that are masks of other files' images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::elements::{File, framed, int, text};
use super::write::MODEL_NAME;
use super::{Layout, describe, plane};
use crate::raster::{Format, Plane, RasterError, Result};

/// The segments and frames of a DICOM segmentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// The label of each segment, by its number.
    pub labels: BTreeMap<u16, String>,
    /// What each frame shows.
    pub frames: Vec<SegmentFrame>,
    /// SOP Instance UIDs of the segmented images. Those without a frame contain none of the segments.
    pub images: BTreeSet<String>,
}

/// One frame of a segmentation.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentFrame {
    /// The segment whose pixels are 1; `None` if the pixels are segment numbers.
    pub segment: Option<u16>,
    /// SOP Instance UID of the source image, and the frame in it (from 0), if the file names them.
    pub image: Option<(String, usize)>,
    /// The plane of the frame, if known.
    pub plane: Option<Plane>,
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|element| element.items()).unwrap_or(&[])
}

pub(super) fn is_segmentation(object: &InMemDicomObject) -> bool {
    object.get(tags::SEGMENT_SEQUENCE).is_some() && object.get(tags::SEGMENTATION_TYPE).is_some()
}

/// The source image of a frame, if it names one.
fn source(object: &InMemDicomObject, frame: usize) -> Option<(String, usize)> {
    let derivation = framed(object, frame, tags::DERIVATION_IMAGE_SEQUENCE, tags::SOURCE_IMAGE_SEQUENCE)?;
    let [image] = derivation.items()? else { return None };
    let frame = int(image, tags::REFERENCED_FRAME_NUMBER).map_or(0, |number| (number - 1).max(0) as usize);
    Some((text(image, tags::REFERENCED_SOP_INSTANCE_UID)?, frame))
}

/// Reads a segmentation; `None` for other files.
pub(super) fn segmentation(path: &Path, file: &File, layout: &Layout) -> Result<Option<Segmentation>> {
    let object = &file.object;
    if !is_segmentation(object) {
        return Ok(None);
    }
    let damaged = |reason: &str| RasterError::damaged(path, Format::Dicom, reason.to_owned());
    let is_labelmap = match text(object, tags::SEGMENTATION_TYPE).unwrap_or_default().as_str() {
        "BINARY" => false,
        "LABELMAP" => true,
        _ => {
            let what = "a fractional DICOM segmentation: its pixels are probabilities";
            return Err(RasterError::unsupported(path, what, "save it as a binary segmentation"));
        }
    };
    let mut labels = BTreeMap::new();
    for item in items(object, tags::SEGMENT_SEQUENCE) {
        let number = int(item, tags::SEGMENT_NUMBER).and_then(|number| u16::try_from(number).ok());
        let number = number.ok_or_else(|| damaged("a segment has no number"))?;
        labels.insert(number, text(item, tags::SEGMENT_LABEL).unwrap_or_else(|| format!("segment {number}")));
    }
    let frame = |frame: usize| {
        let group = tags::SEGMENT_IDENTIFICATION_SEQUENCE;
        let number = framed(object, frame, group, tags::REFERENCED_SEGMENT_NUMBER);
        let number = number.and_then(|element| element.to_int::<u16>().ok());
        if !is_labelmap && number.is_none_or(|number| !labels.contains_key(&number)) {
            return Err(damaged("a frame is of no segment"));
        }
        let segment = if is_labelmap { None } else { number };
        Ok(SegmentFrame { segment, image: source(object, frame), plane: plane(object, layout, frame) })
    };
    let frames = (0..describe(file, layout).pages).map(frame).collect::<Result<_>>()?;
    let series = items(object, tags::REFERENCED_SERIES_SEQUENCE).iter();
    let instances = series.flat_map(|series| items(series, tags::REFERENCED_INSTANCE_SEQUENCE));
    // This program writes a frame for every labelled image, so nothing is known about the others.
    let says_all = text(object, tags::MANUFACTURER_MODEL_NAME).as_deref() != Some(MODEL_NAME);
    let instances = instances.filter(|_| says_all);
    let images = instances.filter_map(|image| text(image, tags::REFERENCED_SOP_INSTANCE_UID)).collect();
    Ok(Some(Segmentation { labels, frames, images }))
}
