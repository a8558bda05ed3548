//! `release`, `trust`, `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use windlass_core::{EnvironmentId, Span};

use super::ManifestArgs;
use crate::amendment::KeyRole;

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Releases of a service, the newest first
    #[command(after_help = "Example:\n  windlass release ls web")]
    Ls {
        /// The service, `web` or `production/web`
        service: String,
    },
    /// One release: what it says, and who signed it
    #[command(
        after_help = "Examples:\n  windlass release show web r7\n  windlass release show web@r7\n  windlass release show web.release.json"
    )]
    Show {
        /// A release file, a service, or one of its releases: `web@r7`
        of: String,
        /// Release of the service [default: the newest]
        release: Option<windlass_core::Counter>,
    },
    /// Show the differences between two releases
    #[command(after_help = "Examples:\n  \
        windlass release diff web r6 r7\n  \
        windlass release diff a.release.json b.release.json\n  \
        windlass release diff web@r6 next.release.json")]
    Diff {
        /// Two of FILE or SERVICE@rN, or SERVICE rN rN
        #[arg(num_args = 2..=3, required = true, value_name = "RELEASE")]
        of: Vec<String>,
    },
    /// Make a signed release without a coordinator, or add a signature to one
    #[command(after_help = "Examples:\n  \
        windlass release sign -f web.yaml --counter 7 --out web.release.json\n  \
        windlass release sign --envelope web.release.json --key bob.key\n  \
        windlass deploy --release web.release.json\n\n\
        An image that is pinned by digest needs no registry. A second signature approves the same release: its \
        digest stays.")]
    Sign(SignArgs),
    /// Check a release against the trust document in the home folder
    #[command(after_help = "Example:\n  windlass release verify web.release.json")]
    Verify {
        /// The release
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// Number of the release
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) counter: Option<u64>,
    /// File to write [default: --envelope FILE itself]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Add a signature to this release instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "manifests", "settings", "counter"])]
    pub(crate) envelope: Option<PathBuf>,
    /// Sign with this key instead of the context's
    #[arg(long = "key", env = "WINDLASS_RELEASE_KEY", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
}

