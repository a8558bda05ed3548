//! `release`: releases as documents. `sign` and `verify` work offline.

mod sign;

use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_certs::dsse::Envelope;
use windlass_certs::files::FileError;
use windlass_certs::trust::{Acceptance, TrustDocument};
use windlass_core::diff::diff;
use windlass_core::release::Release;
use windlass_core::{Counter, Digest};

use crate::args::{Global, ReleaseCommand};
use crate::client::Client;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, signing, table};

/// The most bytes a document of ours has on disk.
const MAX_FILE: u64 = 8 << 20;

/// The reason why a document on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("failed to read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is longer than any document of ours")]
    TooLong { path: PathBuf },
    #[error("failed to write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not a plan that this program wrote")]
    NotAPlan {
        path: PathBuf,
        #[source]
        source: Option<serde_json::Error>,
    },
}

impl Failure for DocumentError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAPlan { .. } => Some("make one with `windlass plan -f FILE --save PLAN`".to_owned()),
            Self::Read { source, path } if source.kind() == std::io::ErrorKind::NotFound => Some(format!(
                "is the path right? It is looked for from this folder: `ls {}`",
                crate::shell::quote(&folder(path))
            )),
            Self::Read { .. } | Self::TooLong { .. } | Self::Write { .. } => None,
        }
    }
}

/// The folder that a path leads into.
fn folder(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| ".".to_owned(), |parent| parent.display().to_string())
}

/// The document of `release show`, `sign` and `verify`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ReleaseDocument {
    /// Digest of the payload.
    pub(crate) digest: Digest,
    /// Digest of the content: what quarantine and "unchanged" go by.
    pub(crate) content: Digest,
    /// Whether the signatures suffice, by the trust document in the home folder.
    pub(crate) trusted: bool,
    /// The reason, if they do not.
    pub(crate) problem: Option<String>,
    /// Ids of the keys whose signatures hold and count.
    pub(crate) signed_by: Vec<String>,
    /// The number of signatures that the trust document asks for.
    pub(crate) needed: usize,
    /// The payload.
    pub(crate) release: Release,
}

impl ReleaseDocument {
    fn of(envelope: &Envelope, release: Release, trust: &TrustDocument, acceptance: Acceptance) -> Self {
        let verified = signing::verify(envelope, &release, trust, acceptance);
        let problem = verified.as_ref().err().map(|error| windlass_process::report::chain(error));
        let needed = trust.release_keys(&release.service_id(), acceptance).threshold();
        let signed_by = verified.unwrap_or_default().iter().map(ToString::to_string).collect();
        let (digest, content) = (envelope.digest(), release.content_digest());
        Self { digest, content, trusted: problem.is_none(), problem, signed_by, needed, release }
    }

    fn table(&self) -> String {
        let verdict = match &self.problem {
            None => {
                let needed = self.needed.max(1);
                let counted = self.signed_by.len();
                format!("valid: {counted} of {needed} required release signatures")
            }
            Some(problem) => format!("NOT TRUSTED: {problem}"),
        };
        table::release(&self.release, &self.digest.to_string(), &self.signed_by, &verdict)
    }
}

pub(super) async fn run(
    command: ReleaseCommand,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    match command {
        ReleaseCommand::Ls { service } => {
            let session = context.session().await?;
            let mut client = session.client();
            let service = context.service(&service, &mut client).await?;
            let releases = client.releases(&service).await?;
            printer.document(&releases, |colour| table::releases(&releases, clock::now(), colour));
        }
        ReleaseCommand::Show { of, release } => {
            let source = match release {
                Some(release) => Source::Stored(of, Some(release)),
                None => Source::parse(&of),
            };
            let (envelope, release) = Loader::new(&context).load(source).await?;
            let trust = context.fleet.trust()?;
            let document = ReleaseDocument::of(&envelope, release, trust.document(), Acceptance::Accepted);
            printer.document(&document, |_| document.table());
        }
        ReleaseCommand::Diff { of } => {
            let (old, new) = Source::pair(&of)?;
            let mut loader = Loader::new(&context);
            let (_, old) = loader.load(old).await?;
            let (_, new) = loader.load(new).await?;
            let changes = diff(&old, &new);
            printer.document(&changes, |colour| table::changes(&changes, colour));
        }
        ReleaseCommand::Sign(args) => sign::run(&args, &context, printer).await?,
        ReleaseCommand::Verify { file } => {
            let (envelope, release) = signing::read(&file, &read_file(&file)?)?;
            let trust = context.fleet.trust()?;
            signing::verify(&envelope, &release, trust.document(), Acceptance::New)?;
            let document = ReleaseDocument::of(&envelope, release, trust.document(), Acceptance::New);
            printer.document(&document, |_| document.table());
        }
    }
    Ok(Exit::Done)
}

