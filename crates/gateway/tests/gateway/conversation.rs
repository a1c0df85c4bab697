//! Joining, saying, being shown.

use std::time::Duration;

use crate::{client::Client, owner::Rig};

#[tokio::test(start_paused = true)]
async fn a_widget_joins_says_something_and_is_answered() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    assert_eq!(client.line().await, "connection update", "volunteered");
    client.join("s-1").await;
    assert_eq!(client.lines(2).await, ["connection update", "user joined"]);
    client.say("s-1", "hello").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    assert_eq!(rig.owner.asked(), ["attach s-1 after 0", "say 1"]);
    rig.bot_says(rig.owner.session("s-1"), "hi", &[1]).await;
    assert_eq!(client.lines(2).await, ["stop typing", "new message: hi"]);
    client.silence(Duration::from_secs(60)).await;
}
