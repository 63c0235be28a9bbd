//! Diagnostics for a bug report: program version, system, devices and settings. Contains no paths and nothing about
//! images or patients.

use std::fmt::Write;

use crate::app::App;
use crate::domain::settings::{Settings, TABLE};
use crate::worker::DeviceChoice;

impl App {
    /// The text that *Copy diagnostics* copies.
    pub fn diagnostics(&self) -> String {
        let mut text = format!(
            "Qualm {}\nsystem: {} {}\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH
        );
        match &self.device {
            Some(Ok(reports)) => {
                for report in reports {
                    let refused =
                        report.refused.as_ref().map_or(String::new(), |reason| format!(", refused: {reason}"));
                    let _ =
                        writeln!(text, "device: {report}, differs from the CPU by {:.1e}{refused}", report.difference);
                }
            }
            // What fails of a server names it, and its machine.
            Some(Err(_)) if matches!(self.device_choice, DeviceChoice::Server(_)) => {
                text.push_str("device: a server, which cannot be used\n");
            }
            Some(Err(reason)) => text.push_str(&format!("device: none: {reason}\n")),
            None => text.push_str("device: not looked for yet\n"),
        }
        let Some(project) = self.project() else {
            text.push_str("no project is open\n");
            return text;
        };
        let study = &project.study;
        let labelled = study.images.iter().filter(|image| image.labelled).count();
        let _ = writeln!(
            text,
            "project: {} images, {labelled} labelled, {} classes, {} rounds",
            study.images.len(),
            study.classes.len(),
            study.rounds.len()
        );
        let preset = Settings::default();
        for setting in TABLE.iter().filter(|setting| setting.text(&study.settings) != setting.text(&preset)) {
            let _ = writeln!(text, "setting: {} = {}", setting.key, setting.text(&study.settings));
        }
        text
    }
}
