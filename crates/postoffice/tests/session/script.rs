//! Scripts: `check("attach a; say a1; reply", "joined; said; turn 1; replied")`.
//!
//! Connections `a` to `m` belong to the visitor, `x` to `z` each to an agent of that name. Inputs joined by
//! `&` are decided together. Steps are 10 ms apart.
//!
//! | step | input |
//! |---|---|
//! | `attach a [3] [bare] [clock -60]` | attach; messages sent before; without a stamp; seconds that the device is off from here on |
//! | `say a1 [big] [delayed 3]` | message 1 of `a`; 100 KB; stamped that many seconds ago |
//! | `refuse a1` | set message 1 of `a` aside |
//! | `detach a [5]`, `lost` | gone, event 5 was written; the gateway is gone |
//! | `reply`, `handoff`, `empty`, `fail` | outcome of the attempt that was sent out last |
//! | `take x`, `release x` | control |
//! | `wait 5`, `tick` | 5 s pass and a deadline may have passed; only the latter |
//! | `due` | time passes until the next deadline |
//! | `bot off`, `bot on` | the app's rules change |

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use stentor_postoffice::{BotRules, CROWD_MIN, Commit, Context, Effect, Rules, Session};
use stentor_types::{
    AppId, Attach, Audience, BotResult, ClientClaim, ClientInstance, ConnectionId, Control,
    ControlChange, DraftAction, DraftEnd, EffectId, Epoch, Event, EventKind, EventNumber,
    FailureReason, GatewayId, Input, InputKind, Mid, Notice, Permissions, RejectCode, Reply, Role,
    Say, SessionId, Timestamp, TurnEnd, UserKey, Visitor,
};

pub(crate) const GATEWAY: GatewayId = GatewayId(7);
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000_000);

/// Runs a script and compares what it showed.
#[track_caller]
pub(crate) fn check(script: &str, expected: &str) {
    let mut run = Run::new();
    run.steps(script);
    assert_eq!(run.shown(), expected, "after {script:?}");
}

/// A session under test, with all that it has written.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) session: Session,
    pub(crate) log: Vec<Commit>,
    pub(crate) now: Timestamp,
    pub(crate) rules: Rules,
    /// Participants beyond which agents are counted.
    pub(crate) crowd_min: usize,
    /// All attempts that were sent out.
    pub(crate) effects: Vec<Effect>,
    /// Seconds that devices are off.
    clocks: BTreeMap<UserKey, i64>,
    shown: Vec<String>,
    /// The visitor's messages in order, to name turns by.
    said: Vec<EventNumber>,
}

pub(crate) fn app() -> AppId {
    AppId::try_new("demo").unwrap()
}

pub(crate) fn visitor() -> UserKey {
    Visitor::of(&app(), "visitor").user
}

pub(crate) fn user_of(connection: char) -> (UserKey, Role) {
    match connection {
        'x'..='z' => (UserKey::of(&app(), &connection.to_string()), Role::Agent),
        _ => (visitor(), Role::Visitor),
    }
}

pub(crate) fn connection(name: char) -> ConnectionId {
    ConnectionId { gateway: GATEWAY, number: u64::from(u32::from(name)) }
}

/// Who numbers the messages of a connection: `p`, `q` and `z` speak the second dialect, the first two from
/// one browser.
pub(crate) fn client_of(connection: char) -> Option<ClientInstance> {
    match connection {
        'p' | 'q' => Some(ClientInstance(0x0b5e_55ed << 64)),
        'z' => Some(ClientInstance(0xa6e0 << 64)),
        _ => None,
    }
}

pub(crate) fn mid(name: char, counter: u64) -> Mid {
    Mid { client: client_of(name).unwrap_or_else(|| connection(name).into()), counter }
}

// === impl Run ===

impl Run {
    pub(crate) fn new() -> Self {
        let placement = Visitor::of(&app(), "visitor").placement;
        Self {
            session: Session::new(SessionId::new(placement, 1), Epoch(START.as_secs())),
            log: Vec::new(),
            now: START,
            rules: Rules::default(),
            crowd_min: CROWD_MIN,
            effects: Vec::new(),
            clocks: BTreeMap::new(),
            shown: Vec::new(),
            said: Vec::new(),
        }
    }

