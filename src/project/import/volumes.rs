//! Masks that do not belong to a single file by name: DICOM segmentations, which reference the images they were drawn
//! on, and volumes for series stored as one file per slice.
//!
//! Invariant: a page of a mask is assigned to an image only if both have the same position in the patient, or if the
//! mask references the image.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Target;
use super::combine::Drawing;
use super::pairing::{self, Pairing, PairingRule};
use crate::domain::size::Size;
use crate::project::error::{ProjectError, Result};
use crate::raster::{self, Format, MaskPixels, Plane, Segmentation};

/// A mask whose pages are matched to pages of images.
pub(super) struct Volume {
    /// For each target, the pages that receive a label, each with the pages of the mask that make up the label.
    pub pages: BTreeMap<usize, Vec<(usize, Vec<usize>)>>,
    segmentation: Option<Segmentation>,
}

/// The volumes of a folder of masks.
#[derive(Default)]
pub(super) struct Volumes {
    /// Keyed by the mask's index among the files.
    pub by_mask: HashMap<usize, Volume>,
    /// Names of the segments, in order; the first is class 1.
    labels: Vec<String>,
}

/// The SOP Instance UIDs and planes of the targets, by the targets' indices.
struct Places {
    of_instance: HashMap<String, usize>,
    planes: Vec<Vec<Option<Plane>>>,
}

impl Places {
    fn read(image_folder: &Path, targets: &[Target]) -> Self {
        let read = |target: &Target| {
            let path = image_folder.join(&target.path);
            let instance = match raster::sniff(&path) {
                Ok(Format::Dicom) => raster::instance(&path).ok().flatten(),
                _ => None,
            };
            (instance, raster::planes(&path).unwrap_or_default())
        };
        let (instances, planes): (Vec<_>, Vec<_>) = targets.par_iter().map(read).unzip();
        let of_instance = instances.into_iter().enumerate().filter_map(|(place, uid)| Some((uid?, place))).collect();
        Self { of_instance, planes }
    }

    /// The pages of targets that coincide with a plane, as target and page.
    fn at(&self, plane: Option<&Plane>) -> Vec<(usize, usize)> {
        let Some(plane) = plane else { return Vec::new() };
        let all = self.planes.iter().enumerate();
        let all =
            all.flat_map(|(target, planes)| planes.iter().enumerate().map(move |(page, image)| (target, page, image)));
        let is_on = |image: &Option<Plane>| image.as_ref().is_some_and(|image| plane.is_on(image));
        all.filter(|(.., image)| is_on(image)).map(|(target, page, _)| (target, page)).collect()
    }
}

/// For each page of an image, the page of a mask at the same position in the patient; `None` if any page of the image
/// has no such page, or more than one.
pub(super) fn by_place(mask: &[Option<Plane>], image: &[Option<Plane>]) -> Option<Vec<usize>> {
    let page_of = |image: &Option<Plane>| {
        let image = image.as_ref()?;
        let mut on = mask.iter().enumerate().filter(|(_, mask)| mask.as_ref().is_some_and(|mask| mask.is_on(image)));
        let (page, _) = on.next()?;
        on.next().is_none().then_some(page)
    };
    image.iter().map(page_of).collect::<Option<Vec<_>>>().filter(|pages| !pages.is_empty())
}

