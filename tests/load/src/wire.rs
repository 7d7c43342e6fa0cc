//! Connections of one thread and the loop that serves them. Every workload drives one [`Wire`] per thread.
//!
//! Built to be cheap, since it shares the machine with what it measures: all connections read into one buffer, packets
//! are handled in place, and what a round of events causes to be written leaves in one `write` per connection at the
//! end of the round. epoll is edge-triggered; a read that fills less than the buffer has emptied the socket, so it
//! costs no second call.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use socket2::{Domain, Socket, Type};

use crate::packet::{self, Packet, Publish};
use crate::socket::{ClientSocket, ClientTls};

/// Size of the read buffer, and so of the largest packet.
const READ_BYTES: usize = 256 * 1024;
const TIMER: Token = Token(usize::MAX);

/// Nanoseconds since the start of a run, the same for all its threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What a workload does with what arrives.
pub(crate) trait PacketHandler {
    /// A packet was read from `connection` at `now`.
    ///
    /// # Errors
    /// The run makes no sense any more; it ends with this error.
    fn packet(&mut self, out: &mut Outbox, connection: usize, now: u64, packet: Packet<'_>) -> Result<()>;

    /// The server closed `connection`, or refused it. It is gone.
    ///
    /// # Errors
    /// As above. This is what happens unless a workload can do without the connection.
    fn closed(&mut self, connection: usize, why: &str) -> Result<()> {
        bail!("connection {connection} is closed: {why}")
    }
}

/// What is still to be written, for each connection.
#[derive(Default)]
pub(crate) struct Outbox {
    pending: Vec<UnwrittenBytes>,
    /// Connections with something to write, each once.
    dirty: Vec<usize>,
}

#[derive(Default)]
struct UnwrittenBytes {
    bytes: Vec<u8>,
    written: usize,
    queued: bool,
    /// The socket took everything so far.
    writable: bool,
}

impl Outbox {
    #[cfg(test)]
    pub(crate) fn with_connections(count: usize) -> Self {
        Self { pending: (0..count).map(|_| UnwrittenBytes::default()).collect(), dirty: Vec::new() }
    }

    /// Buffer to append packets to; they leave at the end of the round.
    pub(crate) fn to(&mut self, connection: usize) -> &mut Vec<u8> {
        let pending = &mut self.pending[connection];
        if !pending.queued {
            pending.queued = true;
            self.dirty.push(connection);
        }
        &mut pending.bytes
    }

    /// Acknowledges what was delivered, if it wants that.
    pub(crate) fn acknowledge(&mut self, connection: usize, publish: &Publish<'_>) {
        if let Some(packet_id) = publish.packet_id {
            packet::puback(self.to(connection), packet_id);
        }
    }

    /// Bytes that the socket did not take yet.
    pub(crate) fn backlog(&self, connection: usize) -> usize {
        let pending = &self.pending[connection];
        pending.bytes.len() - pending.written
    }
}

/// One connection's socket, and the beginning of a packet whose end did not arrive yet.
struct WireSocket {
    stream: Option<ClientSocket>,
    partial: Vec<u8>,
}

/// All sockets of a thread, and the poll loop over them.
pub(crate) struct Wire {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    /// What the timer was last set to.
    armed: u64,
    pub(crate) clock: Clock,
    pub(crate) out: Outbox,
    lines: Vec<WireSocket>,
    buffer: Box<[u8]>,
    tls: Option<ClientTls>,
}

impl Wire {
    /// With `tls` all connections use it.
    pub(crate) fn new(clock: Clock, tls: Option<ClientTls>) -> Result<Self> {
        let poll = Poll::new().context("create epoll")?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        let events = Events::with_capacity(1024);
        Ok(Self { poll, events, timer, armed: 0, clock, out: Outbox::default(), lines: Vec::new(), buffer, tls })
    }

    /// Number of connections, and so the index of the next one that is opened.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Starts a TCP connection and returns its index. Packets may be written to it right away.
    pub(crate) fn open(&mut self, to: SocketAddr, from: Option<IpAddr>) -> Result<usize> {
        let index = self.lines.len();
        let stream = self.dial(index, to, from)?;
        self.lines.push(WireSocket { stream: Some(stream), partial: Vec::new() });
        self.out.pending.push(UnwrittenBytes::default());
        Ok(index)
    }

