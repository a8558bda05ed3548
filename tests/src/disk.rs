//! A small disk of its own for one folder, to be filled to the brim.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet::path;

/// A file system over a folder. It goes when it is dropped, however the scenario ends.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one of `size` (`2m`) over `folder`, and copies onto it what is in there. Nobody may use it meanwhile.
    ///
    /// # Panics
    /// If this machine does not permit it.
    #[track_caller]
    pub fn over(folder: &Path, size: &str) -> Self {
        let aside = folder.with_extension("aside");
        if folder.exists() {
            fs::rename(folder, &aside).expect("the folder can be moved");
        }
        fs::create_dir_all(folder).expect("the lab's folder can be written");
        let options = format!("size={size},mode=0700");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", path(folder)]);
        let disk = Self { folder: folder.to_owned() };
        if aside.exists() {
            run("cp", &["--archive", &format!("{}/.", path(&aside)), path(folder)]);
        }
        disk
    }

    /// Leaves room for nothing.
    ///
    /// # Panics
    /// If it does not get full.
    #[track_caller]
    pub fn fill(&self) {
        let mut ballast =
            File::options().create(true).append(true).open(self.ballast()).expect("there is an inode");
        let page = [1_u8; 4096];
        let full = (0..1 << 20).any(|_| ballast.write_all(&page).is_err());
        assert!(full, "{} does not get full", self.folder.display());
    }

    /// Takes away what filled it.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).status();
    assert!(done.is_ok_and(|status| status.success()), "`{program} {}` failed", arguments.join(" "));
}
