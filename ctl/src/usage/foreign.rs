//! The words of docker, compose, kubectl, nomad, kamal and systemd, each with the command or flag that does it here.

/// Where a word stands, and what is meant: at the top (`""`), below a command, or anywhere (`*`).
type Row = (&'static str, &'static [&'static str], &'static str);

/// The secrets of a service.
const SECRETS: &str = "sealed secrets come later; until then a folder of the host: \
    `volumes: { secrets: { mount: /run/secrets, host_path: /srv/secrets, read_only: true } }`";

#[rustfmt::skip]
const WORDS: &[Row] = &[
    ("", &["delete", "remove", "del", "down", "destroy", "undeploy", "uninstall", "purge", "teardown"],
        "`windlass rm SERVICE` removes a service from every host; `windlass host evict HOST` a host"),
    ("", &["apply", "up", "run", "create", "install", "push", "update", "upgrade", "redeploy", "replace", "submit"],
        "`windlass deploy FILE` makes a release of a manifest and rolls it out"),
    ("", &["get", "describe", "inspect", "show", "list", "service", "services", "svc", "app", "apps", "deployment", "deployments"],
        "`windlass status [SERVICE]` shows services, `windlass ps` instances, `windlass host ls` hosts"),
    ("", &["pod", "pods", "alloc", "allocs", "task", "tasks", "container", "containers", "instance", "instances"],
        "`windlass ps [SERVICE]` lists instances"),
    ("", &["node", "nodes", "server", "servers", "machine", "machines", "agent", "agents", "hosts", "client"],
        "`windlass host ls` lists hosts; `windlass host show HOST` is one of them"),
    ("", &["start", "unpause"], "`windlass restart SERVICE` starts a service that was stopped"),
    ("", &["kill", "halt"], "`windlass stop SERVICE` stops every instance and keeps what it needs to return"),
    ("", &["reload", "bounce"], "`windlass restart SERVICE` replaces its instances, a few at a time"),
    ("", &["undo", "revert", "back"], "`windlass rollback SERVICE` goes back to the last good release"),
    ("", &["history", "versions", "revisions"], "`windlass release ls SERVICE` lists releases, `windlass rollout ls` rollouts"),
    ("", &["diff", "preview", "dry-run"], "`windlass plan FILE` shows what a deploy would do; `windlass release diff` compares two releases"),
    ("", &["validate", "lint", "check", "convert"], "`windlass render FILE` checks a manifest and shows it whole; `windlass plan FILE` asks the fleet too"),
    ("", &["exec", "shell", "ssh", "attach", "sh", "bash", "console", "cp", "port-forward", "debug"],
        "no command enters a container: `windlass ps` shows its host and endpoints; there `docker exec` does"),
    ("", &["secret", "secrets", "vault"], SECRETS),
    ("", &["config", "configmap", "configs"], "`files` and `env` stand in the manifest; fleets are contexts: `windlass context ls`"),
    ("", &["env", "environment", "environments", "namespace", "namespaces", "ns"],
        "an environment is there once a service is deployed to it: `windlass deploy FILE -e NAME`"),
    ("", &["volume", "volumes"], "`volumes` stand in the manifest; named ones stay on their host: `docker volume ls` there"),
    ("", &["image", "images", "build", "pull", "registry", "login"],
        "images are built and pushed elsewhere; this program uses the credentials of `docker login`"),
    ("", &["job", "jobs", "cronjob", "batch"], "jobs come later; `hooks` of a manifest run once for each rollout"),
    ("", &["stack", "compose"], "`windlass import compose FILE` makes manifests; `windlass deploy FOLDER` deploys all of a folder"),
    ("", &["edit", "set", "patch", "annotate"], "change the manifest, or `windlass deploy FILE --set KEY=VALUE`"),
    ("", &["autoscale"], "`windlass scale SERVICE N` within `replicas: { min: 2, max: 10 }`"),
    ("", &["drain", "cordon", "uncordon", "evict", "ban", "label", "token"], "that is a command of hosts: `windlass host --help`"),
    ("", &["pause", "resume", "promote", "approve", "abort", "cancel", "watch", "rollouts"],
        "that is a command of rollouts: `windlass rollout --help`"),
    ("", &["invite", "join", "user", "users", "member", "members", "revoke", "operators", "whoami"],
        "`windlass operator --help` has people; a host joins with `windlass host token HOST` and `windlass-agent join`"),
    ("", &["sign", "verify"], "`windlass release --help` has those of releases, `windlass trust --help` those of the trust document"),
    ("", &["use", "use-context", "switch", "fleet", "fleets", "cluster"], "`windlass context ls` lists fleets, `windlass context use NAME` chooses one"),
    ("", &["setup", "bootstrap", "new"], "`windlass init` makes a fleet; `windlass dev` tries one on this machine"),
    ("", &["stats", "metrics", "dashboard", "ui", "gpu", "gpus", "htop", "monitor"], "`windlass top` shows the fleet as it is now"),
    ("", &["log", "tail"], "`windlass logs SERVICE`"),
    ("", &["ingress", "proxy", "route", "expose"], "`windlass routes` shows who gets the requests; names stand in `route` of the manifest"),
    ("", &["doctor", "inventory"], "`windlass-agent doctor` checks a host, there; `windlass-server check` a coordinator"),
    ("", &["store", "backup", "export", "restore", "snapshot"], "`windlass-server store export FILE` backs the coordinator up, on its machine"),
    ("", &["info", "cluster-info", "ping"], "`windlass version` asks the coordinator; `windlass status` shows what runs"),

    ("host", &["add", "join", "create", "new", "invite"], "`windlass host token HOST` makes a token, with which `windlass-agent join` joins there"),
    ("host", &["rm", "remove", "delete", "kick"], "`windlass host drain HOST` moves its slots away; `windlass host evict HOST` revokes its certificate"),
    ("host", &["ready", "resume", "enable", "activate", "undrain"], "`windlass host uncordon HOST` makes it schedulable again"),
    ("host", &["disable", "pause", "taint"], "`windlass host cordon HOST` gives it no new slots"),
    ("host", &["labels"], "`windlass host label HOST`"),
    ("rollout", &["undo", "back", "rollback"], "`windlass rollback SERVICE` goes back to the last good release"),
    ("rollout", &["restart"], "`windlass restart SERVICE` replaces its instances, a few at a time"),
    ("rollout", &["history"], "`windlass rollout ls SERVICE`"),
    ("rollout", &["cancel", "stop", "fail"], "`windlass rollout abort SERVICE` rolls back; `windlass rollout pause SERVICE` stops it where it is"),
    ("rollout", &["continue", "unpause", "unblock"], "`windlass rollout resume SERVICE`"),
    ("rollout", &["follow", "wait"], "`windlass rollout watch SERVICE` follows it to its end"),
    ("release", &["create", "new", "deploy"], "`windlass deploy FILE` makes and rolls out a release; `windlass release sign` only makes one"),
    ("release", &["history"], "`windlass release ls SERVICE`"),
    ("release", &["rollback", "undo"], "`windlass rollback SERVICE`"),
    ("context", &["current", "current-context"], "`windlass context ls` marks it with `*`"),
    ("context", &["set", "switch", "use-context"], "`windlass context use NAME` makes it the current one"),
    ("context", &["create", "new"], "`windlass context add NAME --fleet FLEET` for keys that are here; `windlass init` makes a fleet"),
    ("context", &["remove", "delete", "forget"], "`windlass context rm NAME`"),
    ("operator", &["create", "new"], "`windlass operator invite NAME --role ROLE`"),
    ("operator", &["rm", "remove", "delete"], "`windlass operator revoke NAME`"),
    ("quarantine", &["rm", "remove", "delete", "reset"], "`windlass quarantine clear SERVICE`"),
    ("trust", &["ls", "list"], "`windlass trust show`"),
    ("trust", &["add"], "`windlass trust add-key KEY`"),
    ("trust", &["rm", "remove"], "`windlass trust remove-key KEY`"),
    ("audit", &["show", "log"], "`windlass audit ls`"),
    ("import", &["docker-compose", "file"], "`windlass import compose FILE`"),

    ("completions", &["pwsh"], "`windlass completions powershell`"),
    ("top", &["nodes", "node", "host"], "`windlass top hosts`"),
    ("top", &["pods", "pod", "containers", "allocs", "ps"], "`windlass top instances`"),
    ("top", &["deployments", "apps", "jobs"], "`windlass top services`"),
];

/// Words of other systems for `ls` and `show`, below every command that has these.
const ANYWHERE: &[(&[&str], &str)] =
    &[(&["list", "all"], "ls"), (&["get", "describe", "inspect", "info", "view", "status"], "show")];

#[rustfmt::skip]
const FLAGS: &[Row] = &[
    ("logs", &["-n", "--lines"], "`--tail 50` for the last 50 lines of each instance"),
    ("logs", &["-t"], "`--timestamps` begins each line with its time"),
    ("logs", &["-c", "--container", "--pod", "--index", "--alloc"], "`--instance ID` shows one instance; `windlass ps` lists them"),
    ("deploy", &["--image", "-i", "--tag", "-t"], "`--set image=REGISTRY/NAME:TAG` overrides the image of the manifest"),
    ("plan", &["--image", "-i", "--tag", "-t"], "`--set image=REGISTRY/NAME:TAG` overrides the image of the manifest"),
    ("deploy", &["--replicas", "--scale", "--count"], "`--set replicas=3`; `windlass scale SERVICE 3` changes only the number"),
    ("deploy", &["--wait", "--follow", "--atomic", "-w", "--watch"], "it follows to the end and rolls back what fails; `--timeout 10m` bounds the wait"),
    ("deploy", &["--no-wait", "-d", "--no-follow", "--background"], "`--detach` does not follow"),
    ("deploy", &["--force", "--force-recreate"],
        "`--supersede` ends an active rollout, `--retry-quarantined` starts what failed before; `windlass restart SERVICE` makes new instances"),
    ("deploy", &["--strategy", "--canary", "--update-order"], "`strategy` stands in the manifest"),
    ("deploy", &["--values", "--var", "--var-file"], "`--set KEY=VALUE`, or `environments/NAME.yaml` beside the manifest"),
    ("rollback", &["--to-revision", "--revision", "--release"], "`--to r5` names a release; `windlass release ls SERVICE` lists them"),
    ("rollback", &["--force", "--supersede"], "a rollback supersedes every rollout by itself"),
    ("scale", &["--replicas", "--count", "-n"], "the number stands behind the name: `windlass scale web 3`"),
    ("rm", &["--volumes", "--purge"], "named volumes stay, and the command names them: `docker volume rm` on their host"),
    ("host drain", &["--force", "--ignore-daemonsets", "--delete-emptydir-data"],
        "one per host only stops, and named volumes stay; `windlass host evict HOST` gives the host up"),
    ("stop", &["-t", "--time", "--grace-period"], "`stop_timeout` stands in the manifest"),

    ("*", &["--namespace", "-n", "--environment", "--stage"], "`-e NAME` (`--env NAME`) names the environment"),
    ("status", &["--all", "-a", "-A", "--all-namespaces"], "without `-e`, all environments are shown"),
    ("ps", &["--all", "-a", "-A", "--all-namespaces"], "without `-e`, all environments are shown"),
    ("rollout ls", &["--all", "-a", "-A", "--all-namespaces"], "without `-e`, all environments are shown"),
    ("events", &["-n", "--lines", "--limit"], "`--tail 20` for the last 20"),
    ("*", &["--json"], "`-o json`"),
    ("*", &["--yaml"], "`-o yaml`"),
    ("*", &["-w", "--watch"], "`windlass top` shows it as it is now; `windlass rollout watch SERVICE` follows a rollout"),
    ("*", &["--debug", "--log-level"], "`-vv`, or `--log debug`"),
    ("*", &["--kubeconfig", "--profile", "--cluster", "-H", "--address"], "`--context NAME` chooses the fleet, `--server HOST:PORT` the coordinator"),
    ("deploy", &["--filename", "--manifest"], "`-f FILE`"),
    ("plan", &["--filename", "--manifest"], "`-f FILE`"),
    ("render", &["--filename", "--manifest"], "`-f FILE`"),
    ("*", &["--auto-approve", "--assume-yes", "--no-prompt", "--no-input"], "`--yes`"),
];

/// The hint for a word (`delete`) or a flag (`--namespace`) that stands below the command `path`.
pub(super) fn hint(path: &str, word: &str) -> Option<&'static str> {
    let table = if word.starts_with('-') { FLAGS } else { WORDS };
    let at = |place: &str| {
        let row = table.iter().find(|(at, words, _)| *at == place && words.contains(&word));
        row.map(|(_, _, hint)| *hint)
    };
    at(path).or_else(|| at("*"))
}

