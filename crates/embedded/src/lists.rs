//! Reading the lists of apps' sessions.
//!
//! `listings` says where a session stands, `places` what stands there; they are written together. A place
//! that cannot be read is left out: one damaged value must not hide all sessions behind it.

use std::ops::Bound;

use stentor_store::Listing;
use stentor_types::{AppId, SessionId, Timestamp};
use tracing::warn;

use crate::{
    keys,
    read::ReadError,
    tables::Tables,
    values::{self, Damage, untimed},
};

impl Tables {
    /// What stands at a session's place. One whose place cannot be told has none: it is given another with
    /// its next change.
    pub(crate) fn listing(
        &self,
        app: &AppId,
        key: &[u8],
        session: SessionId,
    ) -> Result<Option<Listing>, ReadError> {
        let mut before = None;
        loop {
            let Some(sealed) = self.listings.get(key)? else { return Ok(None) };
            let value = values::unseal(key, &sealed.into());
            let Ok(at) = value.and_then(|value| values::take(&mut &value[..])) else {
                return Ok(None);
            };
            let place = keys::place(app, Timestamp(at), session);
            match self.places.get(&place)? {
                Some(sealed) => return Ok(place_of(&place, sealed).ok()),
                None if before == Some(at) => return Ok(None),
                // It may have been given another one between the two reads.
                None => before = Some(at),
            }
        }
    }

    /// The first places of a list: those of this prefix, behind `after` if that is given.
    pub(crate) fn listings(
        &self,
        prefix: &[u8],
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Listing>, ReadError> {
        let start = after.map_or_else(|| Bound::Included(prefix.to_vec()), Bound::Excluded);
        let mut listings = Vec::new();
        for pair in self.places.range::<Vec<u8>, _>((start, Bound::Unbounded)) {
            if listings.len() >= limit {
                break;
            }
            let (key, sealed) = pair.into_inner()?;
            if !key.starts_with(prefix) {
                break;
            }
            match place_of(&key, sealed) {
                Ok(listing) => listings.push(listing),
                Err(Damage) => {
                    warn!(key = ?key.escape_ascii().to_string(), "a place in a list is damaged and left out");
                }
            }
        }
        Ok(listings)
    }
}

fn place_of(key: &[u8], sealed: fjall::Slice) -> Result<Listing, Damage> {
    let (at, session) = keys::parse_place(key).ok_or(Damage)?;
    let value = values::unseal(key, &sealed.into())?;
    let (_, [], listing) = untimed(&value)?;
    Ok(Listing { at, session, listing })
}

#[cfg(test)]
mod tests {
    use stentor_store::Store;
    use stentor_types::PlacementKey;

    use super::*;
    use crate::{Embedded, Options};

    #[tokio::test]
    async fn a_damaged_place_hides_nothing_but_itself_and_goes_with_the_next_change() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        let app = AppId::try_new("demo").unwrap();
        let id = |number: u64| SessionId::new(PlacementKey(number), 1);
        for number in 1..=3 {
            let listing = format!("listing {number}").into();
            embedded.put_listing(&app, id(number), Timestamp(number), listing).await.unwrap();
        }
        let damaged = keys::place(&app, Timestamp(2), id(2));
        embedded.tables.places.insert(&damaged, b"nonsense").unwrap();
        let sessions = async || {
            let listings = embedded.listings(&app, None, 10).await.unwrap();
            listings.iter().map(|listing| listing.session).collect::<Vec<_>>()
        };
        assert_eq!(sessions().await, [id(3), id(1)]);
        assert_eq!(embedded.listing(&app, id(2)).await.unwrap(), None);
        embedded.put_listing(&app, id(2), Timestamp(9), "listing 2".into()).await.unwrap();
        assert_eq!(sessions().await, [id(2), id(3), id(1)]);
        assert!(embedded.tables.places.get(&damaged).unwrap().is_none());
    }
}
