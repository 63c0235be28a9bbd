//! Which mask belongs to which image, by their names and folders.
//!
//! Invariant: a file is never its own mask, and where more than one image could be meant, none is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// What the name of a mask may have after that of its image.
pub const MASK_SUFFIXES: &[&str] =
    &["_mask", "_masks", "_segmentation", "_label", "_labels", "_cp_masks", "_seg", "_gt"];
/// What the name of an image may have after that of its mask: nnU-Net's first channel.
const IMAGE_SUFFIX: &str = "_0000";

/// By which rule a mask was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Its path below the folder of masks is the image's below the folder of images, but for the suffix.
    Path(String),
    /// Its name is that of one image only, but for the suffix.
    Name(String),
    /// It names the images that it was drawn on.
    Reference,
    /// It is named after the folder of a series, and lies where the images do.
    Place,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (what, suffix) = match self {
            Self::Path(suffix) => ("the same path", suffix),
            Self::Name(suffix) => ("the same name", suffix),
            Self::Reference => return f.write_str("what the DICOM segmentation names"),
            Self::Place => return f.write_str("the name of the series' folder and the place in the patient"),
        };
        if suffix.is_empty() { write!(f, "{what}") } else { write!(f, "{what} with {suffix}") }
    }
}

/// Which masks belong to which images, by their places in the lists given.
#[derive(Debug, Default)]
pub struct Pairing {
    /// For each image that has any, its masks and the rule of each.
    pub masks: BTreeMap<usize, Vec<(usize, Rule)>>,
    /// Masks of no image, with the reason.
    pub unpaired: Vec<(usize, String)>,
}

/// A path below its folder as it is compared.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    folder: String,
    stem: String,
}

/// A file's name without its ending; both endings of `.nii.gz` and `.ome.tif`.
pub fn stem(path: &Path) -> String {
    let name = text(path.file_name().unwrap_or_default());
    let lower = name.to_ascii_lowercase();
    let double = [".nii.gz", ".hdr.gz", ".img.gz", ".ome.tif", ".ome.tiff"].iter().find(|e| lower.ends_with(*e));
    let length = match double {
        Some(ending) => name.len() - ending.len(),
        None => name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len()),
    };
    name[..length].to_owned()
}

/// A name as text: bytes that are not UTF-8 are taken as Latin-1.
fn text(name: &std::ffi::OsStr) -> String {
    let bytes = name.as_encoded_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|b| char::from(*b)).collect(), str::to_owned)
}

impl Key {
    fn new(path: &Path, is_folded: bool) -> Self {
        let fold = |text: String| if is_folded { text.nfc().collect::<String>().to_lowercase() } else { text };
        let folder = path.parent().map_or(String::new(), |folder| text(folder.as_os_str()));
        Self { folder: fold(folder), stem: fold(stem(path)) }
    }
}

/// The names that the image of a mask of this name may have, with the suffix that the mask has more: the likeliest first.
fn image_stems(mask: &str, suffixes: &[&str]) -> Vec<(String, String)> {
    let mut bases = vec![(mask.to_owned(), String::new())];
    let unnumbered = mask.rsplit_once('_').filter(|(_, number)| number.chars().all(|c| c.is_ascii_digit()));
    for name in [Some(mask), unnumbered.map(|(name, _)| name)].into_iter().flatten() {
        let cut =
            |suffix: &&str| Some((name.strip_suffix(suffix)?.to_owned(), mask[name.len() - suffix.len()..].to_owned()));
        let mut cut: Vec<(String, String)> = suffixes.iter().filter_map(cut).collect();
        // The longest suffix first: `_cp_masks` before `_masks`.
        cut.sort_by_key(|(_, suffix)| std::cmp::Reverse(suffix.len()));
        bases.extend(cut);
    }
    let with_channel = bases.clone().into_iter().map(|(base, suffix)| (format!("{base}{IMAGE_SUFFIX}"), suffix));
    bases.extend(with_channel);
    bases
}

