//! Remedies in the words of the window: as its commands.

use crate::app::command::Command;
use crate::domain::remedy::{Failure, Remedy};

/// The failure with what can be done about it in the window.
pub fn explained(failure: &Failure) -> String {
    match failure.remedy.as_ref().and_then(remedy) {
        Some(remedy) => format!("{}; {remedy}", failure.text),
        None => failure.text.clone(),
    }
}

/// `None` where the window asks the question itself.
fn remedy(remedy: &Remedy) -> Option<String> {
    Some(match remedy {
        Remedy::AcceptLabels => format!("label a few images and accept them: {}", Command::Accept.row().titled()),
        Remedy::TrainRound => format!("train one: {}", Command::Train.row().titled()),
        Remedy::CreateProject(_) => format!("make one of a folder of images: {}", Command::NewProject.row().titled()),
        Remedy::RefreshFiles => format!("look for new files: {}", Command::Refresh.row().titled()),
        Remedy::RedrawValidation => {
            "close the project, then run the command qualm groups PROJECT RULE --redraw, which draws validation anew, \
             whole groups on one side"
                .to_owned()
        }
        Remedy::Settings => format!("see {}", Command::Settings.row().titled()),
        Remedy::Upgrade(_) => "close it where it is open for writing, and open it again".to_owned(),
        Remedy::Repair => {
            "close the project, then run the command qualm repair PROJECT, which restores it from its files, if those \
             are intact"
                .to_owned()
        }
        Remedy::Restore => {
            "close the project, then run the command qualm restore PROJECT, which brings back a backup of it".to_owned()
        }
        Remedy::IgnoreNames
        | Remedy::Pages
        | Remedy::MaskSuffix
        | Remedy::Several
        | Remedy::Union
        | Remedy::MaskValues(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_names_the_command_and_its_key() {
        let failure = Failure { text: "no network".to_owned(), remedy: Some(Remedy::TrainRound) };
        assert_eq!(explained(&failure), "no network; train one: Train round (Ctrl+T)");
        assert_eq!(explained(&"no space".to_owned().into()), "no space");
    }
}
