use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use super::*;

fn part(path: &str, owner: u32, mode: u32) -> Part {
    Part { path: path.into(), owner, mode, is_remote: false, identity: (0, 0) }
}

#[test]
fn a_folder_holds_its_entries_if_only_root_may_change_it() {
    #[rustfmt::skip]
    let table = [
        // owner and mode of the folder, owner of the entry, what is said
        (0, 0o755, 0, None), (0, 0o755, 1000, None), (7, 0o700, 1000, None), (0, 0o1777, 0, None), (0, 0o1777, 7, None),
        (0, 0o5755, 1000, None),
        (1000, 0o755, 0, Some("belongs to user 1000")), (8, 0o1700, 8, Some("belongs to user 8")),
        (0, 0o775, 0, Some("mode 0775")), (0, 0o757, 0, Some("mode 0757")), (0, 0o777, 0, Some("mode 0777")),
        (0, 0o720, 0, Some("mode 0720")), (0, 0o702, 0, Some("mode 0702")),
        (0, 0o1777, 1000, Some("mode 1777")), (0, 0o1770, 1000, Some("mode 1770")),
    ];
    for (owner, mode, entry, want) in table {
        let (folder, below) = (part("/a", owner, 0o040_000 | mode), part("/a/b", entry, 0o040_777));
        let said = holds(&folder, &below, [0, 7]).err();
        match want {
            None => assert_eq!(said, None, "{owner} {mode:o} {entry}"),
            Some(want) => {
                let said = said.unwrap_or_else(|| panic!("{owner} {mode:o} {entry} is held"));
                assert!(said.contains(want) && said.contains("in the place of `/a/b`"), "{said}");
            }
        }
        let remote = Part { is_remote: true, ..folder };
        assert!(holds(&remote, &below, [0, 7]).unwrap_err().contains("file system"), "{owner} {mode:o}");
    }
}

#[test]
fn only_folders_and_files_are_bound() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    symlink("folder", root.join("link")).unwrap();
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    let table = [
        ("folder", None),
        ("file", None),
        ("socket", Some("neither a folder nor a file")),
        ("link", Some("became a symbolic link")),
        ("link/x", Some("became a symbolic link")),
        ("file/x", Some("cannot be looked at")),
        ("missing", Some("does not exist on this host")),
        ("missing/deep", Some("does not exist on this host")),
    ];
    for (name, want) in table {
        let said = check(&root.join(name), &[]).err();
        assert!(want.is_none() == said.is_none(), "{name}: {said:?}");
        assert!(said.unwrap_or_default().contains(want.unwrap_or_default()), "{name}");
    }
}

#[test]
fn what_is_forbidden_is_known_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for folder in ["srv", "own"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    fs::write(root.join("own/policy.toml"), "").unwrap();
    fs::hard_link(root.join("own/policy.toml"), root.join("srv/harmless")).unwrap();
    fs::write(root.join("srv/other"), "").unwrap();
    let never = ["own/policy.toml", "own", "gone"].map(|name| root.join(name).to_str().unwrap().to_owned());
    assert!(check(&root.join("srv/other"), &never).is_ok());
    for (name, forbidden) in [("srv/harmless", &never[0]), ("own/policy.toml", &never[1])] {
        let said = check(&root.join(name), &never).unwrap_err();
        assert!(said.contains(&format!("is `{forbidden}` under another name")), "{name}: {said}");
    }
}

#[test]
fn what_lies_in_a_folder_is_held_if_the_whole_way_is() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (above, folder) = (root.join("above"), root.join("above/folder"));
    fs::create_dir_all(&folder).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&above, 0o755);
    mode(&folder, 0o755);
    assert_eq!((check(&folder, &[]), check_inside(&folder)), (Ok(()), Ok(())));
    // The folder itself may be writable by anybody: that does not change where its path leads.
    mode(&folder, 0o777);
    assert_eq!(check(&folder, &[]), Ok(()));
    assert!(check_inside(&folder).unwrap_err().contains("mode 0777"));
    mode(&folder, 0o755);
    mode(&above, 0o777);
    for said in [check(&folder, &[]), check_inside(&folder)] {
        assert!(said.unwrap_err().contains("mode 0777"));
    }
    mode(&above, 0o755);
    if chown(&above, Some(12345), None).is_ok() {
        for said in [check(&folder, &[]), check_inside(&folder)] {
            assert!(said.unwrap_err().contains("belongs to user 12345"));
        }
    }
}

#[test]
fn the_kernel_says_which_file_system_it_is() {
    let parts = walk(Path::new("/proc")).unwrap();
    assert_eq!(parts.iter().map(|part| part.path.to_str().unwrap()).collect::<Vec<_>>(), ["/", "/proc"]);
    assert!(parts.iter().all(|part| !part.is_remote), "{parts:?}");
    assert_eq!(identity("/proc"), Some(parts[1].identity));
}
