//! The name that a TLS connection asks for, read before anybody has decided who holds the handshake.
//!
//! ```text
//! bytes so far ──records──► handshake message ──► server_name (RFC 6066 §3) ──► Hello { More, Whole, NotTls }
//! ```
//!
//! Nothing is consumed: whoever holds the handshake reads the same bytes again. Versions, suites and whatever else is offered are
//! that one's business, so that a hello of TLS 1.0 and one of a version to come are read alike. With ECH the name is the outer one.

/// Records and all. With every group and an encrypted inner hello it takes 4 KiB; rustls takes no more either.
pub const LARGEST: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
pub enum Hello {
    /// It has not come to its end.
    More,
    Whole(ClientHello),
    /// It cannot become one any more.
    NotTls,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// Lowercase, without a dot at its end. None: none was sent, or one that is no host name.
    pub server_name: Option<Box<str>>,
}

/// Why reading stops.
enum Stop {
    More,
    NotTls,
}

impl ClientHello {
    pub fn read(bytes: &[u8]) -> Hello {
        match message(bytes).and_then(|body| server_name(&body).ok_or(Stop::NotTls)) {
            Ok(server_name) => Hello::Whole(Self { server_name }),
            Err(Stop::More) if bytes.len() < LARGEST => Hello::More,
            Err(Stop::More | Stop::NotTls) => Hello::NotTls,
        }
    }
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 §5.1.
const LONGEST_RECORD: usize = 1 << 14;

/// The body of the first handshake message, over however many records it comes in.
fn message(mut bytes: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut message = Vec::new();
    loop {
        check_header(bytes)?;
        let Some((header, rest)) = bytes.split_at_checked(5) else { return Err(Stop::More) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let piece = &rest[..length.min(rest.len())];
        if let Some(whole) = whole_length(&message, piece)?
            && message.len() + piece.len() >= whole
        {
            message.extend_from_slice(piece);
            message.truncate(whole);
            return Ok(message.split_off(4));
        }
        // Nothing is copied of a record that has not come to its end: it is looked at again with every piece.
        bytes = rest.get(length..).ok_or(Stop::More)?;
        message.extend_from_slice(piece);
    }
}

/// Header and all; none where that is not there yet.
fn whole_length(message: &[u8], piece: &[u8]) -> Result<Option<usize>, Stop> {
    let mut header = message.iter().chain(piece).copied();
    let Some(kind) = header.next() else { return Ok(None) };
    let (Some(a), Some(b), Some(c)) = (header.next(), header.next(), header.next()) else {
        return if kind == CLIENT_HELLO { Ok(None) } else { Err(Stop::NotTls) };
    };
    let whole = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
    if kind == CLIENT_HELLO && whole <= LARGEST { Ok(Some(whole)) } else { Err(Stop::NotTls) }
}

/// As far as it is there: what is not TLS is told by its first bytes, and need not be waited for.
fn check_header(bytes: &[u8]) -> Result<(), Stop> {
    let is_handshake = bytes.first().is_none_or(|kind| *kind == HANDSHAKE);
    let is_version_3 = bytes.get(1).is_none_or(|major| *major == 3);
    let fits = bytes.get(3..5).is_none_or(|length| {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        (1..=LONGEST_RECORD).contains(&length)
    });
    if is_handshake && is_version_3 && fits { Ok(()) } else { Err(Stop::NotTls) }
}

const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// None where the message is malformed.
fn server_name(body: &[u8]) -> Option<Option<Box<str>>> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    let session = body.vector_8()?;
    let suites = body.vector_16()?;
    let compression = body.vector_8()?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    if body.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(body.vector_16()?);
    if !body.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let (kind, content) = (extensions.number_16()?, extensions.vector_16()?);
        if kind == SERVER_NAME && found.replace(host_name(content)?).is_some() {
            return None;
        }
    }
    Some(found.flatten())
}