    /// What happened, `; ` between.
    pub(crate) fn shown(&self) -> String {
        self.shown.join("; ")
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.log.iter().flat_map(|commit| &commit.events)
    }

    pub(crate) fn steps(&mut self, script: &str) {
        for step in script.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            self.now = self.now.after(Duration::from_millis(10));
            let inputs: Vec<_> = step.split('&').filter_map(|input| self.input(input)).collect();
            self.decide(&inputs);
        }
    }

    /// Decides, checks what holds for every decision, and applies.
    pub(crate) fn decide(&mut self, inputs: &[InputKind]) -> Vec<Reply> {
        let inputs: Vec<_> =
            inputs.iter().map(|kind| Input { at: self.now, kind: kind.clone() }).collect();
        let before = self.session.clone();
        let context = Context { now: self.now, rules: &self.rules, crowd_min: self.crowd_min };
        let commit = self.session.decide(&inputs, &context);
        assert_eq!(self.session, before, "decide changes nothing");
        assert_eq!(commit, self.session.decide(&inputs, &context), "decide is deterministic");
        assert_eq!(commit.replies.len(), inputs.len());
        self.show(&commit);
        self.session.apply(&commit);
        assert_eq!(commit.next_deadline, self.session.next_deadline());
        let replies = commit.replies.clone();
        self.effects.extend(commit.effects.clone());
        if !commit.is_empty() {
            self.log.push(commit);
        }
        replies
    }

    /// The session as the log has it.
    pub(crate) fn refolded(&self) -> Session {
        let mut session = Session::new(self.session.id(), self.session.state().epoch);
        for commit in &self.log {
            session.apply(commit);
        }
        session
    }

    fn input(&mut self, text: &str) -> Option<InputKind> {
        let mut words = text.split_whitespace();
        let verb = words.next().expect("a step has a verb");
        let rest: Vec<&str> = words.collect();
        let first = rest.first().copied().unwrap_or_default();
        let name = first.chars().next().unwrap_or('?');
        let number = |at: usize| rest.get(at).and_then(|word| word.parse::<u64>().ok());
        let after = |word: &str| {
            let place = rest.iter().position(|other| *other == word)?;
            rest.get(place + 1)?.parse::<i64>().ok()
        };
        Some(match verb {
            "attach" => {
                let (user, _) = user_of(name);
                if let Some(seconds) = after("clock") {
                    self.clocks.insert(user, seconds);
                }
                let client_time = (!rest.contains(&"bare")).then(|| self.client_time(user, 1));
                InputKind::Attach(attach(name, number(1).unwrap_or(0), client_time))
            }
            "say" => {
                let client_time =
                    self.client_time(user_of(name).0, after("delayed").unwrap_or_default());
                let size = if rest.contains(&"big") { 100_000 } else { 10 };
                InputKind::Say(say(name, counter(first), Some(client_time), size))
            }
            "refuse" => InputKind::Refuse {
                connection: connection(name),
                mid: mid(name, counter(first)),
                code: RejectCode::Poison,
                body: Bytes::from_static(b"{}"),
            },
            "detach" => InputKind::Detach {
                connection: connection(name),
                delivered: number(1).map(EventNumber),
            },
            "lost" => InputKind::GatewayLost { gateway: GATEWAY },
            "reply" | "handoff" | "empty" | "fail" => {
                InputKind::Outcome { effect: self.effects.last()?.id, result: outcome(verb) }
            }
            "take" => InputKind::Control(ControlChange::Take {
                user: user_of(name).0,
                display_name: None,
            }),
            "note" => {
                let note = say(name, counter(first), None, 10);
                InputKind::Say(Say { note: true, ..note })
            }
            "send" | "dismiss" | "edited" => InputKind::Draft {
                user: user_of(name).0,
                turn: *self.said.get(usize::try_from(number(1)?).ok()?.checked_sub(1)?)?,
                action: draft_action(verb),
            },
            "end" => InputKind::End { user: user_of(name).0 },
            "release" => InputKind::Control(ControlChange::Release { user: user_of(name).0 }),
            "wait" => {
                self.now = self.now.after(Duration::from_secs(number(0).expect("seconds")));
                InputKind::Tick
            }
            "due" => {
                self.now = self.session.next_deadline().expect("something is due");
                InputKind::Tick
            }
            "tick" => InputKind::Tick,
            "erase" => InputKind::Erase,
            "crowd" => {
                self.crowd_min = usize::try_from(number(0).expect("people")).unwrap();
                return None;
            }
            "bot" => {
                self.rules.bot = (first == "on").then(BotRules::default);
                return None;
            }
            other => panic!("unknown step {other:?}"),
        })
    }

    fn client_time(&self, user: UserKey, seconds_ago: i64) -> i64 {
        let off = self.clocks.get(&user).copied().unwrap_or_default();
        i64::try_from(self.now.as_millis()).unwrap() + (off - seconds_ago) * 1_000
    }

    fn show(&mut self, commit: &Commit) {
        for event in &commit.events {
            if let EventKind::Said(_) = event.kind {
                self.said.push(event.n);
            }
            self.shown.extend(self.label(event));
        }
        for reply in &commit.replies {
            match reply {
                Reply::Committed(_) | Reply::Nothing => {}
                Reply::Duplicate(n) => {
                    let place = self.said.iter().position(|said| Some(*said) == *n);
                    self.shown.push(match place {
                        Some(place) => format!("duplicate of {}", place + 1),
                        None => "duplicate".into(),
                    });
                }
                Reply::Rejected(RejectCode::NotPermitted) => {
                    self.shown.push("not permitted".into())
                }
                Reply::Rejected(RejectCode::Poison | RejectCode::Malformed) => {}
                Reply::Rejected(RejectCode::TooManyConnections) => {
                    self.shown.push("too many".into())
                }
                Reply::Rejected(RejectCode::NotInControl) => {
                    self.shown.push("not in control".into())
                }
                Reply::Rejected(RejectCode::Expired) => self.shown.push("expired".into()),
                Reply::Rejected(RejectCode::NoSession) => self.shown.push("no session".into()),
                Reply::Rejected(RejectCode::Erased) => self.shown.push("refused: erased".into()),
                Reply::AttachFirst => self.shown.push("attach first".into()),
                Reply::Gap(expected) => self.shown.push(format!("gap, {expected} expected")),
            }
        }
    }

    /// One event in words; what every script would be full of is left out.
    fn label(&self, event: &Event) -> Option<String> {
        let turn_name = |turn: &EventNumber| {
            self.said.iter().position(|said| said == turn).map_or(0, |place| place + 1)
        };
        let who = |user: &UserKey| match *user {
            user if user == visitor() => String::new(),
            user => ('x'..='z')
                .find(|name| user_of(*name).0 == user)
                .map_or(String::new(), |name| format!(" {name}")),
        };
        Some(match &event.kind {
            EventKind::Opened { .. }
            | EventKind::Attached { .. }
            | EventKind::Detached { .. }
            | EventKind::GatewayLost { .. }
            | EventKind::Clock { .. } => return None,
            EventKind::Joined { counted: true, .. } => "came".into(),
            EventKind::Left { counted: true, .. } => "went".into(),
            EventKind::Crowd { total, joined, left } => format!("+{joined} -{left} = {total}"),
            EventKind::Joined { user, .. } => format!("joined{}", who(user)),
            EventKind::Left { user, .. } => format!("left{}", who(user)),
            EventKind::Said(said) if event.audience == Audience::Staff => {
                format!("note{}", who(&said.user))
            }
            EventKind::Said(said) => format!("said{}", who(&said.user)),
            EventKind::TurnStarted { turn, attempt: 1, .. } => format!("turn {}", turn_name(turn)),
            EventKind::TurnStarted { turn, attempt, .. } => {
                format!("turn {} again ({attempt})", turn_name(turn))
            }
            EventKind::TurnFailed { attempt, delay_s: 0, .. } => format!("failed {attempt}"),
            EventKind::TurnFailed { attempt, delay_s, .. } => {
                format!("failed {attempt}, again in {delay_s} s")
            }
            EventKind::Replied { handoff: true, .. } => "replied with handoff".into(),
            EventKind::Replied { .. } => "replied".into(),
            EventKind::TurnEnded { how, .. } => match how {
                TurnEnd::Empty => "nothing to say",
                TurnEnd::Interrupted => "interrupted",
                TurnEnd::Overflow => "overflow",
                TurnEnd::Stale => "stale",
            }
            .into(),
            EventKind::Draft { .. } => "draft".into(),
            EventKind::DraftSent { turn, user, .. } => {
                format!("draft for {} sent{}", turn_name(turn), who(user))
            }
            EventKind::DraftDone { how: DraftEnd::Dismissed, .. } => "draft dismissed".into(),
            EventKind::DraftDone { how: DraftEnd::Edited, .. } => "draft edited".into(),
            EventKind::SteppedIn { user, .. } => format!("in{}", who(user)),
            EventKind::SteppedOut { user, lapsed: false, .. } => format!("out{}", who(user)),
            EventKind::SteppedOut { user, .. } => format!("lapsed{}", who(user)),
            EventKind::Ended { .. } => "ended".into(),
            EventKind::Notice { notice: Notice::NobodyFree, .. } => "nobody free".into(),
            EventKind::Notice { .. } => "notice".into(),
            EventKind::ControlChanged { control: Control::Bot, .. } => "bot answers".into(),
            EventKind::ControlChanged { control: Control::Agents(agents), .. } => {
                let names: std::collections::BTreeSet<_> = agents.iter().map(who).collect();
                format!("{} in control", names.into_iter().collect::<String>().replace(' ', ""))
            }
            EventKind::Rejected { .. } => "rejected".into(),
            EventKind::Erased => "erased".into(),
            EventKind::Unknown => "unknown".into(),
        })
    }
}

