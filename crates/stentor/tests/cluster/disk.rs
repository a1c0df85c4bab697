//! The disk under the log is full.

use std::{fs::File, io::Write as _, path::Path, process::Command, time::Duration};

use stentor_testkit::{
    PATIENCE,
    cluster::{ClusterOptions, topology::Kind},
};
use tokio::time::Instant;

use crate::{
    load::Load,
    setting::{Setting, times},
};

/// Enough for what three nodes keep of a short test, and soon filled.
const SIZE: &str = "size=256m";
/// No acknowledgement for so long means that none will come.
const SILENCE: Duration = Duration::from_secs(3);

/// A file system of its own, in memory.
struct SmallDisk(tempfile::TempDir);

// === impl SmallDisk ===

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder.path());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        assert!(
            is_mounted,
            "only root may mount a small file system; leave this out by --skip f13_"
        );
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut file = File::create(self.path().join("ballast")).unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn give_back(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while somebody has files open in it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_on_a_full_disk_nobody_acknowledges_and_what_was_acknowledged_is_there_afterwards() {
    let disk = SmallDisk::mount();
    let folder = disk.path().join("nats");
    let options = |options: ClusterOptions| ClusterOptions {
        nats_folder: Some(folder),
        ..options.without_database()
    };
    let mut setting = Setting::new(options).await;
    let mut load = Load::begin(&setting.cluster).await;
    for _ in 0..times(3) {
        disk.fill();
        is_silent(&load).await;
        disk.give_back();
        // A node whose disk was full keeps nothing any more until it is started again.
        for name in setting.cluster.names(Kind::Nats) {
            setting.cluster.kill(&name).unwrap();
            setting.cluster.start_again(&name).await.unwrap();
        }
        setting.cluster.ready().await.unwrap();
        load.goes_on().await;
    }
    let outcome = load.end(&setting.cluster).await;
    println!("{} times cut off", outcome.came_back());
    setting.end().await;
}

/// Waits until nothing is acknowledged any more.
async fn is_silent(load: &Load) {
    let (begun, mut last, mut since) = (Instant::now(), load.said(), Instant::now());
    while since.elapsed() < SILENCE {
        assert!(begun.elapsed() < PATIENCE, "acknowledged on a full disk: {last:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = load.said();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
