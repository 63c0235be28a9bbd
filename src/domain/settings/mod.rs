//! Every setting of the method, in one table.
//!
//! The command line, the settings panel and `assets/manual/reference.md` are made from [`TABLE`]: a setting exists
//! once.

mod auto;
mod words;

use serde::{Deserialize, Serialize};

pub use auto::OrAuto;
pub use words::{
    Budget, Channels, DropoutPlace, Encoder, Flips, Geometry, Loss, Order, Policy, Schedule, Score, Start, ValueRangeBy,
};

/// What kind of value a setting takes, and which values are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number within the bounds, both included.
    Whole(u64, u64),
    /// A number within the bounds, both included.
    Real(f64, f64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Whole numbers separated by commas: how many of them, and the bounds of each.
    List(usize, usize, u64, u64),
    /// The same, or the word `auto`.
    ListOrAuto(usize, usize, u64, u64),
}

/// One row of the table.
pub struct Setting {
    /// Its name on the command line and in stored settings.
    pub key: &'static str,
    /// The heading it appears under.
    pub group: &'static str,
    /// Its name in the window.
    pub label: &'static str,
    /// What it is measured in; empty for a bare number.
    pub unit: &'static str,
    /// Values it takes.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub help: &'static str,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Option<()>,
}

/// A `key=value` that cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// No such key.
    #[error("there is no setting `{0}`")]
    UnknownKey(String),
    /// The value is not in range.
    #[error("{key} = {value}: {expected} is expected")]
    BadValue {
        /// The setting's key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Not of the form `key=value`.
    #[error("`{0}`: write key=value")]
    NoEquals(String),
    /// Settings that contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

trait Value: Sized {
    fn read(text: &str) -> Option<Self>;
    fn show(&self) -> String;
}

macro_rules! plain_value {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read(text: &str) -> Option<Self> { text.trim().parse().ok() }
            fn show(&self) -> String { self.to_string() }
        }
    )*};
}
plain_value!(bool, usize, u64, f64);

impl Value for Vec<usize> {
    fn read(text: &str) -> Option<Self> {
        text.split(',').map(|part| part.trim().parse().ok()).collect()
    }
    fn show(&self) -> String {
        self.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
    }
}

impl<T: Value> Value for OrAuto<T> {
    fn read(text: &str) -> Option<Self> {
        if text.trim() == Self::WORD { Some(Self::Auto) } else { T::read(text).map(Self::Is) }
    }
    fn show(&self) -> String {
        match self {
            Self::Auto => Self::WORD.to_owned(),
            Self::Is(value) => value.show(),
        }
    }
}

macro_rules! table {
    ($($group:literal { $($field:ident: $type:ty = $default:expr, $label:literal, $unit:literal, $kind:expr, $help:literal;)* })*) => {
        /// All settings of a project; [`Default`] is the preset `quick`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Settings { $($(#[doc = $help] pub $field: $type,)*)* }

        impl Default for Settings {
            fn default() -> Self { Self { $($($field: $default,)*)* } }
        }

        /// The table, in the order it is shown.
        pub const TABLE: &[Setting] = &[$($(Setting {
            key: stringify!($field), group: $group, label: $label, unit: $unit, kind: $kind, help: $help,
            get: |settings| settings.$field.show(),
            set: |settings, text| { settings.$field = <$type as Value>::read(text)?; Some(()) },
        },)*)*];
    };
}

