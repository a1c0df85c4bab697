//! Apps from a folder of YAML files, looked at again and again.
//!
//! By content, not by time or inode: that also sees the swapped links of a mounted ConfigMap.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    app::{App, AppSet},
    parse::{Problem, parse},
};

/// How often the folder is looked at.
const POLL: Duration = Duration::from_secs(1);
/// The largest file that is read: an app is a page of text.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A problem and the file that has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct SourceProblem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: Problem,
}

/// What a look at the folder found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The apps in force.
    pub apps: AppSet,
    /// What is wrong; apps with problems stay as they last were.
    pub problems: Vec<SourceProblem>,
}

/// A folder of apps.
#[derive(Debug)]
pub struct FolderSource {
    folder: PathBuf,
    /// The last good version of each file.
    good: BTreeMap<PathBuf, App>,
    sender: watch::Sender<Arc<AppSet>>,
    problems: Vec<SourceProblem>,
}

// === impl FolderSource ===

impl FolderSource {
    /// Looks at the folder for the first time.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::read_dir(folder)?;
        let (sender, _) = watch::channel(Arc::default());
        let mut source =
            Self { folder: folder.to_owned(), good: BTreeMap::new(), sender, problems: Vec::new() };
        source.look();
        Ok(source)
    }

    /// The apps, now and whenever they change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<AppSet>> {
        self.sender.subscribe()
    }

    /// What was wrong at the last look.
    #[must_use]
    pub fn problems(&self) -> &[SourceProblem] {
        &self.problems
    }

    /// Looks again and again until told to stop. `observe` is called after each change with the number
    /// of problems, for a metric.
    pub async fn run(mut self, observe: impl Fn(usize) + Send, stop: CancellationToken) {
        observe(self.problems.len());
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = stop.cancelled() => return,
            }
            let looked = tokio::task::spawn_blocking(move || {
                let changed = self.look();
                (self, changed)
            });
            // The task can only fail while the runtime is torn down.
            let Ok((source, changed)) = looked.await else { return };
            self = source;
            if changed {
                observe(self.problems.len());
            }
        }
    }

    /// Looks at the folder; true if anything is different.
    pub fn look(&mut self) -> bool {
        let (loaded, good) = load(&self.folder, &self.good);
        let news = loaded.problems != self.problems;
        for problem in loaded.problems.iter().filter(|_| news) {
            warn!(file = %problem.file.display(), field = problem.problem.field, problem = problem.problem.message, "app is not as it must be; what was in force stays");
        }
        self.good = good;
        self.problems = loaded.problems;
        let changed = self.sender.send_if_modified(|apps| {
            let differs = **apps != loaded.apps;
            if differs {
                *apps = Arc::new(loaded.apps.clone());
            }
            differs
        });
        if changed {
            info!(apps = loaded.apps.len(), "apps in force");
        }
        changed || news
    }
}

fn load(folder: &Path, before: &BTreeMap<PathBuf, App>) -> (Loaded, BTreeMap<PathBuf, App>) {
    let mut problems = Vec::new();
    let mut good = BTreeMap::new();
    let files = match files(folder) {
        Ok(files) => files,
        Err(error) => {
            let problem =
                Problem { field: "folder".into(), message: format!("cannot be read: {error}") };
            problems.push(SourceProblem { file: folder.to_owned(), problem });
            good.clone_from(before);
            Vec::new()
        }
    };
    for file in files {
        match read(&file).and_then(|text| parse(&text, folder)) {
            Ok(app) => {
                good.insert(file, app);
            }
            Err(found) => {
                problems.extend(
                    found.into_iter().map(|problem| SourceProblem { file: file.clone(), problem }),
                );
                if let Some(app) = before.get(&file) {
                    good.insert(file, app.clone());
                }
            }
        }
    }
    let mut owners: BTreeMap<_, PathBuf> = BTreeMap::new();
    let mut apps = Vec::new();
    for (file, app) in &good {
        if let Some(owner) = owners.get(&app.id) {
            let message = format!(
                "{} is the name of the app in {} already; choose another",
                app.id,
                owner.display()
            );
            let problem = Problem { field: "metadata.name".into(), message };
            problems.push(SourceProblem { file: file.clone(), problem });
        } else {
            owners.insert(app.id.clone(), file.clone());
            apps.push(app.clone());
        }
    }
    (Loaded { apps: AppSet::new(apps), problems }, good)
}

/// The YAML files of a folder, by name; hidden ones are left out.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let yaml =
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, Vec<Problem>> {
    let problem = |message: String| vec![Problem { field: "file".into(), message }];
    let length =
        fs::metadata(file).map_err(|error| problem(format!("cannot be read: {error}")))?.len();
    if length > FILE_BYTES_MAX {
        return Err(problem(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    fs::read_to_string(file).map_err(|error| problem(format!("cannot be read: {error}")))
}
