//! The image reader, on real files where they are available and on small generated ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use image::{GrayImage, Luma};
use qualm::domain::mask::Mask;
use qualm::domain::picture::Levels;
use qualm::domain::tiles::FrameSpec;
use qualm::domain::value_range::ValueRange;
use qualm::raster::{self, Colour, Header, Samples};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The result of an established reader for a file.
struct Row<'a> {
    path: &'a str,
    shape: &'a str,
    low: &'a str,
    high: &'a str,
    info: &'a str,
}

/// Number, minimum and maximum of the values of all pages of a file.
fn read_whole(path: &Path) -> raster::Result<(Header, usize, f64, f64)> {
    let header = raster::header(path)?;
    let (mut count, mut low, mut high) = (0, f64::INFINITY, f64::NEG_INFINITY);
    for page in 0..header.pages {
        let page = raster::read(path, page)?;
        count += page.samples.len();
        page.samples.visit(1, |value| (low, high) = (low.min(value), high.max(value)));
    }
    Ok((header, count, low, high))
}

/// Whether the result matches the other reader's: the same number of values, minimum and maximum. Rescaled files are
/// compared by their stored values, as in the table.
fn agrees(row: &Row, count: usize, low: f64, high: f64) -> bool {
    let wanted: usize = row.shape.split('x').map(|side| side.parse::<usize>().unwrap_or(0)).product();
    let near = |text: &str, value: f64| {
        let other = match text {
            "False" => Some(0.0),
            "True" => Some(1.0),
            number => number.parse::<f64>().ok(),
        };
        other.is_some_and(|other| (value - other).abs() <= 2e-4 * other.abs().max(1e-6))
    };
    wanted == count && near(row.low, low) && near(row.high, high)
}

/// Number of files of each kind that are read differently from the table, all of them inspected: rescaled DICOM, PNG
/// with a bit depth other than 8, animations as colours, and chroma of tiny JPEGs.
const OTHERWISE: [(&str, usize); 7] =
    [("dicom", 15), ("image-rs", 19), ("jpeg", 7), ("nifti", 2), ("pillow", 32), ("png", 21), ("tiff", 1)];

/// Every real file is read as an established reader reads it, or refused in one line, but for [`OTHERWISE`]; none takes
/// long.
#[test]
fn real_files_are_read_right_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/formats");
    let Ok(manifest) = std::fs::read_to_string(folder.join("manifest.tsv")) else {
        eprintln!("no real files at hand: nothing compared");
        return;
    };
    let (mut table, mut wrong) = (BTreeMap::<&str, [usize; 4]>::new(), Vec::new());
    for line in manifest.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [path, _, shape, _, low, high, info] = cells[..] else { panic!("seven columns: {line}") };
        let row = Row { path, shape, low, high, info };
        let begun = Instant::now();
        let read = read_whole(&folder.join(path));
        assert!(begun.elapsed() < Duration::from_secs(10), "{path} takes {:?}", begun.elapsed());
        let kind = path.split('/').next().unwrap_or_default();
        let counts = table.entry(kind).or_default();
        let is_read_elsewhere = !low.is_empty();
        match read {
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                if std::env::var_os("QUALM_LIST").is_some() && is_read_elsewhere {
                    println!("refused\t{error}");
                }
                counts[if is_read_elsewhere { 1 } else { 2 }] += 1;
            }
            Ok((_, count, low, high)) if agrees(&row, count, low, high) => counts[0] += 1,
            Ok((header, count, low, high)) => {
                counts[3] += 1;
                wrong.push(format!(
                    "{}\t{} {} {} {}\there {} {}x{}x{}x{} {:?} {count} {low} {high}",
                    row.path,
                    row.shape,
                    row.low,
                    row.high,
                    row.info,
                    header.format,
                    header.pages,
                    header.height,
                    header.width,
                    header.channels,
                    header.colour,
                ));
            }
        }
    }
    println!("kind            as the other reader, refused, refused by both, other");
    for (kind, [same, refused, both, other]) in &table {
        println!("{kind:<16} {same:>6} {refused:>6} {both:>6} {other:>6}");
    }
    for (kind, [.., other]) in &table {
        let known = OTHERWISE.iter().find(|(of, _)| of == kind).map_or(0, |(_, known)| *known);
        assert!(*other <= known, "{kind}: {other} read otherwise, {known} known:\n{}", wrong.join("\n"));
    }
    if std::env::var_os("QUALM_LIST").is_some() {
        wrong.iter().for_each(|line| println!("other\t{line}"));
    }
}

