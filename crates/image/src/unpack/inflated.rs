//! The bytes of an archive as they come out of whatever it is packed with, and no more of them than the limits allow.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::{BUFFER_BYTES, Limits};

/// An I/O error that says that a bound is passed, for readers have no other words.
#[derive(Debug, thiserror::Error)]
#[error("more than {max} {what}")]
pub(super) struct Excess {
    pub(super) what: &'static str,
    pub(super) max: u64,
}

pub(super) fn too_large(what: &'static str, max: u64) -> io::Error {
    io::Error::other(Excess { what, max })
}

/// Counts the packed bytes.
pub(super) struct Metered<R> {
    inner: BufReader<R>,
    count: u64,
}

impl<R: Read> Metered<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner: BufReader::with_capacity(BUFFER_BYTES, inner), count: 0 }
    }

    /// The first bytes, without taking them.
    fn peek(&mut self) -> io::Result<&[u8]> {
        io::BufRead::fill_buf(&mut self.inner)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// The inflated bytes, refused once they are too many.
pub(super) struct Inflated<'a, R> {
    inner: Inflater<'a, R>,
    limits: Limits,
    count: u64,
    /// How many more bytes may be read; the owner of the other end sets it.
    allowance: Rc<Cell<u64>>,
}

enum Inflater<'a, R> {
    Plain(&'a mut Metered<R>),
    Gzip(flate2::read::MultiGzDecoder<&'a mut Metered<R>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<&'a mut Metered<R>>>),
}

impl<'a, R: Read> Inflated<'a, R> {
    pub(super) fn new(packed: &'a mut Metered<R>, limits: Limits, allowance: Rc<Cell<u64>>) -> io::Result<Self> {
        let inner = match packed.peek()? {
            [0x1f, 0x8b, ..] => Inflater::Gzip(flate2::read::MultiGzDecoder::new(packed)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Inflater::Zstd(zstd::stream::read::Decoder::new(packed)?)
            }
            _ => Inflater::Plain(packed),
        };
        Ok(Self { inner, limits, count: 0, allowance })
    }
}

impl<R: Read> Read for Inflated<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, packed) = match &mut self.inner {
            Inflater::Plain(packed) => (packed.read(buffer)?, packed.count),
            Inflater::Gzip(decoder) => (decoder.read(buffer)?, decoder.get_ref().count),
            Inflater::Zstd(decoder) => (decoder.read(buffer)?, decoder.get_ref().get_ref().count),
        };
        self.count += read as u64;
        let allowed = self
            .allowance
            .get()
            .checked_sub(read as u64)
            .ok_or_else(|| too_large("bytes of headers", self.limits.header_bytes_max))?;
        self.allowance.set(allowed);
        let Limits { ratio_max, ratio_free_bytes, .. } = self.limits;
        if self.count > ratio_free_bytes && self.count / ratio_max > packed {
            return Err(too_large("times its packed size", ratio_max));
        }
        Ok(read)
    }
}
