//! The numbers of a raster, in the type that holds them exactly.

/// Samples, `[rows, columns, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Unsigned integers of up to 8 bits.
    U8(Vec<u8>),
    /// Unsigned integers of up to 16 bits.
    U16(Vec<u16>),
    /// Signed integers of up to 32 bits.
    I32(Vec<i32>),
    /// Unsigned integers of up to 32 bits.
    U32(Vec<u32>),
    /// 32-bit floating-point numbers.
    F32(Vec<f32>),
    /// 64-bit floating-point numbers, and 64-bit integers of magnitude up to 2^53.
    F64(Vec<f64>),
}

/// Runs `$body` with the values of whatever type.
macro_rules! each {
    ($samples:expr, $values:ident => $body:expr) => {
        match $samples {
            $crate::raster::Samples::U8($values) => $body,
            $crate::raster::Samples::U16($values) => $body,
            $crate::raster::Samples::I32($values) => $body,
            $crate::raster::Samples::U32($values) => $body,
            $crate::raster::Samples::F32($values) => $body,
            $crate::raster::Samples::F64($values) => $body,
        }
    };
}

/// Like [`each`], but wraps the result as samples of the same type.
macro_rules! each_alike {
    ($samples:expr, $values:ident => $body:expr) => {
        match $samples {
            $crate::raster::Samples::U8($values) => $crate::raster::Samples::U8($body),
            $crate::raster::Samples::U16($values) => $crate::raster::Samples::U16($body),
            $crate::raster::Samples::I32($values) => $crate::raster::Samples::I32($body),
            $crate::raster::Samples::U32($values) => $crate::raster::Samples::U32($body),
            $crate::raster::Samples::F32($values) => $crate::raster::Samples::F32($body),
            $crate::raster::Samples::F64($values) => $crate::raster::Samples::F64($body),
        }
    };
}

/// Converts a sample to `f64`, which represents every sample type exactly.
fn number(value: impl Into<f64>) -> f64 {
    value.into()
}

impl Samples {
    /// The number of samples.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `f` of each sample.
    pub fn map<T>(&self, f: impl Fn(f64) -> T) -> Vec<T> {
        each!(self, values => values.iter().map(|value| f(number(*value))).collect())
    }

    /// Calls `f` with every `step`th sample.
    pub fn visit(&self, step: usize, mut f: impl FnMut(f64)) {
        if step <= 1 {
            return each!(self, values => values.iter().for_each(|value| f(number(*value))));
        }
        each!(self, values => values.iter().step_by(step).for_each(|value| f(number(*value))));
    }

    /// Sets the sample at index `place`. The value must be representable in the sample type.
    pub(super) fn set(&mut self, place: usize, value: f64) {
        match self {
            Self::U8(values) => values[place] = value as u8,
            Self::U16(values) => values[place] = value as u16,
            Self::I32(values) => values[place] = value as i32,
            Self::U32(values) => values[place] = value as u32,
            Self::F32(values) => values[place] = value as f32,
            Self::F64(values) => values[place] = value,
        }
    }

    /// Interleaves planes as the channels of one image; `None` if their types or lengths differ.
    pub(super) fn interleaved(planes: Vec<Self>) -> Option<Self> {
        let (length, first) = (planes.first()?.len(), planes.first()?);
        let is_alike =
            |plane: &Self| plane.len() == length && std::mem::discriminant(plane) == std::mem::discriminant(first);
        if !planes.iter().all(is_alike) {
            return None;
        }
        let channels = planes.len();
        let mut all = each_alike!(first, values => values.iter().flat_map(|value| vec![*value; channels]).collect());
        for (channel, plane) in planes.iter().enumerate().skip(1) {
            let mut place = channel;
            plane.visit(1, |value| {
                all.set(place, value);
                place += channels;
            });
        }
        Some(all)
    }

    /// Calls `make` with the channels of each pixel and the vector of results, to which it appends.
    pub(super) fn each_pixel<T>(&self, channels: usize, mut make: impl FnMut(&[f64], &mut Vec<T>)) -> Vec<T> {
        let mut made = Vec::with_capacity(self.len());
        let mut pixel = vec![0.0; channels];
        each!(self, values => for samples in values.chunks_exact(channels.max(1)) {
            pixel.iter_mut().zip(samples).for_each(|(to, from)| *to = number(*from));
            make(&pixel, &mut made);
        });
        made
    }

    /// Reorders the pixels: `source(place)` is the index from which the pixel at `place` is copied.
    pub(super) fn reordered(&self, channels: usize, source: impl Fn(usize) -> usize) -> Self {
        each_alike!(self, values => {
            let pixels = values.len() / channels.max(1);
            (0..pixels).flat_map(|place| &values[source(place) * channels..][..channels]).copied().collect()
        })
    }

    /// Each sample times `slope` plus `intercept`, as `i32` where samples and factors are integers and the results fit.
    pub(super) fn rescaled(self, slope: f64, intercept: f64) -> Self {
        if slope == 1.0 && intercept == 0.0 {
            return self;
        }
        let is_integer = matches!(self, Self::U8(_) | Self::U16(_) | Self::I32(_) | Self::U32(_));
        let bound = |value: f64| (value * slope + intercept).abs() <= f64::from(i32::MAX);
        let mut fits = slope.fract() == 0.0 && intercept.fract() == 0.0 && is_integer;
        if fits {
            self.visit(1, |value| fits &= bound(value));
        }
        if fits {
            Self::I32(self.map(|value| (value * slope + intercept) as i32))
        } else {
            Self::F64(self.map(|value| value * slope + intercept))
        }
    }
}

impl super::Raster {
    /// Rotates and mirrors the raster by an EXIF or TIFF orientation (1 to 8), and updates the size in the header.
    pub(super) fn oriented(mut self, orientation: u8) -> Self {
        // Before `turn`, the header describes the rows as stored.
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (width, height) = (self.header.width, self.header.height);
        let turned = orientation >= 5;
        let wide = if turned { height } else { width };
        let source = |place: usize| {
            let (x, y) = (place % wide, place / wide);
            let (column, row) = match orientation {
                2 => (width - 1 - x, y),
                3 => (width - 1 - x, height - 1 - y),
                4 => (x, height - 1 - y),
                5 => (y, x),
                6 => (y, height - 1 - x),
                7 => (width - 1 - y, height - 1 - x),
                _ => (width - 1 - y, x),
            };
            row * width + column
        };
        self.samples = self.samples.reordered(self.header.channels, source);
        self.header.turn(orientation);
        self
    }
}

impl super::Header {
    /// Updates the size and the spacing for an orientation that is applied.
    pub(super) fn turn(&mut self, orientation: u8) {
        if (5..=8).contains(&orientation) {
            std::mem::swap(&mut self.width, &mut self.height);
            self.spacing_mm = self.spacing_mm.map(|[along, across]| [across, along]);
        }
    }
}
