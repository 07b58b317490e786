//! What the process was started with, read once, and what of it each kind of child gets.
//!
//! A child inherits nothing: it gets what [`ALLOWED`] names, what the person names, and what the
//! factory sets. Tokens, and the files by which a product could steer a CI job (`GITHUB_ENV`,
//! `GITHUB_PATH`), are kept from products and agents by not being on the list.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A child's whole environment.
pub type Variables = BTreeMap<OsString, OsString>;

/// Who gets a variable of the person's environment without it being named in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Prepare, gates and scenarios, and the agent.
    Everyone,
    /// Prepare, gates and scenarios. A store that installers write to or that holds a login: what
    /// an agent leaves there would flow to the judge.
    Product,
    /// Git and other programs that the factory calls for itself, and all the others.
    ToolsAndEveryone,
}

/// The variables of the person's environment that children get, when they are set.
pub const ALLOWED: &[(&str, Audience)] = &[
    // Who and where.
    ("PATH", Audience::ToolsAndEveryone),
    ("USER", Audience::ToolsAndEveryone),
    ("LOGNAME", Audience::ToolsAndEveryone),
    ("TZ", Audience::ToolsAndEveryone),
    ("CI", Audience::Everyone),
    // Which certificates to trust.
    ("SSL_CERT_FILE", Audience::ToolsAndEveryone),
    ("SSL_CERT_DIR", Audience::ToolsAndEveryone),
    ("CURL_CA_BUNDLE", Audience::ToolsAndEveryone),
    ("GIT_SSL_CAINFO", Audience::ToolsAndEveryone),
    ("GIT_SSL_CAPATH", Audience::ToolsAndEveryone),
    ("REQUESTS_CA_BUNDLE", Audience::Everyone),
    ("NODE_EXTRA_CA_CERTS", Audience::Everyone),
    ("PIP_CERT", Audience::Everyone),
    ("CARGO_HTTP_CAINFO", Audience::Everyone),
    ("NIX_SSL_CERT_FILE", Audience::ToolsAndEveryone),
    // Where toolchains are; only read.
    ("RUSTUP_HOME", Audience::Everyone),
    ("RUSTUP_TOOLCHAIN", Audience::Everyone),
    ("PYENV_ROOT", Audience::Everyone),
    ("PYENV_VERSION", Audience::Everyone),
    ("RBENV_ROOT", Audience::Everyone),
    ("NVM_DIR", Audience::Everyone),
    ("NVM_BIN", Audience::Everyone),
    ("VOLTA_HOME", Audience::Everyone),
    ("FNM_DIR", Audience::Everyone),
    ("ASDF_DATA_DIR", Audience::Everyone),
    ("MISE_DATA_DIR", Audience::Everyone),
    ("SDKMAN_DIR", Audience::Everyone),
    ("GOROOT", Audience::Everyone),
    ("JAVA_HOME", Audience::Everyone),
    ("DOTNET_ROOT", Audience::Everyone),
    ("ANDROID_HOME", Audience::Everyone),
    ("ANDROID_SDK_ROOT", Audience::Everyone),
    ("pythonLocation", Audience::Everyone),
    ("Python_ROOT_DIR", Audience::Everyone),
    ("Python3_ROOT_DIR", Audience::Everyone),
    ("LD_LIBRARY_PATH", Audience::Everyone),
    ("PKG_CONFIG_PATH", Audience::Everyone),
    ("LOCALE_ARCHIVE", Audience::Everyone),
    // Where toolchains store.
    ("CARGO_HOME", Audience::Product),
    ("GOPATH", Audience::Product),
    ("GOMODCACHE", Audience::Product),
    ("GOCACHE", Audience::Product),
    ("GRADLE_USER_HOME", Audience::Product),
    ("VIRTUAL_ENV", Audience::Product),
    ("CONDA_PREFIX", Audience::Product),
    ("UV_CACHE_DIR", Audience::Product),
    ("PIP_CACHE_DIR", Audience::Product),
    ("PLAYWRIGHT_BROWSERS_PATH", Audience::Product),
];

/// The variables that name a proxy; products and agents get those without a password in them.
pub const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Homes of toolchains that are looked for in the person's home when the variable is unset,
/// since a child whose home is another would not find them.
const HOMES: [(&str, &str); 9] = [
    ("RUSTUP_HOME", ".rustup"),
    ("CARGO_HOME", ".cargo"),
    ("PYENV_ROOT", ".pyenv"),
    ("RBENV_ROOT", ".rbenv"),
    ("NVM_DIR", ".nvm"),
    ("VOLTA_HOME", ".volta"),
    ("ASDF_DATA_DIR", ".asdf"),
    ("MISE_DATA_DIR", ".local/share/mise"),
    ("SDKMAN_DIR", ".sdkman"),
];

