//! A TCP connection whose reads and writes go straight to the kernel.
//!
//! The C library makes each of these calls one that another thread may cancel. That costs two atomic operations every
//! time, and nobody cancels threads here, so the calls are rustix's own. When to make them is tokio's to say, as
//! everywhere.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::writev;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

pub struct Socket(TcpStream);

impl Socket {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).await.map(Socket)
    }

    /// Looks whether there is a byte that nobody has read, and leaves it there. 0 says that none will come.
    pub fn peek(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.0).peek(&mut [MaybeUninit::uninit()])
    }

    /// Its end is to be seen as no end that was meant.
    pub fn break_off(&self) {
        // A socket that is closed already is fine.
        let _ = socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }

    fn poll_write_call(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        call: impl Fn() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            if let Some(done) = self.attempt(Interest::WRITABLE, room, &call) {
                return Poll::Ready(done);
            }
        }
    }

    /// None where the call would have to wait. It can move as many bytes as `room`; if it moves fewer, the kernel has no more of them
    /// now (nor of room for them), and tokio is told so: that spares the next call, which would hear nothing else.
    fn attempt(
        &self,
        interest: Interest,
        room: usize,
        call: impl FnOnce() -> rustix::io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let mut moved = 0;
        let attempted = self.0.try_io(interest, || {
            moved = call()?;
            if (1..room).contains(&moved) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match attempted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (moved > 0).then_some(Ok(moved)),
            Err(error) => Some(Err(error)),
            Ok(()) => Some(Ok(moved)),
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Socket(stream)
    }
}

impl Deref for Socket {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            // SAFETY: nothing but the kernel writes to it.
            let room = unsafe { buf.unfilled_mut() };
            let length = room.len();
            let call = || recv(&self.0, room, RecvFlags::empty()).map(|(_, received)| received);
            if let Some(done) = self.attempt(Interest::READABLE, length, call) {
                let received = done?;
                // SAFETY: the kernel has just filled them.
                unsafe { buf.assume_init(received) };
                buf.advance(received);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_call(cx, data.len(), || send(&self.0, data, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.poll_write_call(cx, length, || writev(&self.0, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
