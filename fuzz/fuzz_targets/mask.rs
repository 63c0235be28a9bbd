//! Any bytes as a mask, a label, a volume and a DICOM segmentation.

#![no_main]

mod panics;

use libfuzzer_sys::fuzz_target;
use qualm::raster;

fuzz_target!(
    init: panics::end_at_our_own(),
    |bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask");
        std::fs::write(&path, bytes).unwrap();
        let _ = raster::read_mask(&path, 0, None);
        let _ = raster::planes(&path);
        let _ = raster::segmentation(&path);
        let _ = raster::read_label(&path);
    }
);
