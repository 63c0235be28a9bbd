//! Groups of images that belong together, such as those of one patient, volume or slide.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use regex::Regex;
use rusqlite::params;

use crate::domain::study::Side;
use crate::project::Project;
use crate::project::error::{ProjectError, Result};

/// How an image's group is determined.
pub enum GroupRule {
    /// The name of a folder above the image; 1 is the folder that contains it.
    Folder(usize),
    /// The first capture group of a regular expression matched against the file name, or the whole match without one.
    Pattern(Regex),
    /// A table that maps file names or paths (with or without extension) to groups.
    Table(HashMap<String, String>),
}

impl std::fmt::Display for GroupRule {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Folder(level) => write!(f, "folder:{level}"),
            Self::Pattern(pattern) => write!(f, "pattern:{pattern}"),
            Self::Table(table) => write!(f, "csv: {} lines", table.len()),
        }
    }
}

impl GroupRule {
    /// Parses `folder`, `folder:LEVEL`, `pattern:REGEX` or `csv:FILE`. The file has a header line and two columns, name
    /// and group.
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
        // The delimiter is the candidate that is most frequent in the first line.
        let mut head = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(std::fs::File::open(path)?), &mut head)?;
        let separators = [b',', b';', b'\t'];
        let count = |separator: &u8| head.bytes().filter(|byte| byte == separator).count();
        let delimiter = separators.into_iter().rev().max_by_key(count).unwrap_or(b',');
        let mut builder = csv::ReaderBuilder::new();
        let mut reader = builder.delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_path(path)?;
        let mut table = HashMap::new();
        for row in reader.records() {
            let row = row?;
            if let (Some(name), Some(group)) = (row.get(0), row.get(1)) {
                table.insert(name.to_owned(), group.to_owned());
            }
        }
        Ok(Self::Table(table))
    }

    /// The group of an image in the image folder; `None` if the rule does not apply to it.
    pub fn group(&self, image: &Path, folder: &Path) -> Option<String> {
        let name = image.file_name()?.to_string_lossy();
        let group = match self {
            Self::Folder(level) => Some(image.ancestors().nth(*level)?.file_name()?.to_string_lossy().into_owned()),
            Self::Pattern(pattern) => {
                let found = pattern.captures(&name)?;
                Some(found.get(1).or(found.get(0))?.as_str().to_owned())
            }
            Self::Table(table) => {
                let stem = image.file_stem()?.to_string_lossy();
                let relative = image.strip_prefix(folder).unwrap_or(image).to_string_lossy().replace('\\', "/");
                let without_ending = Path::new(&relative).with_extension("").to_string_lossy().into_owned();
                let names = [relative.as_str(), &without_ending, &name, &stem];
                names.into_iter().find_map(|name| table.get(name)).cloned()
            }
        };
        group.filter(|group| !group.is_empty())
    }
}

/// The result of grouping the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouped {
    /// Number of images assigned to a group.
    pub images: usize,
    /// Number of groups.
    pub groups: usize,
    /// Number of labelled images excluded from training because other images of their group are in validation.
    pub left_out: usize,
}

impl Project {
    /// Assigns every image to the group given by the rule, or to none if the rule does not apply. The existing split
    /// into training and validation is kept unless `redraw` is set. A rule that matches no image, or that would leave
    /// nothing to train on, is an error and changes nothing.
    pub fn set_groups(&mut self, rule: &GroupRule, redraw: bool) -> Result<Grouped> {
        let refused = |reason: &str| ProjectError::BadGroups { rule: rule.to_string(), reason: reason.to_owned() };
        let folder = self.image_folder()?;
        let images = self.images()?;
        let groups: Vec<Option<String>> = images.iter().map(|image| rule.group(&image.path, &folder)).collect();
        if groups.iter().all(Option::is_none) {
            return Err(refused("it matches none of the project's images; the groups are unchanged"));
        }
        let sides = |wanted: Side| {
            let both = images.iter().zip(&groups);
            both.filter(move |(image, _)| image.labelled && image.side == wanted && !redraw)
        };
        let in_validation: HashSet<&String> = sides(Side::Validation).filter_map(|(_, group)| group.as_ref()).collect();
        let is_out = |group: &Option<String>| group.as_ref().is_some_and(|group| in_validation.contains(group));
        let left_out = sides(Side::Training).filter(|(_, group)| is_out(group)).count();
        if left_out > 0 && left_out == sides(Side::Training).count() {
            return Err(ProjectError::ValidationOfEveryGroup);
        }
        let transaction = self.db.transaction()?;
        for (image, group) in images.iter().zip(&groups) {
            transaction.execute("UPDATE images SET grp = ?2 WHERE id = ?1", params![image.id, group])?;
        }
        if redraw {
            transaction.execute("UPDATE images SET validation = NULL", [])?;
        }
        transaction.commit()?;
        let distinct: HashSet<&String> = groups.iter().flatten().collect();
        Ok(Grouped { images: groups.iter().flatten().count(), groups: distinct.len(), left_out })
    }
}
