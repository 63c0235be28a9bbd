//! Formats that store the slices of a stack in one file: TIFF, NIfTI and DICOM segmentations.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::sheet::{Sheet, plain};
use super::{ExportFormat, Part};
use crate::domain::mask::UNLABELLED;
use crate::domain::size::Size;
use crate::domain::study::{Class, FileState, ImageId, ImageRecord};
use crate::domain::text::counted;
use crate::project::error::{ProjectError, Result};
use crate::project::import::pairing;
use crate::raster::{
    self, Format, NiftiGrid, NiftiWriter, Plane, Segment, SegmentationWriter, SliceValues, Stack, TiffWriter,
};

/// The images written to one file: a single image, or the slices of a stack.
pub(super) struct ExportVolume {
    /// Prefix of its files' paths, relative to the output folder.
    pub stem: String,
    /// The stack's name; `None` for a single image.
    stack: Option<String>,
    /// For each slice in the project: its index, file and page.
    members: Vec<(usize, PathBuf, usize)>,
    /// Number of slices in the whole stack.
    slices: usize,
    size: Size,
    /// Number of images exported.
    exported: usize,
}

impl ExportVolume {
    /// Groups `images` into volumes, in order. Names are assigned over `all` images, so that the name of a file does
    /// not depend on what else is exported.
    pub fn of(images: &[ImageRecord], all: &[ImageRecord], classes: &[Class]) -> Vec<Self> {
        let is_there = |image: &&ImageRecord| image.file == FileState::Present;
        let mut members: BTreeMap<&str, Vec<(usize, PathBuf, usize)>> = BTreeMap::new();
        for image in all.iter().filter(is_there) {
            if let Some((stack, slice)) = &image.stack {
                members.entry(stack).or_default().push((*slice, image.path.clone(), image.page));
            }
        }
        let exported: HashSet<ImageId> = images.iter().map(|image| image.id).collect();
        let mut taken = HashSet::new();
        let mut volumes: Vec<Self> = Vec::new();
        for image in all.iter().filter(is_there) {
            let is_exported = usize::from(exported.contains(&image.id));
            let stack = image.stack.as_ref().map(|(name, _)| name.clone());
            if let Some(last) = volumes.last_mut().filter(|last| stack.is_some() && last.stack == stack) {
                last.exported += is_exported;
                continue;
            }
            let members = match &stack {
                Some(name) => members[name.as_str()].clone(),
                None => vec![(0, image.path.clone(), image.page)],
            };
            let is_one_file = members.iter().all(|(_, path, _)| *path == members[0].1);
            let slices = members.iter().map(|(slice, ..)| slice + 1).max().unwrap_or(1);
            let pages = || raster::header(&image.path).map_or(slices, |header| header.pages);
            volumes.push(Self {
                stem: stem(image, stack.as_deref(), is_one_file, classes, &mut taken),
                slices: if is_one_file && stack.is_some() { pages().max(slices) } else { slices },
                stack,
                members,
                size: Size::new(image.width, image.height),
                exported: is_exported,
            });
        }
        volumes.retain(|volume| volume.exported > 0);
        volumes
    }

    /// The files of its maps: the probability of each class, and the variance.
    pub fn maps(&self, classes: &[Class], ending: &str) -> Vec<PathBuf> {
        map_names(classes).into_iter().map(|name| PathBuf::from(format!("{}.{name}.{ending}", self.stem))).collect()
    }

    /// The planes of those slices whose files give a position.
    fn planes(&self) -> Vec<(usize, Plane)> {
        let mut by_file: BTreeMap<&Path, Vec<Option<Plane>>> = BTreeMap::new();
        for (_, path, _) in &self.members {
            by_file.entry(path).or_insert_with(|| raster::planes(path).unwrap_or_default());
        }
        let plane = |(slice, path, page): &(usize, PathBuf, usize)| {
            let plane = *by_file[path.as_path()].get(*page)?;
            Some((*slice, plane?))
        };
        self.members.iter().filter_map(plane).collect()
    }
}

/// The parts of file names that distinguish the maps of a volume.
fn map_names(classes: &[Class]) -> Vec<String> {
    let probabilities = match classes {
        [_] => vec!["probability".to_owned()],
        several => several.iter().map(|class| format!("probability-{}_{}", class.number, plain(&class.name))).collect(),
    };
    probabilities.into_iter().chain(["variance".to_owned()]).collect()
}

