//! One of every message of the bus, every field of it set: a fleet of two versions has to understand them.

use bytes::Bytes;
use prost::Message;
use stentor_wire::{DecodeError, pb};

fn id(byte: u8) -> Bytes {
    vec![byte; 16].into()
}

fn session() -> Bytes {
    vec![7; 24].into()
}

fn connection() -> pb::Connection {
    pb::Connection { gateway: 11, number: 12 }
}

pub(crate) fn requests() -> Vec<pb::Request> {
    use pb::{connection_input::Kind as In, outcome_request::Result as Outcome, request::Kind};
    let client = pb::ClientClaim { instance: id(1), last: 3 };
    let attach = pb::AttachInput {
        claimed: Some("claimed".into()),
        display_name: Some("Eve".into()),
        client_time: Some(-4),
        counter: 5,
        session: Some(session()),
        client: Some(client),
        listens: true,
    };
    let say = pb::SayInput {
        session: session(),
        counter: 6,
        client_time: Some(7),
        text: Some("hello".into()),
        greeting: true,
        body: "{}".into(),
        request: "{\"accessToken\":\"secret\"}".into(),
        note: true,
        client: Some(id(1)),
    };
    let control =
        pb::ControlInput { session: session(), take: true, display_name: Some("Ada".into()) };
    let draft =
        pb::DraftInput { session: session(), turn: 8, action: pb::DraftAction::Edited.into() };
    let inputs = [
        In::Attach(attach),
        In::Say(say),
        In::Detach(pb::DetachInput { session: session(), delivered: Some(9) }),
        In::Control(control),
        In::Draft(draft),
        In::End(pb::EndInput { session: session() }),
        In::Refuse(pb::RefuseInput {
            session: session(),
            counter: 10,
            client: Some(id(1)),
            poison: true,
        }),
    ];
    let inputs = inputs.map(|kind| pb::ConnectionInput { received_at: 13, kind: Some(kind) });
    let outcome = |result| pb::OutcomeRequest {
        session: session(),
        epoch: 14,
        turn: 15,
        attempt: 2,
        result: Some(result),
    };
    let answer = pb::OutcomeAnswer { body: "{}".into(), handoff: true };
    let kinds = [
        Kind::Connection(pb::ConnectionRequest {
            connection: Some(connection()),
            user: id(2),
            placement: 16,
            role: pb::Role::Agent.into(),
            inputs: inputs.into(),
        }),
        Kind::Outcome(outcome(Outcome::Answer(answer))),
        Kind::Outcome(outcome(Outcome::Empty(true))),
        Kind::Outcome(outcome(Outcome::Failed(pb::FailureReason::TimedOut.into()))),
        Kind::Fetch(pb::FetchRequest { session: session(), from: 17, to: 18 }),
        Kind::List(pb::ListRequest {
            filter: pb::ListFilter::Mine.into(),
            user: id(2),
            search: "parcel".into(),
            after: "cursor".into(),
            limit: 19,
        }),
        Kind::Signal(pb::SignalRequest {
            connection: Some(connection()),
            user: id(2),
            session: session(),
            typing: true,
        }),
    ];
    kinds.map(|kind| pb::Request { app: "demo".into(), kind: Some(kind), deaths: 46 }).into()
}

pub(crate) fn replies() -> Vec<pb::Reply> {
    use pb::{input_reply::Kind as Out, outcome_reply::Kind as Told, reply::Kind};
    let person = pb::ViewPerson {
        alias: "v-1".into(),
        role: pb::Role::Agent.into(),
        display_name: Some("Ada".into()),
    };
    let view = pb::SessionView {
        people: vec![person],
        control: vec!["a-1".into()],
        waiting_since: 20,
        ended: true,
        you: "v-2".into(),
        counter: 21,
        drafts: vec![22],
        more: 47,
    };
    let attached = pb::AttachedReply {
        session: session(),
        epoch: 23,
        n: 24,
        stamp: 25,
        segments: vec![pb::Clock { user: id(3), ..Default::default() }],
        replay: vec!["event".into()],
        typing: true,
        view: Some(view),
    };
    let results = [
        Out::Attached(attached),
        Out::NoSession(true),
        Out::Committed(26),
        Out::Duplicate(27),
        Out::Rejected(pb::RejectCode::Poison.into()),
        Out::AttachFirst(true),
        Out::Gap(28),
        Out::Nothing(true),
        Out::TryAgainMs(29),
        Out::Damaged(true),
    ];
    let results = results.map(|kind| pb::InputReply { kind: Some(kind) }).into();
    let kinds = [
        Kind::Connection(pb::ConnectionReply { results }),
        Kind::Outcome(pb::OutcomeReply { kind: Some(Told::Settled(true)) }),
        Kind::Outcome(pb::OutcomeReply { kind: Some(Told::TryAgainMs(30)) }),
        Kind::Fetch(pb::FetchReply {
            epoch: 31,
            events: vec!["event".into()],
            try_again: true,
            head: 32,
        }),
        Kind::Malformed("why".into()),
        Kind::List(pb::ListReply { items: vec![listed()], next: "next".into(), try_again: true }),
        Kind::Signalled(true),
    ];
    kinds.map(|kind| pb::Reply { kind: Some(kind) }).into()
}