pub(crate) fn attach(name: char, counter: u64, client_time: Option<i64>) -> Attach {
    let (user, role) = user_of(name);
    Attach {
        connection: connection(name),
        user,
        role,
        display_name: None,
        claimed: None,
        client_time,
        counter,
        permissions: Permissions::ALL,
        client: client_of(name).map(|instance| ClientClaim { instance, last: 0 }),
        existing: false,
    }
}

pub(crate) fn say(name: char, counter: u64, client_time: Option<i64>, size: usize) -> Say {
    Say {
        connection: connection(name),
        mid: mid(name, counter),
        client_time,
        text: Some(format!("{name}{counter}")),
        greeting: false,
        note: false,
        body: Bytes::from_static(b"{}"),
        request: Bytes::from(vec![b'x'; size]),
    }
}

pub(crate) fn outcome(verb: &str) -> BotResult {
    let reply = |handoff| BotResult::Reply {
        body: Bytes::from_static(br#"{"outputSpeech":"hi"}"#),
        handoff,
    };
    match verb {
        "reply" => reply(false),
        "handoff" => reply(true),
        "empty" => BotResult::Empty,
        _ => BotResult::Failed(FailureReason::Status),
    }
}

pub(crate) fn draft_action(verb: &str) -> DraftAction {
    match verb {
        "send" => DraftAction::Send,
        "dismiss" => DraftAction::Dismiss,
        _ => DraftAction::Edited,
    }
}

/// The attempt that an event begins, if it begins one.
pub(crate) fn begins(epoch: Epoch, kind: &EventKind) -> Option<EffectId> {
    match kind {
        EventKind::TurnStarted { turn, attempt, .. } => {
            Some(EffectId { epoch, turn: *turn, attempt: *attempt })
        }
        _ => None,
    }
}

fn counter(word: &str) -> u64 {
    word.get(1..).and_then(|digits| digits.parse().ok()).expect("a message like a1")
}
