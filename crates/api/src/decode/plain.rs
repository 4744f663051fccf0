//! Text to typed value without anything in between, for JSON as this server and its clients usually write
//! it: every field known and named once, lists and maps where they belong. Whatever is unusual (unknown or
//! repeated fields, floats, free-form values, faults of any kind) ends the reading without a reason; the
//! lenient way then says what is wrong, if anything is. What is read here is what that way would have read.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, CowStrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::amount::Amount;

/// Levels of objects and lists; deeper ones are unusual.
const DEPTH_MAX: usize = 64;
/// Entries of a map whose names are compared with each other; a map with more of them, not in order, is unusual.
const UNORDERED_MAX: usize = 32;
/// Length of a time in whole seconds, and of one in microseconds, as the wire carries them.
const TIME_BYTES: usize = "2006-01-02T15:04:05Z".len();
const MICRO_TIME_BYTES: usize = "2006-01-02T15:04:05.000000Z".len();

/// Who wrote a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: quantities may have any form.
    Client,
    /// This server: they are canonical.
    Server,
}

/// Reads `text` as a `T`; none when there is anything unusual in it.
pub(super) fn read<T: DeserializeOwned>(text: &str, origin: Origin) -> Option<T> {
    let mut reader = Reader { text, at: 0, depth: 0, origin };
    let value = T::deserialize(&mut reader).ok()?;
    reader.peek().is_none().then_some(value)
}

/// Something that only the lenient way knows how to read.
#[derive(Debug)]
struct Unusual;

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read the plain way")
    }
}

impl std::error::Error for Unusual {}

impl serde::de::Error for Unusual {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
    origin: Origin,
}

impl<'de> Reader<'de> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not space, which is left there.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Takes the next byte that is not space, if it is this one.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unusual> {
        if self.take(byte) { Ok(()) } else { Err(Unusual) }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Reads what stands between `open` and `close`.
    fn within<R>(
        &mut self,
        open: u8,
        close: u8,
        read: impl FnOnce(&mut Self) -> Result<R, Unusual>,
    ) -> Result<R, Unusual> {
        self.expect(open)?;
        if self.depth == DEPTH_MAX {
            return Err(Unusual);
        }
        self.depth += 1;
        let inside = read(self)?;
        self.depth -= 1;
        self.expect(close)?;
        Ok(inside)
    }

