//! How a schedule ends: everything is healed, everybody comes back, and then it must all be there.

use stentor_types::{Control, EventNumber, Role, SessionId, Timestamp};

use crate::{
    browser::Fate,
    ledger::{Story, TurnFate},
    widget::{Line, What},
    world::{Weather, World},
};

const SECOND_US: u64 = 1_000_000;
/// How late a timer may be: what a takeover may take, and what the clocks of two owners may differ.
const LATE_US: u64 = 7 * SECOND_US;
/// How far back a replay goes, in events.
const REPLAY_EVENTS: u64 = 300;
/// Long enough for all that can still be under way: three attempts, and a queue full of them.
const CALM_US: u64 = 1_200 * SECOND_US;

// === impl World ===

impl World {
    /// No timer of any session is late while there is an owner to serve it.
    pub(crate) fn check_timers(&mut self) {
        // While there are two, one does not know what the other has written.
        let Some(owner) = self.owners.values().next().filter(|_| self.owners.len() == 1) else {
            return;
        };
        let since = owner.ready.0;
        let now = self.now.0;
        let late = self.ledger.stories.iter().find_map(|(session, story)| {
            let due = story.due()?;
            (due.0.max(since) + LATE_US < now).then_some((*session, due))
        });
        if let Some((session, due)) = late {
            let message = format!("{session} should have been woken at {due}, it is {}", self.now);
            self.violate("I22", message);
        }
    }

    /// Heals everything, lets everybody come back, and waits until nothing is under way.
    pub(crate) fn heal(&mut self) {
        self.note(|| "everything is healed".into());
        self.weather = Weather { lost: 0, twice: 0, delay: 1_000, bot: 0, slow: 0 };
        self.run_until(Timestamp(self.now.0 + 20 * SECOND_US));
        if self.gateway.is_none() || self.owners.is_empty() {
            self.violate("P9", "what was killed was not started again".into());
        }
        while self.owners.len() > 1
            && let Some(oldest) = self.owners.keys().next().copied()
        {
            self.replaced_gone(oldest);
        }
        for number in 0..self.agents.len() {
            self.agent_goes(number);
        }
        self.clients_leave(Role::Agent);
        self.run_until(Timestamp(self.now.0 + CALM_US));
        // Everybody is back.
        for (browser, tab) in self.pages() {
            if self.tab(browser, tab).is_some_and(|page| page.open && !page.visible) {
                self.show(browser, tab);
            }
        }
        self.clients_return();
        self.run_until(Timestamp(self.now.0 + CALM_US));
        // In the visitor's current session, if not by themselves then by loading the page again.
        for (browser, tab) in self.pages() {
            let current = self.browsers.get(browser).map(|browser| browser.claimed.clone());
            let Some(page) = self.tab(browser, tab).filter(|page| page.open) else { continue };
            if Some(&page.claimed) != current.as_ref() || self.is_astray(browser, tab) {
                self.load_page(browser, tab);
            }
        }
        self.run_until(Timestamp(self.now.0 + CALM_US));
    }

    fn pages(&self) -> Vec<(usize, usize)> {
        let tabs =
            self.browsers.iter().enumerate().map(|(number, browser)| (number, &browser.tabs));
        tabs.flat_map(|(number, tabs)| (0..tabs.len()).map(move |tab| (number, tab))).collect()
    }

    /// A tab that came back without a word is in the session that its visitor used last, which another
    /// tab may have made another one. No server can know better until the tab says something.
    fn is_astray(&self, browser: usize, tab: usize) -> bool {
        let Some(shared) = self.browsers.get(browser) else { return false };
        let Some(page) = shared.tabs.get(tab) else { return false };
        let claimed = self.ledger.claims.get(&(shared.user, page.claimed.clone()));
        let connection = page.socket.and_then(|socket| self.sockets.get(&socket));
        let (Some(connection), Some(gateway)) = (connection, &self.gateway) else { return false };
        gateway
            .connections
            .get(&connection.connection)
            .is_some_and(|connection| connection.session.as_ref() != claimed)
    }

    /// What must be true when all is calm and everybody is back.
    pub(crate) fn check_calm(&mut self) {
        self.check_clients();
        self.check_messages();
        let sessions: Vec<_> = self.ledger.stories.keys().copied().collect();
        for session in sessions {
            self.check_session(session);
        }
        for browser in 0..self.browsers.len() {
            for tab in 0..3 {
                if self.tab(browser, tab).is_some_and(|page| page.open) {
                    self.check_tab(browser, tab);
                }
            }
        }
    }

    fn check_messages(&mut self) {
        let open = self
            .messages
            .iter()
            .find(|message| matches!(message.fate, Fate::Under | Fate::Taken))
            .map(|message| format!("{} is still {:?}", message.text, message.fate));
        if let Some(message) = open {
            self.violate("I4", message);
        }
    }

    fn check_session(&mut self, session: SessionId) {
        let Some(story) = self.ledger.stories.get(&session) else { return };
        let open = story
            .turns
            .fates
            .iter()
            .find(|(_, fate)| matches!(fate, TurnFate::Waiting | TurnFate::Open));
        let message = match open {
            Some((turn, fate)) => Some(format!("{session}: message {turn} is still {fate:?}")),
            None if story.state().turn.is_some() => Some(format!("{session}: a turn is open")),
            None if story.control != Control::Bot => Some(format!("{session}: nobody answers")),
            None => None,
        };
        if let Some(message) = message {
            self.violate("P6", message);
        }
        let folded = self.ledger.state(session).cloned();
        let live = self.owners.values().next_back().and_then(|owner| owner.actors.get(&session));
        // A replaced owner may have written what this one has not read yet.
        let head = self.ledger.head(session);
        let live = live.filter(|actor| actor.head == head);
        let live = live.map(|actor| actor.session.state().clone());
        if live.is_some() && live != folded {
            self.violate("I10", format!("{session}: the live state is not the fold of the log"));
        }
    }

