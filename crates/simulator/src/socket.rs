//! Sockets: two streams in order, which a cut loses with all that is on the way.

use bytes::Bytes;
use stentor_types::Timestamp;

use crate::{
    client::Seat,
    frames::{Down, Up},
    world::{Job, World},
};

/// Who holds the client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Tab {
        browser: usize,
        tab: usize,
    },
    Agent(usize),
    /// Speaks the second dialect.
    Client(Seat),
}

/// What a client says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A legacy frame, and which message it is if it is one.
    Text { text: Bytes, message: Option<usize> },
    /// An agent's wish.
    Control { take: bool },
    /// A frame of the second dialect.
    Second(Up),
}

/// One socket.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) end: End,
    pub(crate) gateway: u64,
    pub(crate) connection: u64,
    /// Nothing gets through any more.
    pub(crate) cut: bool,
    /// The client has closed it, or believes it gone.
    pub(crate) left: bool,
    up: Timestamp,
    down: Timestamp,
    /// Messages that are on their way up.
    pub(crate) rising: Vec<usize>,
}

// === impl Socket ===

impl Socket {
    pub(crate) const fn new(end: End, gateway: u64, connection: u64) -> Self {
        Self {
            end,
            gateway,
            connection,
            cut: false,
            left: false,
            up: Timestamp(0),
            down: Timestamp(0),
            rising: Vec::new(),
        }
    }
}

// === impl Frame ===

impl std::fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text { message: Some(message), .. } => write!(formatter, "message {message}"),
            Self::Text { text, .. } => formatter.write_str(&String::from_utf8_lossy(text)),
            Self::Control { take: true } => formatter.write_str("take control"),
            Self::Control { take: false } => formatter.write_str("release control"),
            Self::Second(up) => write!(formatter, "{up:?}"),
        }
    }
}

// === impl World ===

impl World {
    /// The client writes.
    pub(crate) fn socket_up(&mut self, id: u64, frame: Frame) {
        let delay = self.rng.between(2_000, 120_000);
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if let Frame::Text { message: Some(message), .. } = &frame {
            socket.rising.push(*message);
        }
        socket.up = Timestamp(now.0.saturating_add(delay).max(socket.up.0 + 1));
        let (at, cut) = (socket.up, socket.cut);
        if cut {
            self.lose_rising(id);
        } else {
            self.at(at, Job::Up { socket: id, frame });
        }
    }

    /// The gateway writes a legacy frame.
    pub(crate) fn socket_down(&mut self, id: u64, text: Bytes) {
        self.write_down(id, Job::Down { socket: id, text });
    }

    /// The gateway writes a frame of the second dialect.
    pub(crate) fn socket_down_second(&mut self, id: u64, frame: Down) {
        self.write_down(id, Job::DownSecond { socket: id, frame });
    }

    fn write_down(&mut self, id: u64, job: Job) {
        let delay = self.rng.between(2_000, 120_000);
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.down = Timestamp(now.0.saturating_add(delay).max(socket.down.0 + 1));
        let at = socket.down;
        if !socket.cut {
            self.at(at, job);
        }
    }

    /// The client closes: what it has written still arrives, and then the end.
    pub(crate) fn socket_leave(&mut self, id: u64) {
        let delay = self.rng.between(2_000, 120_000);
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if socket.left {
            return;
        }
        socket.left = true;
        let at = Timestamp(now.0.saturating_add(delay).max(socket.up.0 + 1));
        if !socket.cut {
            self.at(at, Job::UpClosed { socket: id });
        }
    }

    /// The network breaks: what is on the way is lost; both ends learn of it at some time.
    pub(crate) fn socket_cut(&mut self, id: u64) {
        let quick = self.rng.percent(50);
        let gateway = if quick { 1_000 } else { self.rng.below(50_000_000) };
        let client = self.rng.below(10_000_000);
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.cut) else { return };
        socket.cut = true;
        self.lose_rising(id);
        self.after(gateway, Job::UpClosed { socket: id });
        self.after(client, Job::DownClosed { socket: id });
    }

    /// The gateway is gone: the operating system tells the clients.
    pub(crate) fn sockets_reset(&mut self, gateway: u64) {
        let ids = self.sockets.iter().filter(|(_, socket)| socket.gateway == gateway);
        let ids: Vec<u64> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            let delay = self.rng.below(50_000);
            if let Some(socket) = self.sockets.get_mut(&id)
                && !socket.cut
            {
                socket.cut = true;
                self.after(delay, Job::DownClosed { socket: id });
            }
            self.lose_rising(id);
        }
    }

    /// Messages that a broken socket has lost are lost: the published widget does not send again.
    pub(crate) fn lose_rising(&mut self, id: u64) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        for message in std::mem::take(&mut socket.rising) {
            if let Some(message) = self.messages.get_mut(message) {
                message.lose();
            }
        }
    }
}
