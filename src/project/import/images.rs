//! The images of a folder: finds them, groups slices into stacks, and reports files that are left out.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{Ask, ImportRules, OnProgress, pairing};
use crate::domain::remedy::Remedy;
use crate::domain::text::counted;
use crate::project::error::{ProjectError, Result};
use crate::raster::{self, Format, Header, folder};

/// An image to be imported: a file, or one slice of a file or of a series of files.
#[derive(Clone, Debug)]
pub struct PlannedImage {
    /// Path of the file, relative to the image folder.
    pub path: PathBuf,
    /// The page of the file, from 0.
    pub page: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The name of the stack it is a slice of, and the slice's index, from 0.
    pub stack: Option<(String, usize)>,
}

/// The images of a folder.
#[derive(Debug, Default)]
pub struct ImagePlan {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// The images, in order.
    pub images: Vec<PlannedImage>,
    /// Number of files of each kind, such as `TIFF, 16-bit`.
    pub kinds: BTreeMap<String, usize>,
    /// Files that cannot be read as images, each with the reason.
    pub left_out: Vec<String>,
    /// Number of files that are not images, by extension.
    pub others: BTreeMap<String, usize>,
    /// Notes for the user on how the images are read.
    pub notes: Vec<String>,
    /// Files that are masks of other files in the folder.
    pub masks_among: Vec<PathBuf>,
    /// Whether the masks are in this folder too.
    is_shared: bool,
}

impl ImagePlan {
    /// A plan with only these images of a folder.
    pub fn of(folder: PathBuf, images: Vec<PlannedImage>) -> Self {
        Self { folder, images, ..Self::default() }
    }

    /// Scans a folder and reads the header of each image.
    pub(in crate::project) fn read(
        images: &Path,
        masks: Option<&Path>,
        skipped: &[PathBuf],
        rules: &ImportRules,
        on_progress: OnProgress,
    ) -> Result<Self> {
        let folder = std::path::absolute(images).map_err(ProjectError::io(images))?;
        let is_same =
            |a: &Path, b: &Path| a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        let is_shared = masks.is_some_and(|masks| is_same(masks, &folder));
        let within = masks.filter(|_| !is_shared).map(Path::to_owned);
        let skipped: Vec<PathBuf> = skipped.iter().cloned().chain(within).collect();
        let listing = folder::list(&folder, &skipped)?;
        let paths: Vec<PathBuf> = listing.files.iter().map(|(path, _)| path.clone()).collect();
        let among = pairing::masks_among(&paths, rules.suffix.as_deref());
        let mut plan = Self {
            folder: folder.clone(),
            left_out: listing.left_out,
            others: listing.others,
            masks_among: among.iter().map(|place| paths[*place].clone()).collect(),
            is_shared,
            ..Self::default()
        };
        let mut is_mask = vec![false; paths.len()];
        among.iter().for_each(|place| is_mask[*place] = true);
        let files: Vec<&(PathBuf, Format)> =
            listing.files.iter().zip(&is_mask).filter(|(_, is_mask)| !**is_mask).map(|(file, _)| file).collect();
        let (done, all) = (AtomicUsize::new(0), files.len());
        let headers: Vec<_> = files
            .into_par_iter()
            .map(|(path, _)| {
                let header = crate::raster::header(&folder.join(path));
                on_progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
                (path, header)
            })
            .collect();
        let mut read: Vec<(&PathBuf, Header)> = Vec::new();
        for (path, header) in headers {
            match header {
                Ok(header) if header.is_segmentation => plan.masks_among.push(path.clone()),
                Ok(header) => read.push((path, header)),
                Err(error) => plan.left_out.push(error.to_string()),
            }
        }
        for (path, header) in &read {
            *plan.kinds.entry(format!("{}, {}", header.format, header.sample_type)).or_default() += 1;
            plan.notes.extend(header.note.iter().map(|note| format!("{}: {note}", path.display())));
        }
        if !plan.is_shared && !plan.masks_among.is_empty() {
            let first = plan.masks_among[0].display();
            let left = match plan.masks_among.len() {
                1 => format!("1 file is a mask of another and left out ({first})"),
                count => format!("{count} files are masks of others and left out ({first}, ...)"),
            };
            let how = "give the folder as that of the masks too to take masks among the images as labels";
            plan.notes.push(format!("{left}; {how}"));
        }
        plan.images = stacked(&read);
        plan.notes.extend(uneven_stacks(&plan.images, &read));
        Ok(plan)
    }

    /// The reasons why the folder cannot be imported; empty if it can.
    pub(super) fn faults(&self) -> Vec<Ask> {
        let mut faults = Vec::new();
        if self.images.is_empty() {
            let why = match self.left_out.as_slice() {
                [] => String::new(),
                [only] => format!(": 1 file is left out because {only}"),
                [first, ..] => format!(": {} files are left out, the first because {first}", self.left_out.len()),
            };
            let what =
                format!("no image ({}) can be read in {} or its folders{why}", raster::FORMATS, self.folder.display());
            faults.push(Ask { what, remedy: None });
        }
        if self.is_shared && self.masks_among.is_empty() {
            faults.push(Ask {
                what: format!(
                    "images and masks are both in {}, and their names do not tell which is which",
                    self.folder.display()
                ),
                remedy: Some(Remedy::MaskSuffix),
            });
        }
        faults
    }

    /// Number of stacks.
    pub fn stacks(&self) -> usize {
        self.images.iter().filter(|image| image.stack.as_ref().is_some_and(|(_, slice)| *slice == 0)).count()
    }
}

