//! Which panics end a target.

/// Ends the process at a panic of the program's own code, even where it is caught. A decoder's panic is an error of its file.
pub fn end_at_our_own() {
    std::panic::set_hook(Box::new(|panic| {
        if !panic.location().is_some_and(|place| place.file().contains("/registry/src/")) {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}
