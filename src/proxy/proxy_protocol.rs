//! The PROXY protocol header, v1 or v2, at the beginning of a connection: of a client's, and of one to an upstream.

use std::io;
use std::net::{IpAddr, SocketAddr};

use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::model::ProxyVersion;

/// `PROXY UNKNOWN\r\n`: nothing valid is shorter, and v2's fixed part is one byte longer.
const SHORTEST: usize = 15;
const V2_FIXED: usize = 16;
/// The specification's bound for v1, CRLF included.
const V1_LONGEST: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Who connected, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Proxied {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// Reads exactly the header: what follows stays in the socket, for TLS or HTTP. `None`: the proxy in front speaks for itself
/// (LOCAL, UNKNOWN).
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Proxied>> {
    let mut header = vec![0; SHORTEST];
    io.read_exact(&mut header).await?;
    if header.starts_with(V2_SIGNATURE) {
        header.push(io.read_u8().await?);
        let length = usize::from(u16::from_be_bytes([header[V2_FIXED - 2], header[V2_FIXED - 1]]));
        header.resize(V2_FIXED + length, 0);
        io.read_exact(&mut header[V2_FIXED..]).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            if header.len() >= V1_LONGEST {
                return Err(invalid("the PROXY header does not end"));
            }
            header.push(io.read_u8().await?);
        }
    } else {
        return Err(invalid("the connection does not begin with a PROXY header"));
    }
    let (parsed, _) =
        ProxyHeader::parse(&header, ParseConfig::default()).map_err(|_| invalid("the PROXY header is malformed"))?;
    Ok(parsed.proxied_address().map(|address| Proxied { source: address.source, destination: address.destination }))
}

/// What an upstream is told before the first byte.
pub fn header(version: ProxyVersion, connection: Proxied) -> Vec<u8> {
    let (source, destination) = alike(canonical(connection.source), canonical(connection.destination));
    let header = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
    let mut bytes = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    // Both addresses are of one family, and there is nothing beside them.
    debug_assert!(written.is_ok());
    bytes
}

/// IPv4-mapped addresses are the IPv4 addresses that they map.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A header has room for one family.
fn alike(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if a.is_ipv4() == b.is_ipv4() { (a, b) } else { (mapped(a), mapped(b)) }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn source_of(mut bytes: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), String> {
        let proxied = read(&mut bytes).await.map_err(|error| error.to_string())?;
        Ok((proxied.map(|proxied| proxied.source), bytes))
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        let (source, rest) = source_of(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nGET /").await.unwrap();
        assert_eq!((source.unwrap().to_string().as_str(), rest), ("192.0.2.7:4711", &b"GET /"[..]));
        let mut v2 = V2_SIGNATURE.to_vec();
        v2.extend([0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 187]);
        v2.extend(b"GET /");
        let (source, rest) = source_of(&v2).await.unwrap();
        assert_eq!((source.unwrap().to_string().as_str(), rest), ("192.0.2.7:4711", &b"GET /"[..]));
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        assert_eq!(source_of(b"PROXY UNKNOWN\r\nGET /").await.unwrap().0, None);
    }

    #[tokio::test]
    async fn what_is_written_can_be_read() {
        for (source, destination, told) in [
            ("192.0.2.7:4711", "198.51.100.1:443", "192.0.2.7:4711"),
            ("[2001:db8::7]:4711", "[2001:db8::1]:443", "[2001:db8::7]:4711"),
            ("[::ffff:192.0.2.7]:4711", "198.51.100.1:443", "192.0.2.7:4711"),
            ("192.0.2.7:4711", "[2001:db8::1]:443", "[::ffff:192.0.2.7]:4711"),
        ] {
            let connection = Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() };
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let bytes = [&header(version, connection)[..], b"rest"].concat();
                let (source, rest) = source_of(&bytes).await.unwrap();
                assert_eq!((source.unwrap().to_string().as_str(), rest), (told, &b"rest"[..]), "{version:?}");
            }
        }
        let connection =
            Proxied { source: "192.0.2.7:4711".parse().unwrap(), destination: "198.51.100.1:443".parse().unwrap() };
        assert_eq!(header(ProxyVersion::V1, connection), b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        assert!(source_of(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err().contains("does not begin"));
        assert!(source_of(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()).await.unwrap_err().contains("does not end"));
        assert!(source_of(b"PROXY TCP4 a b c d\r\n").await.unwrap_err().contains("malformed"));
    }
}