/// The stem of a volume's files: its file name without extension, or the folder of its series, so that they can be
/// paired with it again on import.
fn stem(
    image: &ImageRecord,
    stack: Option<&str>,
    is_one_file: bool,
    classes: &[Class],
    taken: &mut HashSet<String>,
) -> String {
    let whole = match stack {
        None => image.stem.clone(),
        Some(name) if !is_one_file => name.to_owned(),
        // The label files of a stack are in a folder named after its file.
        Some(_) => image.stem.rsplit_once('/').map_or(image.stem.clone(), |(folder, _)| folder.to_owned()),
    };
    let short = match stack.filter(|_| is_one_file) {
        Some(_) => {
            let name = pairing::stem(Path::new(&whole));
            whole.rsplit_once('/').map_or(name.clone(), |(folder, _)| format!("{folder}/{name}"))
        }
        None => whole.clone(),
    };
    let numbered = (2..).map(|number| format!("{whole}-{number}"));
    // The names of the maps must be free as well.
    let family = |name: &str| {
        let maps = map_names(classes).into_iter().map(|map| format!("{name}.{map}").to_lowercase());
        maps.chain([name.to_lowercase()]).collect::<Vec<_>>()
    };
    let mut names = [short, whole.clone()].into_iter().chain(numbered);
    let is_free = |name: &String| family(name).iter().all(|name| !taken.contains(name));
    let name = names.find(is_free).unwrap_or(whole);
    taken.extend(family(&name));
    name
}

/// A file being written.
enum Writer {
    Tiff(Box<TiffWriter>),
    Nifti(Box<NiftiWriter>),
}

impl Writer {
    fn add(&mut self, values: SliceValues) -> Result<()> {
        match self {
            Self::Tiff(writer) => Ok(writer.add(values)?),
            Self::Nifti(writer) => Ok(writer.add(values)?),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Tiff(writer) => Ok(writer.finish()?),
            Self::Nifti(writer) => Ok(writer.finish()?),
        }
    }
}

/// The open files of the current volume.
enum Open {
    Segmentation(Box<SegmentationWriter>),
    /// The label and the maps; `next` is the index of the next slice.
    Slices {
        label: Writer,
        maps: Vec<Writer>,
        next: usize,
    },
}

/// Writes volumes, one at a time.
pub(super) struct Stacks {
    folder: PathBuf,
    format: ExportFormat,
    part: Part,
    volumes: std::vec::IntoIter<ExportVolume>,
    classes: Vec<Class>,
    current: Option<(ExportVolume, Open)>,
    notes: Vec<String>,
}

impl Stacks {
    pub fn new(
        folder: PathBuf,
        format: ExportFormat,
        part: Part,
        volumes: Vec<ExportVolume>,
        classes: &[Class],
    ) -> Self {
        let (volumes, classes) = (volumes.into_iter(), classes.to_vec());
        Self { folder, format, part, volumes, classes, current: None, notes: Vec::new() }
    }

    /// Adds the next image.
    pub fn add(&mut self, image: &ImageRecord, sheet: &Sheet) -> Result<()> {
        let is_next = |volume: &ExportVolume| {
            volume.members.iter().any(|(_, path, page)| (path, *page) == (&image.path, image.page))
        };
        if !self.current.as_ref().is_some_and(|(volume, _)| is_next(volume)) {
            self.end()?;
            // Volumes skipped here, whose images could not be read, have no file.
            let volume = self.volumes.by_ref().find(|volume| is_next(volume)).ok_or(ProjectError::Damaged("images"))?;
            let open = self.begin(&volume)?;
            self.current = Some((volume, open));
        }
        let Some((volume, open)) = &mut self.current else { return Ok(()) };
        match open {
            Open::Segmentation(writer) => writer.add(&image.path, image.page, sheet.mask.pixels())?,
            Open::Slices { label, maps, next } => {
                let slice = image.stack.as_ref().map_or(0, |(_, slice)| *slice);
                if slice < *next {
                    return Err(ProjectError::TwoSlices { stack: volume.stem.clone(), slice: slice + 1 });
                }
                fill(label, maps, volume, *next..slice)?;
                label.add(SliceValues::Classes(sheet.mask.pixels()))?;
                if let Some(moments) = sheet.moments {
                    let Size { width, height } = volume.size;
                    let of_classes = self.classes.iter().map(|class| moments.class_at(class.number, width, height));
                    let values = of_classes.chain(std::iter::once_with(|| moments.variance_at(width, height)));
                    for (map, values) in maps.iter_mut().zip(values) {
                        map.add(SliceValues::Numbers(&values))?;
                    }
                }
                *next = slice + 1;
            }
        }
        Ok(())
    }

