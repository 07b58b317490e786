//! What a run enforces: which tier for the agent and for what is judged, and the views of both.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{Backend, BaseUrl, Launch, Stores, TurnPaths, find_tool};
use crate::config::{
    ALLOWED, Access, Audience, Config, Environment, FixtureScope, FixtureSettings, Isolation,
    PROXIES, python_start_of,
};
use crate::event::{Mechanism, SetupNetwork, Tier};
use crate::judge::Judging;
use crate::process::{Variables, find_program};
use crate::wall::confine::{
    Chosen, Closed, Confined, Network, Step, View, Wanted, hand_over, strongest,
};
use crate::wall::copy_tree;
use crate::wall::way_out::{REGISTRIES, WayOut};

use super::{Failure, Halt, Run, StartError};

/// What is enforced in a run.
#[derive(Debug, Clone)]
pub struct Walls {
    /// What keeps the holdout from the agent.
    pub agent: Tier,
    /// What keeps what is judged from the rest of the machine: `copy` or `sandbox`.
    pub judge: Tier,
    /// How this machine confines; none where nothing is confined.
    pub chosen: Option<Chosen>,
}

impl Walls {
    /// Returns those of a run in which nothing is confined.
    pub fn none() -> Self {
        Self { agent: Tier::Copy, judge: Tier::Copy, chosen: None }
    }

    /// Finds out what this machine can enforce of what the settings ask for, and what the person should
    /// know of it. `dir` is a directory of the factory's own.
    ///
    /// # Errors
    /// What is asked for by name can't be had.
    pub fn raise(
        asked: &Isolation,
        env: &Environment,
        launcher: &Path,
        dir: &Path,
    ) -> Result<(Self, Vec<String>), StartError> {
        if asked.agent == Some(Tier::Move) {
            return Err(StartError::Move);
        }
        let confines = |tier: Option<Tier>| tier.is_none_or(|tier| tier == Tier::Sandbox);
        if !confines(asked.agent) && !confines(asked.judge) {
            return Ok((Self::none(), Vec::new()));
        }
        let chosen = match strongest(dir, launcher, &env.for_tools(), &env.done_without()) {
            Ok(chosen) => chosen,
            Err(none) => {
                let by_name = [asked.agent, asked.judge, asked.require];
                if by_name.contains(&Some(Tier::Sandbox)) {
                    return Err(StartError::Isolation { why: none.to_string() });
                }
                let notice = format!("isolation is `copy`: {none}");
                return Ok((Self::none(), vec![notice]));
            }
        };
        let tier = |tier| if confines(tier) { Tier::Sandbox } else { Tier::Copy };
        let (agent, judge) = (tier(asked.agent), tier(asked.judge));
        let notices = chosen
            .passed_over
            .iter()
            .map(|(step, why)| {
                format!("confined by `{}`, since `{step}` can't be had: {why}", chosen.step)
            })
            .collect();
        Ok((Self { agent, judge, chosen: Some(chosen) }, notices))
    }

    /// Returns what the person should know where set-up commands are to have less than the machine's network, and
    /// nothing here can hold that.
    pub(super) fn network_not_held(&self, config: &Config) -> Option<String> {
        let asked = config.network.prepare.unwrap_or_default();
        let is_held = asked == SetupNetwork::Open || self.judge == Tier::Sandbox;
        (!is_held && !config.prepare.is_empty()).then(|| {
            format!(
                "`network.prepare` is `{asked}`, which the tier `{}` can't hold: set-up commands have the machine's network",
                self.judge
            )
        })
    }

    /// Returns whether what is confined has mounts and a loopback of its own.
    pub(super) fn has_namespaces(&self) -> bool {
        self.chosen.as_ref().is_some_and(Chosen::has_namespaces)
    }

    /// Returns whom the agent runs as.
    pub fn agent_user(&self) -> Option<(u32, u32)> {
        self.chosen.as_ref().filter(|_| self.agent == Tier::Sandbox)?.user()
    }

    /// Returns whom the files of what is judged belong to, likewise.
    pub fn judge_user(&self) -> Option<(u32, u32)> {
        self.chosen.as_ref().filter(|_| self.judge == Tier::Sandbox)?.user()
    }

    /// Returns what keeps the exam from the agent, in a fixed order.
    pub(super) fn mechanisms(&self, access: Access) -> Vec<Mechanism> {
        let mut all = Mechanism::COPY.to_vec();
        let Some(chosen) = self.chosen.as_ref().filter(|_| self.agent == Tier::Sandbox) else {
            return all;
        };
        match chosen.step {
            Step::Root => all.extend([Mechanism::Namespaces, Mechanism::OtherUser]),
            Step::UserNamespace | Step::Sudo => all.push(Mechanism::Namespaces),
            Step::Bubblewrap => all.extend([Mechanism::Namespaces, Mechanism::Bubblewrap]),
            Step::Landlock => {}
        }
        all.extend([Mechanism::NoPrivileges, Mechanism::SystemCalls]);
        if chosen.landlock {
            all.push(Mechanism::Landlock);
        }
        // Rules of ports alone leave everything open where there is no broker.
        let by_rules = chosen.step == Step::Landlock;
        if access == Access::Agent || (access == Access::None && !by_rules) {
            all.push(Mechanism::Network);
        }
        all
    }
}

