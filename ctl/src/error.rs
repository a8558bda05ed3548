//! Every way a command fails, mapped once: to what a person reads and to an exit code. Errors of single commands are not
//! named here: each is a [`Failure`].

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};

use serde::Serialize;
use windlass_certs::ca::CaError;
use windlass_certs::csr::IdentityError;
use windlass_certs::files::FileError;
use windlass_certs::keys::KeyError;
use windlass_certs::trust::TrustError;
use windlass_core::ServiceId;
use windlass_core::id::InvalidName;
use windlass_process::report;

use crate::amendment::AmendError;
use crate::client::CallError;
use crate::exit::Exit;
use crate::home::HomeError;
use crate::manifests::{ManifestError, Mistake};
use crate::registry::ResolveError;
use crate::unknown::Unknown;

/// An error of one command, or of a part that several have.
pub(crate) trait Failure: Any + Error + Send + Sync {
    /// A step that a person can take next.
    fn hint(&self) -> Option<String>;

    /// The exit code of the command.
    fn exit(&self) -> Exit {
        Exit::Refused
    }

    /// The name that the fleet does not have, where the error is about one.
    fn unknown(&self) -> Option<Unknown> {
        None
    }
}

/// Some [`Failure`].
#[derive(Debug)]
pub(crate) struct AnyFailure(Box<dyn Failure>);

impl Display for AnyFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, formatter)
    }
}

impl Error for AnyFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl<E: Failure> From<E> for CtlError {
    fn from(error: E) -> Self {
        Self::AnyFailure(AnyFailure(Box::new(error)))
    }
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    #[error(transparent)]
    AnyFailure(AnyFailure),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Amend(#[from] AmendError),
    #[error("failed to use the CA")]
    Ca(#[from] CaError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The flags contradict each other, or something a person must say is missing.
    #[error("{message}")]
    Usage { message: String, hint: String },
    /// A service name that stands for several services.
    #[error("`{service}` exists in several environments: {}", .environments.join(", "))]
    Ambiguous { service: String, environments: Vec<String> },
    #[error("there is no service `{0}`")]
    NoService(ServiceId),
    /// A question that nobody can answer.
    #[error("this needs a confirmation: {question}")]
    Unattended { question: String },
    /// The person said no.
    #[error("nothing was done: not confirmed")]
    Declined,
    #[error("failed to start the async runtime")]
    Runtime(#[source] std::io::Error),
}

/// An error as it is printed: *what failed · why · what to do next*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(crate) struct Report {
    /// The failure.
    pub(crate) error: String,
    /// Its causes, the outermost first.
    pub(crate) causes: Vec<String>,
    /// The next step.
    pub(crate) hint: Option<String>,
    /// The mistakes of a manifest, each with its own next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Mistake>,
}

impl CtlError {
    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::AnyFailure(error) => error.0.hint(),
            Self::Home(error) => error.hint(),
            Self::Call(error) => error.hint(),
            Self::Manifest(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::Amend(error) => error.hint(),
            Self::Key(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Trust(_) => Some(
                "if an admin published a new trust document, fetch it with `windlass trust show`".to_owned(),
            ),
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Ambiguous { service, environments } => {
                let first = environments.first().map_or("default", String::as_str);
                Some(format!("say which one: `-e {first}` or `{first}/{service}`"))
            }
            Self::NoService(_) => Some("see all of them with `windlass status`".to_owned()),
            Self::Unattended { .. } => Some("add --yes to say yes beforehand".to_owned()),
            Self::Ca(_) | Self::Name(_) | Self::Declined | Self::Runtime(_) => None,
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. }
            | Self::Ambiguous { .. }
            | Self::Name(_)
            | Self::Manifest(ManifestError::NoFile) => Exit::Usage,
            Self::AnyFailure(error) => error.0.exit(),
            _ => Exit::Refused,
        }
    }

    /// The name that the fleet does not have, where the error is about one.
    pub(crate) fn unknown(&self) -> Option<Unknown> {
        match self {
            Self::AnyFailure(error) => error.0.unknown(),
            Self::Call(error) => error.unknown(),
            Self::NoService(service) => Some(Unknown::Service(service.clone())),
            _ => None,
        }
    }

    /// The error of a command, if it is this one.
    pub(crate) fn told<E: Failure>(&self) -> Option<&E> {
        match self {
            Self::AnyFailure(AnyFailure(error)) => (error.as_ref() as &dyn Any).downcast_ref(),
            _ => None,
        }
    }

    /// The text for people.
    pub(crate) fn report(&self) -> Report {
        let mut lines = match self {
            Self::Manifest(error) => error.lines(),
            other => report::causes(other),
        };
        let causes = lines.split_off(1.min(lines.len()));
        let problems = match self {
            Self::Manifest(error) => error.mistakes(),
            _ => Vec::new(),
        };
        Report { error: lines.pop().unwrap_or_default(), causes, hint: self.hint(), problems }
    }
}

impl Report {
    /// Several lines, for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        for (at, cause) in self.causes.iter().enumerate() {
            text.push_str("\n  caused by: ");
            text.push_str(cause);
            // Each mistake has its own next step; the one of a single mistake stands at the end.
            let hint = self.problems.get(at).and_then(|mistake| mistake.hint.as_deref());
            if let Some(hint) = hint.filter(|_| self.problems.len() > 1) {
                text.push_str("\n    hint: ");
                text.push_str(hint);
            }
        }
        if let Some(hint) = &self.hint {
            text.push_str("\n\nhint: ");
            text.push_str(hint);
        }
        text
    }
}
