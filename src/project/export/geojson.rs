//! GeoJSON (RFC 7946) as read by QuPath: annotations in pixel coordinates, each with its class.

use serde_json::{Value, json};

use super::sheet::{Sheet, confidence};
use crate::domain::outline::{Polygon, Ring, outlines};
use crate::domain::regions::numbered;
use crate::domain::study::Class;

/// A feature collection with one feature per connected component.
pub(super) fn features(sheet: &Sheet, classes: &[Class]) -> Value {
    let mut features = Vec::new();
    for class in classes.iter().filter(|class| sheet.mask.pixels().contains(&class.number)) {
        let scores = confidence(sheet, &numbered(sheet.mask, class.number), class.number);
        for (number, region) in (1..).zip(outlines(sheet.mask, class.number)) {
            let geometry = match region.as_slice() {
                [polygon] => json!({"type": "Polygon", "coordinates": rings(polygon)}),
                polygons => {
                    let all: Vec<_> = polygons.iter().map(rings).collect();
                    json!({"type": "MultiPolygon", "coordinates": all})
                }
            };
            let mut properties = json!({
                "objectType": "annotation",
                "classification": {"name": class.name, "color": class.colour},
            });
            if let Some(score) = scores.get(&number) {
                properties["measurements"] = json!({"Mean probability": score});
            }
            features.push(json!({"type": "Feature", "geometry": geometry, "properties": properties}));
        }
    }
    json!({"type": "FeatureCollection", "features": features})
}

/// The exterior ring followed by the holes, each explicitly closed.
fn rings(polygon: &Polygon) -> Vec<Ring> {
    let all = std::iter::once(&polygon.exterior).chain(&polygon.holes);
    all.map(|ring| ring.iter().chain(ring.first()).copied().collect()).collect()
}
