//! Hardened git: trees are read and written by blobs, commits are made by plumbing.
//!
//! git never runs with a work tree that an agent wrote, and never reads a configuration, hook,
//! filter, attribute or environment variable that could start a program: what it needs is said on
//! its command line. Some operations read the person's configuration: [`Repo::dirty_paths`] and
//! [`Repo::fast_forward`], which are for the person's own checkout; [`Conversions`], for what a checkout makes of
//! line endings, encodings and filters; and a push to a remote of the checkout, which needs the person's login.
//!
//! Two operations talk to a network: [`Repo::push`], and [`Repo::fetch_promised`], which has what a partial
//! clone left at its remote sent, and moves no ref. Both are the person's, in their checkout.

mod apart;
mod checkout;
mod command;
mod convert;
mod error;
mod history;
mod objects;
mod oid;
mod partial;
mod push;
mod repo;
mod tree;

pub use apart::{Apart, Made, Tag};
pub use convert::{Conversion, Conversions, ToStore};
pub use error::GitError;
pub use history::{Signature, StoredCommit};
pub use oid::{BlobHasher, ObjectFormat, Oid, OidError, blob_id, blob_id_of};
pub use push::{Remote, Server};
pub use repo::{Head, Repo, Scratch, version};
pub use tree::{Change, Mode, Tree, TreeEntry};

#[cfg(test)]
pub(crate) mod testing;
