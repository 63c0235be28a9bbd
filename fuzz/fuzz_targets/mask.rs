//! Any bytes as a mask, a label, a volume and a DICOM segmentation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qualm::raster;

fuzz_target!(
    init: {
        // A decoder's panic is an error of its file; one of the program's own code is a fault, even where it is caught.
        std::panic::set_hook(Box::new(|panic| {
            if !panic.location().is_some_and(|place| place.file().contains("/registry/src/")) {
                eprintln!("{panic}");
                std::process::abort();
            }
        }));
    },
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
