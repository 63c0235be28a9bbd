//! The elements of a DICOM file, and the location of its pixels.
//!
//! Elements are read only up to the pixels. Before anything is allocated, a first pass checks every length against the
//! size of the file, so that a malicious header does no harm.

use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use dicom_core::header::HasLength;
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_object::file::ReadPreamble;
use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, InMemDicomObject, OpenFileOptions};
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use flate2::read::DeflateDecoder;

use crate::raster::{Format, RasterError, Result};

/// Maximum size in bytes of a deflated file once inflated.
const MOST_INFLATED: u64 = 1 << 31;
/// Sequences within sequences: each is a call on the stack.
const DEEPEST: usize = 32;
/// Number of leading bytes that are searched for the meta group.
const BEGINNING: u64 = 1 << 20;
/// Explicit VR Big Endian: retired, but still found in practice.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const GROUP_OF_PIXELS: Tag = Tag(0x7fe0, 0);

/// An open file.
pub(super) struct File {
    /// Everything before the pixels.
    pub object: DefaultDicomObject,
    /// The UID of the transfer syntax; empty where the file has no meta group.
    pub syntax: String,
    /// The location of the pixels.
    pub pixels: Pixels,
    /// Whether numbers are stored with the most significant byte first.
    pub is_big_endian: bool,
    source: ByteSource,
}

/// The location of the pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pixels {
    /// PixelData, FloatPixelData or DoubleFloatPixelData.
    pub tag: Tag,
    pub vr: VR,
    /// Length in bytes; `None` for fragments.
    pub length: Option<u64>,
    /// Offset from the start of the source; for fragments, the offset of their offset table.
    pub at: u64,
}

/// The source of the data set: the file, or its inflated contents.
pub(super) enum ByteSource {
    File(BufReader<std::fs::File>),
    Inflated(Cursor<Vec<u8>>),
}

impl Read for ByteSource {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.read(bytes),
            Self::Inflated(bytes_of) => bytes_of.read(bytes),
        }
    }
}

impl Seek for ByteSource {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Inflated(bytes) => bytes.seek(to),
        }
    }
}

/// Information from the first bytes: where the data set begins, its transfer syntax, and the encoding to parse it with.
struct FileBeginning {
    at: u64,
    syntax: Option<String>,
    encoding: &'static str,
}

fn is_vr(bytes: Option<&[u8]>) -> bool {
    bytes.and_then(|vr| VR::from_binary([*vr.first()?, *vr.get(1)?])).is_some()
}

fn le_u32(bytes: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_le_bytes(bytes?.try_into().ok()?))
}

fn beginning(head: &[u8]) -> Option<FileBeginning> {
    let is_magic = |at: usize| head.get(at..at + 4) == Some(b"DICM".as_slice());
    let mut at = if is_magic(128) {
        132
    } else if is_magic(0) {
        4
    } else {
        0
    };
    let mut syntax = None;
    // Group 2 is always explicit VR little endian, whatever the rest of the file is.
    while head.get(at..at + 2) == Some([2, 0].as_slice()) && is_vr(head.get(at + 4..at + 6)) {
        let is_long = matches!(&head[at + 4..at + 6], b"OB" | b"OW" | b"UN" | b"UT" | b"UR" | b"UC" | b"SQ");
        let (header, length) = if is_long {
            (12, le_u32(head.get(at + 8..at + 12))? as usize)
        } else {
            (8, usize::from(*head.get(at + 6)?) | usize::from(*head.get(at + 7)?) << 8)
        };
        let value = head.get(at + header..(at + header).checked_add(length)?)?;
        if head[at + 2] == 0x10 && head[at + 3] == 0 {
            let text = String::from_utf8_lossy(value);
            syntax = Some(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned());
        }
        at += header + length;
    }
    let data = head.get(at..).unwrap_or(&[]);
    let encoding = match syntax.as_deref() {
        Some(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) => uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        Some(BIG_ENDIAN) => BIG_ENDIAN,
        None if data.get(..2) == Some([0, 8].as_slice()) => BIG_ENDIAN,
        _ if is_vr(data.get(4..6)) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        _ => uids::IMPLICIT_VR_LITTLE_ENDIAN,
    };
    Some(FileBeginning { at: at as u64, syntax, encoding })
}