/// The source of a release.
enum Source {
    File(PathBuf),
    Stored(String, Option<Counter>),
}

impl Source {
    /// A file if there is one, `service@rN`, or a service's newest.
    fn parse(text: &str) -> Self {
        if Path::new(text).is_file() {
            return Self::File(text.into());
        }
        match crate::context::at_release(text) {
            Some((service, release)) => Self::Stored(service.to_owned(), Some(release)),
            None => Self::Stored(text.to_owned(), None),
        }
    }

    fn pair(of: &[String]) -> Result<(Self, Self), CtlError> {
        match of {
            // `web r6`, where the second one is missing.
            [service, only] if only.parse::<Counter>().is_ok() && !Path::new(only).is_file() => {
                Err(CtlError::Usage {
                    message: format!("two releases are compared, and `{service} {only}` names one"),
                    hint: format!(
                        "like `windlass release diff {service} r1 {only}`; `windlass release ls {service}` shows them"
                    ),
                })
            }
            [old, new] => Ok((Self::parse(old), Self::parse(new))),
            [service, old, new] => Ok((
                Self::Stored(service.clone(), Some(old.parse()?)),
                Self::Stored(service.clone(), Some(new.parse()?)),
            )),
            _ => Err(CtlError::Usage {
                message: "two releases are compared".to_owned(),
                hint: "like `windlass release diff web r6 r7`".to_owned(),
            }),
        }
    }
}

/// Loads releases, and connects only if one of them is the coordinator's.
struct Loader<'a> {
    context: &'a Context,
    client: Option<Client>,
}

impl<'a> Loader<'a> {
    const fn new(context: &'a Context) -> Self {
        Self { context, client: None }
    }

    async fn load(&mut self, source: Source) -> Result<(Envelope, Release), CtlError> {
        let (name, release) = match source {
            Source::File(path) => return Ok(signing::read(&path, &read_file(&path)?)?),
            Source::Stored(name, release) => (name, release),
        };
        if self.client.is_none() {
            self.client = Some(self.context.session().await?.client());
        }
        let client = self.client.as_mut().expect("it was just made");
        let service = self.context.service(&name, client).await?;
        let bytes = client.release(&service, release).await?;
        Ok(signing::read(Path::new("the coordinator's answer"), &bytes)?)
    }
}

/// Reads a document, bounded.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DocumentError> {
    let failed = |source| DocumentError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(DocumentError::TooLong { path: path.to_owned() });
    }
    std::fs::read(path).map_err(failed)
}

/// Writes a document, whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DocumentError> {
    windlass_certs::files::replace_secret(path, bytes).map_err(|error| {
        let source = match error {
            FileError::Write { source, .. } => source,
            other => std::io::Error::other(other),
        };
        DocumentError::Write { path: path.to_owned(), source }
    })
}

/// Writes a value as a JSON document.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DocumentError> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_named_by_service_and_number() {
        for (text, service, release) in
            [("web@r6", "web", Some(6)), ("prod/web@r6", "prod/web", Some(6)), ("web", "web", None)]
        {
            let Source::Stored(name, number) = Source::parse(text) else { panic!("{text} is no file") };
            assert_eq!((name.as_str(), number), (service, release.map(Counter)), "{text}");
        }
        let pair = ["web@r6".to_owned(), "web@r7".to_owned()];
        assert!(matches!(
            Source::pair(&pair).unwrap(),
            (Source::Stored(_, Some(Counter(6))), Source::Stored(..))
        ));
    }
}
