//! The protobuf wire format: bytes to numbered fields, every length checked. Knows no types.

use std::num::TryFromIntError;

/// What is wrong with the bytes of a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes end within a field, or a length reaches past the end.
    #[error("unexpected EOF")]
    Truncated,
    /// A number longer than 64 bits, or a length longer than memory.
    #[error("proto: integer overflow")]
    Overflow,
    /// No field has such a number.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// No such wire type, or one of the retired groups.
    #[error("proto: illegal wireType {0}")]
    WireType(u64),
    /// Another wire type than the field has.
    #[error("proto: wrong wireType = {found} for field {field}")]
    Mismatch {
        /// The wire type in the bytes.
        found: u8,
        /// The field's JSON name.
        field: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("proto: field {field} contains invalid UTF-8")]
    Utf8 {
        /// The field's JSON name.
        field: &'static str,
    },
    /// A time that no calendar has.
    #[error("proto: field {field} is not a time: {source}")]
    Time {
        /// The field's JSON name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
    /// Seconds and nanoseconds of a time are 64 and 32 bits.
    #[error("proto: integer overflow in field {field}")]
    Range {
        /// The field's JSON name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: TryFromIntError,
    },
    /// A field that carries JSON carries something else.
    #[error("proto: field {field} is not JSON: {source}")]
    Json {
        /// The field's JSON name.
        field: &'static str,
        /// Where reading stopped.
        #[source]
        source: serde_json::Error,
    },
}

/// One field's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datum<'a> {
    /// Wire type 0: integers and booleans.
    Varint(u64),
    /// Wire type 1. No field served has it.
    Fixed64,
    /// Wire type 2: text, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5. No field served has it.
    Fixed32,
}

impl<'a> Datum<'a> {
    pub(super) fn bytes(self, field: &'static str) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64 | Self::Fixed32 => Err(self.wrong_type(field)),
        }
    }

    pub(super) fn text(self, field: &'static str) -> Result<String, WireError> {
        match std::str::from_utf8(self.bytes(field)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(WireError::Utf8 { field }),
        }
    }

    /// Negative numbers travel as their two's complement in 64 bits, whatever their size.
    pub(super) fn integer(self, field: &'static str) -> Result<i64, WireError> {
        match self {
            Self::Varint(bits) => Ok(bits.cast_signed()),
            Self::Bytes(_) | Self::Fixed64 | Self::Fixed32 => Err(self.wrong_type(field)),
        }
    }

    pub(super) fn wrong_type(self, field: &'static str) -> WireError {
        let found = match self {
            Self::Varint(_) => 0,
            Self::Fixed64 => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        };
        WireError::Mismatch { found, field }
    }
}

/// The fields of a message in the order of the bytes; ends after the first error.
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn field(&mut self) -> Result<(u32, Datum<'a>), WireError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number != 0).ok_or(WireError::Tag(key >> 3))?;
        let datum = match key & 7 {
            0 => Datum::Varint(self.varint()?),
            1 => self.take(8).map(|_| Datum::Fixed64)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| WireError::Overflow)?;
                Datum::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Datum::Fixed32)?,
            other => return Err(WireError::WireType(other)),
        };
        Ok((number, datum))
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            // Of the tenth byte one bit is left.
            if shift == 63 && byte > 1 {
                return Err(WireError::Overflow);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Overflow)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The numbers of a packed list.
    pub(super) fn packed(bytes: &'a [u8]) -> impl Iterator<Item = Result<Datum<'a>, WireError>> {
        let mut wire = Self::new(bytes);
        std::iter::from_fn(move || {
            (!wire.rest.is_empty()).then(|| wire.or_end(|wire| wire.varint().map(Datum::Varint)))
        })
    }

    fn or_end<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, WireError>) -> Result<T, WireError> {
        let result = read(self);
        if result.is_err() {
            self.rest = &[];
        }
        result
    }
}

impl<'a> Iterator for Wire<'a> {
    type Item = Result<(u32, Datum<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.or_end(Self::field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Datum<'_>)>, String> {
        Wire::new(bytes).collect::<Result<_, _>>().map_err(|error: WireError| error.to_string())
    }

    #[test]
    fn every_wire_type_is_stepped_over() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, b'h', b'i', 0x25, 1, 2, 3, 4];
        let fields = [(1, Datum::Varint(150)), (2, Datum::Fixed64), (3, Datum::Bytes(b"hi")), (4, Datum::Fixed32)];
        assert_eq!(all(&bytes), Ok(fields.to_vec()));
    }

    #[test]
    fn numbers_have_64_bits_and_no_more() {
        let minus_one = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let (_, datum) = all(&minus_one).unwrap()[0];
        assert_eq!(datum.integer("n").unwrap(), -1);
        for end in [[0x02].as_slice(), &[0x81, 0x00]] {
            let bytes = [[0x08].as_slice(), &[0xff; 9], end].concat();
            assert_eq!(all(&bytes), Err("proto: integer overflow".to_owned()));
        }
    }

    #[test]
    fn what_is_cut_short_or_unheard_of_is_refused() {
        for (bytes, text) in [
            ([0x08].as_slice(), "unexpected EOF"),
            (&[0x08, 0x80], "unexpected EOF"),
            (&[0x0a, 3, b'h', b'i'], "unexpected EOF"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "unexpected EOF"),
            (&[0x0d, 1, 2, 3], "unexpected EOF"),
            (&[0x00, 0x00], "proto: illegal tag 0"),
            (&[0x0b], "proto: illegal wireType 3"),
            (&[0x0f], "proto: illegal wireType 7"),
        ] {
            assert_eq!(all(bytes), Err(text.to_owned()), "{bytes:x?}");
        }
    }
}