/// Flags of the signing of a trust document, and of its destination.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Sign with this root key instead of the home folder's
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// Write the signed document here instead of publishing it; works without a coordinator
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The document takes new releases for this long from now [default: as before; `renew`: a year]
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<Span>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// The trust document in force
    #[command(after_help = "Examples:\n  windlass trust show\n  windlass trust show -o json > trust.json")]
    Show {
        /// From the home folder only, without asking the coordinator
        #[arg(long)]
        offline: bool,
    },
    /// Trust one more key, in one step: edit, sign, publish
    #[command(after_help = "Examples:\n  \
        windlass trust add-key ed25519:Xq3\u{2026} --scope staging   # of `operator join`\n  \
        windlass trust add-key bob.pem --everywhere   # a PEM file\n  \
        windlass trust add-key root2.pem --role root --key /media/usb/root.key\n  \
        windlass trust add-key bob.pem -e staging --out next.trust.json   # offline\n\n\
        Signs with the root key of the home folder, or with --key. Where more root keys must sign, it writes the document and \
        says who is next. A key that is trusted already changes nothing but the time, with --expires. A first key for an environment makes a rule for it \
        that keeps everybody who could sign there before.")]
    AddKey {
        /// `ed25519:…`, or a PEM file
        key: String,
        /// Role of the key
        #[arg(long, value_name = "ROLE", value_enum, default_value_t = KeyRole::Release)]
        role: KeyRole,
        /// Releases of these environments; or of one, with `-e`
        #[arg(long, value_name = "ENV,ENV", value_delimiter = ',')]
        scope: Vec<EnvironmentId>,
        /// Releases of all environments that have no rule of their own
        #[arg(long, conflicts_with = "scope")]
        everywhere: bool,
        #[command(flatten)]
        how: ChangeArgs,
    },
    /// Remove a trusted key
    #[command(after_help = "Examples:\n  \
        windlass trust remove-key 5f2a81c09d3e\n  \
        windlass trust remove-key bob.pem --revoke       # it fell into other hands\n\n\
        Releases that a removed key has signed, and hosts have taken, stay valid there; with --revoke it starts no more \
        (what runs is never stopped). The last key that a role needs cannot be removed.")]
    RemoveKey {
        /// Its id or the first digits, `ed25519:…`, or a PEM file
        key: String,
        /// Only in this role
        #[arg(long, value_name = "ROLE", value_enum)]
        role: Option<KeyRole>,
        /// Also refuse to start releases that only this key signed
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        how: ChangeArgs,
    },
    /// Put a new key in the place of an old one, in one step
    #[command(after_help = "Examples:\n  \
        windlass trust rotate 5f2a81c09d3e new-release.key\n  \
        windlass trust rotate root.key new.key --key root.key --key new.key\n\n\
        The new key gets every role of the old one. A new root key signs too: the thresholds of both versions count.")]
    Rotate {
        /// The key that goes: its id or the first digits, `ed25519:…`, or a PEM file
        old: String,
        /// The key that comes: `ed25519:…`, or a PEM file
        new: String,
        #[command(flatten)]
        how: ChangeArgs,
    },
    /// Give the trust document more time, with the same keys
    #[command(after_help = "Examples:\n  \
        windlass trust renew --expires 365d\n  \
        windlass trust renew --expires 365d --key /media/usb/root.key\n\n\
        Works before and after it has expired: an expired document takes no new release, and what runs goes on. Without \
        --expires it is a year from now.")]
    Renew {
        #[command(flatten)]
        how: ChangeArgs,
    },
    /// Revoke certificates: sign the next revocation list and publish it
    #[command(after_help = "Examples:\n  \
        windlass trust revoke 3f9c12aa07b14e55      # one certificate, by serial\n  \
        windlass trust revoke stolen.pem            # the same, from its file\n  \
        windlass trust revoke operator/bob          # all of this name, for good\n  \
        windlass trust revoke host/web-1 --up-to 4  # all up to this generation\n\n\
        Coordinator, hosts and command line take the list by its signatures, cut connections, and pass it on. It is signed with \
        the revoke key of the home folder, or with --key; where more keys must sign, it is written to a file and says who is next. \
        A revocation is for good. A coordinator's certificate is revoked by serial number: stop that coordinator first, and \
        start it again after; it makes a new one.")]
    Revoke(RevokeArgs),
    /// List revoked certificates, by the newest revocation list
    #[command(after_help = "Examples:\n  windlass trust revoked\n  windlass trust revoked --offline -o json")]
    Revoked {
        /// From the home folder only, without asking the coordinator
        #[arg(long)]
        offline: bool,
    },
    /// Sign a trust document or a revocation list, or add a signature to one
    #[command(after_help = "Examples:\n  \
        windlass trust show -o json > next.json      # raise version, change keys, …\n  \
        windlass trust sign next.json --out next.trust.json\n  \
        windlass trust sign next.trust.json --key second-root.key\n  \
        windlass trust publish next.trust.json")]
    Sign {
        /// A trust document (JSON), or an envelope of a document or list that others have signed already
        file: PathBuf,
        /// File to write [default: an envelope itself]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Sign with this root or revoke key instead of the home folder's
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
    },
    /// Give a signed trust document or revocation list to the coordinator
    #[command(after_help = "Example:\n  windlass trust publish next.trust.json")]
    Publish {
        /// The envelope
        file: PathBuf,
    },
    /// Check a trust document against the one in force, or the home folder's chain
    #[command(after_help = "Examples:\n  windlass trust verify\n  windlass trust verify next.trust.json")]
    Verify {
        /// The envelope; the home folder's chain if absent
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Entries of the audit log, the newest last
    Ls(super::AuditLsArgs),
    /// Check the audit log: OK, ALTERED at n, TRUNCATED, FORKED or LOST
    #[command(after_help = "Examples:\n  \
        windlass audit verify\n  \
        windlass audit verify --save audit.jsonl\n  \
        windlass audit verify audit.jsonl               # without the coordinator\n\n\
        Compares the log with its signed checkpoints, the newest one that was verified here before, and those that hosts have \
        seen. OK: the log is sound; it says how many of the last entries no signed checkpoint covers yet. ALTERED at n: that \
        entry, or the one after it, was changed. TRUNCATED: entries that a witness has seen are gone. FORKED: \
        a witness has seen other entries. LOST: the log says that a backup was restored, and older entries that a witness \
        has a checkpoint of are gone; `windlass audit accept` accepts that.\n\n\
        Exit codes: 0 sound, 1 not sound, or it could not be read.")]
    Verify {
        /// An exported log: one entry or checkpoint per line; the coordinator's if absent
        file: Option<PathBuf>,
        /// Keep what the coordinator sent
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        save: Option<PathBuf>,
    },
    /// Accept that entries are lost, once you know which backup was restored and why
    #[command(after_help = "Examples:\n  \
        windlass audit verify\n  \
        windlass audit accept 3f9c12aa07b1\n  \
        windlass audit accept 3f9c12aa07b1 --from audit.jsonl   # a saved log\n  \
        windlass audit accept 3f9c12aa07b1 --out loss.json      # also for others\n  \
        windlass audit accept --from loss.json                  # signed elsewhere\n\n\
        Signed with your release key and kept in your home folder. It counts only if the trust document names the key, for \
        releases or as a root key, and covers that loss at that restore, and no other.")]
    Accept(AcceptArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// The loss, by the hash that `audit verify` names it with; 12 digits or more
    #[arg(value_name = "HASH", required_unless_present = "from")]
    pub(crate) loss: Option<String>,
    /// A loss that somebody else has signed, or a saved log, instead of the coordinator's
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Also write the signed acceptance here
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Sign with this key instead of the context's
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Serial numbers, certificates (PEM files), `operator/NAME`, `host/NAME`
    #[arg(value_name = "WHAT", required = true)]
    pub(crate) what: Vec<String>,
    /// Of a name, only certificates up to this generation [default: all, also future ones]
    #[arg(long, value_name = "GENERATION")]
    pub(crate) up_to: Option<u64>,
    /// Sign with this revoke key instead of the home folder's
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// Write the signed list here instead of publishing it; works without a coordinator
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