    /// A tab shows everything of its session, once and in order.
    fn check_tab(&mut self, browser: usize, tab: usize) {
        let Some(shared) = self.browsers.get(browser) else { return };
        let Some(page) = shared.tabs.get(tab) else { return };
        let name = format!("visitor {browser}, tab {tab}");
        if page.widget.typing {
            self.violate("P9", format!("{name}: the bot types for ever"));
            return;
        }
        if !page.widget.confirmed {
            self.violate("P9", format!("{name}: the session is not confirmed"));
            return;
        }
        let key = (shared.user, page.claimed.clone());
        let Some(session) = self.ledger.claims.get(&key).copied() else { return };
        let Some(story) = self.ledger.stories.get(&session) else { return };
        let lines = &page.widget.lines;
        let expected = visible(story);
        let mut found = 0;
        for (n, text) in &expected {
            let stamp = self.ledger.stamp(session, shared.user, *n);
            let taken = stamp.is_some_and(|stamp| {
                lines.iter().any(|line| line.stamp == stamp)
                    && self.ledger.shown_elsewhere(session, shared.user, stamp)
            });
            let Some(place) = place(lines, stamp, text.as_deref()) else {
                if taken {
                    continue;
                }
                let message =
                    format!("{name} lacks event {n} of {session}: {text:?}, stamped {stamp:?}");
                self.violate("P9", message);
                return;
            };
            if place < found {
                let message = format!("{name} shows event {n} of {session} in the wrong place");
                self.violate("P9", message);
                return;
            }
            found = place;
        }
        // No reply is shown twice; replies are told apart by their text.
        let mut texts: Vec<_> = lines
            .iter()
            .filter_map(|line| match &line.what {
                What::Bot(text) if text.starts_with("reply ") => Some(text),
                _ => None,
            })
            .collect();
        let shown = texts.len();
        texts.sort_unstable();
        texts.dedup();
        if texts.len() != shown {
            self.violate("P9", format!("{name} shows a reply twice"));
            return;
        }
        self.check_order(browser, tab, session);
    }

    /// What was said stands above what was answered.
    fn check_order(&mut self, browser: usize, tab: usize, session: SessionId) {
        let Some(page) = self.tab(browser, tab) else { return };
        let Some(story) = self.ledger.stories.get(&session) else { return };
        let mut wrong = None;
        for (place, line) in page.widget.lines.iter().enumerate() {
            let What::Own(message) = &line.what else { continue };
            let Some(Fate::Acked(of, n)) = self.messages.get(*message).map(|found| found.fate)
            else {
                continue;
            };
            if of != session {
                continue;
            }
            let answer = format!(" to {n}/");
            let above = page.widget.lines.iter().take(place).find(|line| match &line.what {
                What::Bot(text) => {
                    text.contains(&answer)
                        && text.starts_with("reply ")
                        && story.visible.iter().any(|(_, shown)| shown.as_ref() == Some(text))
                }
                _ => false,
            });
            if let Some(above) = above {
                wrong = Some(format!("visitor {browser}, tab {tab}: {above:?} above {line:?}"));
            }
        }
        if let Some(message) = wrong {
            self.violate("P9", message);
        }
    }

    /// Everybody goes; when the graces are over nobody is left and nothing is due.
    pub(crate) fn empty(&mut self) {
        for browser in 0..self.browsers.len() {
            for tab in 0..3 {
                self.close(browser, tab);
            }
        }
        self.clients_leave(Role::Visitor);
        self.clients_leave(Role::Agent);
        self.run_until(Timestamp(self.now.0 + CALM_US));
        // A request to attach that was late or doubled, or was served by an owner that had been replaced,
        // may have attached a connection that is gone: it goes when its gateway does.
        if self.strays {
            self.restart_gateway();
            self.run_until(Timestamp(self.now.0 + CALM_US));
        }
        let left = self.ledger.stories.iter().find(|(_, story)| {
            let state = story.state();
            !state.participants.is_empty()
                || !state.endpoints.is_empty()
                || state.next_deadline().is_some()
        });
        if let Some(message) =
            left.map(|(session, story)| format!("{session} does not end: {:?}", story.state()))
        {
            self.violate("I22", message);
        }
        if let Some(gateway) = &self.gateway
            && !gateway.connections.is_empty()
        {
            let message = format!("{} connections stay", gateway.connections.len());
            self.violate("I15", message);
        }
    }
}

/// What a visitor is to see of a session in the end: at most what one replay brings.
fn visible(story: &Story) -> Vec<(EventNumber, Option<String>)> {
    let surplus = story.visible.len().saturating_sub(crate::actor::REPLAY_MAX);
    let from = EventNumber((story.events.len() as u64).saturating_sub(REPLAY_EVENTS));
    let latest = story.visible.iter().skip(surplus);
    latest.filter(|(n, _)| *n > from).cloned().collect()
}

/// Where an event stands among the lines.
fn place(lines: &[Line], stamp: Option<i64>, text: Option<&str>) -> Option<usize> {
    lines.iter().position(|line| {
        Some(line.stamp) == stamp
            && match (&line.what, text) {
                (What::Bot(shown), Some(text)) => shown == text,
                (What::Person(_), None) => true,
                _ => false,
            }
    })
}
