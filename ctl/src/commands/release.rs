//! `release`: releases as documents. `sign` and `verify` work offline.

mod document;
mod sign;

use std::path::{Path, PathBuf};

use windlass_certs::dsse::Envelope;
use windlass_certs::trust::Acceptance;
use windlass_core::Counter;
use windlass_core::diff::diff;
use windlass_core::release::Release;

use super::files::read_file;
use crate::args::{Global, ReleaseCommand};
use crate::client::Client;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, signing, table};

pub(crate) use document::ReleaseDocument;

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