table! {
    "Network" {
        encoder: Encoder = Encoder::Lite0, "Encoder", "", Kind::Choice(Encoder::WORDS), "The network's encoder: the U-Net's own, trained from scratch, or EfficientNet-Lite0, pre-trained on ImageNet.";
        encoder_rate: f64 = 0.3, "Encoder learning rate", "share", Kind::Real(0.0, 1.0), "Encoder lite0: the share of the learning rate that it is trained with; 0: it is frozen.";
        widths: OrAuto<Vec<usize>> = OrAuto::Auto, "Widths", "filters", Kind::ListOrAuto(2, 7, 1, 1024),
            "Filters of each level of the U-Net, from full resolution down; their number is the number of levels. auto: 16, and twice as many each level down, at most 512, as many levels as the input's size allows. Encoder lite0 has levels of its own; on the command line, setting this sets encoder=unet.";
        geometry: Geometry = Geometry::Auto, "Geometry", "", Kind::Choice(Geometry::WORDS), "Whether an image is squeezed to the input's size (resize), or cut into overlapping tiles of that size at full resolution (tiles); auto: the first round chooses that and the input's size by the images' sizes and how thin the labelled structures are.";
        rows: usize = 96, "Input rows", "pixels", Kind::Whole(16, 4096), "Height of the network's input, to which an image is resized or cut; a multiple of 2^(levels − 1), with encoder lite0 of 32. On the command line, setting it turns geometry auto into resize.";
        columns: usize = 128, "Input columns", "pixels", Kind::Whole(16, 4096), "Width of the network's input, to which an image is resized or cut; a multiple of 2^(levels − 1), with encoder lite0 of 32. On the command line, setting it turns geometry auto into resize.";
        tile_overlap: f64 = 0.25, "Tile overlap", "of a tile", Kind::Real(0.0, 0.75), "How much neighbouring tiles overlap at least, where predictions are blended.";
        tiles_image: usize = 16, "Tiles per image", "tiles", Kind::Whole(1, 1000), "Tiles that a labelled image gives to a round's training at most, drawn around its labels; no more than four for each tile's worth of labelled pixels.";
        channels: Channels = Channels::Auto, "Channels", "", Kind::Choice(Channels::WORDS), "What the network sees of an image: its luminance (grey) or its colours (rgb); auto: the first round takes rgb if any of up to 32 images, spread evenly over the project, has colour.";
        image_channels: Vec<usize> = vec![1, 2, 3], "Image channels", "numbers", Kind::List(1, 3, 1, 1000), "Which channels of an image the network sees, from 1, as red, green and blue; of one only, as grey.";
        value_range: ValueRangeBy = ValueRangeBy::Percentiles, "Value range", "", Kind::Choice(ValueRangeBy::WORDS), "Which values of an image are the network's 0 and 1: 0.1 % and 99.9 % of the values of the project's images (8-bit images: 0 and 255), a fixed window, or percentiles of each image.";
        value_low: f64 = -160.0, "Window from", "value", Kind::Real(-1e9, 1e9), "Value range window: the value that becomes 0, such as -160 Hounsfield units.";
        value_high: f64 = 240.0, "Window to", "value", Kind::Real(-1e9, 1e9), "Value range window: the value that becomes 1, such as 240 Hounsfield units.";
        dropout: f64 = 0.5, "Dropout", "probability", Kind::Real(0.0, 0.95), "Probability that dropout clears a feature, in training and in the passes that measure uncertainty.";
        dropout_place: DropoutPlace = DropoutPlace::Deepest, "Dropout after", "", Kind::Choice(DropoutPlace::WORDS), "Levels after which dropout acts: the deepest, the deepest and the decoder, or all below the first.";
    }
    "Training" {
        loss: Loss = Loss::Both, "Loss", "", Kind::Choice(Loss::WORDS), "What training minimises.";
        learning_rate: f64 = 1e-3, "Learning rate", "", Kind::Real(1e-7, 1.0), "Step size of the Adam optimizer.";
        schedule: Schedule = Schedule::Decay, "Learning rate over time", "", Kind::Choice(Schedule::WORDS), "Whether the learning rate stays, falls to 0 along half a cosine over the round's training, or stays and falls to 0 in the last part of it (decay).";
        budget: Budget = Budget::Seconds, "Train for", "", Kind::Choice(Budget::WORDS), "What a round's training is measured in: the seconds, steps or epochs below. On the command line, setting one of those sets this too.";
        seconds: f64 = 60.0, "Seconds", "s", Kind::Real(0.1, 1e6), "How long a round trains, pauses not counted.";
        steps: usize = 1500, "Steps", "steps", Kind::Whole(1, 10_000_000), "Steps of the optimizer that a round trains for: with the same seed and device a round can be repeated.";
        epochs: usize = 20, "Epochs, first round", "epochs", Kind::Whole(1, 10_000), "Times the first round goes through all labelled images.";
        epochs_later: usize = 20, "Epochs, later rounds", "epochs", Kind::Whole(1, 10_000), "Times each later round goes through all labelled images.";
        adaptive: bool = true, "Adapt the length", "", Kind::Switch, "With schedule decay and a budget of seconds or steps: end earlier once validation Dice (without it, the loss) gets no better, and go on for up to half as long again while it still does.";
        keep_best: bool = true, "Keep the best", "", Kind::Switch, "Keep the weights with the highest validation Dice instead of the last ones.";
        patience: usize = 0, "Patience", "epochs", Kind::Whole(0, 10_000), "With a budget of epochs: end training once validation Dice has not risen for this many; 0 goes through them all.";
        batch: usize = 4, "Batch", "images", Kind::Whole(1, 256), "Images in one training step.";
        start: Start = Start::Fresh, "Start from", "", Kind::Choice(Start::WORDS), "Weights a round starts from: new random ones, or the active round's.";
        augment_flips: Flips = Flips::Auto, "Flips", "", Kind::Choice(Flips::WORDS), "Mirror training images at random; auto: left–right and top–bottom, but not along an axis along which one class always lies on the same side of another, such as the left lung and the right.";
        augment_rotation: f64 = 20.0, "Rotation", "degrees", Kind::Real(0.0, 180.0), "Turn training images by a random angle of up to this much either way.";
        augment_scale: f64 = 0.1, "Scale", "share", Kind::Real(0.0, 0.5), "Enlarge or shrink training images by a random share of up to this much.";
        augment_brightness: f64 = 0.1, "Brightness", "of full range", Kind::Real(0.0, 0.5), "Brighten or darken training images at random by up to this much.";
        augment_contrast: f64 = 0.1, "Contrast", "share", Kind::Real(0.0, 0.9), "Raise or lower the contrast of training images at random by up to this much.";
        validation_share: f64 = 0.2, "Validation share", "of labelled", Kind::Real(0.0, 0.5), "Share of the labelled images kept for validation: drawn once, never trained on.";
        dice_tolerance: f64 = 0.02, "Dice tolerance", "Dice", Kind::Real(0.0, 1.0), "A round whose validation Dice falls by more than this, and by more than the noise of the validation images, does not become active.";
        stop_rounds: usize = 3, "Stop after rounds", "rounds", Kind::Whole(1, 1000), "Advise to stop once this many rounds together have raised validation Dice by no more than its noise.";
        seed: u64 = 0, "Seed", "", Kind::Whole(0, u64::MAX), "Start of every random draw: the same seed and device repeat a round.";
    }
    "Scoring and query" {
        passes: usize = 20, "Passes T", "passes", Kind::Whole(2, 1000), "Monte-Carlo dropout passes over each image.";
        passes_mirrored: bool = true, "Mirrored passes", "", Kind::Switch, "Spread the passes over the image and those mirror images that the network was trained with (test-time augmentation): better calibrated, but slower.";
        score: Score = Score::VarianceEdtMean, "Score", "", Kind::Choice(Score::WORDS), "The score by which images are ranked for the query.";
        policy: Policy = Policy::Uncertain, "Policy", "", Kind::Choice(Policy::WORDS), "How images are picked: in the paper's three kinds below (ceal), or all of their number by score (uncertain), with noise that fades over the rounds, half of them by each class in turn (uncertain-noisy), or the most uncertain tile of each image, which alone is to be labelled (uncertain-tiles; only with geometry tiles), or those that represent others (representative), or all at random (random), or at random where the network found something (random-foreground); diverse: no two nearly equal ones.";
        query_spread: usize = 4, "Candidates per pick", "images", Kind::Whole(1, 100), "With a diverse policy: the most uncertain are picked, unlike each other in the deepest features, out of this many times as many.";
        query_no_detection: usize = 5, "No detection", "images", Kind::Whole(0, 10_000), "Images proposed a round because the network found nothing in them.";
        query_uncertain: usize = 5, "Most uncertain", "images", Kind::Whole(0, 10_000), "Images proposed a round because their score is highest.";
        query_random: usize = 5, "Random", "images", Kind::Whole(0, 10_000), "Images proposed a round at random.";
    }
    "Pseudo-labels" {
        pseudo_from: usize = 1, "From round", "round", Kind::Whole(0, 10_000), "First round after which the network's own masks of its most certain images are offered as labels (policies ceal and ceal-diverse); 0: never.";
        pseudo_count: usize = 60, "Images", "images", Kind::Whole(0, 100_000), "Pseudo-labelled images after that round; never more than two for each label.";
        pseudo_growth: usize = 60, "More each round", "images", Kind::Whole(0, 100_000), "Pseudo-labelled images more after each later round.";
        pseudo_variance: f64 = 0.05, "Largest variance", "", Kind::Real(0.0, 0.25), "Pixels of a pseudo-label with a higher predictive variance, summed over the classes, stay unlabelled.";
        pseudo_dice: f64 = 0.7, "Least validation Dice", "Dice", Kind::Real(0.0, 1.0), "A network of a lower validation Dice, or of none, labels no images; 0: any may.";
        pseudo_calibration: f64 = 0.1, "Largest calibration error", "", Kind::Real(0.0, 1.0), "A network whose expected calibration error over the validation images is larger, or not known, labels no images; 1: any may.";
        pseudo_weight: f64 = 0.5, "Weight in the loss", "", Kind::Real(0.0, 1.0), "What a pseudo-labelled image counts in the loss, where a human label counts 1.";
        pseudo_ask: bool = false, "Only accepted ones", "", Kind::Switch, "Train on the pseudo-labels that a person has accepted; off: on all that are not rejected.";
    }
}