/// Values of whole files, page by page and row by row, as SHA-256 of little-endian 64-bit floats: from tifffile,
/// pydicom with rescale slope and intercept, nibabel reoriented as our slices are, and Pillow.
const CHECKSUMS: [(&str, &str); 17] = [
    ("tiff/image-tiff/images/random-fp16-pred3.tiff", "c6ca70f8fe162252"),
    ("tiff/image-tiff/libtiffpic/depth/flower-minisblack-10.tif", "e7f01f08e29e3dd8"),
    ("tiff/image-tiff/images/seq/seq-3c-14b-contig-f4dcc6cc.tiff", "d7a0da5b7824fbff"),
    ("tiff/image-tiff/images/seq/seq-1c-8b-tiled-lzw-20f3db0c.tiff", "ffc81e1331c58288"),
    ("tiff/bioimage/blobs_labeled.tif", "6add6ea38abc8b01"),
    ("tiff/bioimage/BBBC007_batch/20P1_POS0010_D_1UL.tif", "a76e55a19d3db743"),
    ("dicom/pydicom/CT_small.dcm", "ca969f2f193f5325"),
    ("dicom/pydicom/MR_small_RLE.dcm", "e37cddda6b3ad919"),
    ("dicom/pydicom-data/liver_nonbyte_aligned_j2k.dcm", "fd0d56300898209c"),
    ("dicom/pydicom-data/emri_small.dcm", "abe3500fe9a168a5"),
    ("dicom/pydicom/rtdose_expb.dcm", "f574f7b19e157158"),
    ("dicom/pydicom-data/parametric_map_float.dcm", "e776c51ab3b2714a"),
    ("dicom/pydicom/image_dfl.dcm", "4b3989b8545f28df"),
    ("nifti/nibabel-repo/nibabel/tests/data/anatomical.nii", "3bf7ae3f43c4ef9e"),
    ("nifti/nibabel-repo/nibabel/tests/data/example_nifti2.nii.gz", "c6519985ebe8f8d1"),
    ("nifti/nifti-rs/resources/27/float32.nii", "3206331e901bfabf"),
    ("png/image-png/pngsuite/basn0g16.png", "030bbc026cae7a04"),
];

#[test]
fn every_value_of_some_real_files_is_that_of_another_reader() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/formats");
    if !folder.exists() {
        eprintln!("no real files at hand: nothing compared");
        return;
    }
    for (name, expected) in CHECKSUMS {
        let path = folder.join(name);
        let mut digest = Sha256::new();
        for page in 0..raster::header(&path).unwrap().pages {
            raster::read(&path, page).unwrap().samples.visit(1, |value| digest.update(value.to_le_bytes()));
        }
        let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected, "{name}");
    }
}

fn bytes_of<const N: usize, T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

/// A TIFF of 16-bit grey pages, little-endian and uncompressed.
pub fn tiff(path: &Path, (width, height): (u16, u16), pages: &[Vec<u16>], extra: &[(u16, u16, u32)]) {
    let mut file = b"II*\0".to_vec();
    let mut at = 8u32;
    let size = u32::from(width) * u32::from(height) * 2;
    for (number, page) in pages.iter().enumerate() {
        let tags: Vec<(u16, u16, u32)> = [
            (256, 3, u32::from(width)),
            (257, 3, u32::from(height)),
            (258, 3, 16),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, at),
            (277, 3, 1),
            (278, 3, u32::from(height)),
            (279, 4, size),
        ]
        .into_iter()
        .chain(extra.iter().copied())
        .collect();
        let directory = at + size;
        file.extend(directory.to_le_bytes());
        file.extend(bytes_of(page, u16::to_le_bytes));
        file.extend((tags.len() as u16).to_le_bytes());
        for (tag, kind, value) in &tags {
            file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            file.extend([1u32.to_le_bytes(), value.to_le_bytes()].concat());
        }
        at = directory + 2 + 12 * tags.len() as u32 + 4;
        if number + 1 == pages.len() {
            file.extend(0u32.to_le_bytes());
        }
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn every_page_of_a_tiff_is_at_hand_and_its_orientation_is_applied() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("stack.tif");
    let page = |number: u16| (0..6).map(|pixel| number * 100 + pixel).collect::<Vec<u16>>();
    tiff(&path, (3, 2), &[page(0), page(1), page(40)], &[]);
    let header = raster::header(&path).unwrap();
    assert_eq!((header.width, header.height, header.pages, header.colour), (3, 2, 3, Colour::Grey));
    for (number, expected) in [(2, page(40)), (0, page(0)), (1, page(1))] {
        assert_eq!(raster::read(&path, number).unwrap().samples, Samples::U16(expected));
    }
    assert!(raster::read(&path, 3).is_err());
    tiff(&path, (3, 2), &[page(0)], &[(274, 3, 6)]);
    let turned = raster::read(&path, 0).unwrap();
    assert_eq!((turned.header.width, turned.header.height), (2, 3), "turned by a quarter");
    assert_eq!(turned.samples, Samples::U16(vec![3, 0, 4, 1, 5, 2]));
    assert_eq!((raster::header(&path).unwrap().width, raster::header(&path).unwrap().height), (2, 3));
}

