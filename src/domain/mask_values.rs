//! What the values of a folder of masks mean: one class for each value, the same in every file.
//!
//! Invariant: ambiguities are never resolved by guessing. If the values can be read in more than one way, the result is
//! a [`Question`] that says what settles it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::domain::mask::{BACKGROUND, UNLABELLED};

/// What one pixel of a mask file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskValue {
    /// A pixel that a label file of this program leaves without a label.
    NotLabelled,
    /// A pixel that is transparent in the file's alpha channel.
    Transparent,
    /// A grey value, or the index into a palette, as stored.
    Number(i64),
    /// A colour: red, green, blue. Greys are numbers.
    Colour([u8; 3]),
}

/// Colours that have a name in every language.
const NAMED_COLOURS: [([u8; 3], &str); 7] = [
    ([255, 0, 0], "red"),
    ([0, 255, 0], "green"),
    ([0, 0, 255], "blue"),
    ([255, 255, 0], "yellow"),
    ([0, 255, 255], "cyan"),
    ([255, 0, 255], "magenta"),
    ([255, 165, 0], "orange"),
];

impl MaskValue {
    /// The value of a pixel of this colour.
    pub fn of_colour([r, g, b]: [u8; 3]) -> Self {
        if r == g && g == b { Self::Number(i64::from(r)) } else { Self::Colour([r, g, b]) }
    }

    fn rgb(self) -> Option<[u8; 3]> {
        match self {
            Self::Colour(rgb) => Some(rgb),
            Self::Number(grey) => u8::try_from(grey).ok().map(|grey| [grey; 3]),
            Self::NotLabelled | Self::Transparent => None,
        }
    }
}

impl fmt::Display for MaskValue {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NotLabelled => write!(f, "not labelled"),
            Self::Transparent => write!(f, "transparent"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Colour(rgb) => write!(f, "#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2]),
        }
    }
}

impl FromStr for MaskValue {
    type Err = ();

    /// Reads a number, `#rrggbb`, or `transparent`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "transparent" {
            return Ok(Self::Transparent);
        }
        let Some(hex) = text.strip_prefix('#').filter(|hex| hex.len() == 6) else {
            return text.parse().map(Self::Number).map_err(|_| ());
        };
        let rgb = u32::from_str_radix(hex, 16).map_err(|_| ())?;
        Ok(Self::of_colour([(rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8]))
    }
}

impl Serialize for MaskValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which class each value of the masks becomes: 0 is background, 255 not labelled.
pub type ValueMap = BTreeMap<MaskValue, u8>;

/// The values of one mask file.
#[derive(Clone, Debug, Default)]
pub struct FileValues {
    /// Pixels of each value.
    pub counts: BTreeMap<MaskValue, u64>,
    /// Whether this program wrote the file as a label: its numbers are classes.
    pub is_label: bool,
    /// Numbers other than 0 whose pixels are all connected.
    pub in_one_part: usize,
    /// The colours that the file's palette gives to the indices that occur, where it has a palette.
    pub colours: BTreeMap<i64, [u8; 3]>,
    /// Whether low values are white (TIFF's WhiteIsZero).
    pub is_inverted: bool,
    /// Whether edges are smoothed: alpha takes values between opaque and transparent.
    pub is_smooth: bool,
}

/// In how many files and pixels a value occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Occurrence {
    /// Files.
    pub files: usize,
    /// Pixels over all files.
    pub pixels: u64,
}

/// The values of a folder of masks.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Each value that occurs.
    pub values: BTreeMap<MaskValue, Occurrence>,
    files: usize,
    label_files: usize,
    smooth_files: usize,
    /// Numbers other than 0, summed over the files, and how many of them form a single connected component.
    numbers: usize,
    in_one_part: usize,
    /// Most numbers other than 0 in one file.
    most_numbers: usize,
    /// The colours that the palettes give to each index.
    colours_of: BTreeMap<i64, BTreeSet<[u8; 3]>>,
    inverted_files: usize,
}

impl Census {
    /// Counts a file.
    pub fn add(&mut self, file: &FileValues) {
        for (value, pixels) in &file.counts {
            let occurrence = self.values.entry(*value).or_default();
            occurrence.files += 1;
            occurrence.pixels += pixels;
        }
        let numbers = file.counts.keys().filter(|value| matches!(value, MaskValue::Number(n) if *n != 0)).count();
        self.files += 1;
        self.label_files += usize::from(file.is_label);
        self.smooth_files += usize::from(file.is_smooth);
        self.numbers += numbers;
        self.in_one_part += file.in_one_part;
        self.most_numbers = self.most_numbers.max(numbers);
        self.inverted_files += usize::from(file.is_inverted);
        for (index, colour) in &file.colours {
            self.colours_of.entry(*index).or_default().insert(*colour);
        }
    }

