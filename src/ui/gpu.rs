//! The canvas on the graphics card: the open image's textures and the shader that draws the three panels.
//!
//! Invariant: only what changed is uploaded, the label by the rectangles that a stroke touched.

use eframe::egui_wgpu::{self, RenderState, wgpu};

use crate::app::editor::{Editor, Stale};
use crate::domain::mask::Mask;
use crate::domain::prediction::{Prediction, Uncertainty};
use crate::ui::colours::ColourMap;

/// What one panel shows and where: the shader's uniforms, in its order.
#[derive(Clone, Copy, Debug, Default)]
pub struct PanelView {
    /// Image position at the panel's top left corner, in image pixels.
    pub origin: [f32; 2],
    /// The panel's size in image pixels.
    pub extent: [f32; 2],
    /// The image's size in pixels.
    pub size: [f32; 2],
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
    /// Opacity of the predicted mask's area and outline.
    pub mask: [f32; 2],
}

impl PanelView {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        let mut put = |value: f32| bytes.extend(value.to_le_bytes());
        self.origin.into_iter().chain(self.extent).chain(self.size).for_each(&mut put);
        put(self.pixel);
        put(f32::from_bits(self.map));
        [self.map_opacity, self.map_gain, self.threshold].into_iter().for_each(&mut put);
        self.label.into_iter().chain(self.mask).for_each(&mut put);
        put(0.0);
        bytes
    }
}

const PANELS: usize = 3;
const UNIFORM_BYTES: u64 = 64;

/// Everything of the canvas that lives on the graphics card.
struct Canvas {
    pipeline: wgpu::RenderPipeline,
    uniforms: [wgpu::Buffer; PANELS],
    samplers: [wgpu::Sampler; 2],
    class_colours: wgpu::Texture,
    colour_map: wgpu::Texture,
    image: wgpu::Texture,
    label: wgpu::Texture,
    /// Probability, class, uncertainty.
    maps: [wgpu::Texture; 3],
    groups: Vec<wgpu::BindGroup>,
    /// Which of the image's predictions, and which of its maps, lie in `maps`.
    shown: Option<(u64, Uncertainty)>,
}

/// Puts the pipeline in place, once.
pub fn install(state: &RenderState) {
    let canvas = Canvas::new(state);
    state.renderer.write().callback_resources.insert(canvas);
}

/// Brings the textures up to the editor's state.
pub fn update(state: &RenderState, editor: &mut Editor, kind: Uncertainty) {
    let mut renderer = state.renderer.write();
    let Some(canvas) = renderer.callback_resources.get_mut::<Canvas>() else { return };
    canvas.update(&state.device, &state.queue, editor, kind);
}

/// Sets the colours of classes 1 and on, and the colour map of uncertainty.
pub fn set_colours(state: &RenderState, classes: &[[u8; 3]], map: ColourMap) {
    let mut renderer = state.renderer.write();
    let Some(canvas) = renderer.callback_resources.get_mut::<Canvas>() else { return };
    let colour = |class: usize| class.checked_sub(1).and_then(|i| classes.get(i)).copied().unwrap_or([128; 3]);
    let line = |colour: &dyn Fn(usize) -> [u8; 3]| -> Vec<u8> {
        (0..256)
            .flat_map(|i| {
                let [r, g, b] = colour(i);
                [r, g, b, 255]
            })
            .collect()
    };
    write(&state.queue, &canvas.class_colours, &line(&colour), 4);
    write(&state.queue, &canvas.colour_map, &line(&|i| map.at(i as f64 / 255.0)), 4);
}

/// The largest side a texture may have.
pub fn largest_side(state: &RenderState) -> u32 {
    state.device.limits().max_texture_dimension_2d
}

