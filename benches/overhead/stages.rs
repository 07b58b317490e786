//! The stages of an iteration on a large repository, one by one.

use std::collections::BTreeMap;

use dark_factory::git::{Change, Mode, Oid, Repo};
use dark_factory::scenario::{Holdout, from_files};
use dark_factory::text::TreePath;
use dark_factory::wall::{ManagedTree, ScanLimits};

use super::figures::{Table, median_of, run, time};
use super::repository::{FILES, Product, path_of, scenario};

/// Measures them.
pub(crate) fn measure() {
    let product = Product::large();
    let variables: BTreeMap<_, _> =
        std::env::vars_os().filter(|(name, _)| name == "PATH").collect();
    let repo = Repo::discover(&product.root(), variables).unwrap();
    let head = repo.head().unwrap().commit().unwrap().clone();
    let open = || {
        let manifest = product.beside("tree.manifest");
        ManagedTree::open(&product.beside("tree"), &manifest).unwrap()
    };

    let worktree = product.beside("worktree");
    let added = time(|| {
        run(product.git().args(["worktree", "add", "--quiet", "--detach"]).arg(&worktree), &[0]);
    });
    let status = median_of(3, || {
        run(product.git().args(["-C"]).arg(&worktree).args(["status", "--porcelain"]), &[0]);
    });
    let floors = [("git worktree add", added), ("git status", status)];
    let table = Table::new(&format!("stages: on {FILES} files, by library calls"), &floors);

    table.line("list the files of a commit", median_of(3, || repo.list(&head).unwrap()));
    let files = repo.list(&head).unwrap();
    let first = time(|| open().sync(&repo, &files).unwrap());
    table.line("set a tree to a commit, at first", first);
    let same = median_of(3, || open().sync(&repo, &files).unwrap());
    table.line("set a tree to a commit, nothing differs", same);
    let scan = median_of(3, || open().scan(&repo, ScanLimits::default()).unwrap());
    table.line("scan a tree, nothing differs", scan);

    let oids: Vec<Oid> = files.values().map(|entry| entry.oid.clone()).collect();
    let read = time(|| repo.read_blobs(oids.iter().cloned(), &mut |_, _| Ok(())).unwrap());
    table.line("read every blob", read);
    let texts = (0..100).map(|number| {
        let code = format!("python3 -m product --case {number} | grep --quiet 'expected {number}'");
        (format!("{number}.md").into_bytes(), scenario("Case", &code).into_bytes())
    });
    let holdout = Holdout::of(&from_files("scenarios", texts.collect()));
    let searched = time(|| {
        let each = &mut |_: usize, bytes: &[u8]| {
            assert!(holdout.find(bytes).is_none());
            Ok(())
        };
        repo.read_blobs(oids.iter().cloned(), each).unwrap();
    });
    table.line("read and search every blob for 100 evaluations", searched);

    let oid = repo.write_blobs(&[b"changed\n"]).unwrap().remove(0);
    let change =
        [Change::Set { path: TreePath::parse(path_of(7)).unwrap(), mode: Mode::File, oid }];
    let base = repo.tree_of(&head).unwrap();
    let written = median_of(3, || repo.write_tree(Some(&base), &change).unwrap());
    table.line("write a tree with one changed file", written);
}
