//! Names and messages as they may be shown.

use std::any::Any;
use std::borrow::Cow;

/// The text with control characters, which could affect the terminal, escaped as in `\u{1b}`. Line breaks and tabs are
/// kept if `keeps_lines`.
pub fn escaped(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    let is_kept = |c: char| !c.is_control() || keeps_lines && (c == '\n' || c == '\t');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_kept(c) { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    Cow::Owned(shown)
}

/// A panic's message.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

/// A number of things: `1 image`, `2 images`.
pub fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_a_name() {
        assert_eq!(escaped("a\u{1b}[31m\n.png", false), "a\\u{1b}[31m\\n.png");
        assert_eq!(escaped("one\ntwo\u{7}", true), "one\ntwo\\u{7}");
        assert!(matches!(escaped("Müller 1.png", false), Cow::Borrowed(_)));
    }
}