/// A NIfTI-1 file of 16-bit signed integers.
pub fn nifti(sides: [i16; 3], voxels: &[i16], (slope, intercept): (f32, f32), is_big: bool) -> Vec<u8> {
    let mut file = vec![0; 352];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    let i16s = |values: &[i16]| bytes_of(values, |v| if is_big { v.to_be_bytes() } else { v.to_le_bytes() });
    let f32s = |values: &[f32]| bytes_of(values, |v| if is_big { v.to_be_bytes() } else { v.to_le_bytes() });
    put(0, &if is_big { 348i32.to_be_bytes() } else { 348i32.to_le_bytes() });
    put(40, &i16s(&[3, sides[0], sides[1], sides[2], 1, 1, 1, 1]));
    put(70, &i16s(&[4, 16]));
    put(76, &f32s(&[1.0, 0.5, 0.5, 2.0]));
    put(108, &f32s(&[352.0, slope, intercept]));
    put(254, &i16s(&[1]));
    // Columns to the left, rows to the posterior: as displayed.
    put(280, &f32s(&[-0.5, 0.0, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]));
    put(344, b"n+1\0");
    file.extend(i16s(voxels));
    file
}

#[test]
fn slices_of_a_nifti_volume_are_rescaled_in_either_byte_order_and_compressed() {
    let temp = TempDir::new().unwrap();
    let voxels: Vec<i16> = (0..24).map(|v| v * 3 - 20).collect();
    for (is_big, is_packed) in [(false, false), (true, false), (false, true)] {
        let path = temp.path().join(if is_packed { "a.nii.gz" } else { "a.nii" });
        let bytes = nifti([4, 3, 2], &voxels, (2.0, -10.0), is_big);
        if is_packed {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut packed, &bytes).unwrap();
            std::fs::write(&path, packed.finish().unwrap()).unwrap();
        } else {
            std::fs::write(&path, bytes).unwrap();
        }
        let header = raster::header(&path).unwrap();
        assert_eq!((header.width, header.height, header.pages), (4, 3, 2));
        assert_eq!(header.spacing_mm, Some([0.5, 0.5]));
        for slice in [1, 0] {
            let expected = voxels[slice * 12..][..12].iter().map(|v| i32::from(*v) * 2 - 10).collect();
            assert_eq!(raster::read(&path, slice).unwrap().samples, Samples::I32(expected));
        }
        assert!(raster::read(&path, 2).is_err());
    }
    let cut = &nifti([4, 3, 2], &voxels, (1.0, 0.0), false)[..370];
    std::fs::write(temp.path().join("cut.nii"), cut).unwrap();
    let error = raster::read(&temp.path().join("cut.nii"), 0).unwrap_err().to_string();
    assert!(error.contains("ends before"), "{error}");
}

