// One panel of the canvas: the image, a map of the prediction over it, and the label's outline, in one pass.
// Colours are in gamma space throughout, as egui's render target is.

struct View {
    origin: vec2<f32>,     // image position at the panel's top left corner, in image pixels
    extent: vec2<f32>,     // the panel's size, in image pixels
    size: vec2<f32>,       // the image's size, in pixels
    pixel: f32,            // image pixels per screen pixel
    map: u32,              // 0: none; 1: probability; 2: uncertainty
    map_opacity: f32,
    map_gain: f32,         // multiplies the uncertainty's bytes (0 to 1) into the colour map's range
    threshold: f32,        // probability from which a pixel counts as foreground
    label_fill: f32,       // opacity of the label's areas
    label_line: f32,       // opacity of the label's outlines
    mask_fill: f32,        // opacity of the predicted mask's area
    mask_line: f32,        // opacity of the predicted mask's outline
    unused: f32,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var smooth_sampler: sampler;
@group(0) @binding(2) var sharp_sampler: sampler;
@group(0) @binding(3) var image: texture_2d<f32>;
@group(0) @binding(4) var label: texture_2d<u32>;
@group(0) @binding(5) var probability: texture_2d<f32>;
@group(0) @binding(6) var class_map: texture_2d<u32>;
@group(0) @binding(7) var uncertainty: texture_2d<f32>;
@group(0) @binding(8) var class_colours: texture_2d<f32>;
@group(0) @binding(9) var colour_map: texture_2d<f32>;

struct Corner {
    @builtin(position) position: vec4<f32>,
    @location(0) place: vec2<f32>,
}

// A triangle that covers the panel.
@vertex
fn corner(@builtin(vertex_index) index: u32) -> Corner {
    let place = vec2<f32>(f32((index << 1u) & 2u), f32(index & 2u));
    return Corner(vec4<f32>(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.0, 1.0), place);
}

fn label_at(p: vec2<f32>) -> u32 {
    let last = vec2<i32>(view.size) - vec2<i32>(1);
    return textureLoad(label, clamp(vec2<i32>(floor(p)), vec2<i32>(0), last), 0).r;
}

fn probability_at(p: vec2<f32>) -> f32 {
    return textureSampleLevel(probability, smooth_sampler, p / view.size, 0.0).r;
}

// The predicted class, 0 where the probability does not reach the threshold.
fn predicted_at(p: vec2<f32>) -> u32 {
    let side = vec2<f32>(textureDimensions(class_map));
    let at = clamp(vec2<i32>(p / view.size * side), vec2<i32>(0), vec2<i32>(side) - vec2<i32>(1));
    return select(0u, textureLoad(class_map, at, 0).r, probability_at(p) >= view.threshold);
}

fn colour_of(number: u32) -> vec3<f32> {
    return textureLoad(class_colours, vec2<i32>(i32(number), 0), 0).rgb;
}

@fragment
fn panel(corner: Corner) -> @location(0) vec4<f32> {
    let p = view.origin + corner.place * view.extent;
    if p.x < 0.0 || p.y < 0.0 || p.x >= view.size.x || p.y >= view.size.y {
        discard;
    }
    let sharp = textureSampleLevel(image, sharp_sampler, p / view.size, 0.0).rgb;
    let smoothed = textureSampleLevel(image, smooth_sampler, p / view.size, 0.0).rgb;
    var colour = select(smoothed, sharp, view.pixel < 0.34);

    if view.map != 0u {
        let grey = vec3<f32>(dot(colour, vec3<f32>(0.299, 0.587, 0.114)));
        var over = vec3<f32>(probability_at(p));
        if view.map == 2u {
            let value = textureSampleLevel(uncertainty, smooth_sampler, p / view.size, 0.0).r * view.map_gain;
            let place = (clamp(value, 0.0, 1.0) * 255.0 + 0.5) / 256.0;
            over = textureSampleLevel(colour_map, smooth_sampler, vec2<f32>(place, 0.5), 0.0).rgb;
        }
        colour = mix(grey, over, view.map_opacity);
    }

    let right = vec2<f32>(view.pixel, 0.0);
    let down = vec2<f32>(0.0, view.pixel);
    if view.mask_fill + view.mask_line > 0.0 {
        let here = predicted_at(p);
        let edge = here != predicted_at(p + right) || here != predicted_at(p - right)
            || here != predicted_at(p + down) || here != predicted_at(p - down);
        let number = max(here, max(max(predicted_at(p + right), predicted_at(p - right)), max(predicted_at(p + down), predicted_at(p - down))));
        let opacity = select(select(0.0, view.mask_fill, here != 0u), view.mask_line, edge);
        colour = mix(colour, colour_of(number), opacity);
    }
    if view.label_fill + view.label_line > 0.0 {
        let here = label_at(p);
        let painted = here != 0u && here != 255u;
        let a = label_at(p + right * 1.5);
        let b = label_at(p - right * 1.5);
        let c = label_at(p + down * 1.5);
        let d = label_at(p - down * 1.5);
        let edge = painted && (a != here || b != here || c != here || d != here);
        let opacity = select(select(0.0, view.label_fill, painted), view.label_line, edge);
        colour = mix(colour, colour_of(here), opacity);
    }
    return vec4<f32>(colour, 1.0);
}
