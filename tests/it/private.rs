//! What the factory itself knows is not readable to what it starts.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use rustix::process::geteuid;

use crate::support::{ITERATE, Product, RUN_SCENARIOS};

const NOBODY: u32 = 65_534;

/// Fails where the parent's variables, open files or memory can be read, and where those of another
/// process of the same user can't: then the look itself would prove nothing.
const LOOK: &str = "\
if grep -aq kanari /proc/$PPID/environ; then echo 'read the environment'; exit 1; fi
if ls /proc/$PPID/fd; then echo 'listed the open files'; exit 1; fi
if (: < /proc/$PPID/mem); then echo 'opened the memory'; exit 1; fi
OTHER=control sleep 30 &
for _ in $(seq 100); do
  if grep -aq OTHER=control /proc/$!/environ && ls /proc/$!/fd && (: < /proc/$!/mem); then
    kill $!
    exit 0
  fi
  sleep 0.05
done
echo 'another process is not readable either'
exit 1";

/// Runs a binary as a plain user who has a secret among the variables.
fn check(binary: &str, args: &[&str]) {
    let product = Product::new().scenario("look", LOOK);
    // A directory without versions, since the repository is another user's.
    fs::remove_dir_all(product.path(".git")).unwrap();
    let copy = product.base().join("binary");
    fs::copy(binary, &copy).unwrap();
    fs::set_permissions(product.base(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = if geteuid().is_root() {
        for dir in ["product", "home", "state", "tmp"] {
            chown(product.base().join(dir), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = product.clean("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command
    } else {
        product.clean(copy.to_str().unwrap())
    };
    command.args(args).env("SECRET", "kanari");
    product.start(command).wait().code(0).says("1 of 1 satisfied");
}

#[test]
#[cfg(target_os = "linux")]
fn an_evaluation_can_not_read_the_runner() {
    check(RUN_SCENARIOS, &[]);
}

#[test]
#[cfg(target_os = "linux")]
fn an_evaluation_can_not_read_the_loop() {
    check(ITERATE, &["--no-agent", "--in-place"]);
}
