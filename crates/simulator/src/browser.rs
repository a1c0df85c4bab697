//! Visitors' browsers with their tabs. They behave as the published widget does: no frame is
//! ever sent twice, a hidden tab has no socket, a reconnect says nothing of its own accord.

use bytes::Bytes;
use serde_json::json;
use stentor_types::{AppId, ConnectionId, EventNumber, SessionId, UserKey};

use crate::{
    gateway::Reason,
    socket::{End, Frame},
    widget::{Line, What, Widget},
    world::{Job, World},
};

/// Part of every secret, so that one search finds them all.
pub(crate) const CANARY: &str = "cAnArY";
/// How long a frame waits for a socket.
const PATIENCE_US: u64 = 10_000_000;
/// How long a widget waits before it dials again.
const REDIAL_US: u64 = 5_000_000;
const SECOND_US: u64 = 1_000_000;

/// One browser of one visitor: what its tabs share.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) user_id: String,
    pub(crate) user: UserKey,
    /// How wrong its clock is.
    pub(crate) clock_ms: i64,
    /// The name of the current session.
    pub(crate) claimed: String,
    pub(crate) resets: u32,
    pub(crate) greeted: bool,
    /// What the tabs keep.
    pub(crate) stored: Vec<Line>,
    pub(crate) tabs: Vec<Tab>,
    last_own: i64,
}

/// One page with a widget.
#[derive(Debug, Default)]
pub(crate) struct Tab {
    /// Counts page loads and dials: what was meant for an earlier one is void. 0: no page.
    pub(crate) life: u64,
    pub(crate) open: bool,
    pub(crate) visible: bool,
    pub(crate) claimed: String,
    pub(crate) socket: Option<u64>,
    pub(crate) widget: Widget,
    /// Frames that wait for a socket, and until when.
    waiting: Vec<(u64, Frame)>,
}

/// One message that somebody wrote.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) author: UserKey,
    pub(crate) fate: Fate,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// On its way to the gateway, or waiting for a socket.
    Under,
    /// The widget has given it up, or a socket or a gateway was lost with it: never seen again.
    Lost,
    /// The gateway has it.
    Taken,
    /// The gateway has been told that it is event `n`, or refused for good as that.
    Acked(SessionId, EventNumber),
}

// === impl Message ===

impl Message {
    pub(crate) fn lose(&mut self) {
        if matches!(self.fate, Fate::Under | Fate::Taken) {
            self.fate = Fate::Lost;
        }
    }
}

// === impl Browser ===

impl Browser {
    pub(crate) fn new(app: &AppId, number: usize, clock_ms: i64, noise: u64) -> Self {
        let user_id = format!("{CANARY}-user-{number}-{noise:016x}");
        Self {
            user: UserKey::of(app, &user_id),
            user_id,
            clock_ms,
            claimed: format!("claim-{number}-0"),
            resets: 0,
            greeted: false,
            stored: Vec::new(),
            tabs: (0..3).map(|_| Tab::default()).collect(),
            last_own: 0,
        }
    }

    pub(crate) fn clock(&self, now: stentor_types::Timestamp) -> i64 {
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_add(self.clock_ms)
    }

    /// The stamp of the visitor's own next line. Odd: that a line happens to have the very millisecond
    /// of an answer that is still on its way is nothing that a server could prevent.
    fn own_stamp(&mut self, now: stentor_types::Timestamp) -> i64 {
        let stamp = self.clock(now) | 1;
        self.last_own = if stamp <= self.last_own && self.last_own - stamp < 1_000 {
            self.last_own + 2
        } else {
            stamp
        };
        self.last_own
    }
}

// === impl World ===

impl World {
    pub(crate) fn tab(&self, browser: usize, tab: usize) -> Option<&Tab> {
        self.browsers.get(browser)?.tabs.get(tab)
    }

    fn tab_mut(&mut self, browser: usize, tab: usize) -> Option<&mut Tab> {
        self.browsers.get_mut(browser)?.tabs.get_mut(tab)
    }

    /// A page is loaded, or loaded again: it shows what was stored, dials, and will ask to join.
    pub(crate) fn load_page(&mut self, browser: usize, tab: usize) {
        self.leave(browser, tab);
        self.give_up_waiting(browser, tab);
        let (life, now) = (self.new_life(), self.now);
        let Some(shared) = self.browsers.get_mut(browser) else { return };
        let (clock, claimed) = (shared.clock(now), shared.claimed.clone());
        let widget = Widget::load(&shared.stored, clock);
        let greets = !std::mem::replace(&mut shared.greeted, true);
        let Some(page) = shared.tabs.get_mut(tab) else { return };
        *page = Tab {
            life,
            open: true,
            visible: true,
            claimed,
            socket: None,
            widget,
            waiting: Vec::new(),
        };
        self.dial(browser, tab, Reason::Load);
        let joined = self.frame(browser, tab, "user joined", clock, None);
        let due = self.now.0 + PATIENCE_US;
        if let Some(page) = self.tab_mut(browser, tab) {
            page.waiting.push((due, Frame::Text { text: joined, message: None }));
        }
        if greets {
            self.say(browser, tab, true);
        }
        self.after(SECOND_US, Job::Flush { browser, tab, life });
    }