/// Builds a meta group that contains only the transfer syntax.
fn meta_group(encoding: &str) -> Vec<u8> {
    let mut uid = encoding.as_bytes().to_vec();
    if uid.len() % 2 == 1 {
        uid.push(0);
    }
    let mut bytes = b"DICM\x02\0\0\0UL\x04\0".to_vec();
    bytes.extend(((8 + uid.len()) as u32).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0UI");
    bytes.extend((uid.len() as u16).to_le_bytes());
    bytes.extend(uid);
    bytes
}

impl File {
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |reason: String| RasterError::damaged(path, Format::Dicom, reason);
        let mut file = BufReader::new(std::fs::File::open(path).map_err(RasterError::io(path))?);
        let mut head = Vec::new();
        file.by_ref().take(BEGINNING).read_to_end(&mut head).map_err(RasterError::io(path))?;
        let FileBeginning { mut at, syntax, mut encoding } =
            beginning(&head).ok_or_else(|| damaged("its meta group ends too early".to_owned()))?;
        let mut source = if encoding == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            file.seek(SeekFrom::Start(at)).map_err(RasterError::io(path))?;
            let mut inflated = Vec::new();
            let read = DeflateDecoder::new(file).take(MOST_INFLATED).read_to_end(&mut inflated);
            read.map_err(|error| damaged(error.to_string()))?;
            (at, encoding) = (0, uids::EXPLICIT_VR_LITTLE_ENDIAN);
            ByteSource::Inflated(Cursor::new(inflated))
        } else {
            ByteSource::File(file)
        };
        let end = source.seek(SeekFrom::End(0)).map_err(RasterError::io(path))?;
        let pixels = locate(&mut source, at, end, encoding).map_err(damaged)?;
        let pixels = pixels.ok_or_else(|| {
            RasterError::unsupported(path, "DICOM without pixels (a report, a plan or a directory)", "leave it out")
        })?;
        source.seek(SeekFrom::Start(at)).map_err(RasterError::io(path))?;
        let whole = Cursor::new(meta_group(encoding)).chain(&mut source);
        let options = OpenFileOptions::new().read_preamble(ReadPreamble::Never).read_until(GROUP_OF_PIXELS);
        let object = options.from_reader(whole).map_err(|error| damaged(error.to_string()))?;
        let is_big_endian = encoding == BIG_ENDIAN;
        Ok(Self { object, syntax: syntax.unwrap_or_default(), pixels, is_big_endian, source })
    }

    /// Length in bytes of the file, or of its inflated contents.
    pub fn length(&self) -> u64 {
        match &self.source {
            ByteSource::File(file) => file.get_ref().metadata().map_or(0, |metadata| metadata.len()),
            ByteSource::Inflated(whole) => whole.get_ref().len() as u64,
        }
    }

    pub fn is_float(&self) -> bool {
        self.pixels.tag != tags::PIXEL_DATA
    }

    /// Reads up to `length` bytes at offset `at`.
    pub fn bytes(&self, at: u64, length: u64) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match &self.source {
            ByteSource::File(file) => {
                let mut file = file.get_ref();
                file.seek(SeekFrom::Start(at))?;
                file.take(length).read_to_end(&mut bytes)?;
            }
            ByteSource::Inflated(whole) => {
                let whole = whole.get_ref();
                let from = (at as usize).min(whole.len());
                bytes.extend_from_slice(&whole[from..from.saturating_add(length as usize).min(whole.len())]);
            }
        }
        Ok(bytes)
    }
}

