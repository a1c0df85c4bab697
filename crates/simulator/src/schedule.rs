//! What happens in a schedule: deliveries in the order of the heap, and between them whatever visitors,
//! agents and misfortune do, as the seed says.

use stentor_types::Timestamp;

use crate::{
    browser::Browser,
    gateway::Gateway,
    log::Entity,
    owner::{Command, Owner},
    world::{Job, World},
};

const SECOND_US: u64 = 1_000_000;
/// Visitors of a schedule.
const VISITORS: usize = 3;

// === impl World ===

impl World {
    /// Everything up and running, visitors about to come.
    pub(crate) fn begin(&mut self) {
        self.start(true, true);
        for number in 0..VISITORS + self.rng.index(3) {
            // Up to ten minutes wrong, more often by less, or right.
            let wrong = match self.rng.below(3) {
                0 => 0,
                1 => 60_000,
                _ => 600_000,
            };
            let clock = i64::try_from(self.rng.below(2 * wrong + 1)).unwrap_or(0)
                - i64::try_from(wrong).unwrap_or(0);
            let noise = self.rng.next();
            self.browsers.push(Browser::new(&self.app, number, clock, noise));
        }
        self.agents_begin();
        self.clients_begin();
        for browser in 0..VISITORS {
            self.load_page(browser, 0);
        }
    }

    /// Starts what was killed.
    pub(crate) fn start(&mut self, gateway: bool, owner: bool) {
        if owner {
            self.strays |= !self.owners.is_empty();
            let life = self.new_life();
            let clock = i64::try_from(self.rng.below(2 * SECOND_US)).unwrap_or(0) - 1_000_000;
            self.owners.insert(life, Owner::new(life, self.now, clock));
            if self.connector == 0 {
                self.connector = self.new_life();
            }
            if let Some(gateway) = &mut self.gateway {
                gateway.owner = life;
            }
            self.note(|| format!("owner {life} starts"));
        }
        if gateway {
            let life = self.new_life();
            let owner = self.current_owner().unwrap_or(0);
            self.gateway = Some(Gateway::new(life, owner));
            self.note(|| format!("gateway {life} starts"));
        }
        if owner {
            self.take_up();
        }
    }

    /// A new owner loads every session that something is due for, or that holds connections.
    fn take_up(&mut self) {
        let Some(life) = self.current_owner() else { return };
        let heads = self.log.heads();
        let due = heads.filter(|(_, head)| head.next_deadline.is_some() || head.attached);
        let due: Vec<_> = due.map(|(session, _)| session).collect();
        for session in due {
            self.command(life, session, Command::Tick);
            self.tell_head(life, session);
        }
    }

    /// One job of the heap.
    pub(crate) fn work(&mut self, job: Job) {
        self.steps += 1;
        if !matches!(job, Job::RequestAgain { .. } | Job::FetchAgain { .. } | Job::Timer { .. }) {
            self.note(|| job.to_string());
        }
        let gateway = self.gateway.as_ref().map(|gateway| gateway.life);
        match job {
            Job::Up { socket, frame } => self.up(socket, &frame),
            Job::UpClosed { socket } => self.up_closed(socket),
            Job::Down { socket, text } => self.down(socket, &text),
            Job::DownSecond { socket, frame } => self.down_second(socket, frame),
            Job::Remember { seat, life, what } => self.remembered(seat, life, what),
            Job::DownClosed { socket } => self.down_closed(socket),
            Job::Dial { browser, tab, life } => self.redial(browser, tab, life),
            Job::Flush { browser, tab, life } => self.flush(browser, tab, life),
            Job::Request { owner, request } => self.serve(owner, &request),
            Job::Durable { owner, batch, told } => self.durable(owner, batch, told),
            Job::Unknown { owner, batch } => self.unknown(owner, batch),
            Job::Timer { owner, session, deadline } => self.timer(owner, session, deadline),
            Job::Control { session, change } => self.control(session, change),
            Job::Start { gateway, owner } => self.start(gateway, owner),
            Job::Fetch { owner, gateway, connection, session, from, to } => {
                self.fetch_from(owner, gateway, connection, session, (from, to));
            }
            Job::Effect { connector, session, effect } if connector == self.connector => {
                self.attempt(session, &effect);
            }
            Job::Answered { connector, session, id, result } if connector == self.connector => {
                self.tell_outcome(session, id, result);
            }
            Job::Outcome { connector, outcome } if connector == self.connector => {
                self.outcome(&outcome);
            }
            Job::GatewayLost { gateway } => self.gateway_lost(gateway),
            Job::Bare { gateway: life, connection } if gateway == Some(life) => {
                self.bare(connection);
            }
            Job::RequestAgain { gateway: life, connection, request } if gateway == Some(life) => {
                self.request_again(connection, request);
            }
            Job::FetchAgain { gateway: life, connection, from } if gateway == Some(life) => {
                self.fetch_again(connection, from);
            }
            Job::Answer { gateway: life, answer } if gateway == Some(life) => {
                self.answered(&answer);
            }
            Job::FetchAnswer { gateway: life, answer } if gateway == Some(life) => {
                self.fetched(&answer);
            }
            Job::Fanout { gateway: life, fanout } if gateway == Some(life) => {
                self.fanned_out(&fanout);
            }
            // For somebody who is gone.
            _ => {}
        }
    }

