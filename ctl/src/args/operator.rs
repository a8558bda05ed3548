//! `operator`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use windlass_certs::identity::OperatorRole;
use windlass_core::{EnvironmentId, OperatorName};

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Print a single-use token with which a person becomes an operator
    #[command(after_help = "Examples:\n  \
        windlass operator invite bob --role deployer -e staging\n  \
        windlass operator invite carol --role viewer --scope staging,production\n  \
        windlass operator invite dave --role admin --everywhere\n\n\
        Bob runs `windlass operator join TOKEN` on his machine, which makes his keys there and prints the one command that \
        lets his release key sign (`windlass trust add-key`). For somebody who is an operator already, the token changes the \
        role once it is used; the old role counts until then.")]
    #[command(visible_alias = "add")]
    Invite {
        /// Operator name
        name: OperatorName,
        /// viewer, deployer, approver or admin
        #[arg(long, value_name = "ROLE")]
        role: OperatorRole,
        /// In these environments; or one, with `-e`
        #[arg(long, value_name = "ENV,ENV", value_delimiter = ',')]
        scope: Vec<EnvironmentId>,
        /// In all environments, and for what belongs to none: hosts, operators, trust, audit log
        #[arg(long, conflicts_with = "scope")]
        everywhere: bool,
    },
    /// Become an operator with such a token: makes key, certificate and context here
    #[command(after_help = "Examples:\n  \
        windlass operator join \"$TOKEN\"\n  \
        windlass operator join -                      # reads the token from stdin\n  \
        windlass operator join \"$TOKEN\" --server 127.0.0.1:7443 --context prod\n\n\
        Prints the command with which your release key becomes trusted, for whoever holds the root keys.")]
    Join(OperatorJoinArgs),
    /// Renew an expired admin certificate offline, with root key and CA
    #[command(after_help = "Examples:\n  \
        windlass operator recover --ca /var/lib/windlass/server/ca\n  \
        windlass operator recover --ca ./ca --key /media/usb/root.key --name alice\n\n\
        For the only operator, whose certificate expired more than 30 days ago: nobody is left to invite them. Works offline, \
        with the `ca` folder of the coordinator (or of its backup) and a root key, and makes an admin of all environments. \
        Where another admin is left, `windlass operator invite` is the way.")]
    Recover {
        /// The `ca` folder of the coordinator
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Sign with this root key instead of the home folder's
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Operator name [default: as before]
        #[arg(long, value_name = "NAME")]
        name: Option<OperatorName>,
    },
    /// Operators, and who was invited
    #[command(after_help = "Example:\n  windlass operator ls -o json")]
    Ls,
    /// Revoke an operator: all certificates and tokens, connections cut
    #[command(
        after_help = "Examples:\n  windlass operator revoke bob --yes\n  windlass operator revoke bob --unknown --yes   # after a restore"
    )]
    Revoke {
        /// Operator name
        name: OperatorName,
        /// Also if this coordinator has never heard of them
        #[arg(long)]
        unknown: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OperatorJoinArgs {
    /// The token that `operator invite` printed; `-` reads stdin
    #[arg(value_name = "TOKEN", required_unless_present = "token")]
    pub(crate) given: Option<String>,
    /// The same
    #[arg(long, value_name = "TOKEN", conflicts_with = "given", hide = true)]
    pub(crate) token: Option<String>,
    /// Replace the operator certificate that this home folder has of that fleet
    #[arg(long)]
    pub(crate) replace: bool,
}
