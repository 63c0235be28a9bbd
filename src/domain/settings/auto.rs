//! Values that the user may leave to the program.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value set by hand, or chosen to fit the study; stored as the value itself, or as the word `auto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrAuto<T> {
    /// Chosen to fit the study.
    Auto,
    /// Set by hand.
    Is(T),
}

impl<T> OrAuto<T> {
    /// The word that stands for a value chosen to fit.
    pub const WORD: &'static str = "auto";
}

impl<T: Serialize> Serialize for OrAuto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(Self::WORD),
            Self::Is(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrAuto<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        enum Word {
            #[serde(rename = "auto")]
            Auto,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored<T> {
            Word(Word),
            Value(T),
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Word(Word::Auto) => Self::Auto,
            Stored::Value(value) => Self::Is(value),
        })
    }
}
