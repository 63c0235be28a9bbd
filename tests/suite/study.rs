//! The study in memory and on disk agree: after any sequence of changes, a reopened project is in the state that the
//! rules give.

use image::GrayImage;
use proptest::prelude::*;
use qualm::domain::edit::Gesture;
use qualm::domain::mask::Mask;
use qualm::domain::query::Proposal;
use qualm::domain::round::Reason;
use qualm::domain::round::Report;
use qualm::domain::scores::Scores;
use qualm::domain::settings::{Policy, Settings};
use qualm::domain::study::{Acceptance, Change, ClassMap, ImageId, Review, Round, Study};
use qualm::project::{Finished, Project};
use tempfile::TempDir;

use crate::create;

/// An action of the user or of a job; images are given by index.
#[derive(Clone, Debug)]
enum Act {
    Stroke { image: usize, accepts: bool },
    Undo { image: usize },
    Accepted { image: usize, at_s: u64 },
    Reviewed(usize, Review),
    Settings(u64),
    ClassAdded,
    ClassRenamed,
    ClassRecoloured,
    ClassesMapped { deletes: bool },
    Trained { active: bool },
    Activated(usize),
    Scored { proposed: Vec<usize>, pseudo: Vec<usize> },
    Proposed(Vec<usize>),
}

const IMAGES: usize = 5;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let image = || 0..IMAGES;
    let some = || prop::collection::btree_set(0..IMAGES, 0..IMAGES).prop_map(|set| set.into_iter().rev().collect());
    let review = prop::sample::select(vec![Review::Unreviewed, Review::Accepted, Review::Rejected]);
    let act = prop_oneof![
        3 => (image(), any::<bool>()).prop_map(|(image, accepts)| Act::Stroke { image, accepts }),
        2 => image().prop_map(|image| Act::Undo { image }),
        1 => (image(), 0u64..5).prop_map(|(image, at_s)| Act::Accepted { image, at_s }),
        3 => (image(), review).prop_map(|(image, review)| Act::Reviewed(image, review)),
        1 => (0u64..9).prop_map(Act::Settings),
        1 => Just(Act::ClassAdded),
        1 => Just(Act::ClassRenamed),
        1 => Just(Act::ClassRecoloured),
        1 => any::<bool>().prop_map(|deletes| Act::ClassesMapped { deletes }),
        2 => any::<bool>().prop_map(|active| Act::Trained { active }),
        1 => (1usize..4).prop_map(Act::Activated),
        4 => (some(), some()).prop_map(|(proposed, pseudo)| Act::Scored { proposed, pseudo }),
        1 => some().prop_map(Act::Proposed),
    ];
    prop::collection::vec(act, 1..16)
}

