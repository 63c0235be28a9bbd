//! Any bytes as what the program stores itself: a step of a label, a prediction, a model's description.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qualm::domain::edit::Edit;
use qualm::domain::mask::Mask;
use qualm::domain::prediction::Prediction;
use qualm::engine::model::Description;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(edit) = Edit::from_bytes(bytes) {
        let _ = edit.toggle(&mut Mask::filled(70, 70, 0));
    }
    let _ = Prediction::from_bytes(bytes);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.json"), bytes).unwrap();
    let _ = Description::read(folder.path());
});
