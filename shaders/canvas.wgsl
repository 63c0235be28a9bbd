// One panel of the canvas: the image, a map of the prediction over it, the mask, the label and their difference, in one
// pass. Colours are in gamma space throughout, as egui's render target is. Large images lie in tiles, one a layer; their
// texels are fetched and blended here, so that no seam shows.

struct View {
    origin: vec2<f32>,     // image position at the panel's top left corner, in image pixels
    extent: vec2<f32>,     // the panel's size, in image pixels
    size: vec2<f32>,       // the image's size, in pixels
    levels: vec2<f32>,     // values shown black and white
    pixel: f32,            // image pixels per screen pixel
    map: u32,              // 0: none; 1: probability; 2: uncertainty
    map_opacity: f32,
    map_gain: f32,         // multiplies the uncertainty's bytes (0 to 1) into the colour map's range
    threshold: f32,        // probability from which a pixel counts as foreground
    label_fill: f32,       // opacity of the label's areas
    label_line: f32,       // opacity of the label's outlines
    mask_fill: f32,        // opacity of the predicted mask's areas
    mask_line: f32,        // opacity of the predicted mask's outlines
    difference: f32,       // opacity of where the label and the predicted mask differ
    tile: u32,             // side of a tile, in pixels
    tiles_across: u32,
    deep: u32,             // 1: red and green are the high and low byte of a grey value
    sharp: u32,            // 1: magnified pixels are squares
    overview: f32,         // image pixels a pixel of the overview takes; 0 without one, negative: for all magnifications
    unlabelled: f32,       // opacity of the hatching of what is not labelled
}

// A view in words of four bytes, in the order of its fields. The fragments get it from the corners, unchanged: where they
// branch on a uniform, the software renderer lavapipe compiles the shader anew in each frame, and keeps every copy.
@group(0) @binding(0) var<uniform> words: array<vec4<u32>, 6>;
@group(0) @binding(1) var smooth_sampler: sampler;
@group(0) @binding(2) var image: texture_2d_array<f32>;
@group(0) @binding(3) var label: texture_2d_array<u32>;
@group(0) @binding(4) var overview: texture_2d<f32>;
@group(0) @binding(5) var probability: texture_2d<f32>;
@group(0) @binding(6) var class_map: texture_2d<u32>;
@group(0) @binding(7) var uncertainty: texture_2d<f32>;
@group(0) @binding(8) var class_colours: texture_2d<f32>;
@group(0) @binding(9) var colour_map: texture_2d<f32>;

struct Corner {
    @builtin(position) position: vec4<f32>,
    @location(0) place: vec2<f32>,
    @location(1) @interpolate(flat) words0: vec4<u32>,
    @location(2) @interpolate(flat) words1: vec4<u32>,
    @location(3) @interpolate(flat) words2: vec4<u32>,
    @location(4) @interpolate(flat) words3: vec4<u32>,
    @location(5) @interpolate(flat) words4: vec4<u32>,
    @location(6) @interpolate(flat) words5: vec4<u32>,
}

var<private> view: View;

fn view_of(corner: Corner) -> View {
    let a = bitcast<vec4<f32>>(corner.words0);
    let b = bitcast<vec4<f32>>(corner.words1);
    let c = bitcast<vec4<f32>>(corner.words2);
    let d = bitcast<vec4<f32>>(corner.words3);
    let e = bitcast<vec4<f32>>(corner.words4);
    let f = bitcast<vec4<f32>>(corner.words5);
    return View(a.xy, a.zw, b.xy, b.zw, c.x, corner.words2.y, c.z, c.w, d.x, d.y, d.z, d.w, e.x, e.y,
        corner.words4.z, corner.words4.w, corner.words5.x, corner.words5.y, f.z, f.w);
}

// A triangle that covers the panel.
@vertex
fn corner(@builtin(vertex_index) index: u32) -> Corner {
    let place = vec2<f32>(f32((index << 1u) & 2u), f32(index & 2u));
    let position = vec4<f32>(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.0, 1.0);
    return Corner(position, place, words[0], words[1], words[2], words[3], words[4], words[5]);
}

fn inside(p: vec2<i32>) -> vec2<u32> {
    return vec2<u32>(clamp(p, vec2<i32>(0), vec2<i32>(view.size) - vec2<i32>(1)));
}

