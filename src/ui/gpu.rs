//! The canvas on the GPU: the open image's textures and the shader that draws the three panels.
//!
//! Invariant: only changes are uploaded, for the label the rectangles that a stroke touched, and the upload of a large
//! image is spread over several frames.

use std::ops::Range;

use eframe::egui_wgpu::{self, RenderState, wgpu};

use crate::app::editor::{Editor, Stale};
use crate::domain::mask::Mask;
use crate::domain::prediction::{Prediction, Uncertainty};
use crate::ui::colours::ColourMap;

/// Side of the texture tiles that a larger image is split into: below every adapter's limit.
const TILE: u32 = 2048;
/// Bytes of tiles uploaded a frame.
const UPLOAD: usize = 48 << 20;
/// The place of the minimap among the panels.
pub const MINIMAP: usize = 3;
const PANELS: usize = 4;
const UNIFORM_BYTES: u64 = 96;

/// What one panel shows and where: the shader's uniforms, except those that the canvas derives from its textures.
#[derive(Clone, Copy, Debug, Default)]
pub struct PanelView {
    /// Image position at the panel's top left corner, in image pixels.
    pub origin: [f32; 2],
    /// The panel's size in image pixels.
    pub extent: [f32; 2],
    /// Values shown black and white.
    pub levels: [f32; 2],
    /// Image pixels a screen pixel.
    pub pixel: f32,
    /// 0: none; 1: probability; 2: uncertainty.
    pub map: u32,
    /// Opacity of the map over the image.
    pub map_opacity: f32,
    /// Stretches the uncertainty's bytes over the colour map's range.
    pub map_gain: f32,
    /// Probability from which a pixel counts as foreground.
    pub threshold: f32,
    /// Opacity of the label's areas and outlines.
    pub label: [f32; 2],
    /// Opacity of the predicted mask's areas and outlines.
    pub mask: [f32; 2],
    /// Opacity of where they differ: see [`DIFFERENCE`].
    pub difference: f32,
    /// Opacity of the hatching of unlabelled pixels.
    pub unlabelled: f32,
    /// Whether magnified pixels are drawn as squares rather than interpolated.
    pub sharp: bool,
}

/// The colours, as in the shader, of pixels that the prediction misses, that it finds where the label has nothing, and
/// that it assigns to another class.
pub const DIFFERENCE: [egui::Color32; 3] = [
    egui::Color32::from_rgb(0xe6, 0x9f, 0x00),
    egui::Color32::from_rgb(0x56, 0xb4, 0xe9),
    egui::Color32::from_rgb(0xcc, 0x79, 0xa7),
];

impl PanelView {
    fn bytes(&self, tiles: &Tiles) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(UNIFORM_BYTES as usize);
        let mut put = |value: f32| bytes.extend(value.to_le_bytes());
        let size = [tiles.width as f32, tiles.height as f32];
        self.origin.into_iter().chain(self.extent).chain(size).chain(self.levels).for_each(&mut put);
        put(self.pixel);
        put(f32::from_bits(self.map));
        [self.map_opacity, self.map_gain, self.threshold].into_iter().for_each(&mut put);
        self.label.into_iter().chain(self.mask).for_each(&mut put);
        put(self.difference);
        let flags = [tiles.side, tiles.across(), u32::from(tiles.deep), u32::from(self.sharp)];
        flags.into_iter().for_each(|flag| put(f32::from_bits(flag)));
        put(tiles.overview);
        put(self.unlabelled);
        bytes
    }
}

/// A rectangle of the image: columns and rows.
type Rect = (Range<usize>, Range<usize>);

/// How the image is cut into tiles, one a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Tiles {
    width: u32,
    height: u32,
    /// Side of a tile.
    side: u32,
    /// Whether the pixels are 16-bit grey.
    deep: bool,
    /// Image pixels per pixel of the overview; 0 without an overview, negative while tiles are missing.
    overview: f32,
}

impl Tiles {
    fn across(&self) -> u32 {
        self.width.div_ceil(self.side)
    }

    fn layers(&self) -> u32 {
        self.across() * self.height.div_ceil(self.side)
    }

