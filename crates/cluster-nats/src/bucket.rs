//! Buckets that are made by whoever needs them first. Knows nothing of what lies in them.

use async_nats::jetstream::kv;

use crate::connect::Connection;

/// Makes a bucket if it is not there. One that is there stays as it is.
///
/// # Errors
/// It is not there, and the servers do not make it.
pub(crate) async fn ensure(
    connection: &Connection,
    config: kv::Config,
) -> Result<(), async_nats::Error> {
    let jetstream = connection.jetstream();
    if jetstream.get_key_value(&config.bucket).await.is_err() {
        jetstream.create_key_value(config).await?;
    }
    Ok(())
}