/// Pairs masks with images; the paths are those below the folders of each. `suffix`: the one that masks have, rather than
/// any of [`MASK_SUFFIXES`].
pub fn pair(images: &[PathBuf], masks: &[PathBuf], suffix: Option<&str>) -> Pairing {
    let suffixes: Vec<&str> = suffix.map_or(MASK_SUFFIXES.to_vec(), |suffix| vec![suffix]);
    let mut pairing = Pairing::default();
    let mut left: Vec<usize> = (0..masks.len()).collect();
    let mut reasons: HashMap<usize, String> = HashMap::new();
    // Exact names first; Unicode's forms and letter case only for what those leave.
    for is_folded in [false, true] {
        let keys: Vec<Key> = images.iter().map(|path| Key::new(path, is_folded)).collect();
        let folders: HashSet<&str> = keys.iter().map(|key| key.folder.as_str()).collect();
        let mut by_stem: HashMap<&str, Vec<usize>> = HashMap::new();
        for (image, key) in keys.iter().enumerate() {
            by_stem.entry(&key.stem).or_default().push(image);
        }
        left.retain(|mask| {
            let key = Key::new(&masks[*mask], is_folded);
            let mut stems = image_stems(&key.stem, &suffixes);
            if suffix.is_some() {
                stems.retain(|(_, has)| !has.is_empty());
            }
            // Every image that any reading of the name means, with the suffix of that reading.
            let mut meant: Vec<(usize, &str)> = Vec::new();
            for (stem, suffix) in &stems {
                for image in by_stem.get(stem.as_str()).into_iter().flatten() {
                    if meant.iter().all(|(known, _)| known != image) {
                        meant.push((*image, suffix));
                    }
                }
            }
            let beside: Vec<(usize, &str)> =
                meant.iter().copied().filter(|(image, _)| keys[*image].folder == key.folder).collect();
            // Images of one name in several folders are told apart by the folder, but not two readings of the name.
            let is_one_reading = meant.windows(2).all(|pair| pair[0].1 == pair[1].1);
            let found = match (beside.as_slice(), meant.as_slice()) {
                (_, []) => return true,
                ([(image, suffix)], _) if is_one_reading => (*image, Rule::Path((*suffix).to_owned())),
                // Where images have the mask's folder, the mask is of one of those.
                ([], [_]) if !key.folder.is_empty() && folders.contains(key.folder.as_str()) => {
                    reasons.insert(*mask, "no image of its folder has its name".to_owned());
                    return true;
                }
                ([], [(image, suffix)]) => (*image, Rule::Name((*suffix).to_owned())),
                _ => {
                    let names: Vec<String> =
                        meant.iter().take(4).map(|(image, _)| images[*image].display().to_string()).collect();
                    let reason = format!("its name fits {} images: {}", meant.len(), names.join(", "));
                    reasons.insert(*mask, reason);
                    return true;
                }
            };
            pairing.masks.entry(found.0).or_default().push((*mask, found.1));
            false
        });
        left.retain(|mask| {
            is_folded || !reasons.contains_key(mask) || {
                pairing.unpaired.push((*mask, reasons[mask].clone()));
                false
            }
        });
    }
    let none = || "no image has its name".to_owned();
    pairing.unpaired.extend(left.into_iter().map(|mask| (mask, reasons.remove(&mask).unwrap_or_else(none))));
    pairing
}

/// Files of one folder that are masks of others in it: named as an image beside them is, with a suffix more.
pub fn masks_among(files: &[PathBuf], suffix: Option<&str>) -> Vec<usize> {
    let suffixes: Vec<&str> = suffix.map_or(MASK_SUFFIXES.to_vec(), |suffix| vec![suffix]);
    let keys: HashMap<Key, usize> = files.iter().enumerate().map(|(i, path)| (Key::new(path, false), i)).collect();
    let is_mask = |(i, path): (usize, &PathBuf)| {
        let key = Key::new(path, false);
        let stems = image_stems(&key.stem, &suffixes).into_iter().filter(|(_, suffix)| !suffix.is_empty());
        let mut beside = stems.filter_map(|(stem, _)| keys.get(&Key { folder: key.folder.clone(), stem }));
        beside.any(|image| *image != i).then_some(i)
    };
    files.iter().enumerate().filter_map(is_mask).collect()
}