/// Where a person's own stores lie; passed on only to a child that has the person's home.
const STORES: [&str; 3] = ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

/// The search path where none is set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What the process was started with.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: Variables,
    current_dir: PathBuf,
}

/// Something that the environment had to say and did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// Neither `XDG_STATE_HOME` nor `HOME` names a directory.
    #[error(
        "there is no place for the factory's state: set HOME or XDG_STATE_HOME to an absolute path"
    )]
    NoStateDir,
}

impl Environment {
    /// Reads the variables and the current directory; the only place that does.
    ///
    /// # Errors
    /// The current directory is gone or can't be reached.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    pub fn read() -> io::Result<Self> {
        Ok(Self::from_parts(std::env::vars_os().collect(), std::env::current_dir()?))
    }

    /// Returns an environment of the given parts.
    pub fn from_parts(variables: Variables, current_dir: PathBuf) -> Self {
        Self { variables, current_dir }
    }

    /// Returns the value of the variable `name`; none when it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }

    /// Returns itself with another value of one variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Returns the file of this very program.
    ///
    /// # Errors
    /// The system can't tell.
    pub fn executable(&self) -> io::Result<PathBuf> {
        std::env::current_exe()
    }

    /// Returns the directory in which the process was started.
    pub fn current_dir(&self) -> &Path {
        &self.current_dir
    }

    /// Returns the directory for temporary files: `TMPDIR`, else `/tmp`.
    pub fn temp_dir(&self) -> PathBuf {
        self.directory("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"))
    }

    /// Returns the person's home; none when `HOME` is unset or no absolute path.
    pub fn home(&self) -> Option<PathBuf> {
        self.directory("HOME")
    }

    /// Returns the directory of the factory's own state, which may not exist yet:
    /// `$XDG_STATE_HOME/dark-factory`, else `~/.local/state/dark-factory`.
    ///
    /// # Errors
    /// Neither variable holds an absolute path.
    pub fn state_dir(&self) -> Result<PathBuf, EnvironmentError> {
        self.directory("XDG_STATE_HOME")
            .or_else(|| self.home().map(|home| home.join(".local/state")))
            .map(|state| state.join("dark-factory"))
            .ok_or(EnvironmentError::NoStateDir)
    }

    /// Returns the mechanisms of confinement that are to be done without, by `DARK_FACTORY_WITHOUT`:
    /// names with commas or spaces between them; empty where it is unset.
    pub fn done_without(&self) -> Vec<String> {
        let names = self.get("DARK_FACTORY_WITHOUT").map(OsStr::to_string_lossy);
        let names = names.iter().flat_map(|names| names.split([',', ' ']));
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Returns whether this is a CI job, by `CI`.
    pub fn is_ci(&self) -> bool {
        self.get("CI").is_some_and(|value| value != "false" && value != "0")
    }

    /// Returns whether this is a job of GitHub Actions.
    pub fn is_github(&self) -> bool {
        self.get("GITHUB_ACTIONS").is_some_and(|value| value == "true")
    }

    /// Returns whether the person wants no colours, by `NO_COLOR` or a dumb terminal.
    pub fn no_color(&self) -> bool {
        self.get("NO_COLOR").is_some() || self.get("TERM").is_some_and(|term| term == "dumb")
    }

    /// Returns the environment of programs that the factory calls for itself (`git`, `gh`): the
    /// person's home, certificates and proxies, a fixed locale, and a search path without relative
    /// entries, so that no program of the product is taken for one of ours.
    pub fn for_tools(&self) -> Variables {
        let mut out = self.allowed(|audience| audience == Audience::ToolsAndEveryone);
        out.extend(PROXIES.iter().filter_map(|name| self.pair(name)));
        out.extend(["HOME", "TMPDIR", "XDG_CONFIG_HOME"].iter().filter_map(|name| self.pair(name)));
        set_locale(&mut out);
        out
    }

    /// Returns the environment of prepare, gates and scenarios: what [`ALLOWED`] names, the variables that
    /// `extra` names (those that are set), `python_path` (see [`super::python_path`]), a fixed locale and a dumb
    /// terminal.
    ///
    /// `home` and `tmp` are the child's; none means the person's own.
    pub fn for_product(
        &self,
        extra: &[String],
        python_path: impl Into<OsString>,
        home: Option<&Path>,
        tmp: Option<&Path>,
    ) -> Variables {
        let mut out = self.allowed(|_| true);
        out.extend(self.plain_proxies());
        self.add_homes(&mut out, |_| true);
        match home {
            Some(home) => _ = out.insert("HOME".into(), home.into()),
            None => {
                out.extend(self.pair("HOME"));
                out.extend(STORES.iter().filter_map(|name| self.pair(name)));
            }
        }
        match tmp {
            Some(tmp) => _ = out.insert("TMPDIR".into(), tmp.into()),
            None => out.extend(self.pair("TMPDIR")),
        }
        set_terminal(&mut out);
        out.insert("PYTHONPATH".into(), python_path.into());
        out.extend(extra.iter().filter_map(|name| self.pair(name)));
        out
    }

    /// Returns the environment of the agent that works in `workspace`: what [`ALLOWED`] lets
    /// everyone have, the variables that `names` names (those that are set), a home and a
    /// directory for temporary files of its own. Git looks for no repository above `workspace`.
    pub fn for_agent(
        &self,
        names: &[String],
        home: &Path,
        tmp: &Path,
        workspace: &Path,
    ) -> Variables {
        let mut out = self.allowed(|audience| audience != Audience::Product);
        out.extend(self.plain_proxies());
        self.add_homes(&mut out, |name| ALLOWED.contains(&(name, Audience::Everyone)));
        set_terminal(&mut out);
        out.extend(names.iter().filter_map(|name| self.pair(name)));
        out.insert("HOME".into(), home.into());
        out.insert("TMPDIR".into(), tmp.into());
        let ceiling = workspace.parent().unwrap_or(workspace);
        out.insert("GIT_CEILING_DIRECTORIES".into(), ceiling.into());
        out
    }

    /// Returns the executable file that `name` means: by the absolute entries of `PATH`, or, when
    /// `name` holds a slash, relative to the current directory.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() {
            return None;
        }
        if name.contains('/') {
            return Some(self.current_dir.join(name)).filter(|path| is_executable(path));
        }
        self.get("PATH")
            .unwrap_or(OsStr::new(DEFAULT_PATH))
            .as_bytes()
            .split(|b| *b == b':')
            .filter(|dir| dir.starts_with(b"/"))
            .map(|dir| Path::new(OsStr::from_bytes(dir)).join(name))
            .find(|path| is_executable(path))
    }

    /// Returns the path that a person wrote, `~/` meaning their home; none where that is not known.
    pub fn expand(&self, path: &str) -> Option<PathBuf> {
        match path.strip_prefix("~/") {
            Some(rest) => self.home().map(|home| home.join(rest)),
            None => Some(path.into()),
        }
    }

    fn directory(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn pair(&self, name: &str) -> Option<(OsString, OsString)> {
        self.variables.get_key_value(OsStr::new(name)).map(|(k, v)| (k.clone(), v.clone()))
    }

    fn allowed(&self, wanted: impl Fn(Audience) -> bool) -> Variables {
        let mut out = Variables::from([("PATH".into(), DEFAULT_PATH.into())]);
        out.extend(
            ALLOWED
                .iter()
                .filter(|(_, audience)| wanted(*audience))
                .filter_map(|(name, _)| self.pair(name)),
        );
        // In an agent's or a product's tree a relative entry would find what that has put there.
        let path = self.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
        let absolute: Vec<&[u8]> =
            path.as_bytes().split(|b| *b == b':').filter(|dir| dir.starts_with(b"/")).collect();
        out.insert("PATH".into(), OsStr::from_bytes(&absolute.join(&b':')).to_owned());
        out
    }

    fn plain_proxies(&self) -> impl Iterator<Item = (OsString, OsString)> {
        // `http://user:password@host` is a login.
        PROXIES
            .iter()
            .filter_map(|name| self.pair(name))
            .filter(|(_, value)| !value.as_bytes().contains(&b'@'))
    }

    fn add_homes(&self, out: &mut Variables, wanted: impl Fn(&'static str) -> bool) {
        let Some(home) = self.home() else { return };
        for (name, below) in HOMES {
            let path = home.join(below);
            if wanted(name) && !out.contains_key(OsStr::new(name)) && path.is_dir() {
                out.insert(name.into(), path.into());
            }
        }
    }
}

fn set_locale(out: &mut Variables) {
    out.insert("LC_ALL".into(), "C.UTF-8".into());
    out.insert("LANG".into(), "C.UTF-8".into());
}

fn set_terminal(out: &mut Variables) {
    set_locale(out);
    out.insert("TERM".into(), "dumb".into());
    out.insert("SHELL".into(), "/bin/bash".into());
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [(&str, &str); 7] = [
        ("GITHUB_TOKEN", "t"),
        ("GITHUB_ENV", "/e"),
        ("ANTHROPIC_API_KEY", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("SSH_AUTH_SOCK", "/s"),
        ("BASH_ENV", "/b"),
        ("HTTPS_PROXY", "http://me:pw@proxy:1"),
    ];

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
        Environment::from_parts(variables, "/here".into())
    }

    fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
        variables.get(OsStr::new(name)).map(|v| v.to_str().unwrap())
    }

    fn check_state_dir(variables: &[(&str, &str)], expected: Option<&str>) {
        let found = environment(variables).state_dir().ok();
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn no_secret_reaches_the_product_or_the_agent() {
        let all = environment(&SECRETS);
        let here = Path::new("/w/tree");
        for got in [all.for_product(&[], here, None, None), all.for_agent(&[], here, here, here)] {
            for (name, _) in SECRETS {
                assert_eq!(value(&got, name), None, "{name}");
            }
        }
    }

    #[test]
    fn a_named_variable_reaches_the_product_and_the_agent() {
        let all = environment(&SECRETS);
        let names = ["ANTHROPIC_API_KEY".to_owned(), "UNSET".to_owned()];
        let here = Path::new("/w/tree");
        for got in
            [all.for_product(&names, here, None, None), all.for_agent(&names, here, here, here)]
        {
            assert_eq!(value(&got, "ANTHROPIC_API_KEY"), Some("k"));
            assert_eq!(value(&got, "UNSET"), None);
        }
    }

    #[test]
    fn the_product_gets_a_fixed_locale_and_its_root() {
        let person = environment(&[("HOME", "/h"), ("LC_ALL", "de_DE"), ("PYTHONPATH", "/mine")]);
        let got = person.for_product(&[], Path::new("/tree"), None, Some(Path::new("/t")));
        for (name, expected) in [
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "dumb"),
            ("HOME", "/h"),
            ("TMPDIR", "/t"),
            ("PYTHONPATH", "/tree"),
            ("PATH", DEFAULT_PATH),
        ] {
            assert_eq!(value(&got, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_private_home_does_not_come_with_the_persons_stores() {
        let person = environment(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/h/c")]);
        let root = Path::new("/tree");
        let own = person.for_product(&[], root, None, None);
        let private = person.for_product(&[], root, Some(Path::new("/p")), None);
        assert_eq!(value(&own, "XDG_CACHE_HOME"), Some("/h/c"));
        assert_eq!(value(&private, "XDG_CACHE_HOME"), None);
        assert_eq!(value(&private, "HOME"), Some("/p"));
    }

    #[test]
    fn the_agent_gets_toolchains_and_no_store_of_logins() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".rustup")).unwrap();
        std::fs::create_dir(home.path().join(".cargo")).unwrap();
        let person = environment(&[("HOME", home.path().to_str().unwrap())]);
        let (private, work) = (Path::new("/p"), Path::new("/w/space"));
        let agent = person.for_agent(&[], private, Path::new("/t"), work);
        let product = person.for_product(&[], work, Some(private), None);
        assert!(value(&agent, "RUSTUP_HOME").is_some());
        assert_eq!(value(&agent, "CARGO_HOME"), None);
        assert!(value(&product, "RUSTUP_HOME").is_some());
        assert!(value(&product, "CARGO_HOME").is_some());
        assert_eq!(value(&agent, "GIT_CEILING_DIRECTORIES"), Some("/w"));
        assert_eq!(value(&agent, "HOME"), Some("/p"));
    }

    #[test]
    fn no_agent_chooses_its_home_by_naming_it() {
        let person = environment(&[("HOME", "/h")]);
        let agent =
            person.for_agent(&["HOME".into()], Path::new("/p"), Path::new("/t"), Path::new("/w/s"));
        assert_eq!(value(&agent, "HOME"), Some("/p"));
    }

    #[test]
    fn our_own_tools_are_never_found_in_the_tree() {
        let tools = environment(&[("PATH", ".:bin::/usr/bin"), ("HTTPS_PROXY", "http://u:p@h")]);
        let got = tools.for_tools();
        assert_eq!(value(&got, "PATH"), Some("/usr/bin"));
        assert_eq!(value(&got, "HTTPS_PROXY"), Some("http://u:p@h"));
    }

    #[test]
    fn the_state_lies_where_xdg_says_else_in_the_home() {
        check_state_dir(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")], Some("/s/dark-factory"));
        check_state_dir(
            &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")],
            Some("/h/.local/state/dark-factory"),
        );
        check_state_dir(&[("HOME", "")], None);
    }

    #[test]
    fn ci_false_is_no_ci() {
        assert!(environment(&[("CI", "true")]).is_ci());
        assert!(!environment(&[("CI", "false")]).is_ci());
        assert!(!environment(&[]).is_ci());
    }

    #[test]
    fn a_program_is_an_executable_file_on_the_path() {
        let bin = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = bin.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let tool = make("tool", 0o755);
        make("notes", 0o644);
        std::fs::create_dir(bin.path().join("folder")).unwrap();
        let person = environment(&[("PATH", &format!("/nowhere:{}", bin.path().display()))]);
        assert_eq!(person.find_program("tool"), Some(tool.clone()));
        assert_eq!(person.find_program(tool.to_str().unwrap()), Some(tool));
        for absent in ["notes", "folder", "", "missing"] {
            assert_eq!(person.find_program(absent), None, "{absent}");
        }
    }
}