    /// The parts of a rectangle, one per tile: their origin in the texture and their columns and rows in the image.
    fn parts(&self, (columns, rows): &Rect) -> Vec<(wgpu::Origin3d, Rect)> {
        let side = self.side as usize;
        let cut = |range: &Range<usize>| -> Vec<Range<usize>> {
            let tiles = range.start / side..range.end.div_ceil(side);
            tiles.map(|tile| range.start.max(tile * side)..range.end.min((tile + 1) * side)).collect()
        };
        let mut parts = Vec::new();
        for rows in cut(rows) {
            for columns in cut(columns) {
                let z = (rows.start / side) as u32 * self.across() + (columns.start / side) as u32;
                let place = wgpu::Origin3d { x: (columns.start % side) as u32, y: (rows.start % side) as u32, z };
                parts.push((place, (columns, rows.clone())));
            }
        }
        parts
    }
}

/// The canvas's GPU resources.
struct Canvas {
    pipeline: wgpu::RenderPipeline,
    uniforms: [wgpu::Buffer; PANELS],
    sampler: wgpu::Sampler,
    class_colours: wgpu::Texture,
    colour_map: wgpu::Texture,
    tiles: Tiles,
    /// Tiles not uploaded yet.
    missing: Vec<Rect>,
    image: wgpu::Texture,
    label: wgpu::Texture,
    overview: wgpu::Texture,
    /// Probability, class, uncertainty.
    maps: [wgpu::Texture; 3],
    groups: Vec<wgpu::BindGroup>,
    /// Version of the prediction and kind of uncertainty that `maps` currently holds.
    shown: Option<(u64, Uncertainty)>,
}

/// Creates the pipeline; called once.
pub fn install(state: &RenderState) {
    let canvas = Canvas::new(state);
    state.renderer.write().callback_resources.insert(canvas);
}

/// Updates the textures to the editor's state. Returns whether more is to be uploaded: a large image takes several
/// frames.
pub fn update(state: &RenderState, editor: &mut Editor, kind: Uncertainty) -> bool {
    let mut renderer = state.renderer.write();
    let Some(canvas) = renderer.callback_resources.get_mut::<Canvas>() else { return false };
    canvas.update(&state.device, &state.queue, editor, kind);
    !canvas.missing.is_empty()
}

/// Sets the colours of classes 1 and on, and the colour map of uncertainty.
pub fn set_colours(state: &RenderState, classes: &[[u8; 3]], map: ColourMap) {
    let mut renderer = state.renderer.write();
    let Some(canvas) = renderer.callback_resources.get_mut::<Canvas>() else { return };
    let colour = |class: usize| class.checked_sub(1).and_then(|i| classes.get(i)).copied().unwrap_or([128; 3]);
    let line = |colour: &dyn Fn(usize) -> [u8; 3]| -> Vec<u8> {
        let opaque = |i| {
            let [r, g, b] = colour(i);
            [r, g, b, 255]
        };
        (0..256).flat_map(opaque).collect()
    };
    write(&state.queue, &canvas.class_colours, &line(&colour), 4);
    write(&state.queue, &canvas.colour_map, &line(&|i| map.at(i as f64 / 255.0)), 4);
}

/// Whether an image of this size fits the graphics card's limits.
pub fn fits(state: &RenderState, width: usize, height: usize) -> bool {
    let layers = width.div_ceil(TILE as usize) * height.div_ceil(TILE as usize);
    layers <= state.device.limits().max_texture_array_layers as usize
}

