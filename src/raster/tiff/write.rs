//! Writes Deflate-compressed TIFF stacks of a label or a map, with the descriptions of both OME and ImageJ, each in a
//! tag of its own, as Micro-Manager does. The `tiff` crate cannot write a tag twice.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::super::output::NewFile;
use super::super::{LABEL_MARK, RasterError, Result, SliceValues};
use super::ifd::tag;

/// Bytes of pixel data above which BigTIFF is written, because offsets may not fit in 32 bits.
const MOST_CLASSIC: u64 = 4_000_000_000;

/// The layout of a stack.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Slices.
    pub slices: usize,
    /// Pixel spacing in mm, along the rows and along the columns, if known.
    pub spacing_mm: Option<[f64; 2]>,
    /// Distance between neighbouring slices in mm, if known.
    pub slice_mm: Option<f64>,
    /// Whether the values are classes.
    pub is_label: bool,
}

/// A stack being written, slice by slice.
pub struct TiffWriter {
    file: NewFile,
    stack: Stack,
    /// The offset and length in bytes of each slice.
    strips: Vec<(u64, u64)>,
}

/// A field of a directory: its tag, type, number of values and their bytes.
struct Field(u16, u16, u64, Vec<u8>);

const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const LONG8: u16 = 16;

impl Field {
    fn short(tag: u16, value: u16) -> Self {
        Self(tag, SHORT, 1, value.to_le_bytes().to_vec())
    }

    fn long(tag: u16, value: u32) -> Self {
        Self(tag, LONG, 1, value.to_le_bytes().to_vec())
    }

    fn text(tag: u16, text: &str) -> Self {
        Self(tag, ASCII, text.len() as u64 + 1, [text.as_bytes(), &[0]].concat())
    }

    fn resolution(tag: u16, mm: f64) -> Self {
        // Pixels per mm.
        let parts = [1_000_000u32, (mm * 1e6).round().clamp(1.0, f64::from(u32::MAX)) as u32];
        Self(tag, RATIONAL, 1, parts.map(u32::to_le_bytes).concat())
    }
}

impl TiffWriter {
    /// Creates the file of a stack.
    pub fn create(path: &Path, stack: Stack) -> Result<Self> {
        let file = NewFile::create(path)?;
        let mut writer = Self { file, stack, strips: Vec::new() };
        let header = [0; 16];
        let length = if writer.is_big() { 16 } else { 8 };
        writer.write(&header[..length])?;
        Ok(writer)
    }

    fn is_big(&self) -> bool {
        let Stack { width, height, slices, is_label, .. } = self.stack;
        (width * height * slices * if is_label { 1 } else { 4 }) as u64 > MOST_CLASSIC
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(RasterError::io(self.file.path()))
    }

    fn place(&mut self) -> Result<u64> {
        self.file.stream_position().map_err(RasterError::io(self.file.path()))
    }