    fn numbers(&self) -> Vec<i64> {
        let number = |value: &MaskValue| if let MaskValue::Number(n) = value { Some(*n) } else { None };
        self.values.keys().filter_map(number).filter(|n| *n != 0).collect()
    }

    fn colours(&self) -> Vec<[u8; 3]> {
        let colour = |value: &MaskValue| if let MaskValue::Colour(rgb) = value { Some(*rgb) } else { None };
        self.values.keys().filter_map(colour).collect()
    }

    fn has(&self, value: MaskValue) -> bool {
        self.values.contains_key(&value)
    }

    /// Whether a few values hold nearly all pixels and many others hardly any, as with compressed or smoothed edges.
    fn is_ringing(&self) -> bool {
        let mut pixels: Vec<u64> = self.values.values().map(|occurrence| occurrence.pixels).collect();
        pixels.sort_unstable();
        let all: u64 = pixels.iter().sum();
        let rare = pixels.iter().filter(|pixels| **pixels * 100 < all).count();
        pixels.len() > 8 && rare * 2 > pixels.len()
    }

    /// Whether the numbers look like instance numbers: many, each forming one connected component in its file.
    fn looks_like_instances(&self) -> bool {
        self.most_numbers >= FEWEST_INSTANCES && self.in_one_part * 10 >= self.numbers * 9
    }
}

/// Files with fewer numbers than this are not taken for instance masks.
pub const FEWEST_INSTANCES: usize = 5;
/// A folder with more values than this is not taken to contain classes that the user has named.
const MOST_CLASSES: usize = 32;
/// The colours of RootPainter's annotations: foreground, background; what is transparent is not labelled.
const ROOTPAINTER: [[u8; 3]; 2] = [[255, 0, 0], [0, 255, 0]];

/// What the user has specified about the values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueRules {
    /// The class of each value.
    pub map: Option<ValueMap>,
    /// Whether values not in the map take the class of the nearest value in it.
    pub nearest: bool,
    /// Values at or above this one are foreground, all others background.
    pub threshold: Option<f64>,
    /// What numbers are.
    pub numbers: Option<Numbers>,
}

/// What the numbers in masks stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Classes: each number is one.
    Classes,
    /// Single objects: all numbers but 0 are one class.
    Instances,
}

/// The class of each value in a folder, and the names of the classes if the values imply them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meanings {
    /// The class of each value.
    pub classes: ValueMap,
    /// Names by class.
    pub names: BTreeMap<u8, String>,
    /// By which rule, in words.
    pub rule: &'static str,
}

/// What only the user can decide about the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A map was given, and it does not name these.
    NotInMap(Vec<MaskValue>),
    /// Numbers that may be instance numbers: how many.
    Instances(usize),
    /// Values whose classes are not clear.
    Values(Vec<MaskValue>),
    /// 255 beside other numbers.
    Is255Class(Vec<MaskValue>),
    /// More values than there can be classes.
    TooMany(usize),
    /// Edges smoothed by alpha.
    Smooth,
    /// Transparent pixels beside others.
    Transparent(Vec<MaskValue>),
    /// Index 0 of the palette is not black.
    PaletteOrder([u8; 3], Vec<MaskValue>),
    /// An index has different colours in the palettes of different files.
    PalettesDiffer(i64, Vec<MaskValue>),
    /// Files whose value 0 is white.
    Inverted(Vec<MaskValue>),
}