fn all(paths: &[String], env: &Environment) -> Vec<PathBuf> {
    paths.iter().filter_map(|path| env.expand(path)).collect()
}

/// The stores of toolchains, to which the product's own set-up commands install. Of cargo's home what it fetches
/// alone: its login and its settings stand there too.
fn stores(env: &Variables) -> Vec<PathBuf> {
    let named = ALLOWED
        .iter()
        .filter(|(_, audience)| *audience == Audience::Product)
        .filter_map(|(name, _)| Some((*name, env.get(OsStr::new(name)).map(PathBuf::from)?)))
        .filter(|(_, path)| path.is_absolute() && path.is_dir());
    let stores = named.flat_map(|(name, path)| match name {
        "CARGO_HOME" => ["registry", "git"].map(|store| path.join(store)).to_vec(),
        _ => vec![path],
    });
    // Before the first fetch they are not there. Where they can't be made, nothing is fetched to them either.
    stores.filter(|path| path.is_dir() || fs::create_dir(path).is_ok()).collect()
}

impl Run {
    /// Returns what must not be seen by what is confined.
    fn secret(&mut self) -> Result<Vec<PathBuf>, Halt> {
        let mut secret = vec![self.top()?];
        secret.extend(self.env.state_dir().ok());
        let versioned = self.versioned()?;
        secret.extend([versioned.repo.common_dir().to_owned(), versioned.state.dir().to_owned()]);
        Ok(secret)
    }

    /// Returns how gates and scenarios of the present candidate are confined; none where they are not.
    pub(super) fn judging(&mut self, env: &Variables) -> Result<Option<Arc<Judging>>, Halt> {
        let Some(chosen) = self.walls.chosen.clone().filter(|_| self.walls.judge == Tier::Sandbox)
        else {
            return Ok(None);
        };
        let judging = match &self.judging {
            Some(judging) => judging.clone(),
            None => {
                let judging = Arc::new(self.begin_judging(&chosen, env)?);
                self.judging.insert(judging).clone()
            }
        };
        let lives_on = |fixture: &FixtureSettings| fixture.scope == FixtureScope::Run;
        let may_live_on = self.frozen.config.fixtures.iter().any(lives_on);
        judging.turn_to(&self.summary().candidate.0, may_live_on).map_err(|error| {
            Failure::of("disk", "removing what fixtures had of another candidate failed", error)
        })?;
        Ok(Some(judging))
    }

    fn begin_judging(&mut self, chosen: &Chosen, env: &Variables) -> Result<Judging, Halt> {
        let (view, paths, config) = self.view_of_judged(env, &[])?;
        let mut asked = all(&config.isolation.read, &self.env);
        asked.extend(all(&config.isolation.devices, &self.env));
        if let Some(first) = view.left_out.iter().find(|path| asked.contains(path)) {
            let message = format!(
                "`isolation` names {}, which is not there, or is not to be seen by what is judged",
                first.display()
            );
            return Err(Failure::plain("settings", message).into());
        }
        let dir = paths.dir.join("judging");
        let launcher = self.settings.factory.clone();
        let homes = [paths.judge_home.as_path(), paths.judge_tmp.as_path()];
        let is_open = config.opens_fixtures(&self.frozen.set);
        let judging =
            Judging::begin(&dir, &launcher, chosen, (view, env), homes, chosen.user(), is_open);
        let judging = judging.map_err(|error| {
            Failure::of("isolation", format!("making {} failed", dir.display()), error)
        })?;
        if !self.judge_is_moved() {
            return Ok(judging);
        }
        let kept = self.judge_repository()?;
        Ok(judging.with_repository(kept.git, self.judged_at()?.join(".git")))
    }

    /// Returns the root of the person's checkout.
    fn top(&mut self) -> Result<PathBuf, Halt> {
        Ok(self.versioned()?.repo.root().to_owned())
    }

    /// Returns where what is judged sees its tree: where the person's checkout is, as tools that write paths down
    /// expect, and so the same in each run. Where nothing can be seen elsewhere than it lies, there.
    pub(super) fn judged_at(&mut self) -> Result<PathBuf, Halt> {
        match self.judge_is_moved() {
            true => self.top(),
            false => Ok(self.versioned()?.paths.judge.clone()),
        }
    }