impl Settings {
    /// The settings of the paper (Gorriz et al., arXiv 1711.09168).
    pub fn paper() -> Self {
        Self {
            encoder: Encoder::Unet,
            widths: OrAuto::Is(vec![32, 64, 128, 256, 512]),
            geometry: Geometry::Resize,
            rows: 192,
            columns: 240,
            channels: Channels::Grey,
            passes_mirrored: false,
            dropout: 0.5,
            dropout_place: DropoutPlace::Deepest,
            loss: Loss::Dice,
            learning_rate: 1e-5,
            epochs: 10,
            epochs_later: 2,
            keep_best: false,
            patience: 0,
            schedule: Schedule::Constant,
            budget: Budget::Epochs,
            batch: 32,
            start: Start::Previous,
            augment_flips: Flips::None,
            augment_rotation: 0.0,
            augment_scale: 0.0,
            augment_brightness: 0.0,
            augment_contrast: 0.0,
            passes: 20,
            score: Score::VarianceEdtSum,
            policy: Policy::Ceal,
            query_no_detection: 10,
            query_uncertain: 10,
            query_random: 15,
            pseudo_from: 5,
            pseudo_count: 20,
            pseudo_growth: 20,
            pseudo_variance: 0.25,
            pseudo_dice: 0.0,
            pseudo_calibration: 1.0,
            pseudo_weight: 1.0,
            ..Self::default()
        }
    }