    /// Whether another element or entry follows; the comma before it is taken.
    fn another(&mut self, close: u8, first: &mut bool) -> Result<bool, Unusual> {
        if self.peek() == Some(close) {
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    fn string(&mut self) -> Result<Cow<'de, str>, Unusual> {
        self.expect(b'"')?;
        let (start, mut escaped) = (self.at, false);
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                None | Some(0..=0x1f) => return Err(Unusual),
                Some(_) => self.at += 1,
            }
        }
        let end = self.at;
        self.at += 1;
        match escaped {
            false => Ok(Cow::Borrowed(&self.text[start..end])),
            true => serde_json::from_str(&self.text[start - 1..=end]).map(Cow::Owned).map_err(|_| Unusual),
        }
    }

    /// The name of a field, without escapes, and the colon after it.
    fn name(&mut self) -> Result<&'de str, Unusual> {
        let Cow::Borrowed(name) = self.string()? else { return Err(Unusual) };
        self.expect(b':')?;
        Ok(name)
    }

    fn integer(&mut self) -> Result<i64, Unusual> {
        self.peek();
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        let digits = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let has_more = matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        // Zero has no sign and begins no other number.
        let is_odd = self.text.as_bytes().get(digits) == Some(&b'0') && self.at - start > 1;
        match has_more || is_odd {
            true => Err(Unusual),
            false => self.text[start..self.at].parse().map_err(|_| Unusual),
        }
    }

    /// Takes an absent value: null, or an empty list, which is none.
    fn nothing(&mut self) -> bool {
        match self.peek() {
            Some(b'n') => self.word("null"),
            Some(b'[') => {
                let start = self.at;
                self.at += 1;
                let is_empty = self.take(b']');
                self.at = if is_empty { self.at } else { start };
                is_empty
            }
            _ => false,
        }
    }

    fn quantity(&mut self) -> Result<Cow<'de, str>, Unusual> {
        let text = self.string()?;
        if self.origin == Origin::Server {
            return Ok(text);
        }
        Amount::read(text.trim()).map(|amount| Cow::Owned(amount.to_string())).map_err(|_| Unusual)
    }

    /// A time that has no more digits than the wire carries.
    fn time(&mut self, bytes: usize) -> Result<&'de str, Unusual> {
        match self.string()? {
            Cow::Borrowed(text) if text.len() == bytes && text.ends_with('Z') => Ok(text),
            Cow::Borrowed(_) | Cow::Owned(_) => Err(Unusual),
        }
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Unusual;

    /// A number or a text; only what is free in form asks for anything.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        match self.peek() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'-' | b'0'..=b'9') => self.deserialize_i64(visitor),
            _ => Err(Unusual),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        self.peek();
        match self.word("true") {
            true => visitor.visit_bool(true),
            false if self.word("false") => visitor.visit_bool(false),
            false => Err(Unusual),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        visitor.visit_i32(self.integer()?.try_into().map_err(|_| Unusual)?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        visitor.visit_i64(self.integer()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        if self.nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Unusual> {
        match name {
            "Quantity" => visitor.visit_newtype_struct(CowStrDeserializer::new(self.quantity()?)),
            "Time" => visitor.visit_newtype_struct(BorrowedStrDeserializer::new(self.time(TIME_BYTES)?)),
            "MicroTime" => visitor.visit_newtype_struct(BorrowedStrDeserializer::new(self.time(MICRO_TIME_BYTES)?)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        self.within(b'[', b']', |reader| visitor.visit_seq(Items { reader, first: true }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        self.within(b'{', b'}', |reader| visitor.visit_map(Entries { reader, first: true, names: Keys::default() }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unusual> {
        let names = Fields { known, next: 0, seen: 0 };
        self.within(b'{', b'}', |reader| visitor.visit_map(Entries { reader, first: true, names }))
    }

    forward_to_deserialize_any! {
        i8 i16 u8 u16 u32 u64 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// The elements of a list.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Unusual;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unusual> {
        if !self.reader.another(b']', &mut self.first)? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

/// The names that have occurred in one object or map.
trait Names<'de> {
    /// Takes note of a name; one that is unusual there is refused.
    fn note(&mut self, name: &'de str) -> Result<(), Unusual>;
}

/// The entries of an object or a map.
struct Entries<'a, 'de, N> {
    reader: &'a mut Reader<'de>,
    first: bool,
    names: N,
}

impl<'de, N: Names<'de>> MapAccess<'de> for Entries<'_, 'de, N> {
    type Error = Unusual;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unusual> {
        if !self.reader.another(b'}', &mut self.first)? {
            return Ok(None);
        }
        let name = self.reader.name()?;
        self.names.note(name)?;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unusual> {
        seed.deserialize(&mut *self.reader)
    }
}

/// Those of a map, which may be any; one that has occurred before is unusual. They mostly come in order.
#[derive(Default)]
struct Keys<'de> {
    all: Vec<&'de str>,
    /// The last of them in their order.
    greatest: &'de str,
}

impl<'de> Names<'de> for Keys<'de> {
    fn note(&mut self, name: &'de str) -> Result<(), Unusual> {
        let in_order = self.all.is_empty() || name > self.greatest;
        if !in_order && (self.all.len() > UNORDERED_MAX || self.all.contains(&name)) {
            return Err(Unusual);
        }
        self.greatest = if in_order { name } else { self.greatest };
        self.all.push(name);
        Ok(())
    }
}

/// Those of an object; an unknown or repeated one is unusual.
struct Fields {
    known: &'static [&'static str],
    /// Where the next field stands in `known` when they come in its order.
    next: usize,
    /// One bit for each of `known`.
    seen: u128,
}

impl Names<'_> for Fields {
    fn note(&mut self, name: &str) -> Result<(), Unusual> {
        let (before, after) = self.known.split_at(self.next.min(self.known.len()));
        let later = after.iter().position(|known| *known == name).map(|index| self.next + index);
        let index = later.or_else(|| before.iter().position(|known| *known == name)).ok_or(Unusual)?;
        let bit = u32::try_from(index).ok().and_then(|index| 1_u128.checked_shl(index)).ok_or(Unusual)?;
        if self.seen & bit != 0 {
            return Err(Unusual);
        }
        self.seen |= bit;
        self.next = index + 1;
        Ok(())
    }
}
