//! DER, as far as OCSP needs it: items with one-byte tags and definite lengths.
//!
//! ```text
//! bytes ──Reader──► Item { tag, content, whole } …      tag + parts ──item──► bytes
//! ```

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const ENUMERATED: u8 = 0x0a;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;

/// `[n]`, holding other items.
pub const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// `[n]`, holding bytes.
pub const fn context_primitive(n: u8) -> u8 {
    0x80 | n
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the DER that it should be")]
pub struct Malformed;

/// One item.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

impl<'a> Item<'a> {
    pub fn reader(self) -> Reader<'a> {
        Reader(self.content)
    }

    /// Of a bit string of whole bytes.
    pub fn bits(self) -> Result<&'a [u8], Malformed> {
        match self.content {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(Malformed),
        }
    }
}

/// Items in a row.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let (tag, length, header) = match *self.0 {
            [tag, short @ 0..=0x7f, ..] => (tag, usize::from(short), 2),
            [tag, 0x81, a, ..] => (tag, usize::from(a), 3),
            [tag, 0x82, a, b, ..] => (tag, usize::from(u16::from_be_bytes([a, b])), 4),
            // Longer than whatever is read.
            _ => return Err(Malformed),
        };
        // More bytes of tag would follow.
        if tag & 0x1f == 0x1f || self.0.len() < header + length {
            return Err(Malformed);
        }
        let (whole, rest) = self.0.split_at(header + length);
        self.0 = rest;
        Ok(Item { tag, content: &whole[header..], whole })
    }

    pub fn expect(&mut self, tag: u8) -> Result<Item<'a>, Malformed> {
        self.item().and_then(|item| if item.tag == tag { Ok(item) } else { Err(Malformed) })
    }

    /// The next item, if it has this tag.
    pub fn optional(&mut self, tag: u8) -> Result<Option<Item<'a>>, Malformed> {
        if self.0.first() == Some(&tag) { self.item().map(Some) } else { Ok(None) }
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

pub fn item(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | significant.len() as u8);
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(&content);
    out
}
