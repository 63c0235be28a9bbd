//! Any text as a setting, and as a table of groups.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qualm::domain::settings::Settings;
use qualm::project::groups::GroupRule;

fuzz_target!(|text: &str| {
    let mut settings = Settings::default();
    if settings.assign(text).is_ok() {
        let _ = settings.check();
    }
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("groups.csv");
    std::fs::write(&table, text).unwrap();
    let _ = GroupRule::read(&format!("csv:{}", table.display()));
});
