use super::*;

#[test]
fn a_key_is_written_once_with_0600() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    create_secret(&path, b"one").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert!(matches!(create_secret(&path, b"two"), Err(FileError::Exists { .. })));
    assert_eq!(read_secret(&path).unwrap().as_slice(), b"one");
    replace_secret(&path, b"three").unwrap();
    assert_eq!(read_secret(&path).unwrap().as_slice(), b"three");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_link_is_neither_followed_nor_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("precious"), b"mine").unwrap();
    std::os::unix::fs::symlink(at("precious"), at("begun")).unwrap();
    begin_secret(&at("begun")).unwrap().write_all(b"new").unwrap();
    assert_eq!(fs::read(at("precious")).unwrap(), b"mine");
    assert_eq!(fs::metadata(at("begun")).unwrap().mode() & 0o7777, 0o600);
    for (link, target) in [("there", "precious"), ("dangling", "nothing")] {
        std::os::unix::fs::symlink(at(target), at(link)).unwrap();
        assert!(matches!(place_secret(&at("begun"), &at(link)), Err(FileError::Exists { .. })));
    }
    place_secret(&at("begun"), &at("placed")).unwrap();
    assert_eq!((fs::read(at("placed")).unwrap(), at("begun").exists()), (b"new".to_vec(), false));
    assert!(!at("nothing").exists() && fs::read(at("precious")).unwrap() == b"mine");
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a/b");
    fs::create_dir_all(&inner).unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&inner, 0o755);
    assert!(close_dir(&inner).unwrap(), "readable: it is closed");
    assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o7777, 0o700);
    assert!(!close_dir(&inner).unwrap());
    for mode in [0o777, 0o772, 0o1777] {
        set(&inner, mode);
        let refused = close_dir(&inner).unwrap_err();
        assert!(matches!(refused, FileError::FolderWritable { .. }) && refused.hint().is_some());
        assert_eq!(check_way(&inner).is_ok(), mode == 0o1777, "{mode:o}");
    }
    set(&inner, 0o700);
    set(&dir.path().join("a"), 0o777);
    assert!(matches!(close_dir(&inner), Err(FileError::FolderWritable { .. })), "a folder above");
}

#[test]
fn whoever_asks_is_told_each_stage_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let order = [Stage::Begun, Stage::Written, Stage::Synced, Stage::Placed, Stage::Done];
    for write in [create_secret_telling, replace_secret_telling] {
        let told = std::cell::RefCell::new(Vec::new());
        write(&path, b"x", &|stage| told.borrow_mut().push(stage)).unwrap();
        assert_eq!(*told.borrow(), order);
    }
}

#[test]
fn what_a_crash_left_is_removed_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    // Dies before the file gets its name, as far as files are concerned.
    let died = std::panic::catch_unwind(|| {
        replace_secret_telling(&path, b"secret", &|stage| assert_ne!(stage, Stage::Synced))
    });
    assert!(died.is_err() && !path.exists());
    for name in ["a.tmp", "journal.tmp", "journal.0123456789zz.tmp", "b.0123456789ab"] {
        fs::write(dir.path().join(name), b"x").unwrap();
    }
    assert_eq!(remove_unfinished(dir.path()).unwrap(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn wider_permissions_are_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    create_secret(&path, b"one").unwrap();
    #[rustfmt::skip]
    let table = [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o700, false)];
    for (mode, want) in table {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let read = read_secret(&path);
        assert_eq!(read.is_ok(), want, "{mode:o}");
        if let Err(error) = read {
            assert!(error.hint().unwrap().contains("chmod 600"));
        }
    }
}

#[test]
fn a_folder_of_a_users_own_group_is_closed_to_others() {
    #[rustfmt::skip]
    let table = [
        (1000, 1000, 0o775, false), (1000, 100, 0o775, true), (1000, 1000, 0o777, true), (0, 0, 0o775, true),
        (1000, 100, 0o755, false), (0, 0, 0o755, false),
    ];
    for (owner, group, mode, want) in table {
        assert_eq!(is_open(owner, group, mode), want, "{owner}:{group} {mode:o}");
    }
}
