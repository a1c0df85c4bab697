//! Arbitrary values of everything that is written.

use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use stentor_postoffice::{BotRequest, Commit, Directory, DirectoryEntry};
use stentor_types::{
    Alias, AppId, Audience, ClientInstance, ClockSegment, CommitId, ConnectionId, Control,
    ControlEpoch, DraftEnd, Epoch, Event, EventKind, EventNumber, FailureReason, GatewayId,
    Incarnation, Mid, Notice, Permissions, PlacementKey, RejectCode, Role, Said, Sequence,
    SessionId, Stamp, Timestamp, TurnEnd, UserKey,
};
use stentor_wire::{CommitRecord, DirectoryRecord, LOGIC, encode_event};

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let audience = select(vec![Audience::All, Audience::Staff]);
    (1_u64.., any::<i64>(), audience, kind()).prop_map(|(n, stamp, audience, kind)| Event {
        n: EventNumber(n),
        stamp: Stamp(stamp),
        audience,
        kind,
    })
}

pub(crate) fn record() -> impl Strategy<Value = CommitRecord> {
    let at = (any::<u64>(), 1_u64..1 << 40, any::<u64>(), 0_u64..1 << 50);
    let ids = (any::<u128>(), any::<u64>(), any::<u128>(), session(), 0_u64..9);
    let content =
        (vec(event(), 0..6), vec((number(), bytes()), 0..3), option::of(bytes()), any::<bool>());
    (at, ids, content).prop_map(|((epoch, first, at, due), ids, content)| {
        let (id, writer, log, session, previous) = ids;
        let (mut events, requests, snapshot, calm) = content;
        for (n, event) in (first..).zip(&mut events) {
            event.n = EventNumber(n);
        }
        CommitRecord {
            app: app(),
            session,
            previous: (previous > 0).then_some(Sequence(previous)),
            id: CommitId(id),
            writer,
            log_incarnation: Incarnation(log),
            min_logic: LOGIC,
            events: events.iter().map(encode_event).collect(),
            commit: Commit {
                epoch: Epoch(epoch),
                first: EventNumber(first),
                at: Timestamp(at),
                events,
                requests: requests.into_iter().map(|(n, body)| BotRequest { n, body }).collect(),
                effects: Vec::new(),
                next_deadline: (!calm).then_some(Timestamp(due + 1)),
                replies: Vec::new(),
            },
            snapshot,
        }
    })
}

pub(crate) fn directory() -> impl Strategy<Value = DirectoryRecord> {
    let entry =
        (option::of(".{0,20}"), session(), any::<u64>()).prop_map(|(claimed, session, at)| {
            DirectoryEntry { claimed, session, last_used: Timestamp(at) }
        });
    let ids = (user(), option::of(1_u64..), any::<u128>(), any::<u64>(), any::<u128>());
    (ids, vec(entry, 0..9)).prop_map(|((user, previous, id, at, log), entries)| DirectoryRecord {
        app: app(),
        user,
        previous: previous.map(Sequence),
        id: CommitId(id),
        at: Timestamp(at),
        log_incarnation: Incarnation(log),
        min_logic: LOGIC,
        directory: Directory { entries },
    })
}

