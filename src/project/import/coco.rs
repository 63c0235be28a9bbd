//! Masks from a COCO annotation file: polygons and run lengths, each with a category.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Target;
use super::combine::Drawing;
use super::pairing::{Pairing, PairingRule};
use crate::domain::size::Size;
use crate::project::error::{ProjectError, Result};
use crate::raster::MaskPixels;

#[derive(Deserialize)]
struct CocoFile {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: usize,
    height: usize,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
    #[serde(default)]
    segmentation: CocoSegmentation,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

/// The pixels that an annotation covers.
#[derive(Deserialize)]
#[serde(untagged)]
enum CocoSegmentation {
    /// One or more polygons, each a flat list of vertex coordinates: x, y, x, y, ...
    Polygons(Vec<Vec<f64>>),
    /// Column-major run lengths, alternating between background and object.
    Runs { counts: RunLengths },
    /// Only a bounding box, or nothing.
    None(#[allow(dead_code)] serde_json::Value),
}

impl Default for CocoSegmentation {
    fn default() -> Self {
        Self::None(serde_json::Value::Null)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RunLengths {
    Plain(Vec<usize>),
    /// COCO's compressed run lengths: six bits per character, five of them data; each value is the difference from the
    /// run two places earlier.
    Packed(String),
}

/// The annotations of a file.
pub(super) struct Coco {
    path: PathBuf,
    file: CocoFile,
    /// Indices of each image's annotations.
    of_image: HashMap<u64, Vec<usize>>,
}

impl Coco {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(ProjectError::io(path))?;
        let file: CocoFile = serde_json::from_slice(&text).map_err(|error| ProjectError::BadMask {
            path: path.to_owned(),
            reason: format!("it is not a COCO annotation file: {error}"),
        })?;
        let mut of_image: HashMap<u64, Vec<usize>> = HashMap::new();
        for (place, annotation) in file.annotations.iter().enumerate() {
            of_image.entry(annotation.image_id).or_default().push(place);
        }
        if file.categories.len() > 254 {
            let reason = format!("it has {} categories, and there can be 254 classes", file.categories.len());
            return Err(ProjectError::BadMask { path: path.to_owned(), reason });
        }
        Ok(Self { path: path.to_owned(), file, of_image })
    }

    /// The file names of the images, as given in the file.
    pub fn images(&self) -> Vec<PathBuf> {
        self.file.images.iter().map(|image| PathBuf::from(&image.file_name)).collect()
    }

    /// Pairs the file's entries with images that have the same path, or else the same name if it is unique.
    pub fn pair(&self, targets: &[Target]) -> Pairing {
        let by_path: HashMap<&Path, usize> = targets.iter().enumerate().map(|(i, t)| (t.path.as_path(), i)).collect();
        let mut by_name: HashMap<&OsStr, Vec<usize>> = HashMap::new();
        for (place, target) in targets.iter().enumerate() {
            by_name.entry(target.path.file_name().unwrap_or_default()).or_default().push(place);
        }
        let mut pairing = Pairing::default();
        for (place, file) in self.images().iter().enumerate() {
            let named = || by_name.get(file.file_name()?).filter(|named| named.len() == 1).map(|named| named[0]);
            let found = match by_path.get(file.as_path()) {
                Some(target) => Some((*target, PairingRule::Path(String::new()))),
                None => named().map(|target| (target, PairingRule::Name(String::new()))),
            };
            match found {
                Some(_) if !self.is_annotated(place) => {
                    let reason = "it has no annotation: whether it is background or not labelled is not said";
                    pairing.unpaired.push((place, reason.to_owned()));
                }
                Some((target, rule)) => pairing.masks.entry(target).or_default().push((place, rule)),
                None => pairing.unpaired.push((place, "no image, or more than one, has its name".to_owned())),
            }
        }
        pairing
    }

    /// The class names: the categories, ordered by id.
    pub fn names(&self) -> BTreeMap<u8, String> {
        (1..).zip(self.categories().into_iter().map(|category| category.name.clone())).collect()
    }

    fn categories(&self) -> Vec<&Category> {
        let mut categories: Vec<&Category> = self.file.categories.iter().collect();
        categories.sort_by_key(|category| category.id);
        categories
    }

    /// The size of an image, given by its index.
    pub fn size(&self, image: usize) -> Size {
        Size::new(self.file.images[image].width, self.file.images[image].height)
    }

    fn is_annotated(&self, image: usize) -> bool {
        self.of_image.contains_key(&self.file.images[image].id)
    }

    /// The mask of an image, with class numbers as values. Pixels covered by more than one category are unlabelled.
    pub fn mask(&self, image: usize) -> Result<MaskPixels> {
        let Image { id, file_name, width, height } = &self.file.images[image];
        let bad =
            |reason: &str| ProjectError::BadMask { path: self.path.clone(), reason: format!("{file_name}: {reason}") };
        let categories = self.categories();
        let mut drawing = Drawing::new(Size::new(*width, *height), categories.len());
        for annotation in self.of_image.get(id).into_iter().flatten().map(|place| &self.file.annotations[*place]) {
            let class = categories.iter().position(|category| category.id == annotation.category_id);
            let class = class.ok_or_else(|| bad("an annotation is of no category"))? as u16 + 1;
            let mut cover = |place: usize| drawing.cover(place, class);
            match &annotation.segmentation {
                CocoSegmentation::Polygons(polygons) if polygons.iter().any(|polygon| is_area(polygon)) => {
                    for polygon in polygons {
                        fill(polygon, Size::new(*width, *height), &mut cover);
                    }
                }
                CocoSegmentation::Runs { counts } => {
                    let counts = match counts {
                        RunLengths::Plain(counts) => counts.clone(),
                        RunLengths::Packed(text) => {
                            unpack(text).ok_or_else(|| bad("its run lengths cannot be read"))?
                        }
                    };
                    if counts.iter().try_fold(0usize, |sum, count| sum.checked_add(*count)) != Some(width * height) {
                        return Err(bad("its run lengths are of another size than the image"));
                    }
                    let mut at = 0;
                    for (number, count) in counts.into_iter().enumerate() {
                        if number % 2 == 1 {
                            (at..at + count).for_each(|place| cover(place % height * width + place / height));
                        }
                        at += count;
                    }
                }
                // Taken as drawn, an empty list would make the whole image background.
                CocoSegmentation::Polygons(_) | CocoSegmentation::None(_) => {
                    return Err(bad("an annotation has a box and no segmentation"));
                }
            }
        }
        Ok(drawing.finish())
    }
}

/// Whether a polygon has the three corners that an area needs.
fn is_area(corners: &[f64]) -> bool {
    corners.len() / 2 >= 3
}

/// Calls `cover` with each pixel whose centre is inside the polygon, by the even-odd rule.
fn fill(corners: &[f64], Size { width, height }: Size, cover: &mut impl FnMut(usize)) {
    let points: Vec<(f64, f64)> = corners.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let (low, high) = points.iter().fold((f64::MAX, f64::MIN), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    if !is_area(corners) || !low.is_finite() || !high.is_finite() {
        return;
    }
    let rows = low.max(0.0) as usize..(high.max(0.0).ceil() as usize).min(height);
    for row in rows {
        let y = row as f64 + 0.5;
        let mut crossings: Vec<f64> = Vec::new();
        for (i, (x1, y1)) in points.iter().enumerate() {
            let (x2, y2) = points[(i + 1) % points.len()];
            if (*y1 <= y) != (y2 <= y) {
                crossings.push(x1 + (y - y1) / (y2 - y1) * (x2 - x1));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // From the first pixel centre at or right of the left edge to the last one left of the right edge.
            let from = (pair[0] - 0.5).ceil().max(0.0) as usize;
            let to = ((pair[1] - 0.5).ceil().max(0.0) as usize).min(width);
            (from..to).for_each(|column| cover(row * width + column));
        }
    }
}

/// Decodes COCO's compressed run lengths; `None` if they are invalid.
fn unpack(text: &str) -> Option<Vec<usize>> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    let mut counts: Vec<i64> = Vec::new();
    while at < bytes.len() {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let bits = i64::from(bytes.get(at)?.checked_sub(48)?);
            at += 1;
            value |= (bits & 0x1f) << shift;
            shift += 5;
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 && shift < 64 {
                    value |= -1 << shift;
                }
                break;
            }
            if shift > 55 {
                return None;
            }
        }
        if counts.len() > 2 {
            value += counts[counts.len() - 2];
        }
        counts.push(value);
    }
    counts.into_iter().map(|count| usize::try_from(count).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_run_lengths_are_those_that_were_packed() {
        // Encoded by hand as the format prescribes: from the fourth run on, the difference from the run two earlier.
        let counts = [5usize, 3, 40, 3, 100];
        let mut text = String::new();
        for (i, count) in counts.iter().enumerate() {
            let mut value = *count as i64 - if i > 2 { counts[i - 2] as i64 } else { 0 };
            loop {
                let bits = value & 0x1f;
                value >>= 5;
                let is_last = if bits & 0x10 != 0 { value == -1 } else { value == 0 };
                text.push(char::from((bits | if is_last { 0 } else { 0x20 }) as u8 + 48));
                if is_last {
                    break;
                }
            }
        }
        assert_eq!(unpack(&text).unwrap(), counts);
    }

    #[test]
    fn a_polygon_covers_the_pixels_whose_centres_it_holds() {
        let mut covered = Vec::new();
        fill(&[1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0], Size::new(6, 5), &mut |place| covered.push(place));
        assert_eq!(covered, [7, 8, 9, 13, 14, 15]);
    }
}
