//! The numbers behind the names of an image's users. Only the image has them, in files that an engine hands out of a container
//! that is made and not started.

use std::io::Read as _;
use std::pin::pin;

use bollard::query_parameters::DownloadFromContainerOptions;
use futures_util::StreamExt as _;

use super::super::{RuntimeError, answer};
use super::engine::DockerEngine;
use super::error::{self, refused};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// The longest of these files, as an archive: an image may have anything there.
const MAX_ARCHIVE: usize = 1 << 20;
/// The step that fails with these files.
const DOING: &str = "give the release's files to the user of the image";

impl DockerEngine {
    /// Gives the files of a container to its user before its first start, if they wait for one.
    ///
    /// # Errors
    /// The engine does not answer, or the image has no such user.
    pub(super) async fn hand_over(&self, id: &str) -> Result<(), RuntimeError> {
        if !self.files.any_waits().await {
            return Ok(());
        }
        let asked = async { self.docker()?.inspect_container(id, None).await.map_err(refused(DOING)) };
        let name = answer(asked).await?.name.unwrap_or_default();
        let prefix = format!("/windlass.{}.", self.local.fleet);
        let Some(instance) = name.strip_prefix(&prefix) else { return Ok(()) };
        let Some(user) = self.files.waits_for(instance).await? else { return Ok(()) };
        let owner = self.numbers_of(id, &user).await?;
        self.files.give(instance, owner).await
    }

    /// The numbers of `name` or `name:group` in the container.
    async fn numbers_of(&self, id: &str, user: &str) -> Result<(u32, u32), RuntimeError> {
        let passwd = answer(self.text_of(id, PASSWD)).await?;
        let group = match user.split_once(':') {
            Some((_, group)) if is_name(group) => answer(self.text_of(id, GROUP)).await?,
            Some(_) | None => String::new(),
        };
        resolved(user, &passwd, &group).map_err(|message| RuntimeError::Refused { doing: DOING, message })
    }

    /// A text file of a container.
    async fn text_of(&self, id: &str, path: &str) -> Result<String, RuntimeError> {
        let why = |message: String| RuntimeError::Refused { doing: DOING, message };
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut pieces = pin!(self.docker()?.download_from_container(id, Some(options)));
        let mut archive = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| match error::status(&error) {
                Some(404) => why(format!("the image has no `{path}`")),
                _ => refused(DOING)(error),
            })?;
            if archive.len() + piece.len() > MAX_ARCHIVE {
                return Err(why(format!("`{path}` of the image has more than {MAX_ARCHIVE} bytes")));
            }
            archive.extend_from_slice(&piece);
        }
        only_file(&archive).map_err(|error| why(format!("`{path}` of the image cannot be read: {error}")))
    }
}

/// The text of the one file in an archive.
fn only_file(archive: &[u8]) -> std::io::Result<String> {
    let odd = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut archive = tar::Archive::new(archive);
    let mut file = archive.entries()?.next().ok_or_else(|| odd("an empty archive"))??;
    if !file.header().entry_type().is_file() {
        return Err(odd("it is no regular file"));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    if text.len() as u64 != file.size() {
        return Err(odd("it is cut off"));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn is_name(user: &str) -> bool {
    !user.is_empty() && user.parse::<u32>().is_err()
}

/// The numbers of `name` or `name:group`, as an engine finds them: the first line of that name counts, and without a group the
/// one of the user's line.
fn resolved(user: &str, passwd: &str, group: &str) -> Result<(u32, u32), String> {
    let (name, of_group) = user.split_once(':').unwrap_or((user, ""));
    let number = |text: &str, name: &str, at: usize| {
        let line =
            text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line[0] == name)?;
        line.get(at)?.trim().parse::<u32>().ok()
    };
    let none = |what: &str, name: &str, file: &str| {
        format!("`{file}` of the image has no number of the {what} `{name}`")
    };
    let uid = number(passwd, name, 2).ok_or_else(|| none("user", name, PASSWD))?;
    let gid = match of_group.parse() {
        Ok(gid) => gid,
        Err(_) if of_group.is_empty() => {
            number(passwd, name, 3).ok_or_else(|| none("group of", name, PASSWD))?
        }
        Err(_) => number(group, of_group, 2).ok_or_else(|| none("group", of_group, GROUP))?,
    };
    Ok((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\napp:x:7:7::/:/bin/sh\nbad:x:many:1::/:\n\nshort:x\n";
    const GROUPS: &str = "root:x:0:\nkeys:x:2000:app\n";

    #[test]
    fn a_name_is_turned_into_the_numbers_of_its_image() {
        #[rustfmt::skip]
        let table = [
            ("app", Ok((1000, 1001))), ("app:", Ok((1000, 1001))), ("app:5", Ok((1000, 5))), ("app:keys", Ok((1000, 2000))),
            ("nobody", Err("user `nobody`")), ("bad", Err("user `bad`")), ("short", Err("user `short`")),
            ("app:none", Err("group `none`")),
        ];
        for (user, want) in table {
            match (resolved(user, USERS, GROUPS), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want, "{user}"),
                (Err(said), Err(want)) => assert!(said.contains(want), "{user}: {said}"),
                (found, _) => panic!("{user}: {found:?}"),
            }
        }
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let archive = |kind: tar::EntryType| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            let text = if kind.is_file() { USERS } else { "" };
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            let mut builder = tar::Builder::new(Vec::new());
            builder.append_data(&mut header, "passwd", text.as_bytes()).unwrap();
            builder.into_inner().unwrap()
        };
        let whole = archive(tar::EntryType::Regular);
        assert_eq!(only_file(&whole).unwrap(), USERS);
        for kind in [tar::EntryType::Symlink, tar::EntryType::Directory, tar::EntryType::Fifo] {
            assert!(only_file(&archive(kind)).is_err(), "{kind:?}");
        }
        assert!(only_file(&[]).is_err() && only_file(&[7; 4096]).is_err());
        assert!(only_file(&whole[..600]).is_err(), "cut off");
    }
}
