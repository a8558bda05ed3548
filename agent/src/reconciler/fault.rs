//! Whose fault it is that a container does not start, by what the engine says: a release is not condemned for a GPU, an engine
//! or a host that fails.

use windlass_core::reconcile::StartFailure;

/// Said of GPUs and of what gives them to containers.
const DEVICE: [&str; 7] = [
    "nvidia-container-cli: ",
    "nvml error: ",
    "could not select device driver",
    "unknown device",
    "CDI device injection failed",
    "unresolvable CDI devices",
    "error gathering device information",
];
/// Said where whatever was to be started would not have.
const HOST: [&str; 9] = [
    "input/output error",
    "too many open files in system",
    "context deadline exceeded",
    "failed to create shim task: context",
    "containerd.sock",
    "error creating overlay mount",
    "failed to mount overlay",
    "failed to set up container networking: driver failed",
    "unable to apply cgroup configuration",
];

/// Said of a container whose engine lost track of it, and which it never starts again. The first is of its task, which a
/// containerd that outlived the engine still has.
const STUCK: [(&str, &str); 2] =
    [("task ", ": already exists"), ("container is marked for removal", "cannot be started")];

/// The failure that a refusal of the engine to start something means.
pub(super) fn of(message: &str) -> StartFailure {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    if message.contains("no space left on device") {
        StartFailure::NoRoom(message.to_owned())
    } else if says(&DEVICE) {
        StartFailure::Device(message.to_owned())
    } else if STUCK.iter().any(|(one, two)| message.contains(one) && message.contains(two)) {
        StartFailure::Stuck(message.to_owned())
    } else if says(&HOST) {
        StartFailure::Host(message.to_owned())
    } else {
        StartFailure::Failed(message.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_say_tells_whose_fault_it_is() {
        let oci = "OCI runtime create failed: runc create failed: unable to start container process:";
        #[rustfmt::skip]
        let table = [
            (format!("{oci} error running prestart hook #0: exit status 1, stdout: , stderr: nvidia-container-cli: device error: GPU-1: unknown device: unknown"), "device"),
            (format!("{oci} error running hook #0: nvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown"), "device"),
            ("could not select device driver \"\" with capabilities: [[gpu]]".to_owned(), "device"),
            ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-1".to_owned(), "device"),
            (format!("{oci} exec: \"/opt/nvidia/entry.sh\": stat /opt/nvidia/entry.sh: no such file or directory"), "release"),
            (format!("{oci} exec: \"python\": executable file not found in $PATH"), "release"),
            (format!("{oci} container init was OOM-killed (memory limit too low?)"), "release"),
            ("write /var/lib/docker/overlay2/x: no space left on device".to_owned(), "room"),
            ("error creating overlay mount to /var/lib/docker/overlay2/x/merged: input/output error".to_owned(), "host"),
            ("failed to create shim task: context deadline exceeded: unknown".to_owned(), "host"),
            ("task 575b0b2a: already exists: unknown".to_owned(), "stuck"),
            ("container is marked for removal and cannot be started".to_owned(), "stuck"),
        ];
        for (message, want) in table {
            let got = match of(&message) {
                StartFailure::Device(_) => "device",
                StartFailure::Host(_) => "host",
                StartFailure::Stuck(_) => "stuck",
                StartFailure::NoRoom(_) => "room",
                _ => "release",
            };
            assert_eq!(got, want, "{message}");
        }
    }
}
