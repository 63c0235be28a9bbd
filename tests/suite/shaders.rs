//! Every shader parses and validates, and computes the same classes as the rest of the program.

use std::sync::Arc;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use qualm::domain::prediction::{Prediction, SampledPrediction};
use qualm::domain::scores::Moments;
use rand::{RngExt, SeedableRng};

#[test]
fn every_shader_is_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let module = naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|error| panic!("{}", error.emit_to_string_with_path(&text, &path.to_string_lossy())));
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{}", error.emit_to_string_with_path(&text, &path.to_string_lossy())));
        seen += 1;
    }
    assert!(seen > 0, "no shader was found");
}

/// Renders the predicted class that `canvas.wgsl` computes for each pixel of an image of `width` × `height`.
fn classes_on_screen(prediction: &Prediction, threshold: f32, width: u32, height: u32) -> Vec<u8> {
    let shader = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/canvas.wgsl"));
    let entry = "@fragment fn read_class(corner: Corner) -> @location(0) u32 {
        view = view_of(corner);
        return predicted_at(view.origin + corner.place * view.extent);
    }";
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).expect("a graphics adapter");
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(format!("{shader}\n{entry}").into()),
    });
    let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("corner"),
            compilation_options: Default::default(),
            buffers: &[],
        },
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("read_class"),
            compilation_options: Default::default(),
            targets: &[Some(wgpu::TextureFormat::R32Uint.into())],
        }),
        primitive: Default::default(),
        depth_stencil: None,
        multisample: Default::default(),
        multiview_mask: None,
        cache: None,
    });
    let texture = |(width, height): (u32, u32), format, usage| {
        device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        })
    };
    let size = (prediction.width as u32, prediction.height as u32);
    let map = |bytes: &[u8], format| {
        let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST;
        let texture = texture(size, format, usage);
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(size.0), rows_per_image: None };
        queue.write_texture(texture.as_image_copy(), bytes, layout, texture.size());
        texture.create_view(&Default::default())
    };
    let probability = map(&prediction.probability, wgpu::TextureFormat::R8Unorm);
    let class = map(&prediction.class, wgpu::TextureFormat::R8Uint);
    let mut uniform = [0f32; 24];
    uniform[2..6].copy_from_slice(&[width as f32, height as f32, width as f32, height as f32]);
    uniform[12] = threshold;
    let bytes: Vec<u8> = uniform.iter().flat_map(|value| value.to_le_bytes()).collect();
    let buffer = |size: u64, usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let view = buffer(96, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
    queue.write_buffer(&view, 0, &bytes);
    let sampler = device.create_sampler(&wgpu::SamplerDescriptor {
        mag_filter: wgpu::FilterMode::Linear,
        min_filter: wgpu::FilterMode::Linear,
        ..Default::default()
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: view.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::Sampler(&sampler) },
            wgpu::BindGroupEntry { binding: 5, resource: wgpu::BindingResource::TextureView(&probability) },
            wgpu::BindGroupEntry { binding: 6, resource: wgpu::BindingResource::TextureView(&class) },
        ],
    });
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let target = texture((width, height), wgpu::TextureFormat::R32Uint, usage);
    let row = (4 * width).next_multiple_of(256);
    let read = buffer(u64::from(row * height), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &target.create_view(&Default::default()),
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(Default::default()), store: wgpu::StoreOp::Store },
            })],
            ..Default::default()
        });
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.draw(0..3, 0..1);
    }
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
    let copy = wgpu::TexelCopyBufferInfo { buffer: &read, layout };
    encoder.copy_texture_to_buffer(target.as_image_copy(), copy, target.size());
    queue.submit([encoder.finish()]);
    read.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let bytes = read.get_mapped_range(..).unwrap();
    let line = |y: u32| bytes[(y * row) as usize..].chunks_exact(4).take(width as usize);
    (0..height).flat_map(line).map(|texel| texel[0]).collect()
}

#[test]
fn the_class_on_the_screen_is_the_one_that_is_adopted() {
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(5);
    for (width, height, classes, image) in [(16, 12, 1, (16, 12)), (16, 12, 3, (37, 23)), (40, 28, 2, (17, 40))] {
        let pixels = width * height;
        let mean: Vec<f32> = (0..classes * pixels).map(|_| rng.random_range(0.0..1.0) / classes as f32).collect();
        let zeros = vec![0.0; pixels];
        let prediction = Arc::new(Prediction::of(&Moments {
            width,
            height,
            classes,
            mean,
            variance: zeros.clone(),
            entropy: zeros.clone(),
            mutual_information: zeros,
        }));
        for threshold in [0.3, 0.5] {
            let shown = classes_on_screen(&prediction, threshold, image.0 as u32, image.1 as u32);
            let adopted = prediction.mask(threshold, image.0, image.1);
            let predicted = SampledPrediction::new(prediction.clone(), threshold, image.0, image.1);
            // A graphics adapter interpolates with 8 bits, and rounds a place between two texels either way.
            let is_between = |at: usize, texels: usize, pixels: usize| {
                let place = (at as f64 + 0.5) * texels as f64 / pixels as f64;
                (place - place.round()).abs() < 1e-3
            };
            let is_near = |place: usize| {
                let (x, y) = (place % image.0, place / image.0);
                (predicted.probability(x, y) - threshold).abs() < 1.0 / 128.0
                    || is_between(x, width, image.0)
                    || is_between(y, height, image.1)
            };
            let compared = (0..shown.len()).filter(|place| !is_near(*place)).count();
            assert!(compared > shown.len() / 2, "{compared} of {} pixels are compared", shown.len());
            let differ = (0..shown.len()).filter(|i| shown[*i] != adopted.pixels()[*i] && !is_near(*i)).count();
            assert_eq!(differ, 0, "{width} × {height} shown at {image:?}, {classes} classes, threshold {threshold}");
            let kinds: std::collections::BTreeSet<u8> = shown.into_iter().collect();
            assert!(kinds.len() == classes + 1, "all classes and background are on the screen: {kinds:?}");
        }
    }
}