/// A DICOM file of one 16-bit slice with explicit representations.
fn dicom(series: &str, number: u16, position: f64, photometric: &str, pixels: &[i16]) -> Vec<u8> {
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    let element = |group: u16, element: u16, kind: &[u8; 2], value: &[u8]| {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if kind == b"UI" { 0 } else { b' ' });
        }
        let mut bytes = [group.to_le_bytes(), element.to_le_bytes(), *kind].concat();
        if kind == b"OW" {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
        bytes
    };
    let syntax = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1");
    file.extend(element(2, 0, b"UL", &(syntax.len() as u32).to_le_bytes()));
    file.extend(syntax);
    for (group, tag, kind, value) in [
        (0x20, 0x0e, b"UI", series.as_bytes().to_vec()),
        (0x20, 0x13, b"IS", number.to_string().into_bytes()),
        (0x20, 0x32, b"DS", format!("0\\0\\{position}").into_bytes()),
        (0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0".to_vec()),
        (0x28, 0x02, b"US", 1u16.to_le_bytes().to_vec()),
        (0x28, 0x04, b"CS", photometric.as_bytes().to_vec()),
        (0x28, 0x10, b"US", 2u16.to_le_bytes().to_vec()),
        (0x28, 0x11, b"US", 3u16.to_le_bytes().to_vec()),
        (0x28, 0x30, b"DS", b"0.7\\0.6".to_vec()),
        (0x28, 0x100, b"US", 16u16.to_le_bytes().to_vec()),
        (0x28, 0x101, b"US", 12u16.to_le_bytes().to_vec()),
        (0x28, 0x102, b"US", 11u16.to_le_bytes().to_vec()),
        (0x28, 0x103, b"US", 1u16.to_le_bytes().to_vec()),
        (0x28, 0x1050, b"DS", b"40".to_vec()),
        (0x28, 0x1051, b"DS", b"400".to_vec()),
        (0x28, 0x1052, b"DS", b"-1024".to_vec()),
        (0x28, 0x1053, b"DS", b"1".to_vec()),
        (0x7fe0, 0x10, b"OW", bytes_of(pixels, i16::to_le_bytes)),
    ] {
        file.extend(element(group, tag, kind, &value));
    }
    file
}

#[test]
fn a_dicom_series_is_one_stack_in_the_order_of_its_positions() {
    let temp = TempDir::new().unwrap();
    let images = temp.path().join("images");
    std::fs::create_dir(&images).unwrap();
    // File names and instance numbers give a different order from the positions.
    for (name, number, position) in [("a.dcm", 1, 20.0), ("b.dcm", 3, 0.0), ("c.dcm", 2, 10.0)] {
        let pixels = [number as i16, -5, 100, 200, 300, 2047];
        std::fs::write(images.join(name), dicom("1.2.3", number, position, "MONOCHROME2", &pixels)).unwrap();
    }
    let header = raster::header(&images.join("a.dcm")).unwrap();
    assert_eq!((header.width, header.height, header.spacing_mm), (3, 2, Some([0.6, 0.7])));
    assert_eq!(header.window, Some([-160.0, 240.0]));
    let raster = raster::read(&images.join("b.dcm"), 0).unwrap();
    assert_eq!(raster.samples, Samples::I32(vec![3 - 1024, -1029, -924, -824, -724, 1023]), "Hounsfield units");
    let picture = raster::picture(&raster);
    assert_eq!(picture.describe(1, 0).unwrap(), "grey -1029");
    let root = temp.path().join("p");
    let (project, _) = crate::create(&root, &images, None, &Default::default()).unwrap();
    let slices = project.images().unwrap();
    let order: Vec<String> =
        slices.iter().map(|i| i.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(order, ["b.dcm", "c.dcm", "a.dcm"]);
    assert!(slices.iter().all(|slice| slice.group == slices[0].group && slice.group.is_some()), "one group");
    assert!(slices.iter().zip(0..).all(|(slice, place)| slice.stack.as_ref().unwrap().1 == place));
}

#[test]
fn what_the_network_sees_is_the_images_own_range_and_not_its_upper_bits() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("a.tif");
    // 12 bits in a file of 16.
    tiff(&path, (64, 64), &[(0..4096).collect()], &[]);
    let pages = [(path.clone(), 0)];
    let range = raster::value_range(&Default::default(), &pages);
    assert_eq!(range, ValueRange::Images { low: 4.0, high: 4091.0 });
    let spec = FrameSpec { size: None, is_grey: true, channels: vec![1, 2, 3], range };
    let frame = raster::frame(&raster::read(&path, 0).unwrap(), &spec);
    let distinct: std::collections::BTreeSet<u16> = frame.values.iter().copied().collect();
    assert!(distinct.len() > 4000 && frame.values[4095] == 65535, "{} grey levels", distinct.len());
    // Samples of one bit are black and white.
    let page = temp.path().join("bits.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&page).unwrap(), 8, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header().unwrap().write_image_data(&[0b1010_0001]).unwrap();
    let bits = raster::frame(&raster::read(&page, 0).unwrap(), &spec);
    assert_eq!(bits.values, [65535, 0, 65535, 0, 0, 0, 0, 65535]);
    let window = FrameSpec { range: ValueRange::Window { low: 1000.0, high: 2000.0 }, ..spec };
    let frame = raster::frame(&raster::read(&path, 0).unwrap(), &window);
    assert_eq!([frame.values[1000], frame.values[1500], frame.values[2000]], [0, 32768, 65535]);
    // Images of 8 bits are 0 to 255 whatever the range of the deeper ones.
    GrayImage::from_fn(16, 16, |x, y| Luma([(y * 16 + x) as u8])).save(temp.path().join("b.png")).unwrap();
    let spec = FrameSpec { range, ..window };
    let frame = raster::frame(&raster::read(&temp.path().join("b.png"), 0).unwrap(), &spec);
    assert!(frame.values.iter().zip(0..).all(|(value, byte): (&u16, u16)| *value == byte * 257));
}

#[test]
fn a_jpeg_that_ends_too_early_is_no_image_but_one_without_its_last_marker_is() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/images");
    let temp = TempDir::new().unwrap();
    for (name, _) in raster::folder::list(&demo, &[]).unwrap().files.into_iter().take(12) {
        let whole = raster::read(&demo.join(&name), 0).unwrap();
        let bytes = std::fs::read(demo.join(&name)).unwrap();
        let path = temp.path().join("cut.jpg");
        std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
        assert_eq!(raster::read(&path, 0).unwrap().samples, whole.samples, "{name:?} without its end marker");
        for length in [bytes.len() / 2, bytes.len() - 40] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = raster::read(&path, 0).unwrap_err().to_string();
            assert!(error.contains("cut.jpg") && error.contains("ends before"), "{error}");
        }
    }
}

