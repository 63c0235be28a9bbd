//! The README says what the program does.

use qualm::domain::settings;

#[test]
fn the_readme_lists_every_setting() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&settings::reference()), "put the output of `qualm settings` into the README");
}