    /// A preset by name: `quick` or `paper`.
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "quick" => Some(Self::default()),
            "paper" => Some(Self::paper()),
            _ => None,
        }
    }

    /// Applies one `key=value`. Setting a length of training also sets the budget's unit, setting widths selects the
    /// U-Net's own encoder, and setting rows or columns turns geometry `auto` into `resize`.
    pub fn assign(&mut self, assignment: &str) -> Result<(), SettingError> {
        let (key, value) = assignment.split_once('=').ok_or_else(|| SettingError::NoEquals(assignment.to_owned()))?;
        let key = key.trim();
        self.set(key, value.trim())?;
        match key {
            "seconds" => self.budget = Budget::Seconds,
            "steps" => self.budget = Budget::Steps,
            "epochs" | "epochs_later" => self.budget = Budget::Epochs,
            "widths" => self.encoder = Encoder::Unet,
            "rows" | "columns" if self.geometry == Geometry::Auto => self.geometry = Geometry::Resize,
            _ => {}
        }
        Ok(())
    }

    /// Sets the setting `key` from text.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let setting = TABLE.iter().find(|s| s.key == key).ok_or_else(|| SettingError::UnknownKey(key.to_owned()))?;
        let bad =
            || SettingError::BadValue { key: setting.key, value: value.to_owned(), expected: setting.kind.describe() };
        if !setting.kind.allows(value) {
            return Err(bad());
        }
        (setting.set)(self, value).ok_or_else(bad)
    }

    /// The value of the setting `key` as text.
    pub fn get(&self, key: &str) -> Option<String> {
        TABLE.iter().find(|s| s.key == key).map(|s| s.text(self))
    }

    /// Checks constraints between settings, such as that the input size halves evenly down to the deepest level.
    pub fn check(&self) -> Result<(), SettingError> {
        if self.value_range == ValueRangeBy::Window && self.value_low >= self.value_high {
            let reason = format!("value_low = {} must be below value_high = {}", self.value_low, self.value_high);
            return Err(SettingError::Contradiction(reason));
        }
        if self.encoder == Encoder::Lite0 && self.dropout_place == DropoutPlace::All {
            let reason = "dropout_place = all: encoder lite0 has no dropout inside; choose decoder, or encoder = unet";
            return Err(SettingError::Contradiction(reason.to_owned()));
        }
        if self.geometry == Geometry::Auto {
            return Ok(()); // The sides are chosen to fit.
        }
        let step = self.input_step();
        for (name, side) in [("rows", self.rows), ("columns", self.columns)] {
            if side % step != 0 {
                let network = match self.encoder {
                    Encoder::Unet if self.widths == OrAuto::Auto => "with widths auto".to_owned(),
                    Encoder::Unet => format!("with {} levels", self.unet_widths().len()),
                    Encoder::Lite0 => "with encoder lite0".to_owned(),
                };
                return Err(SettingError::Contradiction(format!(
                    "{name} = {side}: {network} it must be a multiple of {step}, for example {}",
                    side.div_ceil(step) * step
                )));
            }
        }
        Ok(())
    }

    /// Images that a query asks for.
    pub fn query_count(&self) -> usize {
        self.query_no_detection + self.query_uncertain + self.query_random
    }

    /// The number that the sides of the network's input must be multiples of, so that they halve evenly down to the
    /// deepest level.
    pub fn input_step(&self) -> usize {
        match self.encoder {
            Encoder::Unet => match &self.widths {
                OrAuto::Auto => 16,
                OrAuto::Is(widths) => 1 << (widths.len() - 1),
            },
            Encoder::Lite0 => 32,
        }
    }

    /// Filters of each level of the U-Net, from full resolution down. With `auto` there are as many levels as leave the
    /// deepest one sides of 6 pixels or more, after nnU-Net (Isensee et al., Nature Methods 18, 2021).
    pub fn unet_widths(&self) -> Vec<usize> {
        const FIRST: usize = 16;
        const MOST: usize = 512;
        const SMALLEST_SIDE: usize = 6;
        match &self.widths {
            OrAuto::Is(widths) => widths.clone(),
            OrAuto::Auto => {
                let is_whole = |level: &u32| {
                    let halves = |side: usize| side.is_multiple_of(1 << level) && side >> level >= SMALLEST_SIDE;
                    halves(self.rows) && halves(self.columns)
                };
                let below = (1..7).take_while(is_whole).count().max(1);
                (0..=below).map(|level| (FIRST << level).min(MOST)).collect()
            }
        }
    }
}