fn listed() -> pb::Listed {
    pb::Listed {
        session: session(),
        visitor: "v-1".into(),
        display_name: Some("Eve".into()),
        state: pb::ListedState::Waiting.into(),
        waiting_since_ms: 33,
        at: 34,
        n: 35,
        last_role: Some(pb::Role::Agent.into()),
        last_text: "bye".into(),
        people: vec![pb::ViewPerson { alias: "a-1".into(), ..Default::default() }],
        present: true,
        users: vec![id(4)],
    }
}

pub(crate) fn fan_outs() -> Vec<pb::Fanout> {
    let typing = pb::Typing {
        alias: "a-1".into(),
        role: pb::Role::Agent.into(),
        on: true,
        from: Some(connection()),
    };
    let events = pb::Fanout {
        app: "demo".into(),
        session: session(),
        epoch: 36,
        events: vec!["event".into()],
        connections: vec![37, 38],
        head: 39,
        typing: Some(typing),
        ..Default::default()
    };
    let lists = pb::Fanout {
        app: "demo".into(),
        listed: vec![listed()],
        listed_missed: true,
        listed_by: 51,
        listed_number: 52,
        ..Default::default()
    };
    let head = pb::SessionHead {
        app: "demo".into(),
        session: session(),
        epoch: 40,
        n: 41,
        connections: vec![42],
    };
    let heads = pb::Fanout { heads: vec![head], ..Default::default() };
    vec![events, lists, heads, pb::Fanout { missed: true, ..Default::default() }]
}

pub(crate) fn effects() -> Vec<pb::Effect> {
    vec![pb::Effect {
        app: "demo".into(),
        session: session(),
        epoch: 43,
        turn: 44,
        attempt: 3,
        deadline: 45,
        request: "{}".into(),
    }]
}

pub(crate) fn dead_letters() -> Vec<pb::DeadLetter> {
    vec![pb::DeadLetter {
        at: 47,
        reason: pb::DeadReason::RoutersGone.into(),
        app: "demo".into(),
        session: Some(session()),
        what: "message".into(),
        detail: "three routers were gone over it".into(),
        client: Some(id(1)),
        counter: 48,
        sequence: 49,
        body: "{}".into(),
        body_bytes: 50,
    }]
}

/// One after the other, each with its length.
pub(crate) fn together<M: Message>(messages: &[M]) -> Bytes {
    messages.iter().flat_map(Message::encode_length_delimited_to_vec).collect::<Vec<_>>().into()
}

/// The same back.
pub(crate) fn apart<M: Message + Default>(bytes: &Bytes) -> Result<Vec<M>, DecodeError> {
    let mut rest = bytes.clone();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(M::decode_length_delimited(&mut rest)?);
    }
    Ok(messages)
}

/// What came with version 2 of the rules.
pub(crate) fn erasing() -> (Vec<pb::Request>, Vec<pb::Reply>) {
    use pb::erase_reply::Kind;
    let request = pb::EraseRequest { session: session(), token: "".into() };
    let kind = Some(pb::request::Kind::Erase(request));
    let certificate = pb::Certificate {
        app: "demo".into(),
        session: session(),
        epoch: 1,
        events: 2,
        hidden_at: 3,
        gone_at: Some(4),
    };
    let kinds = [
        Kind::Certificate(certificate),
        Kind::NoSession(true),
        Kind::NeedsVersion(2),
        Kind::TryAgainMs(500),
        Kind::Damaged(true),
    ];
    let reply = |kind| pb::Reply {
        kind: Some(pb::reply::Kind::Erase(pb::EraseReply { kind: Some(kind) })),
    };
    let request = pb::Request { app: "demo".into(), kind, deaths: 0 };
    (vec![request], kinds.map(reply).into())
}

/// The same from programs.
pub(crate) fn erasing_for_programs() -> (pb::Request, pb::Reply) {
    let request = pb::EraseRequest { session: session(), token: "a.b.c".into() };
    let kind = Some(pb::request::Kind::Erase(request));
    let request = pb::Request { app: "demo".into(), kind, deaths: 0 };
    let kind = Some(pb::erase_reply::Kind::Forbidden(true));
    (request, pb::Reply { kind: Some(pb::reply::Kind::Erase(pb::EraseReply { kind })) })
}
