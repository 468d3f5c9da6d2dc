//! Kafka's frames: a size of four bytes, and so many bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The kind of a produce request.
const PRODUCE: i16 = 0;

/// A request or an answer, its size in front.
pub(super) struct Frame(Vec<u8>);

impl Frame {
    /// The next one.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = vec![0; 4];
        from.read_exact(&mut bytes).await?;
        let size = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        // More than any client sends: this is not Kafka's protocol.
        if !(4..200 << 20).contains(&size) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.resize(4 + size, 0);
        from.read_exact(&mut bytes[4..]).await?;
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of a request: whether it produces.
    pub(super) fn produces(&self) -> bool {
        self.0[4..6] == PRODUCE.to_be_bytes()
    }

    /// Of a request: its number.
    pub(super) fn number(&self) -> Option<i32> {
        self.four_at(8)
    }

    /// Of an answer: the number of its request.
    pub(super) fn answers(&self) -> Option<i32> {
        self.four_at(4)
    }

    fn four_at(&self, at: usize) -> Option<i32> {
        let bytes = self.0.get(at..at + 4)?;
        Some(i32::from_be_bytes(bytes.try_into().unwrap()))
    }
}