    /// Everything that happens until then.
    pub(crate) fn run_until(&mut self, until: Timestamp) {
        while self.violation.is_none()
            && let Some(job) = self.pop(until)
        {
            self.work(job);
        }
        self.now = self.now.max(until);
        self.check_timers();
    }

    /// One step of the schedule: some time passes, then somebody does something.
    pub(crate) fn step(&mut self, crash_now: bool) {
        let pause = match self.rng.below(40) {
            0 => self.rng.below(200 * SECOND_US),
            1..=4 => self.rng.below(30 * SECOND_US),
            5..=14 => self.rng.below(4 * SECOND_US),
            15..=29 => self.rng.below(SECOND_US),
            _ => self.rng.below(50_000),
        };
        self.run_until(Timestamp(self.now.0 + pause));
        if self.violation.is_some() {
            return;
        }
        self.steps += 1;
        if crash_now {
            self.crash_process();
            return;
        }
        match self.rng.below(1_000) {
            0..340 => self.visitor_speaks(),
            340..540 => self.visitor_moves(),
            540..630 => self.agent_moves(),
            630..930 => self.client_moves(),
            930..950 => self.clock_jumps(),
            950..975 => self.evict(),
            975..985 => self.replace_owner(),
            985..991 => self.crash_owner(),
            991..996 => self.crash_gateway(),
            _ => self.crash_process(),
        }
    }

    fn any_tab(&mut self) -> (usize, usize) {
        let browser = self.rng.index(self.browsers.len());
        let tabs = if self.rng.percent(70) { 1 } else { 3 };
        (browser, self.rng.index(tabs))
    }

    fn visitor_speaks(&mut self) {
        let (browser, tab) = self.any_tab();
        if !self.tab(browser, tab).is_some_and(|page| page.open && page.visible) {
            return;
        }
        // Sometimes somebody pours out more than the bot may be asked.
        let many = if self.rng.percent(3) { self.rng.between(10, 30) } else { 1 };
        for _ in 0..many {
            self.note(|| format!("visitor {browser} says something in tab {tab}"));
            self.say(browser, tab, false);
        }
    }

    fn visitor_moves(&mut self) {
        let (browser, tab) = self.any_tab();
        let Some(page) = self.tab(browser, tab) else { return };
        let (open, visible, socket) = (page.open, page.visible, page.socket);
        let what = match (open, visible, self.rng.below(10)) {
            (false, ..) => "loads",
            (true, false, 0..8) => "shows",
            (true, true, 0..3) => "hides",
            (true, _, 3..6) => "loads",
            (true, true, 6..8) => "cut",
            (_, _, 8) => "resets",
            _ => "closes",
        };
        self.note(|| format!("visitor {browser}, tab {tab}: {what}"));
        match what {
            "shows" => self.show(browser, tab),
            "hides" => self.hide(browser, tab),
            "cut" => {
                if let Some(socket) = socket {
                    self.socket_cut(socket);
                }
            }
            "resets" => self.reset(browser, tab),
            "closes" => self.close(browser, tab),
            _ => self.load_page(browser, tab),
        }
    }

    fn clock_jumps(&mut self) {
        let by = i64::try_from(self.rng.below(240_000)).unwrap_or(0) - 120_000;
        let number = self.rng.index(self.browsers.len());
        if let Some(browser) = self.browsers.get_mut(number) {
            browser.clock_ms += by;
        }
        self.note(|| format!("the clock of visitor {number} jumps by {by} ms"));
    }