impl Canvas {
    fn new(state: &RenderState) -> Self {
        let device = &state.device;
        let uniform = |_| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("panel"),
                size: UNIFORM_BYTES,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let sampler = device.create_sampler(&wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        });
        let (colours, grey, whole) =
            (wgpu::TextureFormat::Rgba8Unorm, wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::R8Uint);
        let mut canvas = Self {
            pipeline: pipeline(state),
            uniforms: [0, 1, 2, 3].map(uniform),
            sampler,
            class_colours: texture(device, [256, 1, 1], colours),
            colour_map: texture(device, [256, 1, 1], colours),
            tiles: Tiles { side: 1, ..Tiles::default() },
            missing: Vec::new(),
            image: texture(device, [1, 1, 1], colours),
            label: texture(device, [1, 1, 1], whole),
            overview: texture(device, [1, 1, 1], colours),
            maps: [grey, whole, grey].map(|format| texture(device, [1, 1, 1], format)),
            groups: Vec::new(),
            shown: None,
        };
        canvas.bind(device);
        canvas
    }

    fn update(&mut self, device: &wgpu::Device, queue: &wgpu::Queue, editor: &mut Editor, kind: Uncertainty) {
        match std::mem::replace(&mut editor.stale, Stale::Parts(Vec::new())) {
            Stale::Everything => self.renew(device, queue, editor),
            Stale::Parts(parts) => parts.iter().for_each(|part| self.write_label(queue, editor.drawn_mask(), part)),
        }
        self.upload_some(queue, editor);
        let Some(prediction) = editor.prediction() else { return };
        let wanted = Some((editor.prediction_version(), kind));
        if self.shown != wanted {
            self.show(device, queue, prediction, kind);
            self.shown = wanted;
        }
    }

    /// Textures for another image; its tiles are uploaded over the next frames.
    fn renew(&mut self, device: &wgpu::Device, queue: &wgpu::Queue, editor: &Editor) {
        let picture = &editor.picture;
        let (width, height) = (picture.width as u32, picture.height as u32);
        let side = width.max(height).min(TILE);
        self.tiles = Tiles { width, height, side, deep: picture.deep, overview: 0.0 };
        let size = [width.min(side), height.min(side), self.tiles.layers()];
        self.image = texture(device, size, wgpu::TextureFormat::Rgba8Unorm);
        self.label = texture(device, size, wgpu::TextureFormat::R8Uint);
        let overview = editor.overview.as_ref();
        let size = overview.map_or([1, 1, 1], |o| [o.width as u32, o.height as u32, 1]);
        self.overview = texture(device, size, wgpu::TextureFormat::Rgba8Unorm);
        if let Some(overview) = overview {
            write(queue, &self.overview, &overview.bytes, 4);
        }
        let whole = self.tiles.parts(&(0..picture.width, 0..picture.height));
        self.missing = whole.into_iter().rev().map(|(_, rect)| rect).collect();
        self.shown = None;
        self.bind(device);
    }

    fn upload_some(&mut self, queue: &wgpu::Queue, editor: &Editor) {
        let picture = &editor.picture;
        let mut left = UPLOAD;
        while let Some((columns, rows)) = self.missing.last() {
            let bytes = columns.len() * rows.len() * 5;
            if bytes > left && left < UPLOAD {
                break;
            }
            left = left.saturating_sub(bytes);
            let Some(rect) = self.missing.pop() else { break };
            for (place, part) in self.tiles.parts(&rect) {
                write_part(queue, (&self.image, place), (&picture.bytes, picture.width, 4), part);
            }
            self.write_label(queue, editor.drawn_mask(), &rect);
        }
        let factor = editor.overview.as_ref().map_or(0.0, |o| picture.width as f32 / o.width as f32);
        self.tiles.overview = if self.missing.is_empty() { factor } else { -factor };
    }

    fn write_label(&self, queue: &wgpu::Queue, mask: &Mask, rect: &Rect) {
        for (place, part) in self.tiles.parts(rect) {
            write_part(queue, (&self.label, place), (mask.pixels(), mask.width(), 1), part);
        }
    }

    fn show(&mut self, device: &wgpu::Device, queue: &wgpu::Queue, prediction: &Prediction, kind: Uncertainty) {
        let planes = [&prediction.probability, &prediction.class, &prediction.plane(kind).bytes];
        for (map, plane) in self.maps.iter_mut().zip(planes) {
            *map = texture(device, [prediction.width as u32, prediction.height as u32, 1], map.format());
            write(queue, map, plane, 1);
        }
        self.bind(device);
    }

    fn bind(&mut self, device: &wgpu::Device) {
        let layout = self.pipeline.get_bind_group_layout(0);
        let view = |texture: &wgpu::Texture, dimension| {
            texture.create_view(&wgpu::TextureViewDescriptor { dimension: Some(dimension), ..Default::default() })
        };
        let mut views = [&self.image, &self.label].map(|t| view(t, wgpu::TextureViewDimension::D2Array)).to_vec();
        let flat = [&self.overview].into_iter().chain(&self.maps).chain([&self.class_colours, &self.colour_map]);
        views.extend(flat.map(|t| view(t, wgpu::TextureViewDimension::D2)));
        let group = |uniform: &wgpu::Buffer| {
            let mut resources = vec![uniform.as_entire_binding(), wgpu::BindingResource::Sampler(&self.sampler)];
            resources.extend(views.iter().map(wgpu::BindingResource::TextureView));
            let entries: Vec<_> =
                (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("panel"),
                layout: &layout,
                entries: &entries,
            })
        };
        self.groups = self.uniforms.iter().map(group).collect();
    }
}

