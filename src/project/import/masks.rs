//! The masks of a folder: the image that each belongs to, its values, and the classes they are mapped to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::coco::Coco;
use super::combine::{join, one_of_pages};
use super::pairing::{self, Pairing, PairingRule};
use super::volumes::{self, Volume, Volumes};
use super::{Ask, ImagePlan, ImportRules, OnProgress, PlannedImage, Several, Target};
use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::mask_values::{Census, FileValues, MaskValue, Meanings, Numbers, Question, decide};
use crate::domain::remedy::Remedy;
use crate::domain::size::Size;
use crate::project::error::{ProjectError, Result};
use crate::raster::{self, MaskPixels, folder};

/// One page of a mask, stored in the spool file.
struct SpooledPage {
    mask: usize,
    target: usize,
    page: usize,
    values: Vec<MaskValue>,
    /// Offset and compressed length in the spool file, in bytes.
    at: u64,
    length: usize,
    is_empty: bool,
}

/// A planned import of the masks in a folder or a COCO file.
pub struct MaskPlan {
    /// The mask folder, or the COCO file.
    pub folder: PathBuf,
    image_folder: PathBuf,
    /// The image files that may receive a label.
    pub targets: Vec<Target>,
    /// The mask files, relative to the folder.
    pub files: Vec<PathBuf>,
    /// Which masks belong to which of `targets`.
    pub pairing: Pairing,
    /// Masks that cannot be imported, each with the reason.
    pub problems: Vec<String>,
    /// Number of files that are not images, by extension.
    pub others: BTreeMap<String, usize>,
    /// The values found in all masks that belong to an image.
    pub census: Census,
    /// The class of each value, or the question that the user must answer first.
    pub meanings: std::result::Result<Meanings, Question>,
    rules: ImportRules,
    kept: Vec<SpooledPage>,
    spool: Mutex<File>,
    volumes: Volumes,
    /// Number of masks with several pages whose image has only one.
    pub with_pages: usize,
    /// Masks paired with an image by name whose headers place them elsewhere in the patient.
    elsewhere: Mutex<Vec<String>>,
    /// The class names, if the masks give them.
    given_names: BTreeMap<u8, String>,
}

impl MaskPlan {
    /// Scans a folder and reads each mask that belongs to an image in the plan.
    pub(super) fn read(
        masks: &Path,
        images: &ImagePlan,
        skipped: &[PathBuf],
        rules: &ImportRules,
        on_progress: OnProgress,
    ) -> Result<Self> {
        let image =
            |image: &PlannedImage| (image.path.clone(), Size::new(image.width, image.height), image.stack.clone());
        let targets = Target::of(images.images.iter().map(image));
        let skipped: Vec<PathBuf> =
            skipped.iter().cloned().chain((masks != images.folder).then(|| images.folder.clone())).collect();
        Self::of(masks, &images.folder, targets, &skipped, rules, on_progress)
    }

