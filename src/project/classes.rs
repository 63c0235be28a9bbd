//! Storage of the classes.

use rusqlite::params;

use crate::domain::edit::Edit;
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::study::{Change, Class, ClassMap, ImageId};
use crate::project::error::{ProjectError, Result};
use crate::project::labels::store_whole;
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

    /// Adds a class with the next free number and colour, and returns its number.
    pub fn add_class(&mut self, name: &str) -> Result<u8> {
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

    /// Renames a class.
    pub fn rename_class(&mut self, number: u8, name: &str) -> Result<()> {
        self.db.execute("UPDATE classes SET name = ?2 WHERE class = ?1", params![number, name])?;
        Ok(())
    }

    /// Changes the colour of a class: red, green, blue.
    pub fn recolour_class(&mut self, number: u8, colour: [u8; 3]) -> Result<()> {
        self.db.execute("UPDATE classes SET colour = ?2 WHERE class = ?1", params![number, hex(colour)])?;
        Ok(())
    }

    /// Renumbers the classes and all labels in one transaction. The labels lose their undo history, since its steps use
    /// the earlier numbers. The rounds become outdated, since their networks were trained with the earlier classes.
    pub fn map_classes(&mut self, map: &ClassMap) -> Result<()> {
        let images: Vec<ImageId> = {
            let mut query = self.db.prepare("SELECT image FROM labels")?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut labels = Vec::with_capacity(images.len());
        for image in images {
            let label = self.label(image)?;
            let mut mask = label.mask;
            map.apply(&mut mask);
            let empty = Mask::filled(mask.width(), mask.height(), UNLABELLED);
            let edit = if label.history.done() == 0 { None } else { Edit::between(&empty, &mask) };
            labels.push((image, edit.map(|edit| edit.to_bytes()), lz4_flex::block::compress(mask.pixels())));
        }
        let (study, effects) = self.after(&Change::ClassesMapped(map.clone()))?;
        let transaction = self.db.transaction()?;
        transaction.execute("DELETE FROM classes", [])?;
        for Class { number, name, colour } in &study.classes {
            transaction.execute("INSERT INTO classes VALUES (?1, ?2, ?3)", params![number, name, hex(*colour)])?;
        }
        for (image, edit, packed) in labels {
            let query = "SELECT status = 'labelled' FROM images WHERE id = ?1";
            let is_labelled: bool = transaction.query_row(query, [image], |row| row.get(0))?;
            store_whole(&transaction, image, edit.as_deref(), &packed, is_labelled, false)?;
        }
        transaction
            .execute_batch("DELETE FROM scores; DELETE FROM proposals; UPDATE rounds SET active = 0, outdated = 1;")?;
        pseudo::renumber(&transaction, map)?;
        pseudo::discard(&transaction, &effects)?;
        Ok(transaction.commit()?)
    }
}
