//! A store that cannot be written: `midge store` looks at it all the same, unless a broker has it.
//!
//! It takes the right to mount a tmpfs, or to be somebody else; without it these tests say that they are skipped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::broker::{Site, Target};
use crate::full_disk::{SmallDisk, offer, open, sleep};
use crate::wire::{Connect, Version};

/// `nobody`, as most systems have it.
const NOBODY: u32 = 65_534;
const MESSAGES: u32 = 3;

/// What a broker leaves that is killed with a few messages waiting; it is looked at before, too.
fn make(data: &Path, while_it_runs: impl FnOnce()) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (broker, address) = Site::new(Target::Midge, home.path(), data, "store.free_bytes_min = \"0B\"").start();
    sleep(address);
    let mut publisher = open(address, &Connect::new(Version::V5, "publisher"));
    (0..MESSAGES).for_each(|number| offer(&mut publisher, number).expect("there is room"));
    while_it_runs();
    broker.kill();
}

fn store(program: &Path, command: &str, data: &Path) -> Command {
    let mut midge = Command::new(program);
    midge.args(["store", command, "--data-dir"]).arg(data);
    midge
}

fn serve(program: &Path, data: &Path) -> Command {
    let mut midge = Command::new(program);
    midge.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    midge
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Everything can be read by who makes these commands.
fn is_readable(command: impl Fn(&str) -> Command) {
    let check = command("check").output().expect("it runs");
    assert!(check.status.success(), "{}", said(&check));
    assert!(said(&check).contains(&format!("messages              {MESSAGES}\n")), "{}", said(&check));
    let export = command("export").output().expect("it runs");
    assert!(export.status.success(), "{}", said(&export));
    let lines =
        String::from_utf8_lossy(&export.stdout).lines().filter(|line| line.contains(r#""type":"message""#)).count();
    assert_eq!(lines, MESSAGES as usize, "{}", said(&export));
}

#[test]
fn a_store_on_a_read_only_file_system_is_checked_and_exported() {
    let Some(disk) = SmallDisk::mount().filter(|_| Target::under_test() == Target::Midge) else { return };
    make(&disk.data(), || {});
    for lock in ["left behind", "missing"] {
        if lock == "missing" {
            disk.remount("rw");
            fs::remove_file(disk.data().join("lock")).expect("removed");
        }
        disk.remount("ro");
        let program = Path::new(env!("CARGO_BIN_EXE_midge"));
        is_readable(|command| store(program, command, &disk.data()));
        // It could not be said if something were written.
        let repair = store(program, "repair", &disk.data()).output().expect("it runs");
        let reasons = said(&repair).matches("Read-only file system").count();
        assert_eq!((repair.status.code(), reasons), (Some(14), 1), "the lock is {lock}: {}", said(&repair));
        let serve = serve(program, &disk.data()).output().expect("it runs");
        assert_eq!(serve.status.code(), Some(14), "{}", said(&serve));
    }
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("ours");
    for entry in fs::read_dir(directory).expect("files").flatten().filter(|entry| entry.path().is_file()) {
        fs::set_permissions(entry.path(), Permissions::from_mode(0o644)).expect("ours");
    }
}

#[test]
fn somebody_else_looks_at_a_store_when_no_broker_has_it() {
    if Target::under_test() != Target::Midge {
        return;
    }
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        println!("skipped, only root can be somebody else");
        return;
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let (data, program) = (home.path().join("data"), home.path().join("midge"));
    // Others may not look into the directory where it was built.
    fs::copy(env!("CARGO_BIN_EXE_midge"), &program).expect("copied");
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("ours");
    let by_nobody = |mut midge: Command| {
        midge.uid(NOBODY).gid(NOBODY).current_dir("/");
        midge
    };
    let as_nobody = |command: &str| by_nobody(store(&program, command, &data));
    make(&data, || {
        open_to_all(&data);
        for command in ["check", "export"] {
            let refused = as_nobody(command).output().expect("it runs");
            assert!(!refused.status.success(), "{}", said(&refused));
            assert!(said(&refused).contains("is in use by another broker"), "{}", said(&refused));
        }
    });
    open_to_all(&data);
    is_readable(as_nobody);
    fs::remove_file(data.join("lock")).expect("removed");
    is_readable(as_nobody);
    let refused = by_nobody(serve(&program, &data)).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(15), "{}", said(&refused));
    assert!(said(&refused).contains("The user that the broker runs as has to own it"), "{}", said(&refused));
    assert!(!data.join("lock").exists());
}