#[test]
fn a_label_between_two_slices_lies_between_them() {
    let disc = |radius: f64| {
        let inside = |i: usize| ((i % 32) as f64 - 16.0).hypot((i / 32) as f64 - 16.0) <= radius;
        Mask::from_pixels(32, 32, (0..1024).map(|i| u8::from(inside(i))).collect()).unwrap()
    };
    let area = |mask: &Mask| mask.pixels().iter().filter(|class| **class == 1).count();
    let (small, large) = (disc(4.0), disc(12.0));
    let half = qualm::domain::slices::interpolate(&small, &large, 0.5);
    assert!((area(&half) as f64 - area(&disc(8.0)) as f64).abs() < 12.0, "{} pixels", area(&half));
    assert_eq!(qualm::domain::slices::interpolate(&small, &large, 0.0), small);
    assert_eq!(qualm::domain::slices::interpolate(&small, &large, 1.0), large);
}

#[test]
fn objects_too_small_for_the_network_are_counted() {
    let mut mask = Mask::filled(1280, 960, 0);
    for (left, top, side) in [(101, 203, 4), (900, 500, 100), (400, 700, 3)] {
        for row in top..top + side {
            mask.pixels_mut()[row * 1280 + left..][..side].fill(1);
        }
    }
    assert_eq!(mask.objects_lost(128, 96), (3, 2));
    assert_eq!(mask.objects_lost(1280, 960), (3, 0));
}

#[test]
fn a_grey_picture_of_8_bits_tells_the_values_of_its_file() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("a.tif");
    let read = |bits: u32, photometric: u32| {
        // The bytes 1, 2, 3, 4.
        let page = vec![0x0201, 0x0403, 0, 0];
        tiff(&path, (4, 1), &[page], &[(258, 3, bits), (262, 3, photometric)]);
        raster::read(&path, 0).unwrap()
    };
    let inverted = raster::picture(&read(8, 0));
    assert_eq!(inverted.describe(2, 0).unwrap(), "grey   3");
    assert_eq!(inverted.values_of(Levels::default()), (255.0, 0.0));
    assert_eq!(raster::picture(&read(2, 1)).describe(3, 0).unwrap(), "grey   1", "of the bits 00 00 00 01");
    // Indices without a palette are grey for the network too.
    let range = ValueRange::default();
    let spec = FrameSpec { size: None, is_grey: true, channels: vec![1, 2, 3], range };
    assert_eq!(raster::frame(&read(8, 3), &spec).values, [257, 514, 771, 1028]);
}
