//! Host paths that containers bind, as the engine lists them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State, MountPoint, Volume};

use bollard::query_parameters::{ListContainersOptions, ListVolumesOptions};

use super::super::{HeldBind, HostBinds, RuntimeError};
use super::error::{refused, status};

/// Asks the engine for all of its containers and volumes.
pub(super) async fn read(docker: &Docker, files: &Path) -> Result<HostBinds, RuntimeError> {
    let options = ListContainersOptions { all: true, ..Default::default() };
    let containers = docker.list_containers(Some(options)).await.map_err(refused("list containers"))?;
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.map_err(refused("list volumes"))?;
    Ok(of(containers, volumes.volumes.unwrap_or_default(), files))
}

/// The folder of a named volume. One that has options is mounted only while a container uses it, so that its folder tells
/// nothing.
pub(super) async fn folder(docker: &Docker, name: &str) -> Result<Option<PathBuf>, RuntimeError> {
    let volume = match docker.inspect_volume(name).await {
        Ok(volume) => volume,
        Err(error) if status(&error) == Some(404) => return Ok(None),
        Err(error) => return Err(refused("inspect a volume")(error)),
    };
    if volume.driver != "local" || !volume.options.is_empty() {
        let message =
            "it is of another driver or has options, so its files lie on no folder of the host".to_owned();
        return Err(RuntimeError::Refused { doing: "look into a volume", message });
    }
    Ok(Some(volume.mountpoint.into()))
}

/// Binds of `containers`, and volumes that are binds. What lies in `files`, the agent's own folder, is left out.
fn of(containers: Vec<ContainerSummary>, volumes: Vec<Volume>, files: &Path) -> HostBinds {
    let volumes: BTreeMap<String, String> =
        volumes.iter().filter_map(|volume| Some((volume.name.clone(), host_folder(volume)?))).collect();
    let binds = containers.into_iter().flat_map(|container| held(container, &volumes, files)).collect();
    HostBinds { binds, volumes }
}

fn held(container: ContainerSummary, volumes: &BTreeMap<String, String>, files: &Path) -> Vec<HeldBind> {
    let Some(id) = container.id else { return Vec::new() };
    let is_up = matches!(
        container.state,
        Some(State::RUNNING | State::PAUSED | State::RESTARTING | State::STOPPING | State::REMOVING)
    );
    let name = container.names.unwrap_or_default().into_iter().next();
    let name = name.map_or_else(|| id.clone(), |name| name.trim_start_matches('/').to_owned());
    let mounts = container.mounts.unwrap_or_default();
    let bind = |mount: MountPoint| {
        let (volume, path) = match mount.typ.as_deref() {
            Some("bind") => (None, mount.source?),
            Some("volume") => {
                let name = mount.name?;
                let folder = volumes.get(&name)?.clone();
                (Some(name), folder)
            }
            _ => return None,
        };
        let is_ours = volume.is_none() && Path::new(&path).starts_with(files);
        let (container, name, is_writable) = (id.clone(), name.clone(), mount.rw != Some(false));
        (!is_ours).then_some(HeldBind { container, name, is_up, volume, path, is_writable })
    };
    mounts.into_iter().filter_map(bind).collect()
}

/// The folder of the host that a volume of the engine's own driver is a bind of (`o=bind`), or that lies below it
/// (an overlay).
fn host_folder(volume: &Volume) -> Option<String> {
    let option = |name: &str| volume.options.get(name).map(String::as_str).unwrap_or_default();
    let is_bind = option("o").split(',').any(|word| matches!(word.trim(), "bind" | "rbind"));
    let is_overlay = option("type") == "overlay";
    let is_local = volume.driver == "local";
    (is_local && (is_bind || is_overlay)).then(|| option("device").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read_as_the_engine_lists_them() {
        let containers = serde_json::json!([
            {"Id": "c1", "Names": ["/web"], "State": "running", "Mounts": [
                {"Type": "bind", "Source": "/srv/a", "Destination": "/a", "RW": true},
                {"Type": "bind", "Source": "/srv/b", "Destination": "/b", "RW": false},
                {"Type": "bind", "Source": "/agent/files/i/0", "Destination": "/c", "RW": false},
                {"Type": "bind", "Source": "/agent/filesystem", "Destination": "/d", "RW": true},
                {"Type": "volume", "Name": "plain", "Source": "/var/lib/docker/volumes/plain/_data", "Destination": "/e", "RW": true},
                {"Type": "volume", "Name": "alias", "Source": "/var/lib/docker/volumes/alias/_data", "Destination": "/f", "RW": true},
                {"Type": "tmpfs", "Destination": "/g", "RW": true},
            ]},
            {"Id": "c2", "State": "exited", "Mounts": [{"Type": "bind", "Source": "/srv/c", "RW": true}]},
            {"Id": "c3", "Names": ["/none"], "State": "running"},
            {"Id": "c4", "State": "paused", "Mounts": [{"Type": "bind", "Source": "/srv/d"}]},
        ]);
        let volume = |name: &str, driver: &str, options: serde_json::Value| serde_json::json!({"Name": name, "Driver": driver, "Mountpoint": "", "Labels": {}, "Scope": "local", "Options": options});
        let volumes = serde_json::json!([
            volume("plain", "local", serde_json::Value::Null),
            volume(
                "alias",
                "local",
                serde_json::json!({"type": "none", "o": "rw,bind", "device": "/srv/alias"})
            ),
            volume("deep", "local", serde_json::json!({"type": "none", "o": "rbind", "device": "/srv/deep"})),
            volume(
                "layers",
                "local",
                serde_json::json!({"type": "overlay", "o": "lowerdir=/a", "device": "overlay"})
            ),
            volume(
                "nfs",
                "local",
                serde_json::json!({"type": "nfs", "o": "addr=192.0.2.1", "device": ":/export"})
            ),
            volume("plugin", "other", serde_json::json!({"o": "bind", "device": "/srv/x"})),
        ]);
        let read = of(
            serde_json::from_value(containers).unwrap(),
            serde_json::from_value(volumes).unwrap(),
            Path::new("/agent/files"),
        );
        let short = |bind: &HeldBind| {
            let volume = bind.volume.clone().unwrap_or_default();
            format!(
                "{} {} {} {} {} {volume}",
                bind.container, bind.name, bind.is_up, bind.path, bind.is_writable
            )
        };
        assert_eq!(
            read.binds.iter().map(short).collect::<Vec<_>>(),
            [
                "c1 web true /srv/a true ",
                "c1 web true /srv/b false ",
                "c1 web true /agent/filesystem true ",
                "c1 web true /srv/alias true alias",
                "c2 c2 false /srv/c true ",
                "c4 c4 true /srv/d true ",
            ]
        );
        let volumes: Vec<(&str, &str)> =
            read.volumes.iter().map(|(name, folder)| (name.as_str(), folder.as_str())).collect();
        assert_eq!(volumes, [("alias", "/srv/alias"), ("deep", "/srv/deep"), ("layers", "overlay")]);
    }
}
