//! Any bytes as a project's database; `qualm demo DIR` makes a project whose `qualm.db` is a good seed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qualm::project::Project;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("qualm.db"), bytes).unwrap();
    if let Ok(project) = Project::open(folder.path())
        && let Ok(study) = project.study()
    {
        study.images.iter().for_each(|image| drop(project.label(image.id)));
    }
});
