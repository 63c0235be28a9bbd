//! Checksums (CRC-32) of what labels are made of. A bit that flips on the disk must not become another label in silence.
//!
//! Rows of before there were checksums have none, and are taken as they are.

use rusqlite::{Connection, params};

use crate::domain::study::ImageId;
use crate::project::error::Result;

/// Of one step of the journal.
pub(super) fn of_step(image: ImageId, position: usize, accepts: bool, edit: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&image.0.to_le_bytes());
    crc.update(&(position as u64).to_le_bytes());
    crc.update(&[u8::from(accepts)]);
    crc.update(edit);
    crc.finalize()
}

/// Of a stored mask.
pub(super) fn of_mask(packed: &[u8]) -> u32 {
    crc32fast::hash(packed)
}

/// Of the row of a label: which image's it is, its mask by the mask's checksum, and where it stands in the journal.
pub(super) fn of_row(image: ImageId, mask: Option<u32>, position: usize, done: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&image.0.to_le_bytes());
    crc.update(&mask.map_or(0, u64::from).to_le_bytes());
    crc.update(&(position as u64).to_le_bytes());
    crc.update(&(done as u64).to_le_bytes());
    crc.finalize()
}

/// Brings the checksum of a label's row up to what stands in it.
pub(super) fn seal_row(db: &Connection, image: ImageId) -> Result<()> {
    let row = db.query_row("SELECT mask_crc, position, done FROM labels WHERE image = ?1", [image], |row| {
        Ok((row.get::<_, Option<u32>>(0)?, row.get::<_, usize>(1)?, row.get::<_, usize>(2)?))
    })?;
    let crc = of_row(image, row.0, row.1, row.2);
    db.execute("UPDATE labels SET row_crc = ?2 WHERE image = ?1", params![image, crc])?;
    Ok(())
}
