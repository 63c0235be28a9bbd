//! Summary of an import plan as plain data, for the command line, JSON output and the window's sheet.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Ask, ImportPlan, MaskPlan};
use crate::domain::mask::{BACKGROUND, UNLABELLED};
use crate::domain::mask_values::{MaskValue, Occurrence, Question};
use crate::domain::text::counted;

/// What an import would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Summary {
    /// Images, each slice of a stack counted.
    pub images: usize,
    /// Stacks among them.
    pub stacks: usize,
    /// Files by kind.
    pub kinds: BTreeMap<String, usize>,
    /// Files left out, each with the reason.
    pub left_out: Vec<String>,
    /// Files that are not images, by their extension.
    pub others: BTreeMap<String, usize>,
    /// What else a person should know.
    pub notes: Vec<String>,
    /// The masks, where a folder of them was given.
    pub masks: Option<MaskSummary>,
    /// What must be said before the import can be done.
    #[serde(skip)]
    pub questions: Vec<Ask>,
}

/// What an import would do with masks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct MaskSummary {
    /// Files in the folder.
    pub files: usize,
    /// Images that get a label.
    pub labelled: usize,
    /// Masks and the images they belong to, by the rule: image, mask.
    pub pairs: BTreeMap<String, Vec<(String, String)>>,
    /// Images without a mask.
    pub without_mask: Vec<String>,
    /// Masks of no image, each with the reason.
    pub without_image: Vec<String>,
    /// Masks that cannot be taken, each with the reason.
    pub problems: Vec<String>,
    /// Masks that hold nothing but background.
    pub empty: usize,
    /// The values found.
    pub values: Vec<ValueRow>,
    /// By which rule the values have their classes; empty where a person must say first.
    pub rule: String,
    /// The classes that the labels have.
    pub classes: Vec<ClassRow>,
    /// Images with more than one mask.
    pub with_several: usize,
    /// Masks of several pages whose image has one.
    pub with_pages: usize,
    /// Masks that go to an image by name, and by their headers lie elsewhere in the patient.
    pub elsewhere: Vec<String>,
    /// Whether the numbers look like those of single objects.
    pub is_instances: bool,
}

/// A value of the masks.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ValueRow {
    /// The value.
    #[schemars(with = "String")]
    pub value: MaskValue,
    /// Files and pixels that it occurs in.
    #[serde(flatten)]
    pub occurrence: Occurrence,
    /// The class it becomes; `None` where that is not settled.
    pub class: Option<u8>,
}

/// A class that the labels have.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ClassRow {
    /// Its number.
    pub class: u8,
    /// Its name, where the masks give it one.
    pub name: Option<String>,
}

/// Describes a class in words.
pub fn class_word(class: u8) -> String {
    match class {
        BACKGROUND => "background".to_owned(),
        UNLABELLED => "not labelled".to_owned(),
        class => format!("class {class}"),
    }
}

impl ImportPlan {
    /// Summarizes the plan.
    pub fn summary(&self) -> Summary {
        let images = &self.images;
        Summary {
            images: images.images.len(),
            stacks: images.stacks(),
            kinds: images.kinds.clone(),
            left_out: images.left_out.clone(),
            others: images.others.clone(),
            notes: images.notes.clone(),
            masks: self.masks.as_ref().map(MaskPlan::summary),
            questions: self.questions(),
        }
    }
}

