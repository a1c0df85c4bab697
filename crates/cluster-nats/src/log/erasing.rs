//! Removing what the log has of a session so that its bytes are gone: each message is overwritten in its file.
//!
//! A purge, by which the log is trimmed, only lets go of messages; their bytes stay until their block goes.

use stentor_cluster::{Entity, EntityKind, LogError, TrimReport};
use stentor_types::{AppId, Sequence, SessionId};
use stentor_wire::{pb, session_to_bytes};

use prost::Message as _;

use super::{NatsLog, trouble::Trouble};
use crate::{dead, subjects};

/// Bytes of effects read at a time.
const PAGE_BYTES: usize = 4 << 20;

// === impl NatsLog ===

impl NatsLog {
    /// Effects and letters first: where to look for them is known from the records.
    pub(super) async fn erase_all(
        &self,
        entity: &Entity,
        before: Sequence,
    ) -> Result<TrimReport, LogError> {
        let subject = subjects::entity(self.settings.group, entity);
        if let EntityKind::Session(session) = entity.kind {
            // An effect is never written before the first record of its session, and where that is not known,
            // because it has gone, all are looked at.
            let first = self.next_of(&subject, Sequence(0)).await?.map(|first| first.sequence);
            let from = first.filter(|first| *first < before).unwrap_or(Sequence(0));
            self.erase_effects(&entity.app, session, from, before).await?;
            let letters = dead::erase(&self.connection, &entity.app, session).await;
            letters.map_err(Trouble::of("erasing dead letters"))?;
        }
        let mut report = TrimReport::default();
        let mut next = Sequence(0);
        while let Some(found) = self.next_of(&subject, next).await? {
            if found.sequence >= before {
                break;
            }
            self.erase_message(found.sequence).await?;
            report.records += 1;
            next = Sequence(found.sequence.0.saturating_add(1));
        }
        Ok(report)
    }

    /// Effects of all sessions of an app lie together, so each is looked into.
    async fn erase_effects(
        &self,
        app: &AppId,
        session: SessionId,
        from: Sequence,
        before: Sequence,
    ) -> Result<(), LogError> {
        let subject = subjects::effects(self.settings.group, app);
        let session = session_to_bytes(session);
        let mut next = from;
        loop {
            let range = self.range(&subject, next, PAGE_BYTES).await?;
            let mut messages = range.messages;
            if !range.more {
                // A replica that lags behind does not know where the end is.
                let after = messages
                    .last()
                    .map_or(next, |last| Sequence(last.sequence.0.saturating_add(1)));
                match self.next_of(&subject, after).await? {
                    Some(found) => messages.push(found),
                    None if messages.is_empty() => return Ok(()),
                    None => {}
                }
            }
            for message in messages {
                if message.sequence >= before {
                    return Ok(());
                }
                next = Sequence(message.sequence.0.saturating_add(1));
                let effect = pb::Effect::decode(message.payload);
                if effect.is_ok_and(|effect| effect.session == session) {
                    self.erase_message(message.sequence).await?;
                }
            }
        }
    }

    async fn erase_message(&self, sequence: Sequence) -> Result<(), LogError> {
        match self.stream.delete_message(sequence.0).await {
            Ok(_) => Ok(()),
            // Somebody else was quicker, perhaps the same command a while ago.
            Err(cause) => match self.next_of(">", sequence).await? {
                Some(found) if found.sequence == sequence => {
                    Err(Trouble::of("erasing a message")(cause))
                }
                _ => Ok(()),
            },
        }
    }
}