fn pipeline(state: &RenderState) -> wgpu::RenderPipeline {
    let shader = state.device.create_shader_module(wgpu::include_wgsl!("../../shaders/canvas.wgsl"));
    state.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("canvas"),
        layout: None,
        vertex: wgpu::VertexState {
            module: &shader,
            entry_point: Some("corner"),
            compilation_options: Default::default(),
            buffers: &[],
        },
        fragment: Some(wgpu::FragmentState {
            module: &shader,
            entry_point: Some("panel"),
            compilation_options: Default::default(),
            targets: &[Some(state.target_format.into())],
        }),
        primitive: Default::default(),
        depth_stencil: None,
        multisample: Default::default(),
        multiview_mask: None,
        cache: None,
    })
}

/// A texture of columns, rows, layers.
fn texture(device: &wgpu::Device, [width, height, layers]: [u32; 3], format: wgpu::TextureFormat) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some("canvas"),
        size: wgpu::Extent3d { width, height, depth_or_array_layers: layers },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

/// Writes all of a texture of one layer.
fn write(queue: &wgpu::Queue, texture: &wgpu::Texture, bytes: &[u8], pixel_bytes: usize) {
    let (width, height) = (texture.width() as usize, texture.height() as usize);
    write_part(queue, (texture, wgpu::Origin3d::ZERO), (bytes, width, pixel_bytes), (0..width, 0..height));
}

/// Writes a rectangle of an image (its bytes, its width in pixels, bytes per pixel) to an origin in a texture.
fn write_part(
    queue: &wgpu::Queue,
    (texture, origin): (&wgpu::Texture, wgpu::Origin3d),
    (bytes, width, pixel_bytes): (&[u8], usize, usize),
    (columns, rows): Rect,
) {
    let to = wgpu::TexelCopyTextureInfo { origin, ..texture.as_image_copy() };
    let layout = wgpu::TexelCopyBufferLayout {
        offset: ((rows.start * width + columns.start) * pixel_bytes) as u64,
        bytes_per_row: Some((width * pixel_bytes) as u32),
        rows_per_image: None,
    };
    let size = wgpu::Extent3d { width: columns.len() as u32, height: rows.len() as u32, depth_or_array_layers: 1 };
    queue.write_texture(to, bytes, layout, size);
}

/// Draws one panel where egui puts it.
pub struct Paint {
    /// Which, from 0.
    pub panel: usize,
    /// What it shows.
    pub view: PanelView,
}

impl egui_wgpu::CallbackTrait for Paint {
    fn prepare(
        &self,
        _: &wgpu::Device,
        queue: &wgpu::Queue,
        _: &egui_wgpu::ScreenDescriptor,
        _: &mut wgpu::CommandEncoder,
        resources: &mut egui_wgpu::CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(canvas) = resources.get::<Canvas>() {
            queue.write_buffer(&canvas.uniforms[self.panel], 0, &self.view.bytes(&canvas.tiles));
        }
        Vec::new()
    }

    fn paint(
        &self,
        _: egui::PaintCallbackInfo,
        pass: &mut wgpu::RenderPass<'static>,
        resources: &egui_wgpu::CallbackResources,
    ) {
        let Some(canvas) = resources.get::<Canvas>() else { return };
        pass.set_pipeline(&canvas.pipeline);
        pass.set_bind_group(0, &canvas.groups[self.panel], &[]);
        pass.draw(0..3, 0..1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_of_the_difference_has_the_shaders_colours() {
        let shader = include_str!("../../shaders/canvas.wgsl");
        let colours: Vec<Vec<f32>> = shader
            .split("vec3<f32>(")
            .filter_map(|rest| rest.split(')').next()?.split(',').map(|value| value.trim().parse().ok()).collect())
            .collect();
        for wanted in DIFFERENCE {
            let [r, g, b, _] = wanted.to_array().map(|value| f32::from(value) / 255.0);
            let is_it = |found: &Vec<f32>| found.iter().zip([r, g, b]).all(|(a, b)| (a - b).abs() < 0.003);
            assert!(colours.iter().any(|found| found.len() == 3 && is_it(found)), "{wanted:?} of {colours:?}");
        }
    }
}