/// Performs the action on the project and returns the change to the study; `None` if it is not possible.
fn perform(project: &mut Project, study: &Study, act: &Act) -> Option<Change> {
    let id = |place: usize| study.images[place].id;
    let proposal =
        |place: &usize| Proposal { image: id(*place), reason: Reason::MostUncertain, score: *place as f64, tile: None };
    let report = |round, active| Report { round, active, ..Report::default() };
    Some(match act {
        Act::Stroke { image, accepts } => {
            let label = project.label(id(*image)).unwrap();
            let mut mask = label.mask;
            let mut gesture = Gesture::default();
            gesture.paint(&mut mask, label.history.done() % 4, 0..4, 1);
            let mut step: qualm::domain::edit::Step = gesture.finish(&mask)?.into();
            step.accepts = *accepts;
            project.commit_step(id(*image), label.history.done(), &step).unwrap();
            Change::Edited { image: id(*image), painted: true, labelled: accepts.then_some(true) }
        }
        Act::Undo { image } => {
            let done = project.label(id(*image)).unwrap().history.done().checked_sub(1)?;
            let labelled = (done == 0).then_some(false);
            project.move_to(id(*image), done, labelled).unwrap();
            Change::Edited { image: id(*image), painted: done > 0, labelled }
        }
        Act::Accepted { image, at_s } => {
            let (seconds, dice) = (*at_s as f64 + 1.0, Some(0.5 + *at_s as f64 / 10.0));
            let acceptance = Acceptance { image: id(*image), at_s: *at_s, seconds, round: Some(1), dice };
            project.record_acceptance(&acceptance).unwrap();
            Change::Accepted(acceptance)
        }
        Act::Reviewed(image, review) => {
            project.set_pseudo(id(*image), *review).unwrap();
            Change::Reviewed(id(*image), *review)
        }
        Act::Settings(seed) => {
            let settings = Settings { seed: *seed, policy: Policy::Ceal, ..Settings::default() };
            project.set_settings(&settings).unwrap();
            Change::Settings(Box::new(settings))
        }
        Act::ClassAdded => {
            let is_taken = study.classes.iter().any(|class| class.name == "new");
            assert_eq!(project.add_class("new").is_err(), is_taken);
            if is_taken {
                return None;
            }
            Change::ClassAdded("new".to_owned())
        }
        Act::ClassRenamed => {
            let is_taken = study.classes.iter().any(|class| class.number != 1 && class.name == "renamed");
            assert_eq!(project.rename_class(1, "renamed").is_err(), is_taken);
            if is_taken {
                return None;
            }
            Change::ClassRenamed(1, "renamed".to_owned())
        }
        Act::ClassesMapped { deletes } => {
            let map = if *deletes {
                ClassMap::without(&study.classes, 1, 0)?
            } else {
                ClassMap::moved(&study.classes, 1, true)?
            };
            project.map_classes(&map).unwrap();
            Change::ClassesMapped(map)
        }
        Act::ClassRecoloured => {
            project.recolour_class(1, [1, 2, 3]).unwrap();
            Change::ClassRecoloured(1, [1, 2, 3])
        }
        Act::Trained { active } => {
            let round = project.next_round().unwrap();
            std::fs::create_dir_all(project.unfinished_model_folder(round)).unwrap();
            let finished = Finished { report: report(round, *active), settings: study.settings.clone() };
            project.record_round(&finished).unwrap();
            let finished_s = project.rounds().unwrap().last().unwrap().finished_s;
            let Finished { report, settings } = finished;
            Change::Trained(Box::new(Round { report, settings, active: *active, outdated: false, finished_s }))
        }
        Act::Activated(round) => {
            let known = study.rounds.get(round.checked_sub(1)?)?;
            if known.outdated {
                assert!(project.activate(*round).is_err());
                return None;
            }
            project.activate(*round).unwrap();
            Change::Activated(*round)
        }
        Act::Scored { proposed, pseudo } => {
            let last = study.rounds.last()?.report.clone();
            let scores: Vec<(ImageId, Scores)> =
                proposed.iter().map(|p| (id(*p), Scores { variance_sum: *p as f64, ..Scores::default() })).collect();
            let proposals: Vec<Proposal<ImageId>> = proposed.iter().map(proposal).collect();
            let labels: Vec<(ImageId, Mask)> = pseudo.iter().map(|p| (id(*p), Mask::filled(4, 4, 1))).collect();
            project.record_scores(&last, &scores, &proposals, &labels).unwrap();
            Change::Scored { scores, proposals, pseudo: labels.into_iter().map(|(image, _)| image).collect() }
        }
        Act::Proposed(proposed) => {
            let without_network = |p| Proposal { reason: Reason::Representative, ..proposal(p) };
            let proposals: Vec<Proposal<ImageId>> = proposed.iter().map(without_network).collect();
            project.record_proposals(&proposals).unwrap();
            Change::Proposed(proposals)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_sequence_of_changes_leaves_the_study_as_a_project_opened_again_says(acts in acts()) {
        let temp = TempDir::new().unwrap();
        let (images, root) = (temp.path().join("images"), temp.path().join("project"));
        std::fs::create_dir_all(&images).unwrap();
        for number in 0..IMAGES {
            GrayImage::new(4, 4).save(images.join(format!("{number}.png"))).unwrap();
        }
        let (mut project, _) = create(&root, &images, None, &Settings::default()).unwrap();
        let mut study = project.study().unwrap();
        for act in &acts {
            if let Some(change) = perform(&mut project, &study, act) {
                study.apply(&change);
            }
        }
        drop(project);
        prop_assert_eq!(Project::open(&root).unwrap().study().unwrap(), study);
    }
}
