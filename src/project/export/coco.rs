//! COCO annotations: one per connected component, as column-major run lengths or polygons.

use std::path::Path;

use serde_json::{Value, json};

use super::sheet::{Sheet, confidence};
use crate::domain::outline::outlines;
use crate::domain::regions::numbered;
use crate::domain::study::{Class, ImageRecord};

/// Adds an annotation for each connected component of an image; for predictions, with the mean probability as score.
pub(super) fn annotate(
    image: &ImageRecord,
    sheet: &Sheet,
    classes: &[Class],
    is_polygons: bool,
    annotations: &mut Vec<Value>,
) {
    let mask = sheet.mask;
    let (width, height) = (mask.width(), mask.height());
    for class in classes.iter().filter(|class| mask.pixels().contains(&class.number)) {
        let parts = numbered(mask, class.number);
        let scores = confidence(sheet, &parts, class.number);
        let outlines = if is_polygons { outlines(mask, class.number) } else { Vec::new() };
        let count = parts.iter().copied().max().unwrap_or(0) as usize;
        // For each region, the start and end of its column-major runs, and its bounding box.
        let mut runs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); count];
        let mut boxes = vec![[usize::MAX, usize::MAX, 0, 0]; count];
        for x in 0..width {
            for y in 0..height {
                let part = parts.get_pixel(x as u32, y as u32).0[0] as usize;
                let Some(part) = part.checked_sub(1) else { continue };
                let place = x * height + y;
                match runs[part].last_mut().filter(|(_, end)| *end == place) {
                    Some((_, end)) => *end += 1,
                    None => runs[part].push((place, place + 1)),
                }
                let [left, top, right, bottom] = boxes[part];
                boxes[part] = [left.min(x), top.min(y), right.max(x), bottom.max(y)];
            }
        }
        for (number, (runs, [left, top, right, bottom])) in runs.into_iter().zip(boxes).enumerate() {
            let (mut counts, mut at, mut area) = (Vec::new(), 0, 0);
            for (start, end) in runs {
                counts.extend([start - at, end - start]);
                (at, area) = (end, area + end - start);
            }
            counts.push(width * height - at);
            let polygons = outlines.get(number).filter(|polygons| polygons.iter().all(|part| part.holes.is_empty()));
            let segmentation = match polygons {
                Some(polygons) => json!(polygons.iter().map(|part| part.exterior.concat()).collect::<Vec<_>>()),
                None => json!({"size": [height, width], "counts": counts}),
            };
            let mut annotation = json!({
                "image_id": image.id,
                "category_id": class.number,
                "iscrowd": 0,
                "area": area,
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "segmentation": segmentation,
            });
            if let Some(score) = scores.get(&(number as u32 + 1)) {
                annotation["score"] = json!(score);
            }
            annotations.push(annotation);
        }
    }
}

/// The contents of the COCO file. Image ids are those of the project.
pub(super) fn file(
    images: &[ImageRecord],
    classes: &[Class],
    mut annotations: Vec<Value>,
    image_folder: &Path,
) -> String {
    let entry = |image: &ImageRecord| {
        let below = image.path.strip_prefix(image_folder).unwrap_or(&image.path);
        // Slices of one file need distinct names.
        let name = if image.stack.is_some() { format!("{}.png", image.stem) } else { below.display().to_string() };
        json!({"id": image.id, "file_name": name.replace('\\', "/"), "width": image.width, "height": image.height})
    };
    let images: Vec<Value> = images.iter().map(entry).collect();
    let categories: Vec<Value> = classes.iter().map(|class| json!({"id": class.number, "name": class.name})).collect();
    annotations.iter_mut().zip(1..).for_each(|(annotation, id): (&mut Value, usize)| annotation["id"] = json!(id));
    json!({"images": images, "categories": categories, "annotations": annotations}).to_string()
}
