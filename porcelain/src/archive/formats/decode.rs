//! Compressed streams, unpacked as they are read.
//!
//! Promises: memory stays below 150 MiB whatever a stream asks for; streams behind each other count
//! as one; a checksum that fails, an early end and trailing rubbish are errors once the stream is
//! read to its end.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::super::error::Reason;
use super::tar::Ending;

pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// What `xz -9` needs is 65 MiB.
const XZ_MEMORY_BYTES_MAX: u64 = 128 << 20;
/// 128 MiB, which is what every zstd decoder accepts and what `zstd --ultra -22` needs.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a tar archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// The bytes behind `packed`, through a buffer, since tar reads in small pieces.
    pub(super) fn reader<'a>(self, packed: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, Reason> {
        fn buffered<'a>(stream: impl Read + 'a) -> Box<dyn Read + 'a> {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, stream))
        }
        Ok(match self {
            Compression::None => Box::new(packed),
            Compression::Gzip => buffered(MultiGzDecoder::new(packed)),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, CONCATENATED)
                    .map_err(|error| Reason::io("set up the xz decoder")(io::Error::from(error)))?;
                buffered(XzDecoder::new_stream(packed, stream))
            }
            Compression::Zstd => buffered(ZstdReader::new(packed)?),
        })
    }

    /// Whether the compression vouches for the end of what is inside.
    pub(super) fn ending(self) -> Ending {
        match self {
            Compression::None => Ending::Marked,
            _ => Ending::Known,
        }
    }
}

/// Reads zstd frames behind each other.
struct ZstdReader<R> {
    packed: R,
    context: DCtx<'static>,
    in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(packed: R) -> Result<Self, Reason> {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
            .map_err(|code| Reason::Damaged(zstd_safe::get_error_name(code).into()))?;
        Ok(Self { packed, context, in_frame: false })
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let packed = self.packed.fill_buf()?;
            let is_end = packed.is_empty();
            if is_end && !self.in_frame {
                return Ok(0);
            }
            // At the end of the input, the decoder may still hold output that found no room before.
            let mut input = InBuffer::around(packed);
            let mut output = OutBuffer::around(&mut *into);
            let hint = self.context.decompress_stream(&mut output, &mut input).map_err(|code| {
                io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
            })?;
            let (taken, given) = (input.pos(), output.pos());
            self.packed.consume(taken);
            self.in_frame = hint != 0;
            match given {
                0 if is_end && self.in_frame => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 => {}
                given => return Ok(given),
            }
        }
    }
}
