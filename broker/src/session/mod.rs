//! One connection's protocol state. Packets, frames from its lane and moments go in; bytes for the client and frames
//! for the lane come out. No I/O and no task of its own: the connection's task, the downlink and the clock call it,
//! one at a time, under its lock.
//!
//! It keeps what reattaching needs ([`attach`]), so a lost batch or a restarted bridge costs the client nothing.

mod attach;
mod connect;
mod deliver;
mod meter;
mod publish;
mod renew;
mod subscribe;

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use godwit_schemas::bus::{self, down};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use crate::edge::Edge;
use crate::greeting::Arrival;
use crate::guests::Stay;
use crate::lane::Lane;
use crate::logins::{self, Place};
use crate::mqtt::frame::{Frame, Kind};
use crate::mqtt::{Version, answer, codec};
use crate::pressure;
use crate::timer::Ticks;
use crate::tls::Identity;
use deliver::Deliveries;
use meter::Meter;
use publish::Publishes;
use subscribe::Subscriptions;

/// While more than this waits for the client's socket, nothing is read from it.
const BACKLOG_BYTES: usize = 64 * 1024;
/// How long a client may take to hang up after the server said it will.
const LINGER: Duration = Duration::from_secs(3);
/// A client whose packet waits for memory is looked at this often.
const PRESSED: Duration = Duration::from_secs(1);
/// A connection is looked at this often at the least.
const CHECK: Duration = Duration::from_secs(10);

/// Largest packet that may come before a welcome.
const CONNECT_BYTES_MAX: usize = 16 * 1024;

/// Where a connection stands.
#[derive(Debug)]
enum Phase {
    /// CONNECT has not come.
    Silent,
    /// CONNECT has come from where too many passwords were wrong: the lane is asked at that moment.
    Held(Box<Login>, Ticks),
    /// Others log in first; not for longer than until then.
    Queued(Box<Login>, Ticks),
    /// The lane is asked.
    Asking(Box<Login>),
    /// Welcome.
    Open,
    /// What is still to be written is written, then the client is waited for until it hangs up.
    Closing,
    /// Over.
    Gone,
}

/// What the lane is asked when a client logs in.
#[derive(Debug)]
struct Login {
    /// As the client's CONNECT made it.
    frame: bus::Connect,
    /// While the lane is asked.
    place: Option<Place>,
}

/// What the connection's task does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read from the client.
    Read,
    /// See whether the client is still there; its packets wait.
    Listen,
    /// Leave the socket alone until something changes.
    Wait,
    /// Write what is to be written and shut down.
    Close,
    /// Drop the socket.
    Drop,
}

/// Who is connected, and on what terms.
#[derive(Debug)]
struct Client {
    user: UserId,
    device: DeviceName,
    partition: Partition,
    session_expiry_s: u32,
    packet_bytes_max: u32,
    receive_maximum: u16,
    keep_alive_s: u16,
    problem_information: bool,
    /// The server has given it its client identifier.
    named_by_us: bool,
    /// It logged in by the method "jwt", and may do so again.
    renews: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    number: u64,
    version: Version,
    phase: Phase,
    stay: Stay,
    /// Of the client's certificate, until CONNECT.
    identity: Option<Box<Identity>>,
    meter: Meter,
    /// The meter was full: the connection's task waits to be woken.
    held_back: bool,
    client: Option<Client>,
    /// Which of the device's connections this is, as the lane counts them.
    rank: u64,
    /// When the lane closes it; said again when it is attached again.
    ends_at_s: u32,
    /// Another token, of which the lane has not said yet whether it is good.
    renewal: Option<Box<bus::Renew>>,
    /// The lane of this user and the generation it is attached in; 0: in none.
    lane: Option<Arc<Lane>>,
    generation: u64,
    /// What was under way when the generation began has gone up again.
    attached: bool,
    publishes: Publishes,
    subscriptions: Subscriptions,
    deliveries: Deliveries,
    out: BytesMut,
    waker: Option<Waker>,
    woken: bool,
    accepted_at: Ticks,
    /// When to look at the connection next: what the wheel holds for later is out of date.
    due: Ticks,
    /// When something was last read from the client.
    heard_at: Ticks,
    /// Since when the client's socket takes nothing.
    stuck_since: Option<Ticks>,
    /// Since when a large packet has been coming that is not all there.
    large_since: Option<Ticks>,
    closing_since: Ticks,
}