fn kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        (user(), option::of(".{0,9}"))
            .prop_map(|(visitor, claimed)| EventKind::Opened { visitor, claimed }),
        (who(), role(), any::<bool>()).prop_map(|((user, alias, display_name), role, counted)| {
            EventKind::Joined { user, role, alias, display_name, counted }
        }),
        (connection(), user(), any::<u64>(), any::<(bool, bool)>(), option::of(any::<u128>()))
            .prop_map(|(connection, user, counter, (sends, receives), client)| {
                let permissions = Permissions { sends, receives };
                let client = client.map(ClientInstance);
                EventKind::Attached { connection, user, counter, permissions, client }
            }),
        (connection(), option::of(number()), time()).prop_map(
            |(connection, delivered, leaves_at)| EventKind::Detached {
                connection,
                delivered,
                leaves_at
            }
        ),
        (any::<u64>(), time()).prop_map(|(gateway, leaves_at)| EventKind::GatewayLost {
            gateway: GatewayId(gateway),
            leaves_at
        }),
        (user(), alias(), any::<bool>()).prop_map(|(user, alias, counted)| EventKind::Left {
            user,
            alias,
            counted
        }),
        any::<(u32, u32, u32)>().prop_map(|(total, joined, left)| EventKind::Crowd {
            total,
            joined,
            left
        }),
        (user(), number(), any::<i64>(), any::<i64>()).prop_map(
            |(user, from, offset_ms, floor)| {
                EventKind::Clock {
                    user,
                    segment: ClockSegment { from, offset_ms, floor: Stamp(floor) },
                }
            }
        ),
        (who(), mid(), role(), option::of(".{0,9}"), any::<bool>(), bytes()).prop_map(
            |((user, alias, display_name), mid, role, text, greeting, body)| {
                EventKind::Said(Said { user, role, alias, display_name, mid, text, greeting, body })
            }
        ),
        (number(), who(), bytes()).prop_map(|(turn, (user, alias, _), body)| {
            EventKind::DraftSent { turn, user, alias, body }
        }),
        (number(), who(), select(vec![DraftEnd::Dismissed, DraftEnd::Edited])).prop_map(
            |(turn, (user, alias, _), how)| EventKind::DraftDone { turn, user, alias, how }
        ),
        who().prop_map(|(user, alias, display_name)| EventKind::SteppedIn {
            user,
            alias,
            display_name
        }),
        (who(), any::<bool>()).prop_map(|((user, alias, display_name), lapsed)| {
            EventKind::SteppedOut { user, alias, display_name, lapsed }
        }),
        who().prop_map(|(user, alias, _)| EventKind::Ended { user, alias }),
        (number(), any::<u8>(), time()).prop_map(|(turn, attempt, deadline)| {
            EventKind::TurnStarted { turn, attempt, deadline }
        }),
        (number(), any::<u8>(), any::<u32>(), reason()).prop_map(
            |(turn, attempt, delay_s, reason)| EventKind::TurnFailed {
                turn,
                attempt,
                delay_s,
                reason
            }
        ),
        (number(), bytes(), any::<bool>()).prop_map(|(turn, body, handoff)| EventKind::Replied {
            turn,
            body,
            handoff
        }),
        (number(), how()).prop_map(|(turn, how)| EventKind::TurnEnded { turn, how }),
        (number(), bytes()).prop_map(|(turn, body)| EventKind::Draft { turn, body }),
        (select(vec![Notice::QueueFull, Notice::NobodyFree]), ".{0,9}")
            .prop_map(|(notice, text)| EventKind::Notice { notice, text }),
        (vec(user(), 0..3), any::<u64>()).prop_map(|(agents, epoch)| {
            let agents: std::collections::BTreeSet<_> = agents.into_iter().collect();
            let bot = agents.is_empty();
            let control = if bot { Control::Bot } else { Control::Agents(agents) };
            EventKind::ControlChanged { control, epoch: ControlEpoch(epoch) }
        }),
        (mid(), code(), bytes()).prop_map(|(mid, code, body)| EventKind::Rejected {
            mid,
            code,
            body
        }),
        Just(EventKind::Erased),
        Just(EventKind::Unknown),
    ]
}

pub(crate) fn app() -> AppId {
    AppId::try_new("demo").unwrap()
}

fn who() -> impl Strategy<Value = (UserKey, Alias, Option<String>)> {
    (user(), alias(), option::of(".{0,9}"))
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Visitor, Role::Agent])
}

fn reason() -> impl Strategy<Value = FailureReason> {
    select(vec![
        FailureReason::TimedOut,
        FailureReason::Unreachable,
        FailureReason::Status,
        FailureReason::BadAnswer,
        FailureReason::BreakerOpen,
        FailureReason::NotAllowed,
    ])
}

fn how() -> impl Strategy<Value = TurnEnd> {
    select(vec![TurnEnd::Empty, TurnEnd::Interrupted, TurnEnd::Overflow, TurnEnd::Stale])
}

fn code() -> impl Strategy<Value = RejectCode> {
    select(vec![
        RejectCode::Poison,
        RejectCode::NotPermitted,
        RejectCode::TooManyConnections,
        RejectCode::NotInControl,
        RejectCode::Expired,
        RejectCode::NoSession,
        RejectCode::Malformed,
        RejectCode::Erased,
    ])
}

fn user() -> impl Strategy<Value = UserKey> {
    any::<[u8; 16]>().prop_map(UserKey)
}

fn alias() -> impl Strategy<Value = Alias> {
    ".{0,9}".prop_map(|text| Alias(Arc::from(text)))
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn number() -> impl Strategy<Value = EventNumber> {
    any::<u64>().prop_map(EventNumber)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn session() -> impl Strategy<Value = SessionId> {
    (any::<u64>(), any::<u128>())
        .prop_map(|(key, random)| SessionId::new(PlacementKey(key), random))
}

fn connection() -> impl Strategy<Value = ConnectionId> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(gateway, number)| ConnectionId { gateway: GatewayId(gateway), number })
}

fn mid() -> impl Strategy<Value = Mid> {
    (any::<u128>(), any::<u64>())
        .prop_map(|(client, counter)| Mid { client: ClientInstance(client), counter })
}
