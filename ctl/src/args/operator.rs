//! `operator`.

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
        Bob runs `windlass operator join` on his machine, which makes his key there. For somebody who is an operator\n\
        already, the token changes the role once it is used; what they have counts until then. Signing releases is\n\
        another thing: see `windlass trust --help`.")]
    #[command(visible_alias = "add")]
    Invite {
        /// Who
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
        windlass operator join --server windlass.example.com:7443 --token -\n  \
        windlass operator join --server 127.0.0.1:7443 --token \"$TOKEN\" --context prod")]
    Join(OperatorJoinArgs),
    /// Operators, and who was invited
    #[command(after_help = "Example:\n  windlass operator ls -o json")]
    Ls,
    /// Every certificate and token of theirs counts no more; their connections are cut
    #[command(after_help = "Example:\n  windlass operator revoke bob --yes")]
    Revoke {
        /// Who
        name: OperatorName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OperatorJoinArgs {
    /// What `operator invite` printed; `-` reads stdin
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: String,
    /// Replace the operator certificate that this home folder has of that fleet
    #[arg(long)]
    pub(crate) replace: bool,
}