impl Canvas {
    fn new(state: &RenderState) -> Self {
        let device = &state.device;
        let shader = device.create_shader_module(wgpu::include_wgsl!("../../shaders/canvas.wgsl"));
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
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
        });
        let uniform = |_| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("panel"),
                size: UNIFORM_BYTES,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let sampler = |filter| {
            device.create_sampler(&wgpu::SamplerDescriptor {
                mag_filter: filter,
                min_filter: filter,
                ..Default::default()
            })
        };
        let (colours, grey, whole) =
            (wgpu::TextureFormat::Rgba8Unorm, wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::R8Uint);
        let mut canvas = Self {
            pipeline,
            uniforms: [0, 1, 2].map(uniform),
            samplers: [wgpu::FilterMode::Linear, wgpu::FilterMode::Nearest].map(sampler),
            class_colours: texture(device, 256, 1, colours),
            colour_map: texture(device, 256, 1, colours),
            image: texture(device, 1, 1, colours),
            label: texture(device, 1, 1, whole),
            maps: [grey, whole, grey].map(|format| texture(device, 1, 1, format)),
            groups: Vec::new(),
            shown: None,
        };
        canvas.bind(device);
        canvas
    }

    fn update(&mut self, device: &wgpu::Device, queue: &wgpu::Queue, editor: &mut Editor, kind: Uncertainty) {
        let stale = std::mem::replace(&mut editor.stale, Stale::Parts(Vec::new()));
        match stale {
            Stale::Everything => {
                let (width, height) = editor.pixels.dimensions();
                self.image = texture(device, width, height, wgpu::TextureFormat::Rgba8Unorm);
                self.label = texture(device, width, height, wgpu::TextureFormat::R8Uint);
                write(queue, &self.image, editor.pixels.as_raw(), 4);
                write(queue, &self.label, editor.mask().pixels(), 1);
                self.shown = None;
                self.bind(device);
            }
            Stale::Parts(parts) => {
                for (columns, rows) in parts {
                    write_part(queue, &self.label, editor.mask(), columns, rows);
                }
            }
        }
        let Some(prediction) = editor.prediction() else { return };
        let wanted = Some((editor.prediction_version(), kind));
        if self.shown != wanted {
            self.show(device, queue, prediction, kind);
            self.shown = wanted;
        }
    }

    fn show(&mut self, device: &wgpu::Device, queue: &wgpu::Queue, prediction: &Prediction, kind: Uncertainty) {
        let planes = [&prediction.probability, &prediction.class, &prediction.plane(kind).bytes];
        for (map, plane) in self.maps.iter_mut().zip(planes) {
            *map = texture(device, prediction.width as u32, prediction.height as u32, map.format());
            write(queue, map, plane, 1);
        }
        self.bind(device);
    }

    fn bind(&mut self, device: &wgpu::Device) {
        let layout = self.pipeline.get_bind_group_layout(0);
        let textures = [
            &self.image,
            &self.label,
            &self.maps[0],
            &self.maps[1],
            &self.maps[2],
            &self.class_colours,
            &self.colour_map,
        ];
        let views = textures.map(|texture| texture.create_view(&Default::default()));
        let group = |uniform: &wgpu::Buffer| {
            let mut resources = vec![
                uniform.as_entire_binding(),
                wgpu::BindingResource::Sampler(&self.samplers[0]),
                wgpu::BindingResource::Sampler(&self.samplers[1]),
            ];
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

fn texture(device: &wgpu::Device, width: u32, height: u32, format: wgpu::TextureFormat) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some("canvas"),
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

fn write(queue: &wgpu::Queue, texture: &wgpu::Texture, bytes: &[u8], pixel_bytes: u32) {
    let layout = wgpu::TexelCopyBufferLayout {
        offset: 0,
        bytes_per_row: Some(texture.width() * pixel_bytes),
        rows_per_image: None,
    };
    queue.write_texture(texture.as_image_copy(), bytes, layout, texture.size());
}

fn write_part(
    queue: &wgpu::Queue,
    texture: &wgpu::Texture,
    mask: &Mask,
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
) {
    let mut place = texture.as_image_copy();
    place.origin = wgpu::Origin3d { x: columns.start as u32, y: rows.start as u32, z: 0 };
    let layout = wgpu::TexelCopyBufferLayout {
        offset: (rows.start * mask.width() + columns.start) as u64,
        bytes_per_row: Some(mask.width() as u32),
        rows_per_image: None,
    };
    let size = wgpu::Extent3d { width: columns.len() as u32, height: rows.len() as u32, depth_or_array_layers: 1 };
    queue.write_texture(place, mask.pixels(), layout, size);
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
            queue.write_buffer(&canvas.uniforms[self.panel], 0, &self.view.bytes());
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