fn list(values: &[MaskValue]) -> String {
    let shown: Vec<String> = values.iter().take(12).map(MaskValue::to_string).collect();
    let more = values.len().saturating_sub(12);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

impl Question {
    /// What is not clear.
    pub fn what(&self) -> String {
        match self {
            Self::NotInMap(values) => {
                format!("the masks also contain the values {}, which have no class yet", list(values))
            }
            Self::Instances(count) => format!(
                "the masks hold up to {count} numbers per file, each on one connected object: these look like instance \
                 numbers, not classes"
            ),
            Self::Values(values) => {
                format!("the masks contain the values {}, and it is not clear which classes they are", list(values))
            }
            Self::Is255Class(values) => {
                format!("the masks contain the values {}; 255 may be a class or mean not labelled", list(values))
            }
            Self::TooMany(count) => format!(
                "the masks hold {count} different values: smoothed or compressed edges, a probability map or a \
                 photograph, not classes"
            ),
            Self::Smooth => "the masks' alpha channel is smoothed at the edges".to_owned(),
            Self::Transparent(values) => format!(
                "the masks contain {}, and it is not clear whether transparent means background or not labelled",
                list(values)
            ),
            Self::PalettesDiffer(index, _) => format!(
                "the masks' palettes give index {index} different colours in different files, so one number may be \
                 several classes"
            ),
            Self::Inverted(_) => {
                "the masks are stored with 0 as white (WhiteIsZero), so 0 may be the object".to_owned()
            }
            Self::PaletteOrder([r, g, b], _) => format!(
                "the masks' palette has the colour #{r:02x}{g:02x}{b:02x} at index 0, where background is usually black"
            ),
        }
    }
}

/// The class of each value, or what the user must decide first.
pub fn decide(census: &Census, rules: &ValueRules) -> Result<Meanings, Question> {
    let values: Vec<MaskValue> = census.values.keys().copied().filter(|v| *v != MaskValue::NotLabelled).collect();
    let mut meanings = if rules.threshold.is_some() {
        // The reader has already reduced the values to 0 and 1.
        Meanings { rule: "values from the threshold on are foreground", ..as_numbers(&values) }
    } else if let Some(map) = &rules.map {
        by_map(&values, map, rules.nearest)?
    } else if census.label_files == census.files && census.files > 0 {
        Meanings { rule: "label files of this program: classes as stored", ..as_numbers(&values) }
    } else {
        by_looks(census, rules, &values)?
    };
    meanings.classes.insert(MaskValue::NotLabelled, UNLABELLED);
    Ok(meanings)
}

fn as_numbers(values: &[MaskValue]) -> Meanings {
    let class = |value: &MaskValue| match value {
        MaskValue::Number(number) => u8::try_from(*number).ok().filter(|class| *class < UNLABELLED),
        MaskValue::NotLabelled | MaskValue::Transparent | MaskValue::Colour(_) => None,
    };
    let classes = values.iter().filter_map(|value| Some((*value, class(value)?))).collect();
    Meanings { classes, ..Meanings::default() }
}

fn by_map(values: &[MaskValue], map: &ValueMap, nearest: bool) -> Result<Meanings, Question> {
    let mut map = map.clone();
    map.entry(MaskValue::Number(0)).or_insert(BACKGROUND);
    let distance = |a: MaskValue, b: MaskValue| match (a.rgb(), b.rgb()) {
        (Some(a), Some(b)) => Some((0..3).map(|c| i64::from(a[c].abs_diff(b[c])).pow(2)).sum::<i64>()),
        _ => match (a, b) {
            (MaskValue::Number(a), MaskValue::Number(b)) => Some(a.saturating_sub(b).saturating_pow(2)),
            _ => None,
        },
    };
    let class = |value: MaskValue| {
        let near = || {
            let known = map.iter().filter_map(|(known, class)| Some((distance(value, *known)?, *class)));
            known.min_by_key(|(distance, _)| *distance).map(|(_, class)| class)
        };
        map.get(&value).copied().or_else(|| if nearest { near() } else { None })
    };
    let unknown: Vec<MaskValue> = values.iter().copied().filter(|value| class(*value).is_none()).collect();
    if !unknown.is_empty() {
        return Err(Question::NotInMap(unknown));
    }
    let classes = values.iter().filter_map(|value| Some((*value, class(*value)?))).collect();
    let rule = if nearest { "as the given map says, other values as the nearest" } else { "as the given map says" };
    Ok(Meanings { classes, names: BTreeMap::new(), rule })
}

/// Without input from the user: accepts only values with a single interpretation.
fn by_looks(census: &Census, rules: &ValueRules, values: &[MaskValue]) -> Result<Meanings, Question> {
    let (numbers, colours) = (census.numbers(), census.colours());
    if census.inverted_files > 0 {
        return Err(Question::Inverted(values.to_vec()));
    }
    if rules.numbers == Some(Numbers::Instances) {
        let is_object = |value: MaskValue| ![MaskValue::Number(0), MaskValue::Transparent].contains(&value);
        let classes = values.iter().map(|value| (*value, u8::from(is_object(*value)))).collect();
        return Ok(Meanings { classes, names: BTreeMap::new(), rule: "every value but 0 is an object" });
    }
    if rules.numbers.is_none() && census.looks_like_instances() {
        return Err(Question::Instances(census.most_numbers));
    }
    if census.smooth_files > 0 {
        return Err(Question::Smooth);
    }
    let has_alpha = census.has(MaskValue::Transparent);
    if (values.len() > MOST_CLASSES || census.is_ringing()) && rules.numbers.is_none() {
        return Err(Question::TooMany(values.len()));
    }
    if has_alpha {
        return by_alpha(values, &colours);
    }
    if let Some((index, _)) = census.colours_of.iter().find(|(_, colours)| colours.len() > 1) {
        return Err(Question::PalettesDiffer(*index, values.to_vec()));
    }
    let first = census.colours_of.get(&0).and_then(|colours| colours.first());
    if let Some(first) = first.filter(|colour| **colour != [0; 3]) {
        return Err(Question::PaletteOrder(*first, values.to_vec()));
    }
    let background = (MaskValue::Number(0), BACKGROUND);
    let is_classes = rules.numbers == Some(Numbers::Classes);
    match (numbers.as_slice(), colours.as_slice()) {
        ([], []) => Ok(Meanings { classes: [background].into(), names: BTreeMap::new(), rule: "0 is background" }),
        // A single small number may be one class of several that other folders have.
        ([only], []) if !is_classes && (*only == 1 || *only > MOST_CLASSES as i64) => Ok(Meanings {
            classes: [background, (MaskValue::Number(*only), 1)].into(),
            names: BTreeMap::new(),
            rule: "0 is background, the only other value is foreground",
        }),
        (numbers, []) => {
            let fits = numbers.iter().all(|n| (1..255).contains(n));
            let has_background = census.has(MaskValue::Number(0));
            let is_gapless =
                has_background && numbers.len() > 1 && numbers.iter().zip(1..).all(|(n, place)| *n == place);
            if fits && (is_gapless || is_classes) {
                return Ok(Meanings { rule: "each number is the class of that number", ..as_numbers(values) });
            }
            if numbers.contains(&255) && numbers.len() > 1 {
                return Err(Question::Is255Class(values.to_vec()));
            }
            Err(Question::Values(values.to_vec()))
        }
        (numbers, colours) => {
            let is_on_black = census.has(MaskValue::Number(0)) && numbers.iter().all(|n| *n == 255);
            if !is_on_black {
                return Err(Question::Values(values.to_vec()));
            }
            if values.len() > MOST_CLASSES {
                return Err(Question::TooMany(values.len()));
            }
            let others = colours.iter().map(|rgb| MaskValue::Colour(*rgb));
            let others: Vec<MaskValue> = numbers.iter().map(|n| MaskValue::Number(*n)).chain(others).collect();
            let classes = others.iter().copied().zip(1..).chain([background]).collect();
            let names = (1..).zip(others.iter().map(|value| colour_name(*value))).collect();
            Ok(Meanings { classes, names, rule: "black is background, each colour is a class" })
        }
    }
}

fn by_alpha(values: &[MaskValue], colours: &[[u8; 3]]) -> Result<Meanings, Question> {
    let opaque: Vec<MaskValue> = values.iter().copied().filter(|value| *value != MaskValue::Transparent).collect();
    let [foreground, background] = ROOTPAINTER.map(MaskValue::Colour);
    if opaque == [background, foreground] {
        return Ok(Meanings {
            classes: [(foreground, 1), (background, BACKGROUND), (MaskValue::Transparent, UNLABELLED)].into(),
            names: BTreeMap::new(),
            rule: "RootPainter's annotations: red is foreground, green background, transparent not labelled",
        });
    }
    let is_rootpainter = colours.iter().any(|colour| ROOTPAINTER.contains(colour));
    match opaque.as_slice() {
        [only] if !is_rootpainter => Ok(Meanings {
            classes: [(MaskValue::Transparent, BACKGROUND), (*only, 1)].into(),
            names: BTreeMap::new(),
            rule: "transparent is background, opaque is foreground",
        }),
        _ => Err(Question::Transparent(values.to_vec())),
    }
}

fn colour_name(value: MaskValue) -> String {
    let named = NAMED_COLOURS.iter().find(|(rgb, _)| MaskValue::Colour(*rgb) == value).map(|(_, name)| *name);
    match (named, value) {
        (Some(name), _) => name.to_owned(),
        (None, MaskValue::Number(255)) => "white".to_owned(),
        (None, value) => value.to_string(),
    }
}