impl Volumes {
    /// Pairs DICOM segmentations, and volumes that could not be paired by name, with their images. Updates `pairing`.
    pub fn pair(
        masks: &Path,
        files: &[(PathBuf, Format)],
        image_folder: &Path,
        targets: &[Target],
        suffix: Option<&str>,
        pairing: &mut Pairing,
    ) -> Result<Self> {
        let is_segmentation = |(place, (path, format)): (usize, &(PathBuf, Format))| {
            let header = || raster::header(&masks.join(path)).ok();
            (*format == Format::Dicom && header()?.is_segmentation).then_some(place)
        };
        let segmentations: BTreeSet<usize> = files.iter().enumerate().filter_map(is_segmentation).collect();
        let has_series = targets.iter().any(|target| target.series.is_some());
        let is_volume = |place: &usize| files[*place].1 == Format::Nifti;
        let left: Vec<usize> = pairing.unpaired.iter().map(|(mask, _)| *mask).filter(is_volume).collect();
        let volumes = if has_series { left } else { Vec::new() };
        let mut found = Self::default();
        if segmentations.is_empty() && volumes.is_empty() {
            return Ok(found);
        }
        let places = Places::read(image_folder, targets);
        for masks in pairing.masks.values_mut() {
            masks.retain(|(mask, _)| !segmentations.contains(mask));
        }
        pairing.masks.retain(|_, masks| !masks.is_empty());
        let is_other = |mask: &usize| !segmentations.contains(mask) && !volumes.contains(mask);
        pairing.unpaired.retain(|(mask, _)| is_other(mask));
        let mut pair = |mask: usize, volume: std::result::Result<Volume, String>, rule: PairingRule| match volume {
            Ok(volume) => {
                for target in volume.pages.keys() {
                    pairing.masks.entry(*target).or_default().push((mask, rule.clone()));
                }
                found.by_mask.insert(mask, volume);
            }
            Err(reason) => pairing.unpaired.push((mask, reason)),
        };
        for mask in segmentations {
            let path = masks.join(&files[mask].0);
            let read = raster::segmentation(&path).map_err(|error| error.to_string());
            let volume = match read {
                Ok(Some(segmentation)) => segmented(segmentation, targets, &places),
                Ok(None) => Err("it is no longer a segmentation".to_owned()),
                Err(reason) => Err(reason),
            };
            pair(mask, volume, PairingRule::Reference);
        }
        for (mask, series) in named_series(files, &volumes, targets, suffix) {
            let planes = || raster::planes(&masks.join(&files[mask].0));
            let volume = series.and_then(|series| {
                let planes = planes().map_err(|error| error.to_string())?;
                on_series(&planes, &series, targets, &places)
            });
            pair(mask, volume, PairingRule::Place);
        }
        let mut labels: BTreeMap<String, u16> = BTreeMap::new();
        let segments = found.by_mask.values().filter_map(|volume| volume.segmentation.as_ref());
        for (number, label) in segments.flat_map(|segmentation| &segmentation.labels) {
            let least = labels.entry(label.clone()).or_insert(*number);
            *least = (*least).min(*number);
        }
        let mut ordered: Vec<(u16, String)> = labels.into_iter().map(|(label, number)| (number, label)).collect();
        ordered.sort();
        if ordered.len() > 254 {
            let reason = format!("its segmentations have {} labels, and there can be 254 classes", ordered.len());
            return Err(ProjectError::BadMask { path: masks.to_owned(), reason });
        }
        found.labels = ordered.into_iter().map(|(_, label)| label).collect();
        Ok(found)
    }

    /// The class names, taken from the segments; empty if there are no segmentations.
    pub fn names(&self) -> BTreeMap<u8, String> {
        (1..).zip(self.labels.iter().cloned()).collect()
    }

    /// Combines frames of a segmentation into one mask. Pixels covered by segments of different classes are unlabelled.
    pub fn segments(&self, volume: &Volume, path: &Path, frames: &[usize], size: Size) -> Result<MaskPixels> {
        let Some(segmentation) = &volume.segmentation else { return Err(ProjectError::Damaged("import plan")) };
        let class = |segment: &u16| {
            let label = segmentation.labels.get(segment)?;
            self.labels.iter().position(|known| known == label).map(|place| place as u16 + 1)
        };
        let mut drawing = Drawing::new(size, self.labels.len());
        let bad = |reason: String| ProjectError::BadMask { path: path.to_owned(), reason };
        for frame in frames {
            let read = raster::read(path, *frame)?;
            if read.header.size() != size {
                let mask = read.header.size();
                return Err(ProjectError::MaskSize { path: path.to_owned(), mask, image: size });
            }
            let numbers = read.samples.map(|value| value as u16);
            for (place, number) in numbers.into_iter().enumerate().filter(|(_, number)| *number != 0) {
                let segment = segmentation.frames[*frame].segment.unwrap_or(number);
                drawing.cover(place, class(&segment).ok_or_else(|| bad(format!("it has no segment {segment}")))?);
            }
        }
        Ok(drawing.finish())
    }
}

impl Volume {
    /// Whether it is a DICOM segmentation.
    pub fn is_segmentation(&self) -> bool {
        self.segmentation.is_some()
    }
}

