//! Storage of the classes.

use rusqlite::params;

use crate::domain::study::{Change, Class, ClassMap, ImageId};
use crate::project::error::{ProjectError, Result};
use crate::project::labels::{Label, store_fixed, store_whole};
use crate::project::rounds::discard_proposals;
use crate::project::{Project, pseudo};

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("{r:02x}{g:02x}{b:02x}")
}

impl Project {
    /// All classes, by number.
    pub fn classes(&self) -> Result<Vec<Class>> {
        let mut query = self.db.prepare("SELECT class, name, colour FROM classes ORDER BY class")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
        rows.map(|row| {
            let (number, name, colour) = row?;
            let rgb = u32::from_str_radix(&colour, 16).map_err(|_| ProjectError::Damaged("class colours"))?;
            Ok(Class { number, name, colour: [(rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8] })
        })
        .collect()
    }

    /// The names of the classes, class 1 first.
    pub fn class_names(&self) -> Result<Vec<String>> {
        Ok(self.classes()?.into_iter().map(|class| class.name).collect())
    }

    /// Returns an error if a class other than `number` has this name.
    fn check_class_name(&self, name: &str, number: Option<u8>) -> Result<()> {
        if self.classes()?.iter().any(|class| Some(class.number) != number && class.is_named(name)) {
            return Err(ProjectError::SameClassName(name.trim().to_owned()));
        }
        Ok(())
    }

    /// A name for a new class: this one or, if it is taken, the same with a number.
    pub(super) fn free_class_name(&self, name: &str) -> Result<String> {
        let classes = self.classes()?;
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        Ok(names.find(|name| !classes.iter().any(|class| class.is_named(name))).expect("numbers do not end"))
    }

    /// Adds a class with the next free number and colour, and returns its number. Fails if there is one of this name.
    pub fn add_class(&mut self, name: &str) -> Result<u8> {
        self.check_class_name(name, None)?;
        let (study, effects) = self.after(&Change::ClassAdded(name.to_owned()))?;
        let Some(Class { number, name, colour }) = study.classes.last() else {
            return Err(ProjectError::Damaged("classes"));
        };
        let transaction = self.db.transaction()?;
        transaction.execute("INSERT INTO classes VALUES (?1, ?2, ?3)", params![number, name, hex(*colour)])?;
        pseudo::discard(&transaction, &effects)?;
        transaction.commit()?;
        Ok(*number)
    }

    /// Renames a class. Fails if there is another of this name.
    pub fn rename_class(&mut self, number: u8, name: &str) -> Result<()> {
        self.check_class_name(name, Some(number))?;
        self.db.execute("UPDATE classes SET name = ?2 WHERE class = ?1", params![number, name])?;
        Ok(())
    }

    /// Changes the colour of a class: red, green, blue.
    pub fn recolour_class(&mut self, number: u8, colour: [u8; 3]) -> Result<()> {
        self.db.execute("UPDATE classes SET colour = ?2 WHERE class = ?1", params![number, hex(colour)])?;
        Ok(())
    }

    /// Renumbers the classes and the labels that have pixels of them, in one transaction. These labels lose their undo
    /// history, since its steps use the earlier numbers; so does a label of which only earlier or undone steps had such
    /// pixels. The rounds become outdated, since their networks were trained with the earlier classes.
    pub fn map_classes(&mut self, map: &ClassMap) -> Result<()> {
        let images: Vec<ImageId> = {
            let mut query = self.db.prepare("SELECT image FROM labels")?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut labels = Vec::new();
        for image in images {
            let Label { mut mask, history } = self.label(image)?;
            if !history.ever_has(&mask, |class| map.changes(class))? {
                continue;
            }
            map.apply(&mut mask);
            let is_there = history.done() > 0 && !mask.is_unlabelled();
            labels.push((image, is_there, lz4_flex::block::compress(mask.pixels())));
        }
        let (study, effects) = self.after(&Change::ClassesMapped(map.clone()))?;
        let transaction = self.db.transaction()?;
        transaction.execute("DELETE FROM classes", [])?;
        for Class { number, name, colour } in &study.classes {
            transaction.execute("INSERT INTO classes VALUES (?1, ?2, ?3)", params![number, name, hex(*colour)])?;
        }
        for (image, is_there, packed) in labels {
            if is_there {
                store_fixed(&transaction, image, &packed)?;
            } else {
                store_whole(&transaction, image, None, &packed, false, false)?;
            }
        }
        transaction.execute_batch("DELETE FROM scores; UPDATE rounds SET active = 0, outdated = 1;")?;
        discard_proposals(&transaction, &study)?;
        pseudo::renumber(&transaction, map)?;
        pseudo::discard(&transaction, &effects)?;
        Ok(transaction.commit()?)
    }
}
