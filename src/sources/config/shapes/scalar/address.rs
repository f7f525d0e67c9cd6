//! Addresses, names of hosts and files.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::quantity::whole;
use super::scalar;
use crate::defaults;
use crate::model::{self, EndpointAddress, HostName};

scalar! {
    /// A network in CIDR notation, as `10.0.0.0/8`, or one address.
    Network(IpNet), "a network, as 10.0.0.0/8, or an address", network,
    { "type": "string" }
}

scalar! {
    /// What is listened on: `0.0.0.0:80`, `[::]:443`, or `:80` for all IPv6 and IPv4 addresses.
    BindAddress(SocketAddr), "an address and a port, as 0.0.0.0:80", bind_address,
    { "type": "string", "pattern": "^.*:[0-9]{1,5}$" }
}

scalar! {
    /// A DNS server: `10.0.0.2` or `10.0.0.2:53`.
    ResolverAddress(SocketAddr), "an address, as 10.0.0.2 or 10.0.0.2:53", resolver_address,
    { "type": "string" }
}

scalar! {
    /// Where an endpoint is: `10.0.0.1:80`, `[::1]:80`, `name:80` (A and AAAA records) or `srv:_http._tcp.name`.
    EndpointText(EndpointAddress), "an address and a port, as backend:8080", EndpointAddress::parse,
    { "type": "string" }
}

scalar! {
    /// A Redis: `redis://host:6379`, `rediss://user@host:6379/0` with TLS.
    RedisUrl(model::RedisUrl), "a URL, as redis://host:6379", model::RedisUrl::parse,
    { "type": "string", "pattern": "^rediss?://" }
}

scalar! {
    /// A host name: `example.org`, `*.example.org` for any name below it, or `*` for every name that no other takes.
    HostPattern(HostName), "a host name", HostName::parse,
    { "type": "string" }
}

scalar! {
    /// One host name, without wildcard and port.
    SingleHost(Arc<str>), "a host name", single_host,
    { "type": "string" }
}

scalar! {
    /// What is sent as `Host`: a name or an address, with a port where there is one.
    Authority(Arc<str>), "a host name, perhaps with a port", authority,
    { "type": "string" }
}

scalar! {
    /// A port, 1 to 65535.
    Port(u16), "a port", port,
    { "type": "integer", "minimum": 1, "maximum": 65535 }
}

scalar! {
    /// A file; a relative path begins at the folder of the configuration file.
    FilePath(PathBuf), "the path of a file", file_path,
    { "type": "string", "minLength": 1 }
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let net: IpNet = text.parse().map_err(|_| {
        format!("\"{text}\" is not a network; write it as \"10.0.0.0/8\", \"2001:db8::/32\" or as one address")
    })?;
    match net.trunc() {
        exact if exact == net => Ok(net),
        exact => Err(format!("\"{text}\" has bits set after its prefix; write \"{exact}\"")),
    }
}

fn bind_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).and_then(whole::<u16>) {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    if whole::<u16>(text).is_some() {
        return Err(format!("\"{text}\" is a port without an address; write \":{text}\" for all addresses"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("\"{text}\" has no port; write \"[{text}]:80\""));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("\"{text}\" has no port; write \"{text}:80\""));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Err(format!("\"{text}\" is a name; write the address, \"127.0.0.1:{port}\""));
    }
    Err(format!("\"{text}\" is not an address to listen on; write it as \"0.0.0.0:80\", \"[::]:443\" or \":80\""))
}

fn resolver_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, defaults::RESOLVER_PORT).into());
    }
    let address: Result<SocketAddr, _> = text.parse();
    address.ok().filter(|address| address.port() != 0).ok_or_else(|| {
        format!("\"{text}\" is not the address of a DNS server; write it as \"10.0.0.2\" or \"10.0.0.2:53\"")
    })
}

fn single_host(text: &str) -> Result<Arc<str>, String> {
    if let Some((host, port)) = text.rsplit_once(':')
        && whole::<u16>(port).is_some()
    {
        return Err(format!("\"{text}\" is more than a host name; write \"{host}\""));
    }
    match HostName::parse(text)? {
        HostName::Exact(name) => Ok(name),
        HostName::Wildcard(_) | HostName::OneLabel(_) | HostName::CatchAll => {
            Err(format!("\"{text}\" stands for many hosts; write the name of one"))
        }
    }
}

fn authority(text: &str) -> Result<Arc<str>, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if let Some(port) = port {
        self::port(port)?;
    }
    let host = single_host(host)?;
    Ok(port.map_or(host.clone(), |port| format!("{host}:{port}").into()))
}

fn port(text: &str) -> Result<u16, String> {
    whole(text).filter(|port| *port != 0).ok_or_else(|| format!("\"{text}\" is not a port; write 1 to 65535"))
}

fn file_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the path of a file cannot be empty".into()),
        path => Ok(path.into()),
    }
}