    fn begin(&mut self, volume: &ExportVolume) -> Result<Open> {
        let Size { width, height } = volume.size;
        let source = &volume.members[0].1;
        let at = |name: Option<&str>, ending: &str| {
            let name = name.map_or(volume.stem.clone(), |name| format!("{}.{name}", volume.stem));
            self.folder.join(format!("{name}.{ending}"))
        };
        let has_maps = self.format.holds_maps() && self.part == Part::Predictions;
        let names = if has_maps { map_names(&self.classes) } else { Vec::new() };
        let (label, maps) = match self.format {
            ExportFormat::DicomSeg => {
                let segment =
                    |class: &Class| Segment { number: class.number, label: class.name.clone(), colour: class.colour };
                let segments = self.classes.iter().map(segment).collect();
                let writer = SegmentationWriter::new(&at(None, "dcm"), segments, self.part == Part::Labels);
                return Ok(Open::Segmentation(Box::new(writer)));
            }
            ExportFormat::Nifti => {
                let planes = volume.planes();
                let header = raster::header(source)?;
                let grid = match header.spacing_mm {
                    _ if header.format == Format::Nifti => NiftiGrid::Of(source),
                    _ if !planes.is_empty() => NiftiGrid::Planes(&planes),
                    Some(spacing) => NiftiGrid::Spacing(spacing),
                    None => NiftiGrid::Pixels,
                };
                if matches!(grid, NiftiGrid::Planes(_)) && planes.len() < volume.members.len() {
                    let name = volume.stack.as_deref().unwrap_or(&volume.stem);
                    let unknown = volume.members.len() - planes.len();
                    let silent = match unknown {
                        1 => "1 slice does not say where it lies".to_owned(),
                        _ => format!("{unknown} slices do not say where they lie"),
                    };
                    self.notes.push(format!("{name}: {silent}; the others give the place"));
                }
                if matches!(grid, NiftiGrid::Planes(_)) && !raster::is_even(&planes) {
                    let name = volume.stack.as_deref().unwrap_or(&volume.stem);
                    self.notes.push(format!("{name}: its slices are not evenly spaced, and a NIfTI volume's are"));
                }
                if matches!(grid, NiftiGrid::Spacing(_) | NiftiGrid::Pixels) && volume.slices > 1 {
                    let name = volume.stack.as_deref().unwrap_or(&volume.stem);
                    self.notes
                        .push(format!("{name}: nothing says how far apart its slices are; NIfTI has them 1 mm apart"));
                }
                let open = |name: Option<&str>| {
                    let sides = [width, height, volume.slices];
                    let writer = NiftiWriter::create(&at(name, "nii.gz"), sides, &grid, name.is_none())?;
                    Ok(Writer::Nifti(Box::new(writer)))
                };
                (open(None)?, names.iter().map(|name| open(Some(name))).collect::<Result<Vec<_>>>()?)
            }
            ExportFormat::Tiff
            | ExportFormat::Png
            | ExportFormat::Binary
            | ExportFormat::Coco
            | ExportFormat::CocoPolygons
            | ExportFormat::GeoJson
            | ExportFormat::Csv => {
                let spacing = raster::header(source)?.spacing_mm;
                let planes = volume.planes();
                let between = raster::slice_step(&planes).filter(|_| raster::is_even(&planes));
                let open = |name: Option<&str>| {
                    let stack = Stack {
                        width,
                        height,
                        slices: volume.slices,
                        spacing_mm: spacing,
                        slice_mm: between,
                        is_label: name.is_none(),
                    };
                    Ok(Writer::Tiff(Box::new(TiffWriter::create(&at(name, "tif"), stack)?)))
                };
                (open(None)?, names.iter().map(|name| open(Some(name))).collect::<Result<Vec<_>>>()?)
            }
        };
        Ok(Open::Slices { label, maps, next: 0 })
    }

    fn end(&mut self) -> Result<()> {
        let Some((volume, open)) = self.current.take() else { return Ok(()) };
        let missing = volume.slices.saturating_sub(volume.exported);
        match open {
            Open::Segmentation(writer) => {
                writer.finish()?;
                if missing > 0 {
                    let left = match missing {
                        1 => "1 slice is left out: it has no label".to_owned(),
                        _ => format!("{missing} slices are left out: they have no label"),
                    };
                    self.notes.push(format!("{}: {left}", volume.stem));
                }
            }
            Open::Slices { mut label, mut maps, next } => {
                fill(&mut label, &mut maps, &volume, next..volume.slices)?;
                label.finish()?;
                maps.into_iter().try_for_each(Writer::finish)?;
                if missing > 0 {
                    let hold = if missing == 1 { "holds" } else { "hold" };
                    let slices = counted(missing, "slice");
                    self.notes.push(format!("{}: {slices} without a label {hold} 255", volume.stem));
                }
            }
        }
        Ok(())
    }

    /// Finishes the last volume and returns the notes for the user.
    pub fn finish(mut self) -> Result<Vec<String>> {
        self.end()?;
        Ok(self.notes)
    }
}

/// Writes slices without data: unlabelled pixels in the label, NaN in the maps.
fn fill(label: &mut Writer, maps: &mut [Writer], volume: &ExportVolume, slices: std::ops::Range<usize>) -> Result<()> {
    let pixels = volume.size.pixels();
    for _ in slices {
        label.add(SliceValues::Classes(&vec![UNLABELLED; pixels]))?;
        for map in &mut *maps {
            map.add(SliceValues::Numbers(&vec![f32::NAN; pixels]))?;
        }
    }
    Ok(())
}
