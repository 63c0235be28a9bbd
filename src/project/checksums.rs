//! Checksums (CRC-32) of stored labels, so that a bit flip on disk cannot silently change a label.
//!
//! Rows written before checksums were introduced have none and are accepted unchecked.

use rusqlite::{Connection, params};

use crate::domain::study::ImageId;
use crate::project::error::Result;

/// The checksum of one step in the journal.
pub(super) fn of_step(image: ImageId, position: usize, accepts: bool, edit: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&image.0.to_le_bytes());
    crc.update(&(position as u64).to_le_bytes());
    crc.update(&[u8::from(accepts)]);
    crc.update(edit);
    crc.finalize()
}

/// The checksum of a stored mask.
pub(super) fn of_mask(packed: &[u8]) -> u32 {
    crc32fast::hash(packed)
}

/// The checksum of a row in `labels`: its image, the checksum of its mask, and its positions in the journal.
pub(super) fn of_row(image: ImageId, mask: Option<u32>, position: usize, done: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&image.0.to_le_bytes());
    crc.update(&mask.map_or(0, u64::from).to_le_bytes());
    crc.update(&(position as u64).to_le_bytes());
    crc.update(&(done as u64).to_le_bytes());
    crc.finalize()
}

/// Updates the checksum of a row in `labels` to match its contents.
pub(super) fn seal_row(db: &Connection, image: ImageId) -> Result<()> {
    let row = db.query_row("SELECT mask_crc, position, done FROM labels WHERE image = ?1", [image], |row| {
        Ok((row.get::<_, Option<u32>>(0)?, row.get::<_, usize>(1)?, row.get::<_, usize>(2)?))
    })?;
    let crc = of_row(image, row.0, row.1, row.2);
    db.execute("UPDATE labels SET row_crc = ?2 WHERE image = ?1", params![image, crc])?;
    Ok(())
}