    /// Adds the next slice.
    pub fn add(&mut self, values: SliceValues) -> Result<()> {
        let bytes = match values {
            SliceValues::Classes(classes) => classes.to_vec(),
            SliceValues::Numbers(numbers) => numbers.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        let packed =
            packed.write_all(&bytes).and_then(|()| packed.finish()).map_err(RasterError::io(self.file.path()))?;
        let at = self.place()?;
        self.strips.push((at, packed.len() as u64));
        self.write(&packed)
    }

    /// Writes the directories and moves the file to its final path.
    pub fn finish(mut self) -> Result<()> {
        let is_big = self.is_big();
        let (word, entry) = if is_big { (8, 20) } else { (4, 12) };
        let offset = |value: u64| value.to_le_bytes()[..word].to_vec();
        if !self.place()?.is_multiple_of(2) {
            self.write(&[0])?;
        }
        let first = self.place()?;
        let last = self.strips.len().saturating_sub(1);
        for page in 0..self.strips.len() {
            let fields = self.fields(page);
            let at = self.place()?;
            let count = if is_big { 8 } else { 2 };
            let mut beyond = at + (count + fields.len() * entry + word) as u64;
            let mut directory = (fields.len() as u64).to_le_bytes()[..count].to_vec();
            let mut values = Vec::new();
            for Field(tag, kind, number, bytes) in fields {
                directory.extend(tag.to_le_bytes());
                directory.extend(kind.to_le_bytes());
                directory.extend(&number.to_le_bytes()[..word]);
                if bytes.len() <= word {
                    directory.extend(&bytes);
                    directory.extend(vec![0; word - bytes.len()]);
                } else {
                    directory.extend(offset(beyond));
                    let padding = bytes.len() % 2;
                    beyond += (bytes.len() + padding) as u64;
                    values.extend(bytes);
                    values.extend(vec![0; padding]);
                }
            }
            directory.extend(offset(if page == last { 0 } else { beyond }));
            self.write(&directory)?;
            self.write(&values)?;
        }
        let mut header = if is_big { b"II\x2b\0\x08\0\0\0".to_vec() } else { b"II\x2a\0".to_vec() };
        header.extend(offset(first));
        self.file.seek(SeekFrom::Start(0)).map_err(RasterError::io(self.file.path()))?;
        self.write(&header)?;
        self.file.finish()
    }

    fn fields(&self, page: usize) -> Vec<Field> {
        let Stack { width, height, is_label, spacing_mm, .. } = self.stack;
        let (at, length) = self.strips[page];
        let place = |tag: u16, value: u64| {
            if self.is_big() {
                Field(tag, LONG8, 1, value.to_le_bytes().to_vec())
            } else {
                Field::long(tag, value as u32)
            }
        };
        let mut fields = vec![
            Field::long(tag::WIDTH, width as u32),
            Field::long(tag::HEIGHT, height as u32),
            Field::short(tag::BITS, if is_label { 8 } else { 32 }),
            // Deflate.
            Field::short(tag::COMPRESSION, 8),
            // 0 is black.
            Field::short(tag::PHOTOMETRIC, 1),
        ];
        if page == 0 {
            fields.push(Field::text(tag::DESCRIPTION, &self.ome()));
            fields.push(Field::text(tag::DESCRIPTION, &self.imagej()));
        }
        fields.push(place(tag::STRIP_OFFSETS, at));
        fields.push(Field::short(tag::SAMPLES, 1));
        fields.push(Field::long(tag::ROWS_PER_STRIP, height as u32));
        fields.push(place(tag::STRIP_LENGTHS, length));
        if let Some([x, y]) = spacing_mm {
            fields.extend([Field::resolution(tag::X_RESOLUTION, x), Field::resolution(tag::Y_RESOLUTION, y)]);
            // ImageJ's description names the unit.
            fields.push(Field::short(tag::RESOLUTION_UNIT, 1));
        }
        fields.push(Field::text(tag::SOFTWARE, if is_label { LABEL_MARK } else { "Qualm" }));
        // Whole numbers, or floating point.
        fields.push(Field::short(tag::SAMPLE_FORMAT, if is_label { 1 } else { 3 }));
        fields
    }

    fn imagej(&self) -> String {
        let Stack { slices, spacing_mm, slice_mm, is_label, .. } = self.stack;
        let mut text = "ImageJ=1.54f\n".to_owned();
        if slices > 1 {
            text += &format!("images={slices}\nslices={slices}\nloop=false\n");
        }
        if spacing_mm.is_some() {
            text += "unit=mm\n";
            text += &slice_mm.map_or(String::new(), |z| format!("spacing={z}\n"));
        }
        text + if is_label { "min=0\nmax=255\n" } else { "min=0\nmax=1\n" }
    }

    fn ome(&self) -> String {
        let Stack { width, height, slices, spacing_mm, slice_mm, is_label } = self.stack;
        let kind = if is_label { "uint8" } else { "float" };
        let size = |(axis, mm): (&str, f64)| format!(" PhysicalSize{axis}=\"{mm}\" PhysicalSize{axis}Unit=\"mm\"");
        let plane = spacing_mm.into_iter().flat_map(|[x, y]| [("X", x), ("Y", y)]);
        let sizes: String = plane.chain(slice_mm.map(|z| ("Z", z))).map(size).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\">\
             <Image ID=\"Image:0\"><Pixels ID=\"Pixels:0\" DimensionOrder=\"XYZCT\" Type=\"{kind}\" SizeX=\"{width}\" \
             SizeY=\"{height}\" SizeZ=\"{slices}\" SizeC=\"1\" SizeT=\"1\"{sizes}><Channel ID=\"Channel:0:0\" \
             SamplesPerPixel=\"1\"/><TiffData/></Pixels></Image></OME>"
        )
    }
}
