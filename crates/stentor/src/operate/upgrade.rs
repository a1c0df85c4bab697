//! `stentor upgrade`: which versions a cluster runs, and the end of the time in which it can go back.
//!
//! While members of two versions run, all of them write what the older one can read. Only when the cluster's
//! version is raised does the newer one write what is new; from then on the older one does not start.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Context as _;
use serde_json::{Value, json};
use stentor_cluster_nats::operator::{self, Alive, ClusterVersion};

use super::{
    Printed,
    flags::{Cluster, UpgradeCommand},
    reach::Reach,
    run,
};
use crate::serve::version;

/// What is known of the versions of a cluster.
struct Versions {
    cluster: ClusterVersion,
    members: Vec<Alive>,
    /// That of this program.
    program: u32,
}

/// What raising the version of the cluster comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It may be raised to this.
    Raise(u32),
    /// It has been.
    Done,
    /// Nobody runs.
    Nobody,
    /// These are not of the version that is to be the cluster's.
    Older(Vec<Alive>),
}

/// `stentor upgrade status` and `stentor upgrade finalize`.
pub(crate) fn upgrade(command: &UpgradeCommand) -> anyhow::Result<ExitCode> {
    match command {
        UpgradeCommand::Status(flags) => run(status(&flags.cluster)),
        UpgradeCommand::Finalize(flags) => run(finalize(&flags.cluster)),
    }
}

async fn status(flags: &Cluster) -> anyhow::Result<Printed> {
    let versions = Versions::read(&Reach::open(flags).await?).await?;
    let next = versions.verdict().advice(versions.cluster.version);
    let json = versions.json([("next", json!(next))]);
    Ok(Printed::new(flags, &json, || format!("{}\n{next}", versions.words())))
}

async fn finalize(flags: &Cluster) -> anyhow::Result<Printed> {
    let reach = Reach::open(flags).await?;
    let mut versions = Versions::read(&reach).await?;
    let (before, verdict) = (versions.cluster.version, versions.verdict());
    if let Verdict::Raise(to) = verdict {
        let raised = operator::finalize(&reach.connection, versions.cluster, to).await;
        raised
            .context("nats: the version could not be raised; ask for `stentor upgrade status`")?;
        versions.cluster.version = to;
    }
    let after = versions.cluster.version;
    let is_done = matches!(verdict, Verdict::Raise(_) | Verdict::Done);
    let older = match &verdict {
        Verdict::Older(older) => older.iter().map(Alive::to_string).collect(),
        Verdict::Raise(_) | Verdict::Done | Verdict::Nobody => Vec::new(),
    };
    let more = [("finalized", json!(is_done)), ("before", json!(before)), ("older", json!(older))];
    let said = match &verdict {
        Verdict::Raise(_) => format!(
            "The cluster had version {before} and has {after} now. Members of a lower version do not start any more."
        ),
        Verdict::Done => {
            format!("The cluster has version {after} already: nothing was to be done.")
        }
        Verdict::Nobody | Verdict::Older(_) => {
            format!("Nothing was changed. {}", verdict.advice(before))
        }
    };
    let printed = Printed::new(flags, &versions.json(more), || said);
    Ok(if is_done { printed } else { printed.failed() })
}

// === impl Versions ===

impl Versions {
    async fn read(reach: &Reach) -> anyhow::Result<Self> {
        let cluster = operator::cluster_version(&reach.connection).await.context(
            "nats: the cluster cannot be asked for its version; has a router ever run there, does JetStream \
             have a leader, and may this user read it (`deploy/nats/accounts.conf`, user operator)?",
        )?;
        let members = operator::members(&reach.connection).await?;
        Ok(Self { cluster, members, program: version() })
    }

    fn verdict(&self) -> Verdict {
        let current = self.cluster.version;
        let versions = || self.members.iter().map(|member| member.version);
        let (Some(lowest), Some(highest)) = (versions().min(), versions().max()) else {
            return Verdict::Nobody;
        };
        if lowest > current {
            return Verdict::Raise(lowest);
        }
        // What somebody wants to come to: that of the newest member, or of who asks.
        let wanted = highest.max(self.program).max(current);
        let older = self.members.iter().filter(|member| member.version < wanted);
        let older: Vec<_> = older.cloned().collect();
        if older.is_empty() { Verdict::Done } else { Verdict::Older(older) }
    }

    fn json<const N: usize>(&self, more: [(&str, Value); N]) -> Value {
        let members = self.members.iter().map(
            |member| json!({ "role": member.role, "name": member.name, "version": member.version }),
        );
        let mut json = json!({
            "cluster": self.cluster.version,
            "program": self.program,
            "members": members.collect::<Vec<_>>(),
        });
        if let Some(object) = json.as_object_mut() {
            object.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        json
    }

    fn words(&self) -> String {
        let mut text = format!(
            "The cluster has version {}, this program {}.\n",
            self.cluster.version, self.program
        );
        for member in &self.members {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  {:<10} {:<40} {}", member.role, member.name, member.version);
        }
        text
    }
}

// === impl Verdict ===

impl Verdict {
    /// What to do next.
    fn advice(&self, current: u32) -> String {
        match self {
            Self::Raise(to) => format!(
                "All members have version {to} or later: going back to version {current} is possible until \
                 `stentor upgrade finalize`."
            ),
            Self::Done => "All members have the version of the cluster.".to_owned(),
            Self::Nobody => "Nobody runs: start the cluster first.".to_owned(),
            Self::Older(older) => {
                let names: Vec<_> = older
                    .iter()
                    .map(|member| format!("{member} (version {})", member.version))
                    .collect();
                format!(
                    "Members of an older version run: {}. Replace them first.",
                    names.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(current: u32, program: u32, members: &[u32]) -> Verdict {
        let member = |(number, version): (usize, &u32)| Alive {
            role: "router",
            name: format!("r{number}"),
            version: *version,
        };
        let members = members.iter().enumerate().map(member).collect();
        let cluster = ClusterVersion::of(current);
        Versions { cluster, members, program }.verdict()
    }

    fn older(verdict: Verdict) -> Vec<String> {
        match verdict {
            Verdict::Older(older) => older.into_iter().map(|member| member.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_version_is_raised_to_what_every_member_knows_and_no_further() {
        assert_eq!(verdict(1, 2, &[2, 2, 2]), Verdict::Raise(2));
        assert_eq!(verdict(1, 3, &[3, 2]), Verdict::Raise(2));
        assert_eq!(older(verdict(1, 2, &[2, 1, 2])), ["r1"]);
        // Whoever asks has the new program, and nobody else.
        assert_eq!(older(verdict(1, 2, &[1, 1])), ["r0", "r1"]);
    }

    #[test]
    fn what_was_raised_stays_so_and_nobody_decides_for_a_cluster_that_is_down() {
        assert_eq!(verdict(2, 2, &[2, 2]), Verdict::Done);
        assert_eq!(verdict(2, 1, &[2, 2]), Verdict::Done);
        assert_eq!(verdict(1, 2, &[]), Verdict::Nobody);
        assert_eq!(older(verdict(2, 2, &[2, 1])), ["r1"]);
    }
}