    /// Same as `read`, for targets that are already known, relative to `image_folder`.
    pub fn of(
        masks: &Path,
        image_folder: &Path,
        targets: Vec<Target>,
        skipped: &[PathBuf],
        rules: &ImportRules,
        on_progress: OnProgress,
    ) -> Result<Self> {
        let masks = std::path::absolute(masks).map_err(ProjectError::io(masks))?;
        let spool = tempfile::tempfile().map_err(ProjectError::io(std::env::temp_dir()))?;
        let mut plan = Self {
            folder: masks,
            image_folder: image_folder.to_owned(),
            targets,
            files: Vec::new(),
            pairing: Pairing::default(),
            problems: Vec::new(),
            others: BTreeMap::new(),
            census: Census::default(),
            meanings: Ok(Meanings::default()),
            rules: rules.clone(),
            kept: Vec::new(),
            spool: Mutex::new(spool),
            volumes: Volumes::default(),
            with_pages: 0,
            elsewhere: Mutex::default(),
            given_names: BTreeMap::new(),
        };
        if plan.folder.is_file() && plan.folder.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            let coco = Coco::read(&plan.folder)?;
            plan.files = coco.images();
            plan.pairing = coco.pair(&plan.targets);
            plan.given_names = coco.names();
            plan.read_all(Some(&coco), on_progress)?;
        } else {
            plan.pair(skipped)?;
            plan.given_names = plan.volumes.names();
            plan.read_all(None, on_progress)?;
        }
        plan.decide();
        Ok(plan)
    }

    /// Lists the folder's files and pairs each with its image.
    fn pair(&mut self, skipped: &[PathBuf]) -> Result<()> {
        let skipped: Vec<PathBuf> = skipped.iter().filter(|path| !self.folder.starts_with(path)).cloned().collect();
        let mut listing = folder::list(&self.folder, &skipped)?;
        // A file is never its own mask.
        let own: BTreeSet<PathBuf> = self.targets.iter().map(|target| self.image_folder.join(&target.path)).collect();
        listing.files.retain(|(path, _)| !own.contains(&self.folder.join(path)));
        self.files = listing.files.iter().map(|(path, _)| path.clone()).collect();
        self.problems = listing.left_out;
        self.others = listing.others;
        let paths: Vec<PathBuf> = self.targets.iter().map(|target| target.path.clone()).collect();
        let suffix = self.rules.suffix.as_deref();
        let mut pairing = pairing::pair(&paths, &self.files, suffix);
        let folders = (self.folder.as_path(), self.image_folder.as_path());
        self.volumes = Volumes::pair(folders.0, &listing.files, folders.1, &self.targets, suffix, &mut pairing)?;
        self.pairing = pairing;
        Ok(())
    }

    /// Maps the values to classes. If the masks name their classes, the numbers are taken as class numbers.
    fn decide(&mut self) {
        let mut rules = self.rules.values.clone();
        if !self.given_names.is_empty() && rules.map.is_none() && rules.numbers.is_none() {
            rules.numbers = Some(Numbers::Classes);
        }
        self.meanings = decide(&self.census, &rules);
        if let Ok(meanings) = &mut self.meanings
            && rules.map.is_none()
        {
            meanings.names.extend(self.given_names.clone());
        }
    }

    fn read_all(&mut self, coco: Option<&Coco>, on_progress: OnProgress) -> Result<()> {
        let pairs: Vec<(usize, usize)> =
            self.pairing.masks.iter().flat_map(|(t, ms)| ms.iter().map(|(m, _)| (*m, *t))).collect();
        let (done, all) = (AtomicUsize::new(0), pairs.len());
        let end = Mutex::new(0);
        let read: Vec<_> = pairs
            .par_iter()
            .map(|(mask, target)| {
                let read = match coco {
                    Some(coco) => self.keep_annotations(coco, *mask, *target, &end),
                    None => self.keep(*mask, *target, &end),
                };
                on_progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
                read
            })
            .collect();
        let mut read_well = Vec::new();
        for (read, (_, target)) in read.into_iter().zip(pairs) {
            match read {
                Ok(pages) => read_well.extend(pages),
                Err(ProjectError::Io { path, reason }) => return Err(ProjectError::Io { path, reason }),
                Err(error) => {
                    self.with_pages += usize::from(matches!(error, ProjectError::MaskPages { .. }));
                    self.problems.push(error.to_string());
                    // With one of its masks missing, the image would be labelled incorrectly.
                    self.pairing.masks.remove(&target);
                }
            }
        }
        for (kept, values) in read_well {
            if self.pairing.masks.contains_key(&kept.target) {
                self.census.add(&values);
                self.kept.push(kept);
            }
        }
        Ok(())
    }

    /// Reads a mask and stores its pages in the spool file.
    fn keep(&self, mask: usize, target: usize, end: &Mutex<u64>) -> Result<Vec<(SpooledPage, FileValues)>> {
        let path = self.folder.join(&self.files[mask]);
        let Target { width, height, pages, .. } = self.targets[target];
        let threshold = self.rules.values.threshold;
        let read = |page| raster::read_mask(&path, page, threshold);
        if let Some(volume) = self.volumes.by_mask.get(&mask) {
            let page = |(page, pages): &(usize, Vec<usize>)| {
                let pixels = match pages.as_slice() {
                    [page] if !volume.is_segmentation() => read(*page)?,
                    frames => self.volumes.segments(volume, &path, frames, Size::new(width, height))?,
                };
                self.spool(pixels, (mask, target, *page), end)
            };
            return volume.pages[&target].iter().map(page).collect();
        }
        let header = raster::header(&path)?;
        let image = Size::new(width, height);
        if header.size() != image {
            return Err(ProjectError::MaskSize { path, mask: header.size(), image });
        }
        // Consult the image file if it may differ from the target: in its axes, or by pages removed from the project.
        let pages = if header.pages > 1 || pages > 1 || header.axes.is_some() {
            let image_path = self.image_folder.join(&self.targets[target].path);
            let image = raster::header(&image_path)?;
            let planes = |path: &Path| raster::planes(path).unwrap_or_default();
            let of_image = planes(&image_path);
            let order = header.axes.is_some().then(|| volumes::by_place(&planes(&path), &of_image)).flatten();
            if image.axes == header.axes && header.axes.is_some() && order.is_none() {
                let mut elsewhere = self.elsewhere.lock().unwrap_or_else(|e| e.into_inner());
                elsewhere.push(self.files[mask].display().to_string());
            }
            // A mask that this program wrote without axes, or for an image without a position, is oriented as the image
            // is read.
            let lies_nowhere = of_image.iter().all(Option::is_none);
            let is_ours = header.is_label && (header.axes.is_none() || lies_nowhere && order.is_none());
            if image.axes != header.axes && !is_ours {
                if let Some(order) = order {
                    let page = |(page, of_mask)| self.spool(read(of_mask)?, (mask, target, page), end);
                    return order.into_iter().enumerate().map(page).collect();
                }
                let axes = |header: &raster::Header| header.axes.clone().unwrap_or("none".to_owned());
                let reason = format!(
                    "the axes of the mask run to {}, those of its image to {}; save the mask on the image's grid, in a \
                     format that keeps its axes",
                    axes(&header),
                    axes(&image)
                );
                return Err(ProjectError::BadMask { path, reason });
            }
            image.pages
        } else {
            pages
        };
        if pages == 1 && header.pages > 1 {
            let Some(rule) = self.rules.pages else {
                return Err(ProjectError::MaskPages { path, pages: header.pages });
            };
            let pixels = one_of_pages(&path, header.pages, rule, read)?;
            return Ok(vec![self.spool(pixels, (mask, target, 0), end)?]);
        }
        if header.pages != pages {
            let reason =
                format!("the mask has {} pages, its image {pages}; save one page for each slice", header.pages);
            return Err(ProjectError::BadMask { path, reason });
        }
        (0..pages).map(|page| self.spool(read(page)?, (mask, target, page), end)).collect()
    }

    /// Draws an image's annotations and stores the result in the spool file.
    fn keep_annotations(
        &self,
        coco: &Coco,
        mask: usize,
        target: usize,
        end: &Mutex<u64>,
    ) -> Result<Vec<(SpooledPage, FileValues)>> {
        let Target { width, height, .. } = self.targets[target];
        let image = Size::new(width, height);
        if coco.size(mask) != image {
            let path = self.folder.join(&self.files[mask]);
            return Err(ProjectError::MaskSize { path, mask: coco.size(mask), image });
        }
        Ok(vec![self.spool(coco.mask(mask)?, (mask, target, 0), end)?])
    }

    fn spool(
        &self,
        pixels: MaskPixels,
        (mask, target, page): (usize, usize, usize),
        end: &Mutex<u64>,
    ) -> Result<(SpooledPage, FileValues)> {
        let values = pixels.file_values();
        let is_empty = values.counts.keys().all(|value| *value == MaskValue::Number(0));
        let bytes: Vec<u8> = pixels.places.iter().flat_map(|place| place.to_le_bytes()).collect();
        let packed = lz4_flex::block::compress(&bytes);
        let at = {
            let mut end = end.lock().unwrap_or_else(|e| e.into_inner());
            let mut spool = self.spool.lock().unwrap_or_else(|e| e.into_inner());
            let at = *end;
            let written = spool.seek(SeekFrom::Start(at)).and_then(|_| spool.write_all(&packed));
            written.map_err(ProjectError::io(std::env::temp_dir()))?;
            *end += packed.len() as u64;
            at
        };
        let length = packed.len();
        Ok((SpooledPage { mask, target, page, values: pixels.values, at, length, is_empty }, values))
    }

    fn pixels(&self, kept: &SpooledPage) -> Result<MaskPixels> {
        let Target { width, height, .. } = self.targets[kept.target];
        let mut packed = vec![0; kept.length];
        {
            let mut spool = self.spool.lock().unwrap_or_else(|e| e.into_inner());
            let read = spool.seek(SeekFrom::Start(kept.at)).and_then(|_| spool.read_exact(&mut packed));
            read.map_err(ProjectError::io(std::env::temp_dir()))?;
        }
        let bytes =
            lz4_flex::block::decompress(&packed, width * height * 2).map_err(|_| ProjectError::Damaged("spool"))?;
        let places = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        Ok(MaskPixels::new(width, height, kept.values.clone(), places))
    }

    /// Maps the values to classes again under new rules. The masks are not read again, so the threshold and the suffix
    /// are unchanged.
    pub fn settle(&mut self, rules: &ImportRules) {
        self.rules.values = rules.values.clone();
        self.rules.several = rules.several;
        self.rules.replaces = rules.replaces;
        self.decide();
    }

    /// Whether the folder must be read again to apply other rules.
    pub fn must_read_again(&self, rules: &ImportRules) -> bool {
        self.rules.suffix != rules.suffix
            || self.rules.pages != rules.pages
            || self.rules.values.threshold != rules.values.threshold
    }

    /// Whether the masks replace existing labels.
    pub fn replaces(&self) -> bool {
        self.rules.replaces
    }

    /// The suffix that the masks' names have after the names of their images, if the user gave one.
    pub fn suffix(&self) -> Option<&str> {
        self.rules.suffix.as_deref()
    }

    /// Number of images with more than one mask.
    pub fn with_several(&self) -> usize {
        self.pairing.masks.values().filter(|masks| masks.len() > 1).count()
    }

    /// Masks paired with an image by name whose headers place them elsewhere in the patient, sorted.
    pub fn elsewhere(&self) -> Vec<String> {
        let mut names = self.elsewhere.lock().unwrap_or_else(|e| e.into_inner()).clone();
        names.sort();
        names
    }

    /// Number of mask pages that contain only background.
    pub fn empty(&self) -> usize {
        self.kept.iter().filter(|kept| kept.is_empty).count()
    }

    /// The questions that the user must answer before the masks can be imported.
    pub fn questions(&self) -> Vec<Ask> {
        let mut questions = Vec::new();
        if self.with_pages > 0 {
            questions.push(Ask {
                what: match self.with_pages {
                    1 => "1 mask has several pages, and its image one".to_owned(),
                    count => format!("{count} masks have several pages, and their images one"),
                },
                remedy: Some(Remedy::Pages),
            });
        }
        let is_segmentation = |mask: &usize| self.volumes.by_mask.get(mask).is_some_and(Volume::is_segmentation);
        let paired = || self.pairing.masks.values().flatten().map(|(mask, _)| mask);
        if paired().any(is_segmentation) && !paired().all(is_segmentation) {
            questions.push(Ask {
                what:
                    "there are DICOM segmentations, whose segments have names, beside other masks, whose values have \
                       none; put them into separate folders, and import one after the other"
                        .to_owned(),
                remedy: None,
            });
        }
        if self.pairing.masks.is_empty() && self.with_pages == 0 {
            let files = self.files.len();
            let why = match (self.problems.first(), self.pairing.unpaired.first()) {
                (Some(problem), _) => format!(": {problem}"),
                (None, Some((mask, reason))) => format!(": {}: {reason}", self.files[*mask].display()),
                (None, None) => String::new(),
            };
            questions.push(Ask {
                what: format!(
                    "none of the {files} masks in {} can be taken{why}. A mask has its image's name, and may have one \
                     of {} after it",
                    self.folder.display(),
                    pairing::MASK_SUFFIXES.join(", ")
                ),
                remedy: Some(Remedy::MaskSuffix),
            });
            return questions;
        }
        let classes = self.several_classes().len();
        if classes > 254 {
            let what = format!("the masks of one image would be {classes} classes, and there can be 254");
            questions.push(Ask { what, remedy: Some(Remedy::Union) });
        }
        let several = self.with_several();
        if several > 0 && self.rules.several.is_none() {
            let (target, masks) = self.pairing.masks.iter().find(|(_, masks)| masks.len() > 1).expect("counted above");
            let names: Vec<String> = masks.iter().map(|(mask, _)| self.files[*mask].display().to_string()).collect();
            questions.push(Ask {
                what: format!(
                    "{} more than one mask (for {}: {})",
                    if several == 1 { "1 image has".to_owned() } else { format!("{several} images have") },
                    self.targets[*target].path.display(),
                    names.join(", ")
                ),
                remedy: Some(Remedy::Several),
            });
        }
        let question = self.meanings.as_ref().err();
        questions.extend(
            question.map(|question| Ask { what: question.what(), remedy: Some(Remedy::MaskValues(question.clone())) }),
        );
        questions
    }

    /// Names of the classes made from several masks of one image, in order.
    fn several_classes(&self) -> Vec<String> {
        if self.rules.several != Some(Several::Classes) {
            return Vec::new();
        }
        let names = self.pairing.masks.values().flat_map(|masks| masks.iter().map(|mask| self.class_name(mask)));
        names.collect::<BTreeSet<String>>().into_iter().collect()
    }

    fn class_name(&self, (mask, rule): &(usize, PairingRule)) -> String {
        match (self.files[*mask].parent().and_then(Path::file_name), rule) {
            (Some(folder), PairingRule::Name(_)) => folder.to_string_lossy().into_owned(),
            (_, PairingRule::Path(suffix) | PairingRule::Name(suffix)) => suffix.trim_start_matches('_').to_owned(),
            (_, PairingRule::Reference | PairingRule::Place) => pairing::stem(&self.files[*mask]),
        }
    }

    /// The class names given by the masks, by class number.
    pub fn class_names(&self) -> BTreeMap<u8, String> {
        let several = self.several_classes();
        match &self.meanings {
            _ if !several.is_empty() => (1..).zip(several).collect(),
            Ok(meanings) => meanings.names.clone(),
            Err(_) => BTreeMap::new(),
        }
    }

    /// Indices of the targets that receive a label.
    pub fn labelled(&self) -> impl Iterator<Item = usize> + '_ {
        self.pairing.masks.keys().copied()
    }

    /// The labels of a target, each with its page.
    pub fn labels(&self, target: usize) -> Result<Vec<(usize, Mask)>> {
        let Ok(meanings) = &self.meanings else { return Err(ProjectError::Damaged("import plan")) };
        let several = self.several_classes();
        let kept: Vec<&SpooledPage> = {
            // `kept` is sorted by target.
            let first = self.kept.partition_point(|kept| kept.target < target);
            self.kept[first..].iter().take_while(|kept| kept.target == target).collect()
        };
        let mut labels: BTreeMap<usize, Mask> = BTreeMap::new();
        for kept in kept {
            let mut mask = self.pixels(kept)?.to_mask(&meanings.classes);
            if !several.is_empty() {
                let pair = self.pairing.masks[&target].iter().find(|(place, _)| *place == kept.mask);
                let name = pair.map(|pair| self.class_name(pair)).unwrap_or_default();
                let class = several.iter().position(|other| *other == name).map_or(1, |place| place as u8 + 1);
                let is_foreground = |pixel: &u8| *pixel != BACKGROUND && *pixel != UNLABELLED;
                mask.pixels_mut().iter_mut().filter(|pixel| is_foreground(pixel)).for_each(|pixel| *pixel = class);
            }
            match labels.entry(kept.page) {
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(mask)),
                std::collections::btree_map::Entry::Occupied(mut place) => {
                    join(place.get_mut(), &mask).map_err(|()| ProjectError::BadMask {
                        path: self.folder.join(&self.files[kept.mask]),
                        reason: "its objects overlap those of another class in another mask of the image".to_owned(),
                    })?;
                }
            }
        }
        // A page without any labelled pixel does not count as a label.
        let is_labelled = |mask: &Mask| mask.pixels().iter().any(|class| *class != UNLABELLED);
        Ok(labels.into_iter().filter(|(_, mask)| is_labelled(mask)).collect())
    }
}
