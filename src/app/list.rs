//! The list of images: filter, order and search.

use std::collections::{HashMap, HashSet};

use crate::domain::settings::Score;
use crate::domain::study::{ImageId, ImageRecord, Review, Status};

/// The place of a status in the queue, and the place within that status.
fn order(status: Status) -> (usize, usize) {
    match status {
        Status::Proposed(_, rank) => (0, rank),
        Status::Pseudo(Review::Unreviewed) => (1, 0),
        Status::Unlabelled | Status::Pseudo(Review::Rejected) => (2, 0),
        Status::Pseudo(Review::Accepted) => (3, 0),
        Status::Labelled => (4, 0),
        Status::Validation => (5, 0),
        Status::Unreadable => (6, 0),
    }
}

/// Which images the list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those proposed for labelling.
    Proposed,
    /// Those with a pseudo-label.
    Pseudo,
    /// Those without a label, proposed or not.
    Unlabelled,
    /// Those labelled and trained on.
    Labelled,
    /// Those kept for validation.
    Validation,
    /// Those that cannot be read.
    Unreadable,
}

impl Filter {
    /// All filters, with their names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::All, "all"),
        (Self::Proposed, "proposed"),
        (Self::Pseudo, "pseudo-labels"),
        (Self::Unlabelled, "unlabelled"),
        (Self::Labelled, "labelled"),
        (Self::Validation, "validation"),
        (Self::Unreadable, "unreadable"),
    ];

    fn takes(self, status: Status) -> bool {
        match self {
            Self::All => true,
            Self::Proposed => matches!(status, Status::Proposed(..)),
            Self::Pseudo => matches!(status, Status::Pseudo(_)),
            Self::Unlabelled => matches!(status, Status::Proposed(..) | Status::Unlabelled | Status::Pseudo(_)),
            Self::Labelled => status == Status::Labelled,
            Self::Validation => status == Status::Validation,
            Self::Unreadable => status == Status::Unreadable,
        }
    }
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Proposed by rank, then unlabelled by score, then the rest by name.
    #[default]
    Queue,
    /// By name.
    Name,
    /// By a score, highest first.
    By(Score),
}

impl Sort {
    /// All orders, with their names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Queue, "queue"),
        (Self::Name, "name"),
        (Self::By(Score::VarianceEdtSum), "variance × distance, sum"),
        (Self::By(Score::VarianceEdtMean), "variance × distance, mean"),
        (Self::By(Score::VarianceSum), "variance, sum"),
        (Self::By(Score::EntropyMean), "entropy, mean"),
        (Self::By(Score::MutualInformationMean), "mutual information, mean"),
    ];

    /// The score that the list shows: the one it is sorted by, else the settings'.
    pub fn score(self, setting: Score) -> Score {
        if let Self::By(score) = self { score } else { setting }
    }
}

/// What the list shows now.
#[derive(Debug, Default)]
pub struct List {
    /// Which images.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// Part of the name.
    pub search: String,
    /// Indices into the project's images, in the order shown; a stack appears as its first slice in that order.
    pub shown: Vec<usize>,
    /// Indices of all images behind the rows, in their order; the slices of a stack that the filter and the search take
    /// follow each other.
    pub behind: Vec<usize>,
    /// How many slices each stack has, and how many of them are labelled.
    pub stacks: HashMap<String, (usize, usize)>,
}

impl List {
    /// Recomputes what is shown, after any change. `setting` is the score chosen in the settings.
    pub fn update(&mut self, images: &[ImageRecord], setting: Score) {
        let score = self.sort.score(setting);
        let search = self.search.trim().to_lowercase();
        let shown = |image: &ImageRecord| {
            self.filter.takes(Status::of(image)) && (search.is_empty() || image.name.to_lowercase().contains(&search))
        };
        self.shown = (0..images.len()).filter(|&i| shown(&images[i])).collect();
        let uncertainty = |i: usize| images[i].scores.map_or(f64::NEG_INFINITY, |scores| scores.by(score));
        match self.sort {
            Sort::Name => {}
            Sort::By(_) => self.shown.sort_by(|&a, &b| uncertainty(b).total_cmp(&uncertainty(a))),
            Sort::Queue => self.shown.sort_by(|&a, &b| {
                let order = |i: usize| order(Status::of(&images[i]));
                let by_uncertainty =
                    || if order(a).0 == 2 { uncertainty(b).total_cmp(&uncertainty(a)) } else { a.cmp(&b) };
                order(a).cmp(&order(b)).then_with(by_uncertainty)
            }),
        }
        self.stacks.clear();
        for image in images {
            if let Some((stack, _)) = &image.stack {
                let counts = self.stacks.entry(stack.clone()).or_default();
                *counts = (counts.0 + 1, counts.1 + usize::from(image.labelled));
            }
        }
        self.behind = behind(&self.shown, images);
        // A stack is one item.
        let mut seen = HashSet::new();
        let is_first =
            |place: &usize| images[*place].stack.as_ref().is_none_or(|(stack, _)| seen.insert(stack.clone()));
        self.shown.retain(is_first);
    }