    /// Returns where the agent sees its workspace, likewise. That its own program lies in the checkout, and is
    /// no file of the workspace, keeps it where it lies.
    pub(super) fn works_at(&mut self) -> Result<PathBuf, Halt> {
        let workspace = self.versioned()?.paths.workspace.clone();
        if self.walls.agent != Tier::Sandbox || !self.walls.has_namespaces() {
            return Ok(workspace);
        }
        let settings = self.frozen.config.agent.clone();
        let named = settings.command.iter().map(PathBuf::from);
        let found = crate::agent::backend(&settings)
            .ok()
            .and_then(|backend| find_tool(backend, &settings, &self.env)?.path);
        let top = self.top()?;
        let mut own =
            named.chain(found).filter_map(|path| path.strip_prefix(&top).ok().map(Path::to_owned));
        match own.any(|path| top.join(&path).is_file() && !workspace.join(&path).is_file()) {
            true => Ok(workspace),
            false => Ok(top),
        }
    }

    fn view_of_judged(
        &mut self,
        env: &Variables,
        more: &[PathBuf],
    ) -> Result<(View, super::RunPaths, Config), Halt> {
        let (secret, home) = (self.secret()?, self.env.home());
        let config = self.frozen.config.clone();
        let paths = self.versioned()?.paths.clone();
        let (seen, repository) = (self.judged_at()?, self.judge_repository()?);
        let handed: Vec<PathBuf> =
            python_start_of(env, &paths.dir).into_iter().chain([repository.objects]).collect();
        let exam = Closed::of(&paths.judge, &seen, &self.frozen.exam_dir());
        let view = View::of(&Wanted {
            env,
            home: home.as_deref(),
            secret: &secret,
            read: &all(&config.isolation.read, &self.env),
            stores: &[],
            handed: &handed,
            tree: Some((&paths.judge, &seen)),
            write: more,
            devices: &all(&config.isolation.devices, &self.env),
        });
        let view = View { closed: exam.into_iter().collect(), ..view };
        Ok((view, paths, config))
    }

    /// Returns how the product's own set-up commands are confined, and whom they reach where that is not
    /// everybody or nobody; they write to the stores of toolchains. None where they are not confined.
    pub(super) fn confined_prepare(
        &mut self,
        env: &Variables,
        network: SetupNetwork,
    ) -> Result<Option<(Confined, Option<WayOut>)>, Halt> {
        let Some(chosen) = self.walls.chosen.clone().filter(|_| self.walls.judge == Tier::Sandbox)
        else {
            return Ok(None);
        };
        let paths = self.versioned()?.paths.clone();
        let mut more = stores(env);
        more.extend([paths.judge_home.clone(), paths.judge_tmp.clone()]);
        let (view, paths, _) = self.view_of_judged(env, &more)?;
        let dir = paths.dir.join("preparing");
        let launcher = self.settings.factory.clone();
        let confined = Confined::begin_as_self(&dir, &launcher, &chosen, view);
        let confined = confined.map_err(|error| {
            Failure::of("isolation", format!("making {} failed", dir.display()), error)
        })?;
        let mut confined = confined.showing(&paths.judge_tmp, Path::new("/tmp"));
        if self.judge_is_moved() {
            let place = dir.join("git");
            self.judge_repository()?.lay(&place, None)?;
            confined = confined.showing(&place, &self.judged_at()?.join(".git"));
        }
        let way_out = match network {
            SetupNetwork::Open => return Ok(Some((confined.on(Network::Open), None))),
            SetupNetwork::Registries => {
                let hosts = REGISTRIES.iter().map(|&host| host.to_owned());
                let own = self.frozen.config.network.allow.iter().cloned();
                Some(self.way_out_to(hosts.chain(own).collect()))
            }
            // Where the kernel knows ports alone, a way that leads nowhere is what closes the others.
            SetupNetwork::None if chosen.step == Step::Landlock => {
                Some(self.way_out_to(Vec::new()))
            }
            SetupNetwork::None => None,
        };
        Ok(Some((confined.on(Network::Own), way_out)))
    }

    /// Returns the stores of packages that gates and scenarios have.
    pub(super) fn stores(&mut self) -> Result<Stores, Halt> {
        let home = self.versioned()?.paths.judge_home.clone();
        let names = &self.frozen.config.env;
        Ok(Stores::of(&self.env.for_product(names, "", Some(&home), None)))
    }