    /// The page's socket goes, if it has one.
    fn leave(&mut self, browser: usize, tab: usize) {
        let socket = self.tab_mut(browser, tab).and_then(|page| page.socket.take());
        if let Some(socket) = socket {
            self.socket_leave(socket);
        }
    }

    /// The page is closed.
    pub(crate) fn close(&mut self, browser: usize, tab: usize) {
        self.leave(browser, tab);
        self.give_up_waiting(browser, tab);
        if let Some(page) = self.tab_mut(browser, tab) {
            *page = Tab::default();
        }
    }

    /// The visitor looks elsewhere: the socket is closed without a word.
    pub(crate) fn hide(&mut self, browser: usize, tab: usize) {
        self.leave(browser, tab);
        let life = self.new_life();
        if let Some(page) = self.tab_mut(browser, tab) {
            page.visible = false;
            page.life = life;
        }
        if !self.tab(browser, tab).is_some_and(|page| page.waiting.is_empty()) {
            self.after(SECOND_US, Job::Flush { browser, tab, life });
        }
    }

    /// The visitor looks again.
    pub(crate) fn show(&mut self, browser: usize, tab: usize) {
        let life = self.new_life();
        if let Some(page) = self.tab_mut(browser, tab) {
            page.visible = true;
            page.life = life;
        }
        self.dial(browser, tab, Reason::Wakeup);
        self.after(SECOND_US, Job::Flush { browser, tab, life });
    }

    /// Refresh: the transcript and the session's name are forgotten, the user id stays.
    pub(crate) fn reset(&mut self, browser: usize, tab: usize) {
        self.leave(browser, tab);
        self.give_up_waiting(browser, tab);
        let Some(shared) = self.browsers.get_mut(browser) else { return };
        shared.resets += 1;
        shared.claimed = format!("claim-{browser}-{}", shared.resets);
        shared.stored.clear();
        shared.greeted = false;
        self.load_page(browser, tab);
    }

    /// The visitor writes something. It is shown at once, whether or not it can be sent.
    pub(crate) fn say(&mut self, browser: usize, tab: usize, greeting: bool) {
        let (now, number) = (self.now, self.messages.len());
        let text = format!("message {number}");
        let Some(shared) = self.browsers.get_mut(browser) else { return };
        let stamp = shared.own_stamp(now);
        let author = shared.user;
        let Some(page) = shared.tabs.get_mut(tab).filter(|page| page.open) else { return };
        let confirmed = page.widget.confirmed || greeting;
        if !greeting {
            page.widget.insert(Line { stamp, what: What::Own(number) });
        }
        let fate = if confirmed { Fate::Under } else { Fate::Lost };
        self.messages.push(Message { text: text.clone(), author, fate });
        self.keep(browser, tab);
        if !confirmed {
            self.note(|| format!("visitor {browser} tab {tab}: {text} is not sent, no session"));
            return;
        }
        let data = request_json(&text, greeting, self.rng.next());
        let text = self.frame(browser, tab, "new message", stamp, Some(data));
        let due = self.now.0 + PATIENCE_US;
        let Some(page) = self.tab_mut(browser, tab) else { return };
        page.waiting.push((due, Frame::Text { text, message: Some(number) }));
        let life = page.life;
        if !greeting {
            self.flush(browser, tab, life);
        }
    }

