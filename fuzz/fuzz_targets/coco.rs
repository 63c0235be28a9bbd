//! Any bytes as a COCO file over a folder of one image.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qualm::project::{ImportPlan, ImportRules};

/// A PNG of 1 × 1.
const IMAGE: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 58, 126, 155,
    85, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 96, 0, 0, 0, 2, 0, 1, 72, 175, 164, 113, 0, 0, 0, 0, 73, 69, 78, 68,
    174, 66, 96, 130,
];

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    std::fs::write(folder.path().join("images/a.png"), IMAGE).unwrap();
    let coco = folder.path().join("coco.json");
    std::fs::write(&coco, bytes).unwrap();
    let _ = ImportPlan::read(&folder.path().join("images"), Some(&coco), None, &ImportRules::default(), &|_, _| {});
});
