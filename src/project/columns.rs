//! Conversions between domain values and database columns. An unknown word is an error: the row is damaged.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::domain::study::{FileState, ImageId, Review, Side};

impl ToSql for ImageId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ImageId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

/// `NULL` until the image has been assigned to a side.
impl ToSql for Side {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Undrawn => rusqlite::types::Null.into(),
            Self::Training => false.into(),
            Self::Validation => true.into(),
        })
    }
}

impl FromSql for Side {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match Option::<bool>::column_result(value)? {
            None => Self::Undrawn,
            Some(false) => Self::Training,
            Some(true) => Self::Validation,
        })
    }
}

/// A value that is stored as a word.
trait StoredWord: Copy + 'static {
    const WORDS: &'static [(Self, &'static str)];
    fn word(self) -> &'static str;

    fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let found = Self::WORDS.iter().find(|(_, word)| *word == text);
        found.map(|(value, _)| *value).ok_or(FromSqlError::InvalidType)
    }
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* }) => {
        impl StoredWord for $name {
            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),*];
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.word().into())
            }
        }
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::read(value)
            }
        }
    };
}
words! { FileState { Present = "present", Missing = "missing", Replaced = "replaced" } }
words! { Review { Unreviewed = "waiting", Accepted = "accepted", Rejected = "rejected" } }
