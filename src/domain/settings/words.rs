//! Settings whose values are words.

use serde::{Deserialize, Serialize};

use super::Value;

/// Defines an enum whose variants are written as words in the settings table.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$word_doc])* #[serde(rename = $word)] $variant),* }
        impl $name {
            /// The words, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word of a value.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::read(text).ok_or_else(|| format!("one of {} is expected", Self::WORDS.join(", ")))
            }
        }
        impl Value for $name {
            fn read(text: &str) -> Option<Self> {
                match text.trim() { $($word => Some(Self::$variant),)* _ => None }
            }
            fn show(&self) -> String {
                self.word().to_owned()
            }
        }
    };
}

words! {
    /// What the length of a round's training is measured in.
    Budget {
        /// Seconds of training, pauses not counted.
        Seconds = "seconds",
        /// Steps of the optimizer.
        Steps = "steps",
        /// Times through the labelled images (the paper).
        Epochs = "epochs",
    }
}
words! {
    /// Channels the network sees.
    Channels {
        /// Luminance if no image has colour, otherwise red, green and blue.
        Auto = "auto",
        /// Luminance.
        Grey = "grey",
        /// Red, green, blue.
        Rgb = "rgb",
    }
}
words! {
    /// The network's encoder.
    Encoder {
        /// The U-Net's own, trained from scratch (the paper).
        Unet = "unet",
        /// EfficientNet-Lite0, pre-trained on ImageNet.
        Lite0 = "lite0",
    }
}
words! {
    /// Along which axes images may be mirrored.
    Flips {
        /// Along the axes that do not distinguish classes.
        Auto = "auto",
        /// Left–right and top–bottom.
        Both = "both",
        /// Left–right only.
        LeftRight = "left-right",
        /// Top–bottom only.
        TopBottom = "top-bottom",
        /// None (the paper).
        None = "none",
    }
}

impl Flips {
    /// The flips for the given axes.
    pub fn of(left_right: bool, top_bottom: bool) -> Self {
        match (left_right, top_bottom) {
            (true, true) => Self::Both,
            (true, false) => Self::LeftRight,
            (false, true) => Self::TopBottom,
            (false, false) => Self::None,
        }
    }

    /// Whether left and right may be swapped.
    pub fn left_right(self) -> bool {
        matches!(self, Self::Auto | Self::Both | Self::LeftRight)
    }

    /// Whether top and bottom may be swapped.
    pub fn top_bottom(self) -> bool {
        matches!(self, Self::Auto | Self::Both | Self::TopBottom)
    }
}
words! {
    /// How an image becomes the network's input.
    Geometry {
        /// Chosen to fit the study's images and labels.
        Auto = "auto",
        /// Squeezed to the input's size (the paper).
        Resize = "resize",
        /// Cut into tiles of the input's size, at full resolution.
        Tiles = "tiles",
    }
}
words! {
    /// After which feature maps dropout acts.
    DropoutPlace {
        /// After the deepest level (the paper).
        Deepest = "deepest",
        /// After the deepest level and each decoder level.
        Decoder = "decoder",
        /// After each level below the first, down and up.
        All = "all",
    }
}
words! {
    /// The loss that training minimises.
    Loss {
        /// 1 − soft Dice with smoothing 1 (the paper).
        Dice = "dice",
        /// Binary or categorical cross-entropy.
        CrossEntropy = "cross-entropy",
        /// Their sum.
        Both = "dice+cross-entropy",
    }
}
words! {
    /// Which values of an image are the network's 0 and 1.
    ValueRangeBy {
        /// 0 and 255 for 8-bit images; for deeper ones, percentiles over the project's images.
        Percentiles = "percentiles",
        /// The two values that the settings name.
        Window = "window",
        /// Percentiles of each image.
        EachImage = "each-image",
    }
}
words! {
    /// Weights a round starts from.
    Start { /** New random weights. */ Fresh = "fresh", /** The active round's weights. */ Previous = "previous" }
}
words! {
    /// How the learning rate changes over a round's training.
    Schedule {
        /// It stays constant.
        Constant = "constant",
        /// It falls to 0 along half a cosine (Loshchilov & Hutter, arXiv 1608.03983).
        Cosine = "cosine",
        /// It stays constant, then falls linearly to 0 in the last part (Hägele et al., arXiv 2405.18392).
        Decay = "decay",
    }
}
words! {
    /// How a round's images are picked from the pool.
    Policy {
        /// The paper's three kinds, each with its own number of images.
        Ceal = "ceal",
        /// The same, with the most uncertain ones chosen to be diverse.
        CealDiverse = "ceal-diverse",
        /// All by their score.
        Uncertain = "uncertain",
        /// All by their score, chosen to be diverse.
        UncertainDiverse = "uncertain-diverse",
        /// All by their score with noise that fades over the rounds.
        UncertainNoisy = "uncertain-noisy",
        /// One tile of each image, the most uncertain ones.
        UncertainTiles = "uncertain-tiles",
        /// Images that represent others similar to them.
        Representative = "representative",
        /// All at random.
        Random = "random",
        /// At random among those in which the network found something.
        RandomForeground = "random-foreground",
    }
}

/// How a policy ranks the images of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By score, highest first.
    Score,
    /// The same, but diverse.
    Diverse,
    /// By score with noise that fades over the rounds; half of the images are picked for each class in turn.
    Noisy,
    /// By the most uncertain tile of each image; only that tile is to be labelled.
    Tiles,
    /// Images that represent others similar to them first.
    Representative,
    /// At random.
    Random,
    /// At random, those in which the network found something first.
    Foreground,
}

impl Policy {
    /// Whether the query has the paper's three kinds, and pseudo-labels join the user's labels.
    pub fn is_ceal(self) -> bool {
        matches!(self, Self::Ceal | Self::CealDiverse)
    }

    /// How the pool is ranked.
    pub fn order(self) -> Order {
        match self {
            Self::Ceal | Self::Uncertain => Order::Score,
            Self::CealDiverse | Self::UncertainDiverse => Order::Diverse,
            Self::UncertainNoisy => Order::Noisy,
            Self::UncertainTiles => Order::Tiles,
            Self::Representative => Order::Representative,
            Self::Random => Order::Random,
            Self::RandomForeground => Order::Foreground,
        }
    }
}
words! {
    /// The score by which *most uncertain* ranks.
    Score {
        /// The paper's: variance × scaled distance, summed.
        VarianceEdtSum = "variance_edt_sum",
        /// The same, free of the object's size.
        VarianceEdtMean = "variance_edt_mean",
        /// Variance, summed.
        VarianceSum = "variance_sum",
        /// Mean predictive entropy.
        EntropyMean = "entropy_mean",
        /// Mean mutual information (BALD).
        MutualInformationMean = "mutual_information_mean",
    }
}
