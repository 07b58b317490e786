//! Hardened git: trees are read and written by blobs, commits are made by plumbing.
//!
//! git never runs with a work tree that an agent wrote, and never reads a configuration, hook,
//! filter, attribute or environment variable that could start a program: what it needs is said on
//! its command line. Two operations are for the person's own checkout, [`Repo::dirty_paths`] and
//! [`Repo::fast_forward`]; they alone read the person's configuration, since line endings, filters
//! and ignored files are what it says.
//!
//! The module does not fetch, push or talk to any network.

mod checkout;
mod command;
mod error;
mod history;
mod objects;
mod oid;
mod repo;
mod tree;

pub use error::GitError;
pub use history::Signature;
pub use oid::{BlobHasher, ObjectFormat, Oid, OidError, blob_id, blob_id_of};
pub use repo::{Head, Repo};
pub use tree::{Change, Mode, Tree, TreeEntry};

#[cfg(test)]
pub(crate) mod testing;