/// Walks through the data set to the pixels, and checks every length against the end of the file.
#[allow(clippy::wildcard_enum_match_arm)] // The enum is another crate's.
fn locate(source: &mut ByteSource, at: u64, end: u64, encoding: &str) -> std::result::Result<Option<Pixels>, String> {
    source.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
    let syntax = TransferSyntaxRegistry.get(encoding).ok_or("an unknown transfer syntax")?;
    let mut reader = LazyDataSetReader::new_with_ts(source, syntax).map_err(|error| error.to_string())?;
    let (mut depth, mut found) = (0, None);
    while let Some(token) = reader.advance() {
        match token.map_err(|error| error.to_string())? {
            LazyDataToken::SequenceStart { .. } => {
                depth += 1;
                if depth > DEEPEST {
                    return Err("its sequences are nested too deeply".to_owned());
                }
            }
            LazyDataToken::SequenceEnd => depth = depth.saturating_sub(1),
            LazyDataToken::PixelSequenceStart if depth == 0 => {
                found = Some((tags::PIXEL_DATA, VR::OB, None));
                break;
            }
            LazyDataToken::PixelSequenceStart => depth += 1,
            LazyDataToken::ElementHeader(header)
                if depth == 0
                    && [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
                        .contains(&header.tag) =>
            {
                found = Some((header.tag, header.vr, header.length().get().map(u64::from)));
                break;
            }
            LazyDataToken::LazyValue { header, decoder } => {
                let length = header.length().get().unwrap_or(0);
                if u64::from(length) > end.saturating_sub(decoder.position()) {
                    return Err(format!("element {} ends behind the file", header.tag));
                }
                decoder.skip_bytes(length).map_err(|error| error.to_string())?;
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                decoder.skip_bytes(len).map_err(|error| error.to_string())?;
            }
            _ => {}
        }
    }
    let at = reader.into_decoder().position();
    Ok(found.map(|(tag, vr, length)| Pixels { tag, vr, length, at }))
}

/// The numbers of an element; NaN for a value that cannot be parsed.
pub(super) fn floats(element: &InMemElement) -> Vec<f64> {
    let number = |text: &str| {
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).replace(',', ".");
        text.parse::<f64>().ok().filter(|value| value.is_finite()).unwrap_or(f64::NAN)
    };
    match element.value().primitive() {
        Some(PrimitiveValue::Strs(texts)) => texts.iter().map(|text| number(text)).collect(),
        Some(PrimitiveValue::Str(text)) => text.split('\\').map(number).collect(),
        Some(PrimitiveValue::U8(bytes)) if element.vr() == VR::UN => {
            String::from_utf8_lossy(bytes).split('\\').map(number).collect()
        }
        Some(value) => value.to_multi_float64().unwrap_or_default(),
        None => Vec::new(),
    }
}

pub(super) fn first(object: &InMemDicomObject, tag: Tag) -> Option<f64> {
    object.get(tag).and_then(|element| floats(element).first().copied()).filter(|value| value.is_finite())
}

pub(super) fn int(object: &InMemDicomObject, tag: Tag) -> Option<i64> {
    first(object, tag).map(|value| value.round() as i64)
}

pub(super) fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let text = object.get(tag)?.to_str().ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

/// The first `N` numbers of an element; `None` if there are fewer, or if one of them cannot be parsed.
pub(super) fn fixed<const N: usize>(element: Option<&InMemElement>) -> Option<[f64; N]> {
    let values = floats(element?);
    let values: [f64; N] = values.get(..N)?.try_into().ok()?;
    values.iter().all(|value| value.is_finite()).then_some(values)
}

/// Looks up an element for a frame: in its own functional groups, else in the shared ones, else in the data set itself.
pub(super) fn framed(object: &InMemDicomObject, frame: usize, group: Tag, tag: Tag) -> Option<&InMemElement> {
    let within =
        |sequence: Tag, item: usize| object.get(sequence)?.items()?.get(item)?.get(group)?.items()?.first()?.get(tag);
    within(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame)
        .or_else(|| within(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0))
        .or_else(|| object.get(tag))
}