    /// Returns how the agent's turn is confined, which reads `stores`; none where it is not.
    pub(super) fn confined_agent(
        &mut self,
        launch: &Launch,
        env: &Variables,
        turn: &TurnPaths,
        stores: &[PathBuf],
    ) -> Result<Option<Confined>, Halt> {
        let Some(chosen) = self.walls.chosen.clone().filter(|_| self.walls.agent == Tier::Sandbox)
        else {
            let place = self.versioned()?.paths.workspace.join(".git");
            self.workspace_repository()?.lay(&place, None)?;
            return Ok(None);
        };
        let failed = |error| Failure::of("isolation", "confining the agent failed", error);
        let (secret, home) = (self.secret()?, self.env.home());
        let (top, works_at) = (self.top()?, self.works_at()?);
        let config = self.frozen.config.clone();
        let mut handed = vec![turn.prompt_file.clone()];
        handed.extend(launch.reads.iter().cloned());
        let named = std::iter::once(&launch.program).chain(&launch.args);
        handed.extend(
            named
                .filter(|text| text.as_bytes().starts_with(b"/"))
                .map(PathBuf::from)
                // Of a directory of PATH in the checkout nothing else is seen.
                .chain(find_program(&launch.program, env).filter(|it| it.starts_with(&top)))
                // What is in the workspace is seen there.
                .filter(|path| path.is_file() && !path.starts_with(&works_at)),
        );
        let paths = &self.versioned()?.paths;
        let workspace = paths.workspace.clone();
        // What set-up commands fetched lies in the factory's own state.
        let (fetched, stores): (Vec<_>, Vec<_>) =
            stores.iter().cloned().partition(|store| store.starts_with(&paths.judge_home));
        handed.extend(fetched);
        let repository = self.workspace_repository()?;
        handed.push(repository.objects.clone());
        let mut write = vec![turn.home.clone(), turn.tmp.clone()];
        // A login that the CLI renews is written where it lies.
        let linked = config.agent.home.iter().filter(|_| chosen.user().is_none());
        write.extend(linked.filter_map(|entry| {
            let path = home.as_deref()?.join(entry.strip_prefix("~/").unwrap_or(entry));
            fs::canonicalize(path).ok()
        }));
        let view = View::of(&Wanted {
            env,
            home: home.as_deref(),
            secret: &secret,
            read: &all(&config.isolation.read, &self.env),
            stores: &stores,
            handed: &handed,
            tree: Some((&workspace, &works_at)),
            write: &write,
            devices: &[],
        });
        if let Some(user) = chosen.user() {
            // What is linked to is this user's alone; the other gets copies, which it keeps.
            for entry in &config.agent.home {
                let place = turn.home.join(entry.strip_prefix("~/").unwrap_or(entry));
                copy_linked(&place).map_err(failed)?;
            }
            // The workspace's own files were written for it.
            for path in [&turn.home, &turn.tmp] {
                hand_over(path, user).map_err(failed)?;
            }
        }
        let dir = turn.record.join("confined");
        let launcher = self.settings.factory.clone();
        let confined = Confined::begin(&dir, &launcher, &chosen, view).map_err(failed)?;
        let network = match config.network.access {
            Access::None | Access::Agent => Network::Own,
            Access::Open => Network::Open,
        };
        let mut confined = confined.on(network);
        if self.walls.has_namespaces() {
            let place = turn.record.join("git");
            repository.lay(&place, chosen.user())?;
            confined = confined.showing(&place, &works_at.join(".git"));
        } else {
            repository.lay(&workspace.join(".git"), chosen.user())?;
        }
        Ok(Some(
            ["/tmp", "/var/tmp"]
                .iter()
                .fold(confined, |confined, at| confined.showing(&turn.tmp, Path::new(at))),
        ))
    }

    /// Returns whom the agent reaches by way of the broker; none where it has no broker.
    pub(super) fn way_out(
        &self,
        backend: &dyn Backend,
        base_url: Option<&BaseUrl>,
    ) -> Option<WayOut> {
        let network = &self.frozen.config.network;
        let hosts = backend.hosts().iter().map(|&host| host.to_owned());
        let allow = hosts.chain(base_url.map(BaseUrl::target));
        (network.access == Access::Agent)
            .then(|| self.way_out_to(allow.chain(network.allow.iter().cloned()).collect()))
    }

    fn way_out_to(&self, allow: Vec<String>) -> WayOut {
        let proxies = PROXIES
            .iter()
            .filter_map(|&name| Some((name.to_owned(), self.env.get(name)?.to_str()?.to_owned())));
        WayOut { keyed: None, allow, proxies: proxies.collect() }
    }
}

/// Puts a copy of what a symbolic link leads to in its place; leaves alone what is none.
fn copy_linked(place: &Path) -> std::io::Result<()> {
    if !place.is_symlink() {
        return Ok(());
    }
    let target = fs::canonicalize(place)?;
    fs::remove_file(place)?;
    match target.is_dir() {
        true => copy_tree(&target, place).map(|_| ()),
        false => fs::copy(&target, place).map(|_| ()),
    }
}
