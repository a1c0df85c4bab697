//! `stentor log fence`: after the log was restored from a backup, nothing that was numbered after the backup may
//! be numbered again.

use std::process::ExitCode;

use serde_json::json;
use stentor_cluster_nats::operator;

use super::{
    Printed,
    flags::Fence,
    reach::{Reach, explained},
    run,
};

const WHAT: &str = "\
This gives the log a new incarnation. With its next commit every session begins a new epoch: numbers go on where \
the log ends, clients are told that what they hold beyond it may be another past, and are shown the session anew. \
Nothing is removed. Needed once after the stream was restored from a backup, or its disks were; never otherwise.";

const AFTER: &str = "\
Start the routers now; gateways and connectors need no restart. Then run `stentor verify`.";

/// `stentor log fence`.
pub(crate) fn fence(flags: &Fence) -> anyhow::Result<ExitCode> {
    run(renew(flags))
}

async fn renew(flags: &Fence) -> anyhow::Result<Printed> {
    let reach = Reach::open(&flags.cluster).await?;
    let settings = reach.log_settings();
    let before = stentor_cluster_nats::incarnation(&reach.connection, &settings).await;
    let before = before.map_err(explained)?.to_string();
    let routers: Vec<_> = operator::members(&reach.connection)
        .await?
        .into_iter()
        .filter(|member| member.role == "router")
        .map(|member| member.name)
        .collect();
    if !routers.is_empty() {
        // They have read the incarnation at their start and would go on writing under the old one.
        let json = json!({ "fenced": false, "incarnation": before, "running_routers": routers });
        let names = routers.join(", ");
        let text = || format!("{WHAT}\n\nNothing was changed: stop all routers first ({names}).");
        return Ok(Printed::new(&flags.cluster, &json, text).failed());
    }
    if !flags.yes {
        let json = json!({ "fenced": false, "incarnation": before, "running_routers": [] });
        let text = || format!("{WHAT}\n\nNothing was changed: say --yes to do it.");
        return Ok(Printed::new(&flags.cluster, &json, text).failed());
    }
    let fenced = stentor_cluster_nats::fence(&reach.connection, &settings).await;
    let after = fenced.map_err(explained)?.to_string();
    let json = json!({ "fenced": true, "incarnation": after, "before": before });
    let text = || format!("The log's incarnation was {before} and is {after} now.\n\n{AFTER}");
    Ok(Printed::new(&flags.cluster, &json, text))
}
