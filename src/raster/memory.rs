//! How much memory one image may take.

use std::path::Path;
use std::sync::OnceLock;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::{Header, RasterError, Result, SampleType};
/// Divisor of the machine's memory that gives the limit for the samples of one image. Decoders hold up to two copies of
/// them, and the window and the network have copies of their own.
const SHARE: u64 = 8;
/// The lowest default limit in bytes. It allows 16,384 × 16,384 pixels of 8-bit colour.
const LEAST: u64 = 1 << 30;
/// The environment variable that sets another limit, in MiB.
pub const LIMIT_VARIABLE: &str = "QUALM_IMAGE_MEMORY";

/// The number of bytes that the samples of one image may take: the value of the environment variable, or else an eighth
/// of the memory of the machine (or container), but at least 1 GiB.
pub fn limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let set = std::env::var(LIMIT_VARIABLE).ok().and_then(|text| text.trim().parse::<u64>().ok());
        set.map_or_else(|| (machine() / SHARE).max(LEAST), |mebibytes| mebibytes.saturating_mul(1 << 20))
    })
}

/// The machine's memory in bytes, or the container's limit if that is lower.
fn machine() -> u64 {
    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let container = system.cgroup_limits().map(|limits| limits.total_memory).filter(|total| *total > 0);
    container.map_or(system.total_memory(), |total| total.min(system.total_memory()))
}

impl Header {
    /// Size in bytes of the decoded samples of one page.
    fn bytes(&self) -> u64 {
        let sample = match self.sample_type {
            SampleType::Unsigned(..=8) => 1,
            SampleType::Unsigned(..=16) => 2,
            SampleType::Unsigned(..=32) | SampleType::Signed(..=32) | SampleType::Float(..=32) => 4,
            SampleType::Unsigned(_) | SampleType::Signed(_) | SampleType::Float(_) => 8,
        };
        [self.width, self.height, self.channels]
            .iter()
            .fold(sample, |product, side| product.saturating_mul(*side as u64))
    }
}

/// Returns an error if a page with this header takes more memory than `limit`.
pub(super) fn check(path: &Path, header: &Header) -> Result<()> {
    within(path, header, limit())
}

fn within(path: &Path, header: &Header, limit: u64) -> Result<()> {
    let needed = header.bytes();
    if needed <= limit {
        return Ok(());
    }
    Err(RasterError::TooLarge {
        path: path.to_owned(),
        width: header.width,
        height: header.height,
        needed_mib: needed.div_ceil(1 << 20),
        limit_mib: limit >> 20,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::size::Size;
    use crate::raster::{Colour, Format};

    #[test]
    fn an_image_larger_than_its_share_of_memory_is_refused_in_words_before_it_is_decoded() {
        let header =
            |side, bits| Header::new(Format::Tiff, Size::new(side, side), Colour::Rgb, SampleType::Unsigned(bits));
        assert!(within(Path::new("a.tif"), &header(16_384, 8), LEAST).is_ok());
        let error = within(Path::new("a.tif"), &header(16_384, 16), LEAST).unwrap_err().to_string();
        assert!(
            error.contains("16384 × 16384") && error.contains("1536 MiB") && error.contains(LIMIT_VARIABLE),
            "{error}"
        );
        assert!(within(Path::new("a.tif"), &header(usize::MAX, 64), u64::MAX - 1).is_err(), "no overflow");
        assert!(limit() >= LEAST);
    }
}
