//! Pairs masks with images by name and folder.
//!
//! Invariant: a file is never its own mask, and an ambiguous mask is not paired with any image.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// Suffixes that a mask's name may have after the name of its image.
pub const MASK_SUFFIXES: &[&str] =
    &["_mask", "_masks", "_segmentation", "_label", "_labels", "_cp_masks", "_seg", "_gt"];
/// Suffix that an image's name may have after the name of its mask: nnU-Net's first channel.
const IMAGE_SUFFIX: &str = "_0000";

/// The rule by which a mask was paired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairingRule {
    /// Apart from the suffix, its path in the mask folder equals the image's path in the image folder.
    Path(String),
    /// Apart from the suffix, its name matches that of exactly one image.
    Name(String),
    /// It references the images that it was drawn on.
    Reference,
    /// It is named after the folder of a series and has the same position in the patient as the images.
    Place,
}

impl std::fmt::Display for PairingRule {
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

/// Which masks belong to which images, as indices into the given lists.
#[derive(Debug, Default)]
pub struct Pairing {
    /// For each image with masks, the masks and the rule by which each was paired.
    pub masks: BTreeMap<usize, Vec<(usize, PairingRule)>>,
    /// Masks without an image, each with the reason.
    pub unpaired: Vec<(usize, String)>,
}

/// A relative path in the form used for comparison.
#[derive(Clone, PartialEq, Eq, Hash)]
struct NameKey {
    folder: String,
    stem: String,
}

/// A file's name without its extension, where double extensions such as `.nii.gz` and `.ome.tif` are removed whole.
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

/// Converts a file name to text. A name that is not valid UTF-8 is decoded as Latin-1.
fn text(name: &std::ffi::OsStr) -> String {
    let bytes = name.as_encoded_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|b| char::from(*b)).collect(), str::to_owned)
}

impl NameKey {
    fn new(path: &Path, is_folded: bool) -> Self {
        let fold = |text: String| if is_folded { text.nfc().collect::<String>().to_lowercase() } else { text };
        let folder = path.parent().map_or(String::new(), |folder| text(folder.as_os_str()));
        Self { folder: fold(folder), stem: fold(stem(path)) }
    }
}

/// The possible stems of the image belonging to a mask with this stem, most likely first, each with the suffix that the
/// mask has in addition.
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

/// Pairs masks with images, both given by paths relative to their folders. `suffix` is the suffix of the masks' names,
/// to be used instead of [`MASK_SUFFIXES`].
pub fn pair(images: &[PathBuf], masks: &[PathBuf], suffix: Option<&str>) -> Pairing {
    let suffixes: Vec<&str> = suffix.map_or(MASK_SUFFIXES.to_vec(), |suffix| vec![suffix]);
    let mut pairing = Pairing::default();
    let mut left: Vec<usize> = (0..masks.len()).collect();
    let mut reasons: HashMap<usize, String> = HashMap::new();
    // Exact names first; ignore Unicode normalization and letter case only for the remaining masks.
    for is_folded in [false, true] {
        let keys: Vec<NameKey> = images.iter().map(|path| NameKey::new(path, is_folded)).collect();
        let folders: HashSet<&str> = keys.iter().map(|key| key.folder.as_str()).collect();
        let mut by_stem: HashMap<&str, Vec<usize>> = HashMap::new();
        for (image, key) in keys.iter().enumerate() {
            by_stem.entry(&key.stem).or_default().push(image);
        }
        left.retain(|mask| {
            let key = NameKey::new(&masks[*mask], is_folded);
            let mut stems = image_stems(&key.stem, &suffixes);
            if suffix.is_some() {
                stems.retain(|(_, has)| !has.is_empty());
            }
            // Every image that matches any interpretation of the name, with the suffix assumed by that interpretation.
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
            // The folder distinguishes images of the same name, but not two interpretations of the mask's name.
            let is_one_reading = meant.windows(2).all(|pair| pair[0].1 == pair[1].1);
            let found = match (beside.as_slice(), meant.as_slice()) {
                (_, []) => return true,
                ([(image, suffix)], _) if is_one_reading => (*image, PairingRule::Path((*suffix).to_owned())),
                // If there are images in the mask's folder, the mask must belong to one of them.
                ([], [_]) if !key.folder.is_empty() && folders.contains(key.folder.as_str()) => {
                    reasons.insert(*mask, "no image of its folder has its name".to_owned());
                    return true;
                }
                ([], [(image, suffix)]) => (*image, PairingRule::Name((*suffix).to_owned())),
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

/// Indices of the files that are masks of others in the list: a file in the same folder has the same name without the
/// suffix.
pub fn masks_among(files: &[PathBuf], suffix: Option<&str>) -> Vec<usize> {
    let suffixes: Vec<&str> = suffix.map_or(MASK_SUFFIXES.to_vec(), |suffix| vec![suffix]);
    let keys: HashMap<NameKey, usize> =
        files.iter().enumerate().map(|(i, path)| (NameKey::new(path, false), i)).collect();
    let is_mask = |(i, path): (usize, &PathBuf)| {
        let key = NameKey::new(path, false);
        let stems = image_stems(&key.stem, &suffixes).into_iter().filter(|(_, suffix)| !suffix.is_empty());
        let mut beside = stems.filter_map(|(stem, _)| keys.get(&NameKey { folder: key.folder.clone(), stem }));
        beside.any(|image| *image != i).then_some(i)
    };
    files.iter().enumerate().filter_map(is_mask).collect()
}