/// The images in a list of files. The pages of a file form a stack, and so do the files of a series.
fn stacked(files: &[(&PathBuf, Header)]) -> Vec<PlannedImage> {
    // Slices of different sizes do not form a stack.
    let series_of = |header: &Header| {
        let series = header.series.as_ref().filter(|_| header.pages == 1)?;
        Some((series.uid.clone(), header.width, header.height))
    };
    let mut series: HashMap<_, Vec<usize>> = HashMap::new();
    for (place, (_, header)) in files.iter().enumerate() {
        if let Some(key) = series_of(header) {
            series.entry(key).or_default().push(place);
        }
    }
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    let mut images = Vec::new();
    for (place, (path, header)) in files.iter().enumerate() {
        let image = |page: usize, stack: Option<(String, usize)>, path: &Path| PlannedImage {
            path: path.to_owned(),
            page,
            width: header.width,
            height: header.height,
            stack,
        };
        let members = series_of(header).and_then(|key| series.get(&key)).filter(|members| members.len() > 1);
        match members {
            // The whole series takes the place of its first file.
            Some(members) if members[0] == place => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.map_or("series".to_owned(), |folder| folder.display().to_string());
                let count = named.entry(folder.clone()).or_default();
                *count += 1;
                let name = if *count == 1 { folder } else { format!("{folder} ({count})") };
                let position = |place: &usize| files[*place].1.series.as_ref().map_or(0.0, |series| series.position);
                let mut order = members.clone();
                order.sort_by(|a, b| position(a).total_cmp(&position(b)));
                for (slice, place) in order.into_iter().enumerate() {
                    images.push(image(0, Some((name.clone(), slice)), files[place].0));
                }
            }
            Some(_) => {}
            None if header.pages > 1 => {
                let name = path.display().to_string();
                images.extend((0..header.pages).map(|page| image(page, Some((name.clone(), page)), path)));
            }
            None => images.push(image(0, None, path)),
        }
    }
    images
}

/// Notes on irregular slice positions in series: slices at the same position, or gaps where slices are missing.
fn uneven_stacks(images: &[PlannedImage], files: &[(&PathBuf, Header)]) -> Vec<String> {
    let of_series = files.iter().filter(|(_, header)| header.pages == 1);
    let positions: HashMap<&Path, f64> =
        of_series.filter_map(|(path, header)| Some((path.as_path(), header.series.as_ref()?.position))).collect();
    let mut stacks: BTreeMap<&str, Vec<(&Path, f64)>> = BTreeMap::new();
    for image in images {
        if let (Some((name, _)), Some(position)) = (&image.stack, positions.get(image.path.as_path())) {
            stacks.entry(name).or_default().push((image.path.as_path(), *position));
        }
    }
    let note = |(name, slices): (&str, Vec<(&Path, f64)>)| {
        let steps = slices.windows(2).map(|pair| (pair[0].0, pair[1].0, pair[1].1 - pair[0].1));
        let same: Vec<_> = steps.clone().filter(|(.., step)| *step < 1e-3).collect();
        if let Some((first, second, _)) = same.first() {
            let (first, second) = (first.display(), second.display());
            let lie = match same.len() {
                1 => format!("{second} lies where {first} does"),
                count => format!("{count} slices lie where another does, such as {second} where {first} does"),
            };
            return Some(format!("{lie} (several phases?); their order is that of the files"));
        }
        // A series that lies in no folder has no name that says which it is.
        let first = slices.first()?.0;
        let name = match first.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => name.to_owned(),
            Some(_) | None => format!("the series of {}", first.display()),
        };
        let mut steps: Vec<f64> = steps.map(|(.., step)| step).collect();
        steps.sort_by(f64::total_cmp);
        let usual = *steps.get(steps.len() / 2)?;
        let gaps = steps.iter().filter(|step| **step > 1.5 * usual).count();
        let places = counted(gaps, "place");
        (gaps > 0).then(|| format!("{name}: slices are missing in {places}, {usual:.1} apart elsewhere"))
    };
    stacks.into_iter().filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::{Colour, SampleType, Series};

    #[test]
    fn slices_that_lie_at_one_place_are_named_by_their_files() {
        let slice = |position: f64| Header {
            format: Format::Dicom,
            width: 4,
            height: 4,
            channels: 1,
            colour: Colour::Grey,
            sample_type: SampleType::Unsigned(16),
            pages: 1,
            is_inverted: false,
            spacing_mm: None,
            window: None,
            axes: None,
            series: Some(Series { uid: "1.2.3".to_owned(), position }),
            is_label: false,
            is_segmentation: false,
            note: None,
        };
        let notes = |slices: &[(&str, f64)]| {
            let paths: Vec<PathBuf> = slices.iter().map(|(name, _)| PathBuf::from(name)).collect();
            let files: Vec<(&PathBuf, Header)> =
                paths.iter().zip(slices).map(|(path, (_, position))| (path, slice(*position))).collect();
            uneven_stacks(&stacked(&files), &files)
        };
        let same = "c.dcm lies where b.dcm does (several phases?); their order is that of the files";
        assert_eq!(notes(&[("a.dcm", 0.0), ("b.dcm", 5.0), ("c.dcm", 5.0)]), [same]);
        let gap = "slices are missing in 1 place, 1.0 apart elsewhere";
        let with_gap = [("a.dcm", 0.0), ("b.dcm", 1.0), ("c.dcm", 2.0), ("d.dcm", 5.0)];
        assert_eq!(notes(&with_gap), [format!("the series of a.dcm: {gap}")]);
        let in_folder = [("p1/a.dcm", 0.0), ("p1/b.dcm", 1.0), ("p1/c.dcm", 2.0), ("p1/d.dcm", 5.0)];
        assert_eq!(notes(&in_folder), [format!("p1: {gap}")]);
    }
}