/// Matches a segmentation to the images that its frames reference, or else to those at the positions of its frames.
fn segmented(segmentation: Segmentation, targets: &[Target], places: &Places) -> std::result::Result<Volume, String> {
    let mut pages: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    // Empty frames are often omitted, so a referenced image without a frame contains none of the segments.
    for target in segmentation.images.iter().filter_map(|uid| places.of_instance.get(uid)) {
        for page in 0..targets[*target].pages {
            pages.insert((*target, page), Vec::new());
        }
    }
    for (frame, shown) in segmentation.frames.iter().enumerate() {
        let named = shown.image.as_ref().and_then(|(uid, page)| Some((*places.of_instance.get(uid)?, *page)));
        let image = match (named, &shown.image) {
            (Some(image), _) => image,
            // It references an image that is not among the targets, so it belongs to another study.
            (None, Some(_)) => continue,
            (None, None) => match places.at(shown.plane.as_ref()).as_slice() {
                [image] => *image,
                // Treating an image without a frame as background would be wrong, as this may be its frame.
                [] if segmentation.images.is_empty() => continue,
                [] => return Err(format!("frame {} lies on none of the images", frame + 1)),
                [..] => return Err(format!("frame {} names no image, and lies on several", frame + 1)),
            },
        };
        let of_image = places.planes[image.0].get(image.1).copied().flatten();
        if let (Some(mask), Some(of_image)) = (&shown.plane, of_image)
            && !mask.is_on(&of_image)
        {
            let name = targets[image.0].path.display();
            return Err(format!(
                "frame {} lies on another grid than its image {name}; save it on that grid",
                frame + 1
            ));
        }
        pages.entry(image).or_default().push(frame);
    }
    if pages.is_empty() {
        return Err("it is of none of the images: it names others, or lies elsewhere in the patient".to_owned());
    }
    let mut by_target: BTreeMap<usize, Vec<(usize, Vec<usize>)>> = BTreeMap::new();
    for ((target, page), frames) in pages {
        by_target.entry(target).or_default().push((page, frames));
    }
    Ok(Volume { pages: by_target, segmentation: Some(segmentation) })
}

/// For each volume, the series in the folder that it is named after.
fn named_series(
    files: &[(PathBuf, Format)],
    volumes: &[usize],
    targets: &[Target],
    suffix: Option<&str>,
) -> Vec<(usize, std::result::Result<Vec<String>, String>)> {
    let mut within: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for target in targets {
        let Some(series) = &target.series else { continue };
        for folder in target.path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            within.entry(folder.to_owned()).or_default().insert(series.clone());
        }
    }
    let with_ending = |folder: &PathBuf| {
        let mut name = folder.clone().into_os_string();
        name.push(".dcm");
        PathBuf::from(name)
    };
    let folders: Vec<PathBuf> = within.keys().map(with_ending).collect();
    let names: Vec<PathBuf> = volumes.iter().map(|mask| files[*mask].0.clone()).collect();
    let pairs = pairing::pair(&folders, &names, suffix);
    let series: Vec<&BTreeSet<String>> = within.values().collect();
    let mut found: Vec<_> = pairs
        .masks
        .iter()
        .flat_map(|(folder, masks)| masks.iter().map(|(mask, _)| (*mask, *folder)))
        .map(|(mask, folder)| (volumes[mask], Ok(series[folder].iter().cloned().collect())))
        .collect();
    let none = "no image and no folder of a series has its name".to_owned();
    found.extend(pairs.unpaired.iter().map(|(mask, _)| (volumes[*mask], Err(none.clone()))));
    found
}

/// Finds the one series whose slices coincide with those of a volume.
fn on_series(
    planes: &[Option<Plane>],
    series: &[String],
    targets: &[Target],
    places: &Places,
) -> std::result::Result<Volume, String> {
    let slices_of = |name: &String| {
        let is_slice = |target: &Target| target.series.as_ref() == Some(name);
        let members: Vec<usize> = (0..targets.len()).filter(|place| is_slice(&targets[*place])).collect();
        let image: Vec<Option<Plane>> =
            members.iter().map(|place| places.planes[*place].first().copied().flatten()).collect();
        let pages = by_place(planes, &image)?;
        Some(members.into_iter().zip(pages).map(|(target, page)| (target, vec![(0, vec![page])])).collect())
    };
    let mut on = series.iter().filter_map(slices_of);
    match (on.next(), on.next()) {
        (Some(pages), None) => Ok(Volume { pages, segmentation: None }),
        (Some(_), Some(_)) => Err(format!("it lies on more than one of the series in {}", series.join(", "))),
        (None, _) => {
            let names = series.join(", ");
            Err(format!("its slices do not lie on those of the series {names}; save it on the grid of the series"))
        }
    }
}
