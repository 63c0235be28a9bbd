//! Remedies in the words of the command line.

use qualm::domain::mask::BACKGROUND;
use qualm::domain::mask_values::{MaskValue, Question};
use qualm::domain::remedy::Remedy;
use qualm::project::ProjectError;
use qualm::project::import::Ask;
use qualm::worker::failure;

/// The error with what can be done about it on the command line.
pub fn explained(error: &anyhow::Error) -> String {
    if let Some(ProjectError::Unsettled(questions)) = error.downcast_ref() {
        return questions.iter().map(question).collect::<Vec<_>>().join("\n");
    }
    let failure = failure(error);
    match failure.remedy.as_ref().map(option) {
        Some(remedy) => format!("{}; {remedy}", failure.text),
        None => failure.text,
    }
}

fn question(ask: &Ask) -> String {
    match options(ask) {
        Some(options) => format!("{}; {options}", ask.what),
        None => ask.what.clone(),
    }
}

/// The options that answer the question.
pub fn options(ask: &Ask) -> Option<String> {
    ask.remedy.as_ref().map(option)
}

fn option(remedy: &Remedy) -> String {
    match remedy {
        Remedy::AcceptLabels => {
            "label a few images in the window and accept them, or take masks in (qualm import)".to_owned()
        }
        Remedy::TrainRound => "train one (qualm round)".to_owned(),
        Remedy::CreateProject(folder) => format!("make one (qualm new {} --images DIR)", folder.display()),
        Remedy::RefreshFiles => "look for new files (qualm refresh)".to_owned(),
        Remedy::RedrawValidation => "give --redraw to draw validation anew, whole groups on one side".to_owned(),
        Remedy::Settings => "qualm settings lists them".to_owned(),
        Remedy::Upgrade(project) => format!("open it in the window, or run qualm refresh {}", project.display()),
        Remedy::Repair => "qualm repair restores it from its files, if those are intact".to_owned(),
        Remedy::Restore => "qualm restore brings back a backup of it".to_owned(),
        Remedy::IgnoreNames => "where they mean the same, give --ignore-names".to_owned(),
        Remedy::Pages => "give --pages one-hot where each page is a class and the first is background, or --pages \
                          classes where each is a class and background is what is set in none"
            .to_owned(),
        Remedy::MaskSuffix => {
            "give --mask-suffix, the suffix that mask names add to the image name, such as _mask".to_owned()
        }
        Remedy::Several => {
            "give --several union to join them, or --several classes to make each a class of its own".to_owned()
        }
        Remedy::Union => "give --several union".to_owned(),
        Remedy::MaskValues(question) => mask_values(question),
    }
}

/// The options that answer a question about the values of masks.
fn mask_values(question: &Question) -> String {
    const CLASSES: &str = "give the class of each value (0 is background, 255 not labelled), for example";
    match question {
        Question::NotInMap(_) => {
            "name them with --map too, or give --nearest to take each as the nearest value that is \
                                  named"
                .to_owned()
        }
        Question::Instances(_) => {
            "give --numbers instances to take every object as foreground, or --numbers classes if \
                                   each number is a class"
                .to_owned()
        }
        Question::Values(values)
        | Question::Transparent(values)
        | Question::PaletteOrder(_, values)
        | Question::PalettesDiffer(_, values)
        | Question::Inverted(values) => {
            format!("{CLASSES} {}", map_options(values))
        }
        Question::Is255Class(values) => format!("{CLASSES} {} --map 255=255", map_options(&without_255(values))),
        Question::TooMany(_) => {
            "give --threshold VALUE to take all from that value on as foreground, or --map for the \
                                 true values together with --nearest"
                .to_owned()
        }
        Question::Smooth => "give --threshold 128 to use everything at least half opaque as foreground".to_owned(),
    }
}

/// `--map VALUE=CLASS` for each value, to be corrected.
fn map_options(values: &[MaskValue]) -> String {
    let class = |place: usize, value: &MaskValue| {
        if *value == MaskValue::Number(0) { usize::from(BACKGROUND) } else { place }
    };
    let start = usize::from(!values.contains(&MaskValue::Number(0)));
    let flags = values.iter().take(12).enumerate();
    flags.map(|(i, value)| format!("--map '{value}={}'", class(i + start, value))).collect::<Vec<_>>().join(" ")
}

fn without_255(values: &[MaskValue]) -> Vec<MaskValue> {
    values.iter().copied().filter(|value| *value != MaskValue::Number(255)).collect()
}