fn layer_of(at: vec2<u32>) -> u32 {
    return at.y / view.tile * view.tiles_across + at.x / view.tile;
}

fn label_at(p: vec2<f32>) -> u32 {
    let at = inside(vec2<i32>(floor(p)));
    return textureLoad(label, at % view.tile, layer_of(at), 0).r;
}

fn unpack(texel: vec4<f32>) -> vec3<f32> {
    return select(texel.rgb, vec3<f32>((texel.r * 65280.0 + texel.g * 255.0) / 65535.0), view.deep == 1u);
}

fn image_texel(p: vec2<i32>) -> vec3<f32> {
    let at = inside(p);
    return unpack(textureLoad(image, at % view.tile, layer_of(at), 0));
}

fn overview_texel(p: vec2<i32>) -> vec3<f32> {
    let last = vec2<i32>(textureDimensions(overview)) - vec2<i32>(1);
    return unpack(textureLoad(overview, clamp(p, vec2<i32>(0), last), 0));
}

fn image_at(p: vec2<f32>) -> vec3<f32> {
    var colour: vec3<f32>;
    if view.overview < 0.0 || (view.overview > 0.0 && view.pixel * 2.0 > view.overview) {
        let q = p / abs(view.overview) - vec2<f32>(0.5);
        let low = vec2<i32>(floor(q));
        let share = fract(q);
        let above = mix(overview_texel(low), overview_texel(low + vec2<i32>(1, 0)), share.x);
        let below = mix(overview_texel(low + vec2<i32>(0, 1)), overview_texel(low + vec2<i32>(1, 1)), share.x);
        colour = mix(above, below, share.y);
    } else if view.sharp == 1u {
        colour = image_texel(vec2<i32>(floor(p)));
    } else {
        let q = p - vec2<f32>(0.5);
        let low = vec2<i32>(floor(q));
        let share = fract(q);
        let above = mix(image_texel(low), image_texel(low + vec2<i32>(1, 0)), share.x);
        let below = mix(image_texel(low + vec2<i32>(0, 1)), image_texel(low + vec2<i32>(1, 1)), share.x);
        colour = mix(above, below, share.y);
    }
    return clamp((colour - view.levels.x) / max(view.levels.y - view.levels.x, 1e-6), vec3<f32>(0.0), vec3<f32>(1.0));
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
    view = view_of(corner);
    let p = view.origin + corner.place * view.extent;
    if p.x < 0.0 || p.y < 0.0 || p.x >= view.size.x || p.y >= view.size.y {
        discard;
    }
    var colour = image_at(p);
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
        let edge = here != 0u && (here != predicted_at(p + right * 1.5) || here != predicted_at(p - right * 1.5)
            || here != predicted_at(p + down * 1.5) || here != predicted_at(p - down * 1.5));
        let opacity = select(select(0.0, view.mask_fill, here != 0u), max(view.mask_line, view.mask_fill), edge);
        colour = mix(colour, colour_of(here), opacity);
    }
    if view.difference > 0.0 {
        let here = label_at(p);
        let there = predicted_at(p);
        if here != 255u && here != there {
            // Missed by the prediction, found where the label has nothing, or of another class.
            var over = vec3<f32>(0.8, 0.475, 0.655);
            if there == 0u {
                over = vec3<f32>(0.902, 0.624, 0.0);
            } else if here == 0u {
                over = vec3<f32>(0.337, 0.706, 0.914);
            }
            colour = mix(colour, over, view.difference);
        }
    }
    if view.unlabelled > 0.0 && label_at(p) == 255u {
        // Lines at 45 degrees, eight screen pixels apart.
        let along = (corner.position.x + corner.position.y) / 8.0;
        colour = mix(colour, vec3<f32>(0.7), select(0.0, view.unlabelled, fract(along) < 0.16));
    }
    if view.label_fill + view.label_line > 0.0 {
        let here = label_at(p);
        let painted = here != 0u && here != 255u;
        let edge = painted && (label_at(p + right * 1.5) != here || label_at(p - right * 1.5) != here
            || label_at(p + down * 1.5) != here || label_at(p - down * 1.5) != here);
        let opacity = select(select(0.0, view.label_fill, painted), max(view.label_line, view.label_fill), edge);
        colour = mix(colour, colour_of(here), opacity);
    }
    return vec4<f32>(colour, 1.0);
}
