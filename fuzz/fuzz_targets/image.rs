//! Any bytes as an image file: its header, its first and last page, and its picture. The format is found by the content.

#![no_main]

mod panics;

use libfuzzer_sys::fuzz_target;
use qualm::raster;

fuzz_target!(
    init: panics::end_at_our_own(),
    |bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        let Ok(header) = raster::header(&path) else { return };
        for page in [0, header.pages.saturating_sub(1)] {
            if let Ok(image) = raster::read(&path, page) {
                assert_eq!(image.samples.len(), image.header.width * image.header.height * image.header.channels);
                raster::picture(&image);
            }
        }
    }
);
