//! The socket of a port: where several addresses are listened on, an answer leaves by the one that was asked.
//!
//! ```text
//! recvmsg ──► bytes, from whom, to which of ours (IP_PKTINFO) ──► session ──► sendmsg, from there
//! ```
//!
//! A client takes an answer from nobody but whom it asked. A machine with two addresses would answer by the one that its
//! routes prefer.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage, SockRef};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Client;

pub struct DatagramSocket(UdpSocket);

/// Which of our addresses was asked; none where only one is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local(Option<IpAddr>);

/// Room for one control message with an address.
type Control = [u64; 8];

impl DatagramSocket {
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket).map(Self)
    }

    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
        self.0.async_io(Interest::READABLE, || receive(self.0.as_raw_fd(), buffer)).await
    }

    /// What does not fit now is lost, as it might be on its way.
    pub fn send(&self, datagram: &[u8], client: Client) {
        let sent = match client.to {
            Local(None) => SockRef::from(&self.0).send_to(datagram, &client.address.into()).map(drop),
            Local(Some(from)) => send(self.0.as_raw_fd(), datagram, client.address, from),
        };
        if let Err(error) = sent {
            tracing::debug!(client = %client.address, %error, "an answer is lost");
        }
    }
}

/// Asked before it listens: what comes earlier would not say it. Nothing where one address is listened on alone.
pub fn ask_who_was_asked(socket: &impl AsRawFd, address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_unspecified() {
        return Ok(());
    }
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    let length = mem::size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option is a number, and so is what is pointed to.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&on).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
    let mut address = SockAddrStorage::zeroed();
    let mut control: Control = [0; 8];
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = header(&mut piece, &mut control);
    message.msg_name = ptr::from_mut(&mut address).cast();
    message.msg_namelen = address.size_of();
    // SAFETY: every part of the header points to something that lives here, with its length.
    let received = unsafe { libc::recvmsg(socket, &mut message, 0) };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written an address of that length.
    let address = unsafe { SockAddr::new(address, message.msg_namelen) };
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((length, Client { address, to: local(&message) }))
}

fn header(piece: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: a header of zeros is one of nothing.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    (message.msg_iov, message.msg_iovlen) = (piece, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), mem::size_of_val(control));
    message
}

fn local(message: &libc::msghdr) -> Local {
    // SAFETY: the kernel has written the control messages, which are walked as it says; each is read as what its type is.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = control.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    return Local(Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    return Local(Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()));
                }
                _ => control = libc::CMSG_NXTHDR(message, control),
            }
        }
    }
    Local(None)
}

fn send(socket: RawFd, datagram: &[u8], to: SocketAddr, from: IpAddr) -> io::Result<()> {
    let to = SockAddr::from(to);
    let mut control: Control = [0; 8];
    let mut piece = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    let mut message = header(&mut piece, &mut control);
    (message.msg_name, message.msg_namelen) = (to.as_ptr().cast_mut().cast(), to.len());
    // SAFETY: the control message fits into its room, and is written as what its type says.
    unsafe {
        match from {
            IpAddr::V4(from) => {
                let mut info: libc::in_pktinfo = MaybeUninit::zeroed().assume_init();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
                put(&mut message, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(from) => {
                let mut info: libc::in6_pktinfo = MaybeUninit::zeroed().assume_init();
                info.ipi6_addr.s6_addr = from.octets();
                put(&mut message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
        match libc::sendmsg(socket, &message, 0) {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// # Safety
///
/// The message has room for a control message with `info`, which is of the type that level and kind say.
unsafe fn put<T>(message: &mut libc::msghdr, level: libc::c_int, kind: libc::c_int, info: T) {
    let size = mem::size_of::<T>() as libc::c_uint;
    // SAFETY: as the caller says.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let control = libc::CMSG_FIRSTHDR(message);
        (*control).cmsg_level = level;
        (*control).cmsg_type = kind;
        (*control).cmsg_len = libc::CMSG_LEN(size) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(control).cast(), info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered_by(bound: &str, asked: &str) -> IpAddr {
        let socket = std::net::UdpSocket::bind(bound).unwrap();
        ask_who_was_asked(&socket, socket.local_addr().unwrap()).unwrap();
        let port = DatagramSocket::new(socket).unwrap();
        let number = port.0.local_addr().unwrap().port();
        let asked = SocketAddr::new(asked.parse().unwrap(), number);
        let any = if asked.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = UdpSocket::bind(any).await.unwrap();
        client.send_to(b"ping", asked).await.unwrap();
        let mut buffer = [0; 64];
        let (length, from) = port.receive(&mut buffer).await.unwrap();
        port.send(&buffer[..length], from);
        let (length, answered) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"ping");
        answered.ip()
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            assert_eq!(answered_by("0.0.0.0:0", asked).await.to_string(), asked);
            assert_eq!(answered_by(&format!("{asked}:0"), asked).await.to_string(), asked);
        }
        // A machine without IPv6 has nothing to ask.
        if std::net::UdpSocket::bind("[::1]:0").is_ok() {
            assert_eq!(answered_by("[::]:0", "::1").await.to_string(), "::1");
            assert_eq!(answered_by("[::]:0", "127.0.0.2").await.to_string(), "127.0.0.2");
        }
    }
}
