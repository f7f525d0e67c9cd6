//! Who the client is, and what it used: decided once per request, from what trusted proxies say.
//!
//! ```text
//! Connection.peer ──trusted?──no──► the peer
//!                      └─yes──► X-Forwarded-For from the right, past every trusted proxy
//! ```

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::model::Scheme;
use crate::snapshot::request::{HeaderFields, RequestView};

/// What the rest of the request goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    pub scheme: Scheme,
    /// The peer is a trusted proxy: its `X-Forwarded-*` and `X-Request-ID` are kept.
    pub through: Through,
}

impl Client {
    /// A view for edits that have no variable of the request's own: only the client's side of it is filled in.
    pub fn bare_view<'a>(&self, headers: &'a HeaderMap) -> RequestView<'a> {
        RequestView {
            method: "",
            path: "",
            query: None,
            host: "",
            port: None,
            headers,
            client: self.address,
            scheme: self.scheme,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    Nobody,
    TrustedProxy,
}

/// `peer` and `scheme` are the connection's.
pub fn resolve(peer: IpAddr, scheme: Scheme, headers: &dyn HeaderFields, trusted: &[IpNet]) -> Client {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return Client { address: peer, scheme, through: Through::Nobody };
    }
    let scheme = headers.first("x-forwarded-proto").and_then(forwarded_scheme).unwrap_or(scheme);
    Client { address: forwarded_for(peer, headers, trusted), scheme, through: Through::TrustedProxy }
}

/// Proxies in a row make a list of it; the first is what the client used.
fn forwarded_scheme(field: &[u8]) -> Option<Scheme> {
    let first = field.split(|b| *b == b',').next()?.trim_ascii();
    [Scheme::Http, Scheme::Https].into_iter().find(|scheme| first.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
}

/// The last address that no trusted proxy has: what stands before it, a client could have written itself.
fn forwarded_for(peer: IpAddr, headers: &dyn HeaderFields, trusted: &[IpNet]) -> IpAddr {
    let (mut client, mut list) = (peer, Vec::new());
    headers.each("x-forwarded-for", &mut |field| {
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend_from_slice(field);
    });
    if list.is_empty() {
        return client;
    }
    for part in list.rsplit(|byte| *byte == b',') {
        let part = std::str::from_utf8(part).ok().map(str::trim);
        let Some(address) = part.and_then(parse_address) else { return client };
        client = address;
        if !is_trusted(client, trusted) {
            return client;
        }
    }
    client
}

/// Some proxies add a port: `203.0.113.7:4711`, `[2001:db8::1]:4711`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = match text.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse().ok()?,
            None => text.parse::<std::net::SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[&str], trusted: &str) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("x-forwarded-for", field.parse().unwrap());
        }
        forwarded_for("10.0.0.1".parse().unwrap(), &headers, &[trusted.parse().unwrap()]).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
        assert_eq!(client(&["1.1.1.1, 2.2.2.2, 10.0.0.2"], "10.0.0.0/8"), "2.2.2.2");
        assert_eq!(client(&["1.1.1.1", "2.2.2.2:99"], "10.0.0.0/8"), "2.2.2.2");
        assert_eq!(client(&["[2001:db8::1]:99"], "10.0.0.0/8"), "2001:db8::1");
        assert_eq!(client(&["::ffff:2.2.2.2"], "10.0.0.0/8"), "2.2.2.2");
    }

    #[test]
    fn of_a_list_of_schemes_the_first_is_what_the_client_used() {
        let scheme = |text: &'static str| forwarded_scheme(text.as_bytes());
        assert_eq!(scheme("https"), Some(Scheme::Https));
        assert_eq!(scheme("HTTPS, http"), Some(Scheme::Https));
        assert_eq!(scheme("ws"), None);
    }

    #[test]
    fn what_cannot_be_read_ends_the_search_where_trust_ended() {
        assert_eq!(client(&["1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.0/8"), "10.0.0.2");
        assert_eq!(client(&["nonsense"], "10.0.0.0/8"), "10.0.0.1");
        assert_eq!(client(&[], "10.0.0.0/8"), "10.0.0.1");
    }
}
