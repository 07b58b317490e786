//! Directories for properties: any names, modes, links, and bytes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

/// What a directory holds, by name.
pub(super) type Items = Vec<(Vec<u8>, Item)>;

/// Something in a directory.
#[derive(Debug, Clone)]
pub(super) enum Item {
    File(Vec<u8>, u32),
    Link(Vec<u8>),
    Directory(Items, u32),
}

/// Returns directories of any few things, empty ones among them.
pub(super) fn items() -> impl Strategy<Value = Items> {
    prop::collection::vec((name(), item()), 0..4)
}

/// Any bytes that a file may be called; a line feed and no UTF-8 often enough.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![2 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(0xff)];
    prop::collection::vec(byte, 1..6).prop_filter("a file name", |name| {
        !name.contains(&0) && !name.contains(&b'/') && name != b"." && name != b".."
    })
}

fn item() -> impl Strategy<Value = Item> {
    let bytes = prop::collection::vec(any::<u8>(), 0..50);
    let leaf = prop_oneof![
        (bytes, prop::sample::select(vec![0o644, 0o755, 0o400, 0o666]))
            .prop_map(|(bytes, mode)| Item::File(bytes, mode)),
        name().prop_map(Item::Link),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let modes = prop::sample::select(vec![0o755, 0o700, 0o555]);
        (prop::collection::vec((name(), inner), 0..4), modes)
            .prop_map(|(items, mode)| Item::Directory(items, mode))
    })
}

/// Makes the directory `at`; of two things of one name the first.
pub(super) fn write(at: &Path, items: &Items) {
    fs::create_dir(at).unwrap();
    for (name, item) in items {
        let at = at.join(OsStr::from_bytes(name));
        if fs::symlink_metadata(&at).is_ok() {
            continue;
        }
        match item {
            Item::File(bytes, mode) => {
                fs::write(&at, bytes).unwrap();
                fs::set_permissions(&at, Permissions::from_mode(*mode)).unwrap();
            }
            Item::Link(target) => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), at).unwrap();
            }
            Item::Directory(items, mode) => {
                write(&at, items);
                fs::set_permissions(at, Permissions::from_mode(*mode)).unwrap();
            }
        }
    }
}

/// Returns everything at and below `root`: mode, and bytes or target. Uses nothing of the shuffle.
pub(super) fn read(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let bytes = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        let relative = path.strip_prefix(root).unwrap().to_owned();
        found.insert(relative, (metadata.permissions().mode(), bytes));
    }
    found
}
