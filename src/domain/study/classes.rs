//! Merging, deleting and reordering classes: what each number in a label becomes.

use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::study::Class;

/// The new classes, and what each current class number becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMap {
    classes: Vec<Class>,
    table: Vec<u8>,
}

impl ClassMap {
    /// Removes a class. Its pixels become `into`, which is the background, unlabelled, or another class by its current
    /// number. `None` if either class does not exist, or there is no other class.
    pub fn without(classes: &[Class], number: u8, into: u8) -> Option<Self> {
        let is_other = |other: u8| other != number && classes.iter().any(|class| class.number == other);
        let is_known = classes.iter().any(|class| class.number == number);
        if !is_known || classes.len() < 2 || ![BACKGROUND, UNLABELLED].contains(&into) && !is_other(into) {
            return None;
        }
        let mut found = Self::ordered(classes.iter().filter(|class| class.number != number));
        found.table[usize::from(number)] = found.table[usize::from(into)];
        Some(found)
    }

    /// Moves a class one position up or down; `None` if it cannot move.
    pub fn moved(classes: &[Class], number: u8, down: bool) -> Option<Self> {
        let place = classes.iter().position(|class| class.number == number)?;
        let other = if down { place + 1 } else { place.checked_sub(1)? };
        let mut order: Vec<&Class> = classes.iter().collect();
        order.get(other)?;
        order.swap(place, other);
        Some(Self::ordered(order.into_iter()))
    }

    /// Numbers the classes from 1 in this order.
    fn ordered<'a>(order: impl Iterator<Item = &'a Class>) -> Self {
        let mut table: Vec<u8> = (0..=u8::MAX).collect();
        let mut numbered = |(number, class): (u8, &Class)| {
            table[usize::from(class.number)] = number;
            Class { number, ..class.clone() }
        };
        let classes = (1..).zip(order).map(&mut numbered).collect();
        Self { classes, table }
    }

    /// The classes.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether pixels of a class become another number.
    pub fn changes(&self, class: u8) -> bool {
        self.table[usize::from(class)] != class
    }

    /// Renumbers a label.
    pub fn apply(&self, label: &mut Mask) {
        label.pixels_mut().iter_mut().for_each(|class| *class = self.table[usize::from(*class)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<Class> {
        (1..=3).map(|number| Class { number, name: format!("c{number}"), colour: [number; 3] }).collect()
    }

    fn mapped(map: &ClassMap) -> Vec<u8> {
        let mut label = Mask::from_pixels(5, 1, vec![0, 1, 2, 3, 255]).unwrap();
        map.apply(&mut label);
        label.pixels().to_vec()
    }

    #[test]
    fn a_class_is_deleted_merged_and_moved_and_the_others_close_up() {
        let names =
            |map: &ClassMap| map.classes().iter().map(|c| format!("{}{}", c.number, c.name)).collect::<Vec<_>>();
        let deleted = ClassMap::without(&three(), 2, BACKGROUND).unwrap();
        assert_eq!((mapped(&deleted), names(&deleted)), (vec![0, 1, 0, 2, 255], vec!["1c1".into(), "2c3".into()]));
        assert_eq!([0, 1, 2, 3, 255].map(|class| deleted.changes(class)), [false, false, true, true, false]);
        let forgotten = ClassMap::without(&three(), 1, UNLABELLED).unwrap();
        assert_eq!(mapped(&forgotten), [0, 255, 1, 2, 255]);
        let merged = ClassMap::without(&three(), 1, 3).unwrap();
        assert_eq!((mapped(&merged), names(&merged)), (vec![0, 2, 1, 2, 255], vec!["1c2".into(), "2c3".into()]));
        let moved = ClassMap::moved(&three(), 3, false).unwrap();
        assert_eq!((mapped(&moved), names(&moved)[1].as_str()), (vec![0, 1, 3, 2, 255], "2c3"));
        assert!(ClassMap::moved(&three(), 1, false).is_none() && ClassMap::moved(&three(), 3, true).is_none());
        assert!(ClassMap::without(&three(), 2, 2).is_none() && ClassMap::without(&three(), 4, 0).is_none());
        assert!(ClassMap::without(&three()[..1], 1, 0).is_none(), "one class stays");
    }
}
