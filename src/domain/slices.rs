//! Interpolates labels of a stack's slices from those of the slices around them.

use std::collections::BTreeSet;

use image::{GrayImage, Luma};
use imageproc::distance_transform::euclidean_squared_distance_transform;

use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};

/// Interpolates between two labels of the same size, at the fraction `share` (0 to 1) of the way from the first to the
/// second. For each class, the signed distances to its border are averaged (Raya & Udupa, IEEE Trans. Med. Imaging 9,
/// 1990), and each pixel takes the class that it lies deepest inside. Pixels unlabelled in both stay unlabelled.
pub fn interpolate(first: &Mask, second: &Mask, share: f64) -> Mask {
    debug_assert_eq!((first.width(), first.height()), (second.width(), second.height()));
    let is_class = |class: &u8| *class != BACKGROUND && *class != UNLABELLED;
    let classes: BTreeSet<u8> = first.pixels().iter().chain(second.pixels()).copied().filter(is_class).collect();
    let both = first.pixels().iter().zip(second.pixels());
    let mut pixels: Vec<u8> =
        both.map(|(a, b)| if (*a, *b) == (UNLABELLED, UNLABELLED) { UNLABELLED } else { BACKGROUND }).collect();
    let mut deepest = vec![0.0; pixels.len()];
    for class in classes {
        let (a, b) = (signed_distance(first, class), signed_distance(second, class));
        for (place, pixel) in pixels.iter_mut().enumerate() {
            let depth = (1.0 - share) * a[place] + share * b[place];
            if depth > deepest[place] {
                (*pixel, deepest[place]) = (class, depth);
            }
        }
    }
    Mask::from_pixels(first.width(), first.height(), pixels).expect("as many pixels as the masks have")
}

/// Signed distance of each pixel to the class's border: positive inside, negative outside. If the class is absent,
/// every pixel is as far outside as the image's width and height together.
fn signed_distance(mask: &Mask, class: u8) -> Vec<f64> {
    let (width, height) = (mask.width() as u32, mask.height() as u32);
    let image = |is: bool| {
        let pixels = mask.pixels().iter().map(|pixel| if (*pixel == class) == is { 255 } else { 0 }).collect();
        GrayImage::from_raw(width, height, pixels).expect("as many pixels as the mask has")
    };
    let farthest = f64::from(width) + f64::from(height);
    let distance = |image: &GrayImage| -> Vec<f64> {
        if image.pixels().all(|Luma([value])| *value == 0) {
            return vec![farthest; image.len()];
        }
        let squared = euclidean_squared_distance_transform(image).into_raw();
        squared.into_iter().map(|squared| squared.sqrt().min(farthest)).collect()
    };
    // From each pixel to the nearest inside, and to the nearest outside; the border lies half a pixel away.
    let (to_inside, to_outside) = (distance(&image(true)), distance(&image(false)));
    let signed = to_outside.into_iter().zip(to_inside);
    signed.map(|(out, inside)| if out > 0.0 { out - 0.5 } else { 0.5 - inside }).collect()
}
