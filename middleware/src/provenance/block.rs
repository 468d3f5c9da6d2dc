//! A record's headers as they lie in a batch.

use std::{error::Error, fmt};

/// The headers of a record in Kafka's wire encoding, checked as they are read: how many there are, and for each the
/// length of the name, the name, the length of the value or -1 for null, the value. Numbers are zigzag varints of 32 bits.
///
/// For what has no Kafka client, or keeps records as they came. After an error there is nothing more.
///
/// ```
/// use franking_middleware::provenance::{Block, BlockError, Provenance};
///
/// let wire = b"\x02\x10prov-seq\x02\x37";
/// let headers = Block::new(wire).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(Provenance::read(headers).sequence.unwrap().number, 7);
/// assert_eq!(Block::new(b"\x02\x10prov").next(), Some(Err(BlockError::Truncated)));
/// # Ok::<(), BlockError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Block<'h> {
    rest: &'h [u8],
    left: Left,
}

#[derive(Clone, Copy, Debug)]
enum Left {
    /// The count was not read.
    Count,
    Headers(u32),
    Nothing,
}

/// Why a block is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// It ends within a header, or before the last one.
    Truncated,
    /// Bytes are left behind the last header.
    TrailingBytes,
    /// A number takes more than 32 bits.
    Varint,
    /// A count or a name's length is below 0, or a value's below -1.
    NegativeLength,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the headers end too early",
            Self::TrailingBytes => "bytes are left behind the last header",
            Self::Varint => "a length takes more than 32 bits",
            Self::NegativeLength => "a length is below 0",
        })
    }
}

impl Error for BlockError {}

/// A header's name, and its value or null.
type Pair<'h> = (&'h [u8], Option<&'h [u8]>);

impl<'h> Block<'h> {
    /// Over these bytes, which begin with the count of the headers.
    pub fn new(wire: &'h [u8]) -> Self {
        Self {
            rest: wire,
            left: Left::Count,
        }
    }

    fn header(&mut self) -> Result<Option<Pair<'h>>, BlockError> {
        let left = match self.left {
            Left::Nothing => return Ok(None),
            Left::Headers(left) => left,
            Left::Count => {
                let count = self.varint()?;
                u32::try_from(count).map_err(|_| BlockError::NegativeLength)?
            }
        };
        let Some(left) = left.checked_sub(1) else {
            return match self.rest {
                [] => Ok(None),
                _ => Err(BlockError::TrailingBytes),
            };
        };
        self.left = Left::Headers(left);
        let length = self.varint()?;
        let name = self.take(length)?;
        let value = match self.varint()? {
            -1 => None,
            length => Some(self.take(length)?),
        };
        Ok(Some((name, value)))
    }

    fn take(&mut self, length: i32) -> Result<&'h [u8], BlockError> {
        let length = usize::try_from(length).map_err(|_| BlockError::NegativeLength)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(BlockError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<i32, BlockError> {
        let mut zigzag = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let (byte, rest) = self.rest.split_first().ok_or(BlockError::Truncated)?;
            self.rest = rest;
            zigzag |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                let zigzag = u32::try_from(zigzag).map_err(|_| BlockError::Varint)?;
                return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        Err(BlockError::Varint)
    }
}

impl<'h> Iterator for Block<'h> {
    type Item = Result<(&'h [u8], Option<&'h [u8]>), BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.header().transpose();
        if !matches!(header, Some(Ok(_))) {
            self.left = Left::Nothing;
        }
        header
    }
}
