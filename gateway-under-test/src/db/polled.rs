//! A synchronous driver out of the asynchronous one.
//!
//! `tokio-postgres` needs somebody to poll its connection. Here the calling thread does, with `poll(2)` on the
//! connection's own socket, and so the thread is busy until the server has answered: just what a synchronous
//! driver such as psycopg does to the event loop that calls it. Nothing is imitated with a sleep.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A non-blocking socket without a reactor: anyone who sees `Pending` waits with [`drive`].
pub(super) struct PolledSocket {
    socket: Arc<Socket>,
    /// Set when the last write found the socket full, so that [`drive`] waits for room too.
    write_blocked: Arc<AtomicBool>,
}

/// The waiting side of a [`PolledSocket`].
pub(super) struct SocketWait {
    socket: Arc<Socket>,
    write_blocked: Arc<AtomicBool>,
}

/// Splits a connected socket into the side that the driver reads and writes and the side that is waited on.
pub(super) fn polled(socket: Socket) -> io::Result<(PolledSocket, SocketWait)> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(socket);
    let write_blocked = Arc::new(AtomicBool::new(false));
    Ok((
        PolledSocket { socket: Arc::clone(&socket), write_blocked: Arc::clone(&write_blocked) },
        SocketWait { socket, write_blocked },
    ))
}

impl SocketWait {
    /// Blocks this thread until the server has sent something (or there is room to send).
    fn wait(&self) -> io::Result<()> {
        let mut interest = PollFlags::POLLIN;
        if self.write_blocked.load(Ordering::Relaxed) {
            interest |= PollFlags::POLLOUT;
        }
        let mut descriptors = [PollFd::new(self.socket.as_fd(), interest)];
        loop {
            match poll(&mut descriptors, PollTimeout::NONE) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Remembers that a channel between client and connection was written, so that both are polled again before the
/// thread sleeps; without it a reply that was already read could lie there unseen.
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `future` to its end on this thread, driving `connection` beside it and sleeping in `poll(2)` between.
///
/// When the connection ends first it is dropped, whereupon the driver fails the waiting request; why it ended is
/// left in `end`.
pub(super) fn drive<T, C>(
    wait: &SocketWait,
    connection: &mut Option<C>,
    end: &mut Option<tokio_postgres::Error>,
    future: impl Future<Output = T>,
) -> T
where
    C: Future<Output = Result<(), tokio_postgres::Error>> + Unpin,
{
    let flag = Arc::new(WakeFlag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        flag.0.store(false, Ordering::Release);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        if let Some(running) = connection.as_mut()
            && let Poll::Ready(ended) = Pin::new(running).poll(&mut context)
        {
            *connection = None;
            *end = ended.err();
            continue;
        }
        // A wait that fails says nothing about the request: the next read or write will.
        if !flag.0.load(Ordering::Acquire)
            && let Err(error) = wait.wait()
        {
            tracing::warn!(%error, "poll(2) on the database socket failed");
        }
    }
}

impl AsyncRead for PolledSocket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = until_would_block(|| (&*self.socket).read(buffer.initialize_unfilled()));
        read.map_ok(|count| buffer.advance(count))
    }
}

impl AsyncWrite for PolledSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = until_would_block(|| (&*self.socket).write(bytes));
        self.write_blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}

/// One system call, repeated when a signal interrupts it.
fn until_would_block(mut call: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            other => return Poll::Ready(other),
        }
    }
}
