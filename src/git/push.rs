//! Publishing: looking into a bundle of unknown making, and pushing one commit.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::command::output;
use super::repo::unread;
use super::{GitError, Oid, Repo};
use crate::process::Variables;
use crate::text::base64;

/// Where a branch is pushed to.
#[derive(Debug)]
pub enum Remote<'a> {
    /// A remote of the checkout, with the person's own credentials.
    Named(&'a str),
    /// A repository on a server, with a token that is sent to this server alone.
    Server(Server<'a>),
}

/// A repository on a server.
pub struct Server<'a> {
    /// The server, `https://github.com`.
    pub url: &'a str,
    /// The repository, `owner/name`.
    pub repository: &'a str,
    /// The token.
    pub token: &'a str,
}

impl fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.url, self.repository)
    }
}

impl Repo {
    /// Returns the refs that the bundle at `path` (absolute) names, after checking that it is one
    /// and that the commits it builds on are here; nothing is taken in.
    ///
    /// # Errors
    /// The file is no bundle, or what it builds on is not here.
    pub fn look_into_bundle(&self, path: &Path) -> Result<Vec<(String, Oid)>, GitError> {
        let begin = |what: &str| self.plumbing("bundle").arg(what);
        output(&begin("verify").arg("--quiet").arg(path), "bundle verify")?;
        let listing = output(&begin("list-heads").arg(path), "bundle list-heads")?;
        String::from_utf8_lossy(&listing)
            .lines()
            .map(|line| {
                let (oid, name) = line.split_once(' ').unwrap_or((line, ""));
                let oid = Oid::parse(oid).map_err(|_| unread("bundle list-heads", line))?;
                Ok((name.to_owned(), oid))
            })
            .collect()
    }

    /// Returns whether the commits from `from` to `to` are a chain without merges, all of whose
    /// trees and blobs are here.
    ///
    /// # Errors
    /// An object is missing, or git failed.
    pub fn is_chain(&self, from: &Oid, to: &Oid) -> Result<bool, GitError> {
        if !self.is_ancestor(from, to)? {
            return Ok(false);
        }
        let range = format!("{from}..{to}");
        self.run("rev-list", ["--objects", "--quiet", &range])?;
        let merges = self.run("rev-list", ["--min-parents=2", "--max-count=1", &range])?;
        Ok(merges.is_empty())
    }

    /// Points `branch` (without `refs/heads/`) of the remote at `commit`, never by force.
    ///
    /// # Errors
    /// The remote can't be reached, does not let us in, or has commits on the branch that `commit`
    /// does not build on.
    pub fn push(&self, remote: &Remote<'_>, commit: &Oid, branch: &str) -> Result<(), GitError> {
        let (mut call, to) = match remote {
            Remote::Named(name) => (self.in_checkout("push"), (*name).to_owned()),
            Remote::Server(server) => {
                let call = self.plumbing("push").envs(settings(server));
                (call, format!("{}/{}.git", server.url, server.repository))
            }
        };
        call = call
            .args(["--quiet", "--no-verify", "--no-signed", "--no-follow-tags"])
            .args(["--recurse-submodules=no", "--end-of-options", to.as_str()])
            .arg(format!("{commit}:refs/heads/{branch}"));
        output(&call, "push").map(drop)
    }
}

/// Returns the settings by which git reaches a server, as variables: an argument could be read by
/// every process of the machine.
fn settings(server: &Server<'_>) -> Variables {
    let header = format!("http.{}/.extraheader", server.url);
    let login = base64(format!("x-access-token:{}", server.token).as_bytes());
    let pairs = [
        ("protocol.https.allow", "always".to_owned()),
        // A redirect would take the token to another server.
        ("http.followRedirects", "false".to_owned()),
        // Headers add up, and the checkout may have one.
        (&header, String::new()),
        (&header, format!("Authorization: Basic {login}")),
    ];
    let mut variables = Variables::from([(
        OsString::from("GIT_CONFIG_COUNT"),
        OsString::from(pairs.len().to_string()),
    )]);
    for (index, (key, value)) in pairs.into_iter().enumerate() {
        variables.insert(format!("GIT_CONFIG_KEY_{index}").into(), key.into());
        variables.insert(format!("GIT_CONFIG_VALUE_{index}").into(), value.into());
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::super::ObjectFormat;
    use super::super::testing::{fixture, git};
    use super::*;

    #[test]
    fn the_token_is_in_no_argument_and_for_one_server() {
        let token = "s3cret";
        let server = Server { url: "https://git.example", repository: "o/r", token };
        assert!(!format!("{server:?}").contains(token));
        let settings = settings(&server);
        let value = |name: &str| settings[std::ffi::OsStr::new(name)].to_str().unwrap().to_owned();
        assert_eq!(value("GIT_CONFIG_COUNT"), "4");
        assert_eq!(value("GIT_CONFIG_KEY_3"), "http.https://git.example/.extraheader");
        let login = base64(b"x-access-token:s3cret");
        assert_eq!(value("GIT_CONFIG_VALUE_3"), format!("Authorization: Basic {login}"));
        assert_eq!(value("GIT_CONFIG_VALUE_2"), "");
    }

    #[test]
    fn a_branch_is_pushed_forward_and_never_by_force() {
        let fixture = fixture(ObjectFormat::Sha1);
        let base = fixture.head();
        let one = fixture.commit(&fixture.tree(&[("a", "1")]), &[&base]);
        let other = fixture.commit(&fixture.tree(&[("a", "2")]), &[&base]);
        let bare = fixture.dir.path().join("bare.git");
        git(fixture.dir.path(), &["init", "--quiet", "--bare", "bare.git"]);
        let url = format!("file://{}", bare.display());
        git(fixture.repo.root(), &["remote", "add", "origin", &url]);
        let remote = Remote::Named("origin");
        fixture.repo.push(&remote, &base, "factory/r").unwrap();
        fixture.repo.push(&remote, &one, "factory/r").unwrap();
        fixture.repo.push(&remote, &one, "factory/r").unwrap();
        let error = fixture.repo.push(&remote, &other, "factory/r").unwrap_err();
        assert!(error.to_string().contains("rejected"), "{error}");
        assert_eq!(git(&bare, &["rev-parse", "factory/r"]), one.as_str());
    }

    #[test]
    fn a_merge_and_a_side_line_are_no_chain() {
        let fixture = fixture(ObjectFormat::Sha1);
        let base = fixture.head();
        let one = fixture.commit(&fixture.tree(&[("a", "1")]), &[&base]);
        let two = fixture.commit(&fixture.tree(&[("a", "2")]), &[&base]);
        let merge = fixture.commit(&fixture.tree(&[("a", "3")]), &[&one, &two]);
        assert!(fixture.repo.is_chain(&base, &one).unwrap());
        assert!(fixture.repo.is_chain(&one, &one).unwrap());
        assert!(!fixture.repo.is_chain(&base, &merge).unwrap());
        assert!(!fixture.repo.is_chain(&one, &two).unwrap());
    }
}
