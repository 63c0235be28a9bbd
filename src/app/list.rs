//! The list of images: filter, order and search.

use std::collections::HashMap;

use crate::domain::settings::Score;
use crate::domain::study::{ImageId, ImageRecord, Review, Status};

/// Whether something is painted in an image that is not accepted.
pub fn is_begun(image: &ImageRecord) -> bool {
    image.painted && !image.labelled && image.problem.is_none()
}

/// The status of an image in words.
pub fn status_words(image: &ImageRecord) -> &'static str {
    if is_begun(image) { "not accepted" } else { Status::of(image).label() }
}

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
    /// Those in which something is painted that is not accepted.
    Begun,
    /// Those labelled and trained on.
    Labelled,
    /// Those kept for validation.
    Validation,
    /// Those that cannot be read.
    Unreadable,
}

impl Filter {
    /// All filters, with their names.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::All, "all"),
        (Self::Proposed, "proposed"),
        (Self::Pseudo, "pseudo-labels"),
        (Self::Unlabelled, "unlabelled"),
        (Self::Begun, "painted, not accepted"),
        (Self::Labelled, "labelled"),
        (Self::Validation, "validation"),
        (Self::Unreadable, "unreadable"),
    ];

    fn takes(self, image: &ImageRecord) -> bool {
        let status = Status::of(image);
        match self {
            Self::All => true,
            Self::Proposed => matches!(status, Status::Proposed(..)),
            Self::Pseudo => matches!(status, Status::Pseudo(_)),
            Self::Unlabelled => matches!(status, Status::Proposed(..) | Status::Unlabelled | Status::Pseudo(_)),
            Self::Begun => is_begun(image),
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
    /// The open image and its row.
    open: Option<(ImageId, usize)>,
    /// Whether its status would put it into another row.
    is_displaced: bool,
}

impl List {
    /// Recomputes what is shown. `setting` is the score chosen in the settings.
    pub fn update(&mut self, images: &[ImageRecord], setting: Score) {
        self.set_rows(&self.rows(images, setting), images);
        self.is_displaced = false;
        // The row of an image that is not listed is remembered.
        self.open = self.open.map(|open| self.placed(images, open.0).unwrap_or(open));
    }

    /// The same after a change of the open image: it stays in its row until another one is opened, so that the image
    /// below it is the one that was below it before. Where it has left the list, its row is remembered.
    pub fn update_around_open(&mut self, images: &[ImageRecord], setting: Score) {
        let mut rows = self.rows(images, setting);
        self.is_displaced = false;
        if let Some((image, row)) = self.open
            && let Some(now) = row_of(rows.iter().map(|row| row[0]), images, image)
        {
            let moved = rows.remove(now);
            rows.insert(row.min(rows.len()), moved);
            self.is_displaced = now != row;
        }
        self.set_rows(&rows, images);
    }

    /// Another image was opened.
    pub fn open(&mut self, images: &[ImageRecord], image: ImageId, setting: Score) {
        if self.is_displaced {
            self.update(images, setting);
        }
        self.open = self.placed(images, image);
    }

    /// The place in [`List::behind`] after the open image or, where that has left the list, where it was.
    pub fn after_open(&self, images: &[ImageRecord]) -> usize {
        let Some((image, row)) = self.open else { return 0 };
        let place = |wanted: &dyn Fn(usize) -> bool| self.behind.iter().position(|at| wanted(*at));
        let below = || place(&|at| Some(&at) == self.shown.get(row)).unwrap_or(0);
        place(&|at| images[at].id == image).map_or_else(below, |at| at + 1)
    }

    /// An image and its row.
    fn placed(&self, images: &[ImageRecord], image: ImageId) -> Option<(ImageId, usize)> {
        Some((image, row_of(self.shown.iter().copied(), images, image)?))
    }

    /// The images that the filter and the search take, in the order shown: a row for each image, or for each stack.
    fn rows(&self, images: &[ImageRecord], setting: Score) -> Vec<Vec<usize>> {
        let score = self.sort.score(setting);
        let search = self.search.trim().to_lowercase();
        let is_taken = |image: &ImageRecord| {
            self.filter.takes(image) && (search.is_empty() || image.name.to_lowercase().contains(&search))
        };
        let mut ordered: Vec<usize> = (0..images.len()).filter(|&i| is_taken(&images[i])).collect();
        let uncertainty = |i: usize| images[i].scores.map_or(f64::NEG_INFINITY, |scores| scores.by(score));
        match self.sort {
            Sort::Name => {}
            Sort::By(_) => ordered.sort_by(|&a, &b| uncertainty(b).total_cmp(&uncertainty(a))),
            Sort::Queue => ordered.sort_by(|&a, &b| {
                let order = |i: usize| order(Status::of(&images[i]));
                let by_uncertainty =
                    || if order(a).0 == 2 { uncertainty(b).total_cmp(&uncertainty(a)) } else { a.cmp(&b) };
                order(a).cmp(&order(b)).then_with(by_uncertainty)
            }),
        }
        // A stack is one row, where its first slice lies.
        let mut rows: Vec<Vec<usize>> = Vec::new();
        let mut of_stacks: HashMap<&str, usize> = HashMap::new();
        for image in ordered {
            let row = match &images[image].stack {
                Some((stack, _)) => *of_stacks.entry(stack).or_insert(rows.len()),
                None => rows.len(),
            };
            if row == rows.len() {
                rows.push(Vec::new());
            }
            rows[row].push(image);
        }
        rows
    }

    fn set_rows(&mut self, rows: &[Vec<usize>], images: &[ImageRecord]) {
        self.shown = rows.iter().map(|row| row[0]).collect();
        self.behind = rows.concat();
        self.stacks.clear();
        for image in images {
            if let Some((stack, _)) = &image.stack {
                let counts = self.stacks.entry(stack.clone()).or_default();
                *counts = (counts.0 + 1, counts.1 + usize::from(image.labelled));
            }
        }
    }

    /// The image `steps` below this one in the list; the first where this one is not shown.
    pub fn neighbour(&self, images: &[ImageRecord], image: Option<ImageId>, steps: isize) -> Option<ImageId> {
        let row = image.and_then(|image| row_of(self.shown.iter().copied(), images, image));
        let remembered = self.open.filter(|(open, _)| Some(*open) == image).map(|(_, row)| row);
        let wanted = match (row, remembered) {
            (Some(row), _) => row.checked_add_signed(steps)?,
            // It has left the list: what was below it is in its row now.
            (None, Some(row)) => row.checked_add_signed(if steps > 0 { steps - 1 } else { steps })?,
            (None, None) => 0,
        };
        self.shown.get(wanted).map(|&i| images[i].id)
    }
}

/// The row of an image, or of the stack that it is a slice of, given the first image of each row.
fn row_of(mut rows: impl Iterator<Item = usize>, images: &[ImageRecord], image: ImageId) -> Option<usize> {
    let stack = images.iter().find(|other| other.id == image)?.stack.as_ref().map(|(stack, _)| stack);
    let is_it =
        |row: &ImageRecord| row.id == image || stack.is_some() && row.stack.as_ref().map(|(stack, _)| stack) == stack;
    rows.position(|first| is_it(&images[first]))
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

    #[test]
    fn an_accepted_image_stays_in_its_row_until_another_one_is_opened() {
        let mut images = [image(1, None), image(2, None), image(3, None), image(4, None)];
        let (mut list, score) = (List::default(), Score::VarianceEdtSum);
        list.update(&images, score);
        list.open(&images, ImageId(2), score);
        images[1].labelled = true;
        list.update_around_open(&images, score);
        assert_eq!((&list.shown, &list.behind), (&vec![0, 1, 2, 3], &vec![0, 1, 2, 3]));
        assert_eq!(list.neighbour(&images, Some(ImageId(2)), 1), Some(ImageId(3)));
        list.open(&images, ImageId(3), score);
        assert_eq!(list.shown, [0, 2, 3, 1]);

        // Where the filter no longer takes it, its row is remembered.
        list.filter = Filter::Unlabelled;
        list.update(&images, score);
        images[2].labelled = true;
        list.update_around_open(&images, score);
        assert_eq!(list.shown, [0, 3]);
        assert_eq!(list.neighbour(&images, Some(ImageId(3)), 1), Some(ImageId(4)));
        assert_eq!(list.neighbour(&images, Some(ImageId(3)), -1), Some(ImageId(1)));
    }

    #[test]
    fn an_image_that_is_painted_and_not_accepted_says_so() {
        let mut image = image(1, None);
        assert_eq!((status_words(&image), Filter::Begun.takes(&image)), ("unlabelled", false));
        image.painted = true;
        assert_eq!((status_words(&image), Filter::Begun.takes(&image)), ("not accepted", true));
        image.labelled = true;
        assert_eq!((status_words(&image), Filter::Begun.takes(&image)), ("labelled", false));
    }
}
