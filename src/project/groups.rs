//! Which images belong together: a patient's, a volume's, a slide's.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use regex::Regex;
use rusqlite::params;

use crate::project::Project;
use crate::project::error::{ProjectError, Result};

/// How an image's group is read off.
pub enum Rule {
    /// The name of a folder above the image: 1 is the one it lies in.
    Folder(usize),
    /// The first group of a pattern that the file's name matches, or all that matches where it has none.
    Pattern(Regex),
    /// A table of file names (with or without their ending) and groups.
    Table(HashMap<String, String>),
}

impl Rule {
    /// Reads `folder`, `folder:LEVEL`, `pattern:REGEX` or `csv:FILE`; the file has a header line and two columns, name and
    /// group.
    pub fn read(text: &str) -> Result<Self> {
        let bad = |reason: String| ProjectError::BadGroups { rule: text.to_owned(), reason };
        match text.split_once(':') {
            None if text == "folder" => Ok(Self::Folder(1)),
            Some(("folder", level)) => {
                let level = level.parse().ok().filter(|level| *level > 0);
                level.map(Self::Folder).ok_or_else(|| bad("the folder's level is a number from 1".to_owned()))
            }
            Some(("pattern", pattern)) => Regex::new(pattern).map(Self::Pattern).map_err(|e| bad(e.to_string())),
            Some(("csv", path)) => Self::table(&PathBuf::from(path)).map_err(|e| bad(e.to_string())),
            _ => Err(bad("write folder, folder:LEVEL, pattern:REGEX or csv:FILE".to_owned())),
        }
    }

    fn table(path: &Path) -> std::result::Result<Self, csv::Error> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_path(path)?;
        let mut table = HashMap::new();
        for row in reader.records() {
            let row = row?;
            if let (Some(name), Some(group)) = (row.get(0), row.get(1)) {
                table.insert(name.to_owned(), group.to_owned());
            }
        }
        Ok(Self::Table(table))
    }

    /// The group of an image; `None` where the rule says nothing of it.
    pub fn group(&self, image: &Path) -> Option<String> {
        let name = image.file_name()?.to_string_lossy();
        let group = match self {
            Self::Folder(level) => Some(image.ancestors().nth(*level)?.file_name()?.to_string_lossy().into_owned()),
            Self::Pattern(pattern) => {
                let found = pattern.captures(&name)?;
                Some(found.get(1).or(found.get(0))?.as_str().to_owned())
            }
            Self::Table(table) => {
                let stem = image.file_stem()?.to_string_lossy();
                table.get(name.as_ref()).or_else(|| table.get(stem.as_ref())).cloned()
            }
        };
        group.filter(|group| !group.is_empty())
    }
}

impl Project {
    /// Puts every image into the group that the rule says, those it says nothing of into none; gives how many images are
    /// in how many groups. A side of validation that was drawn stays.
    pub fn set_groups(&mut self, rule: &Rule) -> Result<(usize, usize)> {
        let groups: Vec<_> = self.images()?.into_iter().map(|image| (image.id, rule.group(&image.path))).collect();
        let transaction = self.db.transaction()?;
        for (image, group) in &groups {
            transaction.execute("UPDATE images SET grp = ?2 WHERE id = ?1", params![image, group])?;
        }
        transaction.commit()?;
        let distinct: HashSet<&String> = groups.iter().filter_map(|(_, group)| group.as_ref()).collect();
        Ok((groups.iter().filter(|(_, group)| group.is_some()).count(), distinct.len()))
    }
}