/// The command below `path` that a word stands for, if that has the command.
pub(super) fn same(word: &str) -> Option<&'static str> {
    ANYWHERE.iter().find(|(words, _)| words.contains(&word)).map(|(_, command)| *command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    /// Every command that a hint names, without its arguments.
    fn named(hint: &str) -> Vec<Vec<&str>> {
        let quoted = hint.split('`').skip(1).step_by(2);
        quoted
            .filter_map(|text| text.strip_prefix("windlass "))
            .map(|rest| rest.split(' ').collect())
            .collect()
    }

    #[test]
    fn hints_name_commands_that_there_are() {
        let root = Cli::command();
        for (path, words, hint) in WORDS.iter().chain(FLAGS) {
            for command in named(hint) {
                let mut at = &root;
                for word in &command {
                    match at.find_subcommand(word) {
                        Some(sub) => at = sub,
                        None => break,
                    }
                }
                assert_ne!(
                    at.get_name(),
                    "windlass",
                    "{path} {words:?}: `{}` is no command",
                    command.join(" ")
                );
                let groups = at.has_subcommands() && at.is_subcommand_required_set();
                assert!(
                    !groups || command.contains(&"--help"),
                    "{words:?}: `{}` needs more",
                    command.join(" ")
                );
            }
        }
    }

    #[test]
    fn a_word_that_is_a_command_needs_no_hint() {
        let root = Cli::command();
        for (path, words, _) in WORDS.iter().filter(|(path, _, _)| !matches!(*path, "completions" | "top")) {
            let at = path.split(' ').filter(|word| !word.is_empty());
            let command = at.fold(&root, |at, word| at.find_subcommand(word).unwrap());
            for word in *words {
                assert!(command.find_subcommand(word).is_none(), "`{path} {word}` is a command");
            }
        }
    }

    #[test]
    fn each_word_stands_once() {
        for table in [WORDS, FLAGS] {
            let mut seen = std::collections::BTreeSet::new();
            for (path, words, _) in table {
                for word in *words {
                    assert!(seen.insert((path, word)), "`{path} {word}` has two hints");
                }
            }
        }
    }
}