impl MaskPlan {
    /// Summarizes the plan for the masks.
    pub fn summary(&self) -> MaskSummary {
        let meanings = self.meanings.as_ref().ok();
        let class = |value: &MaskValue| meanings.and_then(|meanings| meanings.classes.get(value).copied());
        let row = |(value, occurrence): (&MaskValue, &Occurrence)| ValueRow {
            value: *value,
            occurrence: *occurrence,
            class: class(value),
        };
        let name = |path: &std::path::Path| path.display().to_string();
        let mut pairs: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for (target, masks) in &self.pairing.masks {
            for (mask, rule) in masks {
                let pair = (name(&self.targets[*target].path), name(&self.files[*mask]));
                pairs.entry(rule.to_string()).or_default().push(pair);
            }
        }
        let names = self.class_names();
        let values: Vec<ValueRow> = self.census.values.iter().map(row).collect();
        let mut used: Vec<u8> = values.iter().filter_map(|row| row.class).chain(names.keys().copied()).collect();
        used.retain(|class| ![BACKGROUND, UNLABELLED].contains(class));
        used.sort_unstable();
        used.dedup();
        MaskSummary {
            files: self.files.len(),
            labelled: self.pairing.masks.len(),
            pairs,
            without_mask: (0..self.targets.len())
                .filter(|target| !self.pairing.masks.contains_key(target))
                .map(|target| name(&self.targets[target].path))
                .collect(),
            without_image: self
                .pairing
                .unpaired
                .iter()
                .map(|(mask, reason)| format!("{}: {reason}", self.files[*mask].display()))
                .collect(),
            problems: self.problems.clone(),
            empty: self.empty(),
            values,
            rule: meanings.map_or(String::new(), |meanings| meanings.rule.to_owned()),
            classes: used.into_iter().map(|class| ClassRow { class, name: names.get(&class).cloned() }).collect(),
            with_several: self.with_several(),
            with_pages: self.with_pages,
            elsewhere: self.elsewhere(),
            is_instances: matches!(self.meanings, Err(Question::Instances(_))),
        }
    }
}

/// Writes the first lines of a list, and how many more there are.
fn some(f: &mut std::fmt::Formatter, what: &str, lines: &[String]) -> std::fmt::Result {
    const SHOWN: usize = 20;
    for line in lines.iter().take(SHOWN) {
        writeln!(f, "{what}: {line}")?;
    }
    if lines.len() > SHOWN { writeln!(f, "{what}: {} more", lines.len() - SHOWN) } else { Ok(()) }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let stacks =
            if self.stacks > 0 { format!(", with the slices of stacks ({})", self.stacks) } else { String::new() };
        writeln!(f, "{}{stacks}", counted(self.images, "image"))?;
        for (kind, files) in &self.kinds {
            writeln!(f, "  {kind}: {files}")?;
        }
        some(f, "left out", &self.left_out)?;
        for (extension, files) in &self.others {
            let extension =
                if extension.is_empty() { "no extension".to_owned() } else { format!("extension .{extension}") };
            writeln!(f, "not images: {files} with {extension}")?;
        }
        some(f, "note", &self.notes)?;
        if let Some(masks) = &self.masks {
            write!(f, "{masks}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for MaskSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(f, "{}, for {} of the images", counted(self.files, "mask"), self.labelled)?;
        for (rule, pairs) in &self.pairs {
            let (image, mask) = &pairs[0];
            writeln!(f, "  {} by {rule}, such as {image} with {mask}", pairs.len())?;
        }
        if !self.without_mask.is_empty() {
            let names = self.without_mask.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
            let more = if self.without_mask.len() > 8 { ", ..." } else { "" };
            writeln!(f, "{} without a mask: {names}{more}", counted(self.without_mask.len(), "image"))?;
        }
        some(f, "mask of no image", &self.without_image)?;
        some(f, "left out", &self.problems)?;
        some(f, "note: by its header it lies elsewhere in the patient than its image, taken by name", &self.elsewhere)?;
        if self.empty > 0 {
            writeln!(f, "note: only background: {}", counted(self.empty, "mask"))?;
        }
        for ValueRow { value, occurrence: Occurrence { files, pixels }, class } in self.values.iter().take(40) {
            let class = class.map_or("not settled".to_owned(), |class| {
                let row = self.classes.iter().find(|row| row.class == class);
                let name = row.and_then(|row| row.name.as_ref()).map_or(String::new(), |name| format!(" ({name})"));
                format!("{}{name}", class_word(class))
            });
            writeln!(f, "  value {value}: {class}; {files} files, {pixels} pixels")?;
        }
        if !self.rule.is_empty() {
            writeln!(f, "  {}", self.rule)?;
        }
        Ok(())
    }
}