    /// Resets a connection, as one that is lost, and starts another one under its index.
    pub(crate) fn open_again(&mut self, index: usize, to: SocketAddr, from: Option<IpAddr>) -> Result<()> {
        if let Some(stream) = self.lines[index].stream.take() {
            stream.reset();
        }
        let stream = self.dial(index, to, from)?;
        self.lines[index] = WireSocket { stream: Some(stream), partial: Vec::new() };
        // It may stand among those that have something to write.
        let queued = self.out.pending[index].queued;
        self.out.pending[index] = UnwrittenBytes { queued, ..UnwrittenBytes::default() };
        Ok(())
    }

    fn dial(&mut self, index: usize, to: SocketAddr, from: Option<IpAddr>) -> Result<ClientSocket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).context("open a socket")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into()).with_context(|| format!("bind to {from}"))?;
        }
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error).with_context(|| format!("connect to {to}"));
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        ClientSocket::new(stream, to.ip(), self.tls.as_ref())
    }

    /// Ends the wait of [`Wire::turn`] at this time, to the microsecond rather than to epoll's millisecond. Replaces
    /// an earlier call.
    pub(crate) fn wake_at(&mut self, at: u64) -> Result<()> {
        if self.armed == at {
            return Ok(());
        }
        self.armed = at;
        let wait = at.saturating_sub(self.clock.now()).max(1);
        let value = Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// One round: write what is pending, wait for events, at most `wait`, handle what arrived, write what that caused.
    /// Returns whether anything arrived.
    pub(crate) fn turn(&mut self, wait: Duration, handler: &mut impl PacketHandler) -> Result<bool> {
        self.flush(handler)?;
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            other => other.context("wait for events")?,
        }
        for event in &self.events {
            if event.token() != TIMER {
                let index = event.token().0;
                serve(event, index, &mut self.lines[index], &mut self.out, &mut self.buffer, self.clock, handler)?;
            }
        }
        let any = !self.events.is_empty();
        self.flush(handler)?;
        Ok(any)
    }

    fn flush(&mut self, handler: &mut impl PacketHandler) -> Result<()> {
        let mut at = 0;
        while let Some(&index) = self.out.dirty.get(at) {
            at += 1;
            let pending = &mut self.out.pending[index];
            let line = &mut self.lines[index];
            pending.queued = false;
            let Some(stream) = &mut line.stream else { continue };
            if pending.writable
                && let Err(error) = write_out(stream, pending)
            {
                line.stream = None;
                handler.closed(index, &error.to_string())?;
            }
        }
        self.out.dirty.clear();
        Ok(())
    }
}

fn write_out(stream: &mut ClientSocket, pending: &mut UnwrittenBytes) -> io::Result<()> {
    loop {
        let rest = &pending.bytes[pending.written..];
        match if rest.is_empty() { stream.flush().map(|()| 0) } else { stream.write(rest) } {
            Ok(0) => break,
            Ok(bytes) => pending.written += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                pending.writable = false;
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    pending.bytes.clear();
    pending.written = 0;
    Ok(())
}

fn serve(
    event: &Event,
    index: usize,
    line: &mut WireSocket,
    out: &mut Outbox,
    buffer: &mut [u8],
    clock: Clock,
    handler: &mut impl PacketHandler,
) -> Result<()> {
    if event.is_writable() && !out.pending[index].writable {
        out.pending[index].writable = true;
        out.to(index);
    }
    let ends = event.is_read_closed() || event.is_error();
    if !event.is_readable() && !ends {
        return Ok(());
    }
    loop {
        let Some(stream) = &mut line.stream else { return Ok(()) };
        let kept = line.partial.len();
        buffer[..kept].copy_from_slice(&line.partial);
        let bytes = match stream.read(&mut buffer[kept..]) {
            Ok(0) => return lose(line, handler, index, "end of stream"),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return lose(line, handler, index, &error.to_string()),
        };
        let filled = kept + bytes;
        let used = handle(&buffer[..filled], index, out, clock.now(), handler)?;
        line.partial.clear();
        line.partial.extend_from_slice(&buffer[used..filled]);
        if filled < buffer.len() && !ends {
            return Ok(());
        }
    }
}

fn lose(line: &mut WireSocket, handler: &mut impl PacketHandler, index: usize, why: &str) -> Result<()> {
    line.stream = None;
    handler.closed(index, why)
}

/// Hands every complete packet to the handler; returns how many bytes those had.
fn handle(bytes: &[u8], index: usize, out: &mut Outbox, now: u64, handler: &mut impl PacketHandler) -> Result<usize> {
    let mut used = 0;
    while let Some((packet, length)) =
        packet::read(&bytes[used..], READ_BYTES).with_context(|| format!("connection {index}"))?
    {
        handler.packet(out, index, now, packet)?;
        used += length;
    }
    Ok(used)
}
