//! The PROXY protocol header, v1 or v2, at the beginning of a connection.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// `PROXY UNKNOWN\r\n`: nothing valid is shorter, and v2's fixed part is one byte longer.
const SHORTEST: usize = 15;
const V2_FIXED: usize = 16;
/// The specification's bound for v1, CRLF included.
const V1_LONGEST: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Who connected, and to what, as the proxy in front says. `None`: the proxy speaks for itself (LOCAL, UNKNOWN).
pub struct Proxied {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// Reads exactly the header: what follows stays in the socket, for TLS or HTTP.
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
    async fn anything_else_is_refused() {
        assert!(source_of(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err().contains("does not begin"));
        assert!(source_of(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()).await.unwrap_err().contains("does not end"));
        assert!(source_of(b"PROXY TCP4 a b c d\r\n").await.unwrap_err().contains("malformed"));
    }
}