    /// Sends what waits if there is a socket; gives up what has waited too long.
    pub(crate) fn flush(&mut self, browser: usize, tab: usize, life: u64) {
        let now = self.now.0;
        let Some(page) = self.tab_mut(browser, tab).filter(|page| page.life == life) else {
            return;
        };
        let mut waiting = std::mem::take(&mut page.waiting);
        let Some(socket) = page.socket else {
            let (keep, late): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(due, _)| *due > now);
            let again = !keep.is_empty();
            page.waiting = keep;
            self.lose(late);
            if again {
                self.after(SECOND_US, Job::Flush { browser, tab, life });
            }
            return;
        };
        // Each frame polls on its own: after an outage they come in any order.
        if waiting.len() > 1 && self.rng.percent(30) {
            waiting.reverse();
        }
        for (_, frame) in waiting {
            self.socket_up(socket, frame);
        }
    }

    fn give_up_waiting(&mut self, browser: usize, tab: usize) {
        let waiting = self.tab_mut(browser, tab).map(|page| std::mem::take(&mut page.waiting));
        self.lose(waiting.unwrap_or_default());
    }

    fn lose(&mut self, frames: Vec<(u64, Frame)>) {
        for (_, frame) in frames {
            if let Frame::Text { message: Some(message), .. } = frame
                && let Some(message) = self.messages.get_mut(message)
            {
                message.lose();
            }
        }
    }

    fn dial(&mut self, browser: usize, tab: usize, reason: Reason) {
        let Some(life) = self.tab(browser, tab).filter(|page| page.open).map(|page| page.life)
        else {
            return;
        };
        let Some(user_id) = self.browsers.get(browser).map(|shared| shared.user_id.clone()) else {
            return;
        };
        let socket = self.accept(End::Tab { browser, tab }, &user_id, None, reason);
        match socket {
            Some(_) => {
                if let Some(page) = self.tab_mut(browser, tab) {
                    page.socket = socket;
                }
            }
            None => self.after(REDIAL_US, Job::Dial { browser, tab, life }),
        }
    }

    /// The time to dial again has come.
    pub(crate) fn redial(&mut self, browser: usize, tab: usize, life: u64) {
        let wanted = self.tab(browser, tab).is_some_and(|page| {
            page.life == life && page.open && page.visible && page.socket.is_none()
        });
        if wanted {
            self.dial(browser, tab, Reason::Again);
        }
    }

    /// A client learns that its socket is gone.
    pub(crate) fn down_closed(&mut self, id: u64) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let end = socket.end;
        socket.left = true;
        match end {
            End::Tab { browser, tab } => {
                let Some(page) = self.tab_mut(browser, tab).filter(|page| page.socket == Some(id))
                else {
                    return;
                };
                page.socket = None;
                let life = page.life;
                self.after(REDIAL_US, Job::Dial { browser, tab, life });
            }
            End::Client(seat) => self.client_cut(seat, id),
            End::Agent(agent) => {
                if let Some(agent) =
                    self.agents.get_mut(agent).filter(|agent| agent.socket == Some(id))
                {
                    agent.socket = None;
                }
            }
        }
    }

    /// A frame reaches a client.
    pub(crate) fn down(&mut self, id: u64, text: &Bytes) {
        let Some(socket) = self.sockets.get(&id).filter(|socket| !socket.cut && !socket.left)
        else {
            return;
        };
        let (end, connection) = (
            socket.end,
            ConnectionId {
                gateway: stentor_types::GatewayId(socket.gateway),
                number: socket.connection,
            },
        );
        let Ok(frame) = serde_json::from_slice(text) else {
            self.violate("P3", format!("a frame is no JSON: {text:?}"));
            return;
        };
        match end {
            End::Tab { browser, tab } => {
                let Some(user) = self.browsers.get(browser).map(|shared| shared.user) else {
                    return;
                };
                let Some(page) = self.tab_mut(browser, tab) else { return };
                let line = page.widget.take(&frame);
                self.keep(browser, tab);
                if let Some(line) = line {
                    self.check_shown(user, connection, &line);
                }
            }
            End::Client(_) => {}
            End::Agent(number) => {
                let Some(agent) = self.agents.get_mut(number) else { return };
                let user = agent.user;
                if let Some(line) = agent.widget.take(&frame) {
                    self.check_shown(user, connection, &line);
                }
            }
        }
    }

    /// Nothing may be shown that is one's own, or that the session's record does not show to visitors.
    fn check_shown(&mut self, user: UserKey, connection: ConnectionId, line: &Line) {
        match &line.what {
            What::Person(text) => {
                let own = self
                    .messages
                    .iter()
                    .any(|message| message.text == *text && message.author == user);
                if own {
                    self.violate("P9", format!("{connection} is shown its own {text:?} again"));
                }
            }
            What::Bot(text) if !self.ledger.may_be_shown(text) => {
                self.violate("I20", format!("{connection} is shown {text:?}, which is no reply"));
            }
            _ => {}
        }
    }

    /// The tab stores its transcript.
    fn keep(&mut self, browser: usize, tab: usize) {
        let Some(shared) = self.browsers.get_mut(browser) else { return };
        let Some(page) = shared.tabs.get(tab) else { return };
        if page.claimed == shared.claimed {
            shared.stored.clone_from(&page.widget.lines);
        }
    }

    fn frame(
        &self,
        browser: usize,
        tab: usize,
        event: &str,
        time_ms: i64,
        data: Option<serde_json::Value>,
    ) -> Bytes {
        let claimed = self.tab(browser, tab).map(|page| page.claimed.as_str()).unwrap_or_default();
        let user_id =
            self.browsers.get(browser).map(|shared| shared.user_id.as_str()).unwrap_or_default();
        json!({
            "event": event,
            "sessionId": claimed,
            "timeMs": time_ms,
            "sender": {
                "deviceId": "Widget",
                "userId": user_id,
                "email": format!("{CANARY}@example.com"),
                "displayName": format!("Visitor {browser}"),
            },
            "data": data,
        })
        .to_string()
        .into()
    }
}

/// What is said, with secrets where the widget has them.
pub(crate) fn request_json(text: &str, greeting: bool, noise: u64) -> serde_json::Value {
    let token = format!("{CANARY}-token-{noise:016x}");
    if greeting {
        json!({
            "type": "LAUNCH_REQUEST", "intentId": "LaunchRequest", "isNewSession": true,
            "userId": format!("{CANARY}-claimed"), "accessToken": token,
            "attributes": {"isGreeting": true, "accessToken": token},
        })
    } else {
        json!({
            "type": "INTENT_REQUEST", "intentId": "NLU_RESULT_PLACEHOLDER", "rawQuery": text,
            "userId": format!("{CANARY}-claimed"), "sessionId": "another", "accessToken": token,
            "attributes": {"accessToken": token},
        })
    }
}
