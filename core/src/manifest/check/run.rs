//! Checks of the workload: image, command, replicas, ports, environment, resources.

use std::collections::BTreeMap;

use crate::manifest::foreign;
use crate::manifest::image::ImageReference;
use crate::manifest::model::{Gpus, Manifest, Port, Replicas};
use crate::manifest::node::display_path;

use super::{Findings, is_label};

const MAX_REPLICAS: u32 = 1000;
const MAX_PORTS: usize = 64;
const MAX_VARIABLES: usize = 512;
const MAX_VALUE: usize = 32 * 1024;
const MAX_GPUS: u32 = 64;
const MAX_PIDS: u32 = 4_194_304;
/// The least memory that Docker Engine takes.
const MIN_MEMORY: u64 = 6 << 20;
const MAX_CPU_MILLIS: u32 = 1024 * 1000;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    image(manifest, findings);
    command(manifest, findings);
    scale(manifest, findings);
    placement(manifest, findings);
    ports(manifest, findings);
    env(manifest, findings);
    resources(manifest, findings);
}

fn image(manifest: &Manifest, findings: &mut Findings<'_>) {
    match manifest.image.parse::<ImageReference>() {
        Ok(_) => {}
        Err(error) => {
            findings.error(&["image"], error.to_string(), &image_hint(&manifest.image));
        }
    }
}

/// The hint about text that names no image.
fn image_hint(image: &str) -> String {
    if let Some(name) = foreign::variable(image) {
        return format!("`${{{name}}}` is not replaced; give the image with `--set image=…`");
    }
    if image.contains('$') {
        return "variables are not replaced; give the image with `--set image=…`".to_owned();
    }
    match image.split_once("://") {
        Some((_, plain)) if plain.parse::<ImageReference>().is_ok() => format!("did you mean `{plain}`?"),
        Some(_) | None => "like `registry.example.com/team/web:1.5.2`".to_owned(),
    }
}

fn command(manifest: &Manifest, findings: &mut Findings<'_>) {
    if manifest.command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
        findings.error(&["command"], "names no program", "leave `command` away to run the image's own");
    }
    for (key, words) in [("command", &manifest.command), ("args", &manifest.args)] {
        let words = words.iter().flatten();
        if words.clone().any(|word| word.contains('\0')) || words.map(String::len).sum::<usize>() > MAX_VALUE
        {
            findings.error(&[key], format!("has a NUL character, or more than {MAX_VALUE} bytes"), "");
        }
    }
}

fn scale(manifest: &Manifest, findings: &mut Findings<'_>) {
    let (min, max) = match manifest.replicas {
        Some(_) if manifest.per_host => {
            return findings.error(
                &["replicas"],
                "cannot stand beside `per_host: true`",
                "take one of the two away (in an overlay: `replicas: null`)",
            );
        }
        None => return,
        Some(Replicas::Count(count)) => (count, count),
        Some(Replicas::Range(range)) => (range.min, range.max),
    };
    if min == 0 {
        findings.error(
            &["replicas"],
            "must be at least 1",
            "`windlass stop SERVICE` stops every instance and keeps volumes, ports and images",
        );
    }
    if max > MAX_REPLICAS {
        findings.error(&["replicas"], format!("must be at most {MAX_REPLICAS}"), "");
    }
    if min > max {
        findings.error(&["replicas", "min"], format!("is {min}, more than `max`, which is {max}"), "");
    }
}

fn placement(manifest: &Manifest, findings: &mut Findings<'_>) {
    for (key, value) in &manifest.placement.require {
        let good = |text: &str| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
        if !good(key) || !good(&value.0) || key.contains('=') {
            let reason = "is not a label (key and value have 1 to 128 characters, and no `=` in the key)";
            findings.error(&["placement", "require", key], reason, "");
        }
    }
}

fn ports(manifest: &Manifest, findings: &mut Findings<'_>) {
    let (mut containers, mut hosts) = (BTreeMap::new(), BTreeMap::new());
    for (name, port) in &manifest.ports {
        let path = ["ports", name.as_str()];
        if !is_label(name) {
            findings.error(&path, "is not a port name", "lowercase letters, digits and `-`, like `http`");
        }
        let (container, host) = match port {
            Port::Container(container) => (*container, None),
            Port::Fixed(fixed) => (fixed.container, fixed.host),
        };
        if container == 0 || host == Some(0) {
            findings.error(&path, "0 is not a port", "a number from 1 to 65535; leave `host` away for any");
        }
        if let Some(other) = containers.insert(container, name) {
            findings.error(&path, format!("has the same container port {container} as `{other}`"), "");
        }
        if let Some(host) = host
            && let Some(other) = hosts.insert(host, name)
        {
            findings.error(&path, format!("has the same host port {host} as `{other}`"), "");
        }
    }
    if manifest.ports.len() > MAX_PORTS {
        findings.error(&["ports"], format!("are more than {MAX_PORTS}"), "");
    }
}

fn env(manifest: &Manifest, findings: &mut Findings<'_>) {
    for (name, value) in &manifest.env {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        // `.` and `-` as in `spring.profiles.active`: an engine takes them, a shell does not.
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !name.starts_with(first) || !name.chars().all(inner) || name.len() > 128 {
            let hint = "letters, digits, `_`, `.` and `-`, a letter or `_` first, at most 128";
            findings.error(&["env", name], "is not the name of a variable", hint);
        }
        if value.0.contains('\0') || value.0.len() > MAX_VALUE {
            let reason = format!("has a NUL character, or more than {MAX_VALUE} bytes");
            findings.error(&["env", name], reason, "large values belong into `files`");
        }
        if let Some(variable) = foreign::variable(&value.0) {
            findings.error(
                &["env", name],
                format!("has `${{{variable}}}`, which is not replaced"),
                &format!(
                    "give the value: `--set {}=…`, or per environment in `environments/NAME.yaml`; a secret \
                     stands in a folder of the host; `$${{{variable}}}` is the text itself",
                    display_path(&["env", name])
                ),
            );
        }
    }
    if manifest.env.len() > MAX_VARIABLES {
        findings.error(&["env"], format!("has more than {MAX_VARIABLES} variables"), "");
    }
}

fn resources(manifest: &Manifest, findings: &mut Findings<'_>) {
    let resources = &manifest.resources;
    if !(1..=MAX_CPU_MILLIS).contains(&resources.cpu.millis) {
        findings.error(&["resources", "cpu"], "must be more than 0 and at most 1024 cores", "");
    }
    if resources.memory.bytes() < MIN_MEMORY {
        findings.error(
            &["resources", "memory"],
            format!("is {}, less than the 6MiB an engine needs", resources.memory),
            "",
        );
    }
    if !(1..=MAX_PIDS).contains(&resources.pids) {
        findings.error(&["resources", "pids"], format!("must be from 1 to {MAX_PIDS}"), "");
    }
    let (count, memory) = match resources.gpus {
        None => return,
        Some(Gpus::Count(count)) => (count, None),
        Some(Gpus::Shared(shared)) => (shared.count, shared.memory),
    };
    if count > MAX_GPUS {
        findings.error(&["resources", "gpus"], format!("must be at most {MAX_GPUS}"), "");
    }
    if let Some(memory) = memory {
        let path = ["resources", "gpus", "memory"];
        if count == 0 {
            findings.error(&path, "asks for memory of no GPU", "`count: 1`");
        }
        if memory.bytes() == 0 {
            findings.error(&path, "must be more than 0", "leave it away for the whole GPU");
        }
    }
}