impl Setting {
    /// Whether it has any effect, given the other values in `settings`.
    pub fn is_used(&self, settings: &Settings) -> bool {
        match self.key {
            "widths" => settings.encoder == Encoder::Unet,
            "encoder_rate" => settings.encoder == Encoder::Lite0,
            "seconds" => settings.budget == Budget::Seconds,
            "steps" => settings.budget == Budget::Steps,
            "epochs" | "epochs_later" | "patience" => settings.budget == Budget::Epochs,
            "adaptive" => settings.budget != Budget::Epochs && settings.schedule == Schedule::Decay,
            "value_low" | "value_high" => settings.value_range == ValueRangeBy::Window,
            "rows" | "columns" => settings.geometry != Geometry::Auto,
            "tile_overlap" | "tiles_image" => settings.geometry != Geometry::Resize,
            _ => true,
        }
    }

    /// Its value in `settings`, as text.
    pub fn text(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }
}

impl Kind {
    /// The allowed values in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Whole(low, u64::MAX) => format!("a whole number from {low}"),
            Self::Whole(low, high) => format!("a whole number from {low} to {high}"),
            Self::Real(low, high) => format!("a number from {low} to {high}"),
            Self::Switch => "true or false".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::ListOrAuto(fewest, most, low, high) => {
                format!("auto, or {}", Self::List(*fewest, *most, *low, *high).describe())
            }
            Self::List(fewest, most, low, high) => {
                format!("{fewest} to {most} whole numbers from {low} to {high}, with commas")
            }
        }
    }

    fn allows(&self, text: &str) -> bool {
        match *self {
            Self::Whole(low, high) => text.parse::<u64>().is_ok_and(|v| (low..=high).contains(&v)),
            Self::Real(low, high) => text.parse::<f64>().is_ok_and(|v| (low..=high).contains(&v)),
            Self::Switch => text.parse::<bool>().is_ok(),
            Self::Choice(words) => words.contains(&text),
            Self::ListOrAuto(fewest, most, low, high) => {
                text.trim() == OrAuto::<()>::WORD || Self::List(fewest, most, low, high).allows(text)
            }
            Self::List(fewest, most, low, high) => {
                let numbers: Option<Vec<u64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
                numbers
                    .is_some_and(|n| (fewest..=most).contains(&n.len()) && n.iter().all(|v| (low..=high).contains(v)))
            }
        }
    }
}

/// The table in Markdown, one row a setting: what `qualm settings` prints and `assets/manual/reference.md` shows.
pub fn reference() -> String {
    let (quick, paper) = (Settings::default(), Settings::paper());
    let mut table =
        "| key | `quick` | `paper` | range | unit | meaning |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for setting in TABLE {
        let (key, unit, help) = (setting.key, setting.unit, setting.help);
        let (quick, paper, range) = (setting.text(&quick), setting.text(&paper), setting.kind.describe());
        table.push_str(&format!("| `{key}` | {quick} | {paper} | {range} | {unit} | {help} |\n"));
    }
    table
}