/// The first of the list: it may have one of each kind, and there is one kind.
fn host_name(extension: &[u8]) -> Option<Option<Box<str>>> {
    let mut extension = Reader(extension);
    let mut list = Reader(extension.vector_16()?);
    let (kind, name) = (list.take(1)?[0], list.vector_16()?);
    if !extension.0.is_empty() || name.is_empty() {
        return None;
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let name = std::str::from_utf8(name).ok().filter(|_| kind == HOST_NAME && name.iter().all(is_plain));
    let name = name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
    Some(name.filter(|name| !name.is_empty() && name.len() <= 253).map(Into::into))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number_16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector_8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn vector_16(&mut self) -> Option<&'a [u8]> {
        let length = self.number_16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::*;

    /// What rustls would send for a name.
    fn hello(name: &str) -> Vec<u8> {
        let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of so many bytes.
    fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
        let record = |piece: &[u8]| [&[22, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat();
        bytes[5..].chunks(size).flat_map(record).collect()
    }

    fn named(name: &str) -> Hello {
        Hello::Whole(ClientHello { server_name: Some(name.into()) })
    }

    #[test]
    fn the_name_is_read_lowercase_and_without_its_dot() {
        assert_eq!(ClientHello::read(&hello("DB.a.test")), named("db.a.test"));
        let mut bytes = hello("db.a.test");
        let at = bytes.windows(9).position(|window| window == b"db.a.test").unwrap();
        bytes[at..at + 9].copy_from_slice(b"DB.a.tes.");
        assert_eq!(ClientHello::read(&bytes), named("db.a.tes"));
        assert_eq!(ClientHello::read(&hello("192.0.2.1")), Hello::Whole(ClientHello { server_name: None }));
    }

    #[test]
    fn it_may_come_in_any_pieces_and_what_follows_is_left_alone() {
        let bytes = hello("db.a.test");
        for end in 0..bytes.len() {
            assert_eq!(ClientHello::read(&bytes[..end]), Hello::More, "{end}");
        }
        for size in [1, 2, 3, 5, 100] {
            let mut records = in_records(&bytes, size);
            assert_eq!(ClientHello::read(&records[..records.len() - 1]), Hello::More);
            records.extend_from_slice(b"early data, or whatever");
            assert_eq!(ClientHello::read(&records), named("db.a.test"), "records of {size}");
        }
    }

    #[test]
    fn what_is_not_tls_is_known_at_once() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff", b"\x15"]
        {
            assert_eq!(ClientHello::read(bytes), Hello::NotTls, "{bytes:?}");
        }
        // A ServerHello; and a message that would be longer than any.
        assert_eq!(ClientHello::read(b"\x16\x03\x01\x00\x04\x02\x00\x00\x01"), Hello::NotTls);
        assert_eq!(ClientHello::read(b"\x16\x03\x01\x00\x04\x01\xff\x00\x00"), Hello::NotTls);
    }

    #[test]
    fn two_names_or_a_length_that_is_wrong_are_no_hello() {
        let mut bytes = hello("db.a.test");
        let at = bytes.windows(9).position(|window| window == b"db.a.test").unwrap();
        // The length of the name.
        bytes[at - 1] += 1;
        assert_eq!(ClientHello::read(&bytes), Hello::NotTls);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at in 0_usize..300, byte: u8) {
            ClientHello::read(&bytes);
            let mut changed = hello("db.a.test");
            let at = at % changed.len();
            changed[at] = byte;
            ClientHello::read(&changed);
        }

        #[test]
        fn more_bytes_never_change_a_verdict(size in 1_usize..64, end in 0_usize..2000) {
            let bytes = in_records(&hello("db.a.test"), size);
            let whole = ClientHello::read(&bytes);
            let part = ClientHello::read(&bytes[..end.min(bytes.len())]);
            proptest::prop_assert!(part == Hello::More || part == whole);
        }
    }
}
