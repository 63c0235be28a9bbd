//! Training samples at the network's size.

/// One image, or a tile of one, with its label, both at the network's size.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Pixel-interleaved channels, 0 to 65535, `[rows, columns, channels]`.
    pub image: Vec<u16>,
    /// Class per pixel, `[rows, columns]`; 255 carries no loss.
    pub label: Vec<u8>,
    /// Its weight in the loss: 1 for a user's label.
    pub weight: f32,
    /// The number, within its set, of the image that it is or is a tile of: tiles of one image are evaluated together.
    pub number: usize,
}

/// The shape all samples of a set share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels of the image.
    pub channels: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl Shape {
    /// Pixels of one map.
    pub fn pixels(self) -> usize {
        self.rows * self.columns
    }
}
