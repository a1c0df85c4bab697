//! The names of what lies in the log: one subject per entity, one per app for its effects.
//!
//! | subject | holds |
//! |---|---|
//! | `log.<group>.<partition>.<app>.s.<session>` | the records of a session |
//! | `log.<group>.<partition>.<app>.d.<placement>-<user>` | the records of a visitor's directory |
//! | `fx.<group>.bot.<app>` | effects of an app's sessions |
//!
//! Everything in a subject is a number, or was checked when it was made: app ids are letters, digits,
//! `_` and `-`, the rest is lower-case hex. So no token can hold a dot or a wildcard.

use std::fmt::Write as _;

use stentor_cluster::{Entity, EntityKind};
use stentor_types::{AppId, Partition, PlacementKey, UserKey};

/// Number of a log group: what shares one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogGroup(pub u16);

/// Where the records of an entity lie.
#[must_use]
pub fn entity(group: LogGroup, entity: &Entity) -> String {
    let mut subject = format!("log.{}.{}.{}", group.0, entity.partition(), entity.app);
    // Writing to a string cannot fail.
    let _ = match entity.kind {
        EntityKind::Session(session) => write!(subject, ".s.{session}"),
        EntityKind::Directory(key, user) => write!(subject, ".d.{:016x}-{user}", key.0),
    };
    subject
}

/// Where effects of an app lie.
#[must_use]
pub fn effects(group: LogGroup, app: &AppId) -> String {
    format!("fx.{}.bot.{app}", group.0)
}

/// All records of a partition.
#[must_use]
pub fn records_of(group: LogGroup, partition: Partition) -> String {
    format!("log.{}.{partition}.>", group.0)
}

/// All records of a group.
#[must_use]
pub fn all_records(group: LogGroup) -> String {
    format!("log.{}.>", group.0)
}

/// All that a group's stream takes.
#[must_use]
pub fn of_group(group: LogGroup) -> Vec<String> {
    vec![all_records(group), format!("fx.{}.>", group.0)]
}

/// The entity whose records lie at a subject; nothing if it is no such subject.
#[must_use]
pub fn parse_entity(group: LogGroup, subject: &str) -> Option<Entity> {
    let mut tokens = subject.split('.');
    let mut next = || tokens.next();
    let (log, of_group, partition) = (next()?, next()?, next()?);
    let (app, kind, id) = (AppId::try_new(next()?).ok()?, next()?, next()?);
    let kind = match kind {
        "s" => EntityKind::Session(id.parse().ok()?),
        "d" => {
            let (key, user) = id.split_once('-')?;
            let key = PlacementKey(u64::from_str_radix(key, 16).ok()?);
            let user = u128::from_str_radix(user, 16).ok()?;
            EntityKind::Directory(key, UserKey(user.to_be_bytes()))
        }
        _ => return None,
    };
    let found = Entity { app, kind };
    let whole = next().is_none() && log == "log";
    let canonical =
        whole && of_group == group.0.to_string() && partition == found.partition().to_string();
    // There is one way to write each entity, and no other is accepted.
    (canonical && entity(group, &found) == subject).then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stentor_types::SessionId;

    use super::*;

    fn any_entity() -> impl Strategy<Value = Entity> {
        let id = ("[A-Za-z0-9_-]{1,64}", any::<bool>(), any::<u64>(), any::<u128>());
        id.prop_map(|(app, directory, key, number)| {
            let key = PlacementKey(key);
            let kind = if directory {
                EntityKind::Directory(key, UserKey(number.to_be_bytes()))
            } else {
                EntityKind::Session(SessionId::new(key, number))
            };
            Entity { app: AppId::try_new(&app).unwrap(), kind }
        })
    }

    proptest! {
        #[test]
        fn every_entity_has_a_subject_of_its_own(
            one in any_entity(), other in any_entity(), group: u16,
        ) {
            let group = LogGroup(group);
            let subject = entity(group, &one);
            prop_assert_eq!(parse_entity(group, &subject), Some(one.clone()));
            prop_assert_eq!(one == other, subject == entity(group, &other));
            prop_assert_eq!(parse_entity(LogGroup(group.0 ^ 1), &subject), None);
        }

        #[test]
        fn i17_a_subject_has_six_tokens_and_no_wildcard(any in any_entity()) {
            let subject = entity(LogGroup(0), &any);
            prop_assert_eq!(subject.split('.').count(), 6);
            let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            prop_assert!(subject.chars().all(safe), "{}", subject);
        }

        #[test]
        fn what_is_parsed_is_written_the_same_way(subject in "log\\.0\\.[0-9+]{1,2}\\.a\\.[sd]\\.[0-9a-fA-F-]{40,50}") {
            if let Some(found) = parse_entity(LogGroup(0), &subject) {
                prop_assert_eq!(entity(LogGroup(0), &found), subject);
            }
        }
    }

    #[test]
    fn i17_what_could_mean_more_than_one_subject_is_no_app() {
        for name in ["", "a.b", "*", ">", "a b", "a*", "ä", "a\r\nPUB", "a\0"] {
            assert!(AppId::try_new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn subjects_never_change() {
        // Stored records are found by them.
        let app = AppId::try_new("demo").unwrap();
        let key = PlacementKey(0xab);
        let session = EntityKind::Session(SessionId::new(key, 0xcd));
        let directory = EntityKind::Directory(key, UserKey(7_u128.to_be_bytes()));
        let of = |kind| entity(LogGroup(3), &Entity { app: app.clone(), kind });
        assert_eq!(
            of(session),
            "log.3.43.demo.s.00000000000000ab-000000000000000000000000000000cd"
        );
        assert_eq!(
            of(directory),
            "log.3.43.demo.d.00000000000000ab-00000000000000000000000000000007"
        );
        assert_eq!(effects(LogGroup(3), &app), "fx.3.bot.demo");
    }
}