    /// The image `steps` below this one in the list; the first where this one is not shown.
    pub fn neighbour(&self, images: &[ImageRecord], image: Option<ImageId>, steps: isize) -> Option<ImageId> {
        let stack = images.iter().find(|other| Some(other.id) == image).and_then(|other| other.stack.as_ref());
        let is_it = |row: &ImageRecord| {
            Some(row.id) == image
                || stack.is_some_and(|(name, _)| row.stack.as_ref().is_some_and(|(row, _)| row == name))
        };
        let at = self.shown.iter().position(|&i| is_it(&images[i]));
        let wanted = match at {
            Some(at) => at.checked_add_signed(steps)?,
            None => 0,
        };
        self.shown.get(wanted).map(|&i| images[i].id)
    }
}

/// The images in the order of the rows, a stack's row lying where its first slice does.
fn behind(ordered: &[usize], images: &[ImageRecord]) -> Vec<usize> {
    let mut rows: HashMap<&str, usize> = HashMap::new();
    let row = |(place, &image): (usize, &usize)| match &images[image].stack {
        Some((stack, _)) => (*rows.entry(stack.as_str()).or_insert(place), image),
        None => (place, image),
    };
    let mut placed: Vec<(usize, usize)> = ordered.iter().enumerate().map(row).collect();
    placed.sort_by_key(|(row, _)| *row);
    placed.into_iter().map(|(_, image)| image).collect()
}

/// The proposed image of lowest rank that is not `current`, in the order of ranks after `current`'s own.
pub fn next_proposed(images: &[ImageRecord], current: Option<ImageId>) -> Option<ImageId> {
    let mut proposed: Vec<(usize, ImageId)> = images
        .iter()
        .filter_map(|image| match Status::of(image) {
            Status::Proposed(_, rank) => Some((rank, image.id)),
            Status::Unlabelled | Status::Pseudo(_) | Status::Labelled | Status::Validation | Status::Unreadable => None,
        })
        .collect();
    proposed.sort_unstable();
    let rank = images.iter().find(|i| Some(i.id) == current).and_then(|i| i.proposed).map_or(0, |(_, rank)| rank);
    let after = proposed.iter().find(|(r, id)| *r > rank && Some(*id) != current);
    after.or_else(|| proposed.iter().find(|(_, id)| Some(*id) != current)).map(|(_, id)| *id)
}

/// The next image after `current`, in name order and wrapping around, whose pseudo-label awaits review.
pub fn next_pseudo(images: &[ImageRecord], current: Option<ImageId>) -> Option<ImageId> {
    let at = images.iter().position(|image| Some(image.id) == current).map_or(0, |at| at + 1);
    let waits =
        |image: &&ImageRecord| Some(image.id) != current && Status::of(image) == Status::Pseudo(Review::Unreviewed);
    images[at..].iter().chain(&images[..at]).find(waits).map(|image| image.id)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::study::{FileState, Side};

    fn image(id: i64, stack: Option<usize>) -> ImageRecord {
        ImageRecord {
            id: ImageId(id),
            path: PathBuf::new(),
            page: 0,
            name: id.to_string(),
            stem: id.to_string(),
            stack: stack.map(|slice| ("stack".to_owned(), slice)),
            width: 1,
            height: 1,
            group: None,
            file: FileState::default(),
            labelled: false,
            side: Side::default(),
            proposed: None,
            tile: None,
            painted: false,
            pseudo: None,
            scores: None,
            problem: None,
        }
    }

    #[test]
    fn a_stack_is_one_row_with_all_its_slices_behind_it() {
        let images = [image(1, Some(0)), image(2, None), image(3, Some(1))];
        let mut list = List { sort: Sort::Name, ..List::default() };
        list.update(&images, Score::VarianceEdtSum);
        assert_eq!((list.shown, list.behind), (vec![0, 1], vec![0, 2, 1]));
    }
}