    /// Sessions and directories are forgotten where nothing is in flight; the log has them.
    fn evict(&mut self) {
        let Some(owner) = self.current_owner().and_then(|life| self.owners.get_mut(&life)) else {
            return;
        };
        owner.actors.retain(|_, actor| actor.pending.is_some() || !actor.mailbox.is_empty());
        owner.directories.retain(|_, slot| slot.pending.is_some() || !slot.waiting.is_empty());
        self.note(|| "everything idle is evicted".into());
    }

    /// Another owner takes over; the old one does not know it yet.
    fn replace_owner(&mut self) {
        if self.owners.len() == 1 {
            self.note(|| "another owner takes over while the old one goes on".into());
            self.start(false, true);
        } else if let Some(oldest) = self.owners.keys().next().copied()
            && self.owners.len() > 1
        {
            self.replaced_gone(oldest);
        }
    }

    /// The owner that had been replaced is certainly gone: only now is what it wrote last known. What was
    /// read before is read again where the log has moved on.
    pub(crate) fn replaced_gone(&mut self, oldest: u64) {
        self.note(|| format!("the replaced owner {oldest} is gone at last"));
        self.kill_owner(oldest);
        let now = self.now;
        let Some(life) = self.current_owner() else { return };
        let Some(owner) = self.owners.get_mut(&life) else { return };
        owner.ready = now;
        let log = &self.log;
        owner.actors.retain(|session, actor| {
            let head = log.head(Entity::Session(*session)).map(|head| head.sequence);
            actor.head == head || actor.pending.is_some() || !actor.mailbox.is_empty()
        });
        self.take_up();
    }

    fn crash_owner(&mut self) {
        if self.owners.is_empty() {
            return;
        }
        self.crashes += 1;
        self.note(|| "the owner is killed".into());
        self.kill_owners();
        let delay = self.rng.between(SECOND_US, 8 * SECOND_US);
        self.after(delay, Job::Start { gateway: false, owner: true });
    }

    fn kill_owners(&mut self) {
        let lives: Vec<_> = self.owners.keys().copied().collect();
        for life in lives {
            self.kill_owner(life);
        }
    }

    /// A gateway that has nobody left is replaced by another.
    pub(crate) fn restart_gateway(&mut self) {
        if let Some(life) = self.lose_gateway() {
            self.start(true, false);
            self.gateway_lost(life);
        }
    }

    fn crash_gateway(&mut self) {
        let Some(life) = self.lose_gateway() else { return };
        self.crashes += 1;
        self.note(|| format!("gateway {life} is killed"));
        let delay = self.rng.between(SECOND_US, 8 * SECOND_US);
        self.after(delay, Job::Start { gateway: true, owner: false });
        self.after(10 * SECOND_US, Job::GatewayLost { gateway: life });
    }

    /// Kill -9 of everything.
    pub(crate) fn crash_process(&mut self) {
        if self.gateway.is_none() || self.owners.is_empty() {
            return;
        }
        self.crashes += 1;
        self.note(|| "the process is killed".into());
        self.lose_gateway();
        self.kill_owners();
        self.connector = 0;
        let delay = self.rng.between(SECOND_US, 8 * SECOND_US);
        self.after(delay, Job::Start { gateway: true, owner: true });
    }

    fn lose_gateway(&mut self) -> Option<u64> {
        let gateway = self.gateway.take()?;
        self.sockets_reset(gateway.life);
        for connection in gateway.connections.into_values() {
            for message in connection.in_hand() {
                if let Some(message) = self.messages.get_mut(message) {
                    message.lose();
                }
            }
        }
        Some(gateway.life)
    }

    /// The owner notes for every session that it may hold connections that are gone.
    fn gateway_lost(&mut self, gateway: u64) {
        let Some(life) = self.current_owner() else { return };
        let attached = self.log.heads().filter(|(_, head)| head.attached);
        let attached: Vec<_> = attached.map(|(session, _)| session).collect();
        let at = self.now;
        for session in attached {
            let gateway = stentor_types::GatewayId(gateway);
            if !self.command(life, session, Command::GatewayLost(gateway, at)) {
                self.after(SECOND_US, Job::GatewayLost { gateway: gateway.0 });
            }
        }
    }
}