impl Session {
    /// A connection that is to be looked at when it must have sent CONNECT.
    pub(crate) fn new(number: u64, arrival: Arrival, due: Ticks) -> Self {
        let Arrival { at: now, stay, identity } = arrival;
        Self {
            number,
            version: Version::V4,
            phase: Phase::Silent,
            stay,
            identity,
            meter: Meter::default(),
            held_back: false,
            client: None,
            rank: 0,
            ends_at_s: 0,
            renewal: None,
            lane: None,
            generation: 0,
            attached: false,
            publishes: Publishes::default(),
            subscriptions: Subscriptions::default(),
            deliveries: Deliveries::default(),
            out: BytesMut::new(),
            waker: None,
            woken: false,
            accepted_at: now,
            due,
            heard_at: now,
            stuck_since: None,
            large_since: None,
            closing_since: now,
        }
    }

    /// The connection's task listens from now on.
    pub(crate) fn listen(&mut self, waker: &Waker) {
        self.woken = false;
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// There is something for the connection's task to do. Returns whether that was not known yet.
    pub(crate) fn mark(&mut self) -> bool {
        !std::mem::replace(&mut self.woken, true)
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// What is to be written, taken.
    pub(crate) fn take_output(&mut self) -> BytesMut {
        std::mem::take(&mut self.out)
    }

    /// Version and limit that the next packet is split with.
    pub(crate) fn framing(&self, edge: &Edge) -> (Version, usize) {
        let bytes_max = edge.settings.packet_bytes_max as usize;
        let bytes_max = if self.client.is_none() { bytes_max.min(CONNECT_BYTES_MAX) } else { bytes_max };
        (self.version, bytes_max)
    }

    /// What to do after a packet or a wake, with so many bytes not taken by the socket yet.
    pub(crate) fn next(&self, edge: &Edge, unwritten: usize) -> Next {
        match self.phase {
            Phase::Silent => Next::Read,
            // Who has gone is not to be asked about.
            Phase::Queued(..) => Next::Listen,
            Phase::Held(..) | Phase::Asking(_) => Next::Wait,
            Phase::Open if self.out.len() + unwritten > BACKLOG_BYTES => Next::Wait,
            Phase::Open if self.subscriptions.is_full() => Next::Wait,
            // MQTT 3.1.1 has no Receive Maximum: the socket itself has to push back.
            Phase::Open if self.version == Version::V4 && self.publishes.is_full(edge) => Next::Wait,
            Phase::Open if edge.settings.pressure.is_on() && self.publishes.is_waiting() => Next::Wait,
            Phase::Open if self.meter.full_until(&edge.settings, edge.now()).is_some() => Next::Wait,
            Phase::Open => Next::Read,
            Phase::Closing => Next::Close,
            Phase::Gone => Next::Drop,
        }
    }

    /// Of the packet that comes next so many bytes have come, and not all. Whether the rest has to wait: until it is looked
    /// after again, since nobody tells when there is memory.
    pub(crate) fn must_wait(&mut self, edge: &Edge, bytes: usize) -> bool {
        if bytes <= pressure::PACKET_BYTES || !matches!(self.phase, Phase::Open) {
            self.large_since = None;
            return false;
        }
        self.large_since.get_or_insert(edge.now());
        let waits = edge.settings.pressure.is_on();
        if waits {
            self.held_back = true;
            self.look_at(edge, edge.now().after(PRESSED));
        }
        waits
    }

    /// The socket gave bytes.
    pub(crate) fn heard(&mut self, now: Ticks) {
        self.heard_at = now;
    }

    /// The socket took bytes, or has none left to take (`stuck` is false); or it takes none.
    pub(crate) fn wrote(&mut self, stuck: bool, now: Ticks) {
        self.stuck_since = if stuck { self.stuck_since.or(Some(now)) } else { None };
    }

    /// A packet from the client, or why what came is none.
    pub(crate) fn packet(&mut self, edge: &Edge, packet: Result<Frame, Reason>) {
        self.large_since = None;
        let done = match (&self.phase, packet) {
            (Phase::Silent, Ok(frame)) if frame.kind == Kind::Connect => return self.connect(edge, frame),
            // Whoever does not begin with a CONNECT gets no answer (MQTT 5, 3.1.4; MQTT-3.1.0-1).
            (Phase::Silent, _) => return self.vanish(),
            (Phase::Open, Ok(frame)) => self.dispatch(edge, frame),
            (Phase::Open, Err(reason)) => Err(reason),
            (Phase::Held(..) | Phase::Queued(..) | Phase::Asking(_) | Phase::Closing | Phase::Gone, _) => return,
        };
        if let Err(reason) = done {
            self.close(edge, reason);
        }
    }

    fn dispatch(&mut self, edge: &Edge, frame: Frame) -> Result<(), Reason> {
        let version = self.version;
        // Acknowledgements are as many as the server asks for.
        if frame.kind != Kind::Puback {
            self.meter.add(&edge.settings, edge.now(), frame.bytes.len());
            if let Some(until) = self.meter.full_until(&edge.settings, edge.now()) {
                if self.meter.is_enough(&edge.settings, edge.now()) {
                    return Err(Reason::MESSAGE_RATE_TOO_HIGH);
                }
                // A burst that was given anew.
                let until = self.meter.full_until(&edge.settings, edge.now()).unwrap_or(until);
                self.held_back = true;
                self.look_at(edge, until);
            }
        }
        match frame.kind {
            // A second CONNECT (MQTT-3.1.0-2), or answers to QoS 2, which the server never sends.
            Kind::Connect | Kind::Pubrec | Kind::Pubcomp => return Err(Reason::PROTOCOL_ERROR),
            Kind::Publish => self.publish(edge, frame)?,
            Kind::Puback => self.acknowledged(edge, codec::packet_id(frame, version)?),
            Kind::Pubrel => {
                let packet_id = codec::packet_id(frame, version)?;
                self.publishes.release(packet_id);
                answer::pubcomp(&mut self.out, packet_id);
            }
            Kind::Subscribe => self.subscribe(codec::subscription(frame, version)?),
            Kind::Unsubscribe => self.unsubscribe(codec::subscription(frame, version)?),
            Kind::Pingreq => answer::pingresp(&mut self.out),
            Kind::Auth => self.renew(frame)?,
            Kind::Disconnect => {
                let goodbye = codec::disconnect(frame, version)?;
                let was = self.client.as_ref().map_or(0, |client| client.session_expiry_s);
                if was == 0 && goodbye.session_expiry_s.is_some_and(|expiry| expiry > 0) {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                let clean = !goodbye.abrupt && self.publishes.is_empty();
                self.leave(clean, goodbye.session_expiry_s);
            }
        }
        Ok(())
    }

    /// A frame from the lane.
    pub(crate) fn frame(&mut self, edge: &Edge, frame: down::Frame) {
        match frame {
            down::Frame::Connected(connected) => self.connected(edge, &connected),
            down::Frame::Published(published) => self.published(published),
            down::Frame::Deliver(deliver) => self.deliver(edge, deliver),
            down::Frame::Subscribed(subscribed) => self.subscriptions.answered(subscribed.token, &mut self.out),
            down::Frame::Close(close) => self.close(edge, Reason::from_u32(close.reason)),
            down::Frame::Renewed(renewed) => self.renewed(&renewed),
            down::Frame::Reattach(_) => {}
        }
    }

    /// Looks whether the client has been silent or stuck for too long. Returns when to look again; `None`: never.
    pub(crate) fn check(&mut self, edge: &Edge, now: Ticks) -> Option<Ticks> {
        if now < self.due {
            return None;
        }
        let again = self.check_now(edge, now);
        self.due = again.unwrap_or(Ticks(u32::MAX));
        again
    }

    /// Has the wheel look at this connection at that moment, if it would not before.
    fn look_at(&mut self, edge: &Edge, at: Ticks) {
        if at < self.due {
            self.due = at;
            edge.look_again(at, self.number);
        }
    }

    fn check_now(&mut self, edge: &Edge, now: Ticks) -> Option<Ticks> {
        let connect_by = self.accepted_at.after(edge.settings.connect_deadline);
        let closed_by = self.closing_since.after(LINGER);
        match &self.phase {
            Phase::Silent if now >= connect_by => self.vanish(),
            Phase::Held(_, until) if now >= *until => self.release(edge),
            Phase::Queued(_, until) if now >= *until => self.refuse_for_now(edge),
            Phase::Asking(_) if now >= connect_by => self.close(edge, Reason::SERVER_UNAVAILABLE),
            Phase::Closing if now >= closed_by => self.vanish(),
            Phase::Open => self.check_open(edge, now),
            _ => {}
        }
        match &self.phase {
            Phase::Held(_, until) | Phase::Queued(_, until) => Some(*until),
            Phase::Silent | Phase::Asking(_) => Some(connect_by),
            Phase::Open => {
                let keep_alive = self.keep_alive().map(|time| self.heard_at.after(time));
                let held_until = self.meter.full_until(&edge.settings, now).filter(|_| self.held_back);
                let regular = held_until.unwrap_or(Ticks(u32::MAX)).min(now.after(CHECK));
                Some(keep_alive.map_or(regular, |at| at.min(regular)).max(now.after(crate::timer::TICK)))
            }
            Phase::Closing => Some(self.closing_since.after(LINGER)),
            Phase::Gone => None,
        }
    }

    fn check_open(&mut self, edge: &Edge, now: Ticks) {
        if self.held_back && self.meter.full_until(&edge.settings, now).is_none() {
            self.held_back = false;
            self.wake();
        }
        if self.stuck_since.is_some_and(|since| now >= since.after(edge.settings.drain_deadline)) {
            self.leave(false, None);
            self.vanish();
            return;
        }
        let is_slow = |since: Ticks| now >= since.after(edge.settings.drain_deadline);
        if edge.settings.pressure.is_on() && self.large_since.is_some_and(is_slow) {
            return self.close(edge, Reason::QUOTA_EXCEEDED);
        }
        // While nothing is read from the client, its silence is our doing; and while it takes bytes, however slowly,
        // it is there.
        if self.next(edge, 0) == Next::Wait || self.stuck_since.is_some() {
            self.heard_at = now;
        }
        if self.keep_alive().is_some_and(|time| now >= self.heard_at.after(time)) {
            self.close(edge, Reason::KEEP_ALIVE_TIMEOUT);
        }
    }

    /// One and a half times the keep alive interval (MQTT-3.1.2-22 of MQTT 5).
    fn keep_alive(&self) -> Option<Duration> {
        let seconds = self.client.as_ref().map_or(0, |client| client.keep_alive_s);
        (seconds > 0).then(|| Duration::from_millis(u64::from(seconds) * 1_500))
    }

    /// Ends the connection from this side, telling the client why as far as its version can.
    pub(crate) fn close(&mut self, edge: &Edge, reason: Reason) {
        match self.phase {
            Phase::Held(..) | Phase::Queued(..) | Phase::Asking(_) => return self.refuse(edge, reason, ""),
            Phase::Open => {}
            Phase::Silent => return self.vanish(),
            Phase::Closing | Phase::Gone => return,
        }
        if self.version == Version::V5 {
            let bytes_max = self.client.as_ref().map_or(0, |client| client.packet_bytes_max);
            let text = self.why(edge, reason);
            answer::disconnect(&mut self.out, reason, &text, bytes_max as usize);
        }
        self.leave(false, None);
        self.closing(edge);
    }

    /// What is said besides the code: English, where the code alone would leave people guessing.
    fn why(&self, edge: &Edge, reason: Reason) -> Cow<'static, str> {
        match reason {
            Reason::MESSAGE_RATE_TOO_HIGH => "more packets or bytes a second than are allowed, for too long".into(),
            Reason::SERVER_SHUTTING_DOWN => logins::leaving(self.number, edge.counters.connections.get()).into(),
            _ => "".into(),
        }
    }

    fn closing(&mut self, edge: &Edge) {
        self.phase = Phase::Closing;
        self.closing_since = edge.now();
        self.look_at(edge, self.closing_since.after(LINGER));
        self.mark();
        self.wake();
    }

    /// Tells the lane that the connection is over, and is over.
    pub(crate) fn leave(&mut self, clean: bool, session_expiry_s: Option<u32>) {
        if matches!(self.phase, Phase::Asking(_) | Phase::Open) {
            self.push_acknowledged();
            let session_expiry_plus_one_s = session_expiry_s.map_or(0, |seconds| u64::from(seconds) + 1);
            self.up(&bus::Disconnect { clean, session_expiry_plus_one_s });
            self.generation = 0;
        }
        self.phase = Phase::Gone;
    }

    fn vanish(&mut self) {
        self.phase = Phase::Gone;
        self.mark();
        self.wake();
    }

    /// Sends a frame to the lane, if the connection is attached to it.
    fn up(&self, frame: &impl crate::lane::Frame) -> bool {
        self.lane.as_ref().is_some_and(|lane| lane.push(self.generation, self.number, frame))
    }
}
