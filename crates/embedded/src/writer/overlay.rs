//! What a batch that is not yet written will leave in the store, so that writes in one batch are judged
//! by each other too.

use std::collections::HashMap;

use crate::{tables::Tables, values, writer::Table};

/// Times of the values that the batch writes; nothing for one that it removes.
#[derive(Debug, Default)]
pub(super) struct Overlay(HashMap<(Table, Vec<u8>), Option<u64>>);

// === impl Overlay ===

impl Overlay {
    /// The time of the value that is, or will be, there: every value of the store begins with it. What is
    /// damaged has none, and gives way to whatever is written.
    pub(super) fn at(&self, tables: &Tables, table: Table, key: &[u8]) -> Option<u64> {
        if let Some(at) = self.0.get(&(table, key.to_vec())) {
            return *at;
        }
        let kept = tables.of(table).get(key).ok()??.into();
        let value = values::unseal(key, &kept).ok()?;
        values::take(&mut &value[..]).ok()
    }

    pub(super) fn set(&mut self, table: Table, key: Vec<u8>, at: Option<u64>) {
        self.0.insert((table, key), at);
    }
}

impl Tables {
    /// One of the store's tables.
    pub(super) const fn of(&self, table: Table) -> &fjall::Keyspace {
        match table {
            Table::Events => &self.events,
            Table::Sessions => &self.sessions,
            Table::Directories => &self.directories,
            Table::Listings => &self.listings,
            Table::Places => &self.places,
            Table::Erasures => &self.erasures,
        }
    }
}
