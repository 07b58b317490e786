//! What is to be started, and within which bounds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A child's whole environment; nothing is inherited.
pub type Variables = BTreeMap<OsString, OsString>;

/// What a child reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing: it is at the end at once.
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// The file at this path.
    File(PathBuf),
}

/// How many bytes of each output stream are kept. All are read and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// From the beginning.
    pub head: usize,
    /// From the end, of what the head does not hold.
    pub tail: usize,
}

impl Keep {
    /// Keeps everything, in the head.
    pub const ALL: Self = Self { head: usize::MAX, tail: 0 };
}

/// One call of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program: a path, taken from `dir` where it is relative, or a name that is looked up on
    /// the `PATH` of `env`. Relative entries of that `PATH` are passed over.
    pub program: OsString,
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// The directory it starts in.
    pub dir: PathBuf,
    /// Its whole environment.
    pub env: Arc<Variables>,
    /// What it reads.
    pub stdin: Stdin,
    /// The wall-clock limit; none means that it may run for ever.
    pub limit: Option<Duration>,
    /// The longest silence on both output streams; none means that it may be silent for ever.
    pub idle: Option<Duration>,
    /// The time between TERM and KILL when it has to end.
    pub grace: Duration,
    /// What is kept of its output.
    pub keep: Keep,
    /// Whether what it started outside its process group is found and ended with it.
    pub ends_strays: bool,
}

impl Call {
    /// Returns a call of `program` in `dir` with no arguments, an empty environment, nothing to
    /// read, no limits, 2 s of grace, and all output kept.
    pub fn new(program: impl Into<OsString>, dir: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            dir: dir.into(),
            env: Arc::default(),
            stdin: Stdin::Null,
            limit: None,
            idle: None,
            grace: Duration::from_secs(2),
            keep: Keep::ALL,
            ends_strays: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets the whole environment.
    #[must_use]
    pub fn env(mut self, env: impl Into<Arc<Variables>>) -> Self {
        self.env = env.into();
        self
    }

    /// Sets variables beside or over those of the environment.
    #[must_use]
    pub fn envs<N, V>(mut self, more: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let more = more.into_iter().map(|(name, value)| (name.into(), value.into()));
        Arc::make_mut(&mut self.env).extend(more);
        self
    }

    /// Sets what is read.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets the wall-clock limit.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the longest silence.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Sets the time between TERM and KILL.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Has what it starts outside its process group found and ended with it, as far as the system
    /// lets that be found.
    #[must_use]
    pub fn ending_strays(mut self) -> Self {
        self.ends_strays = true;
        self
    }

    /// Sets what is kept of the output.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }
}
