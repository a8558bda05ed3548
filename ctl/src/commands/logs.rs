//! `logs`: what the instances of a service write.

use serde::Serialize;
use windlass_core::Timestamp;

use crate::args::{Global, LogsArgs};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::table::printable;

/// A line, as `logs -o json` prints it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct LogLineView {
    /// When, by the host's clock.
    pub(crate) at: Timestamp,
    /// Its host.
    pub(crate) host: String,
    /// Its instance.
    pub(crate) instance: String,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'static str,
    /// What was written.
    pub(crate) text: String,
}

pub(super) async fn run(args: &LogsArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    let service = context.service(&args.service, &mut client).await?;
    let mut stream = client.logs(&service, &args.instance, args.tail, args.follow).await?;
    let mut is_complete = true;
    while let Some(chunk) = stream.next().await? {
        if let Some(missing) = &chunk.missing {
            is_complete = false;
            printer.warn(&format!("lines of {} are missing: {missing}", chunk.host));
        }
        for line in chunk.lines {
            let view = LogLineView {
                at: line.at,
                host: chunk.host.clone(),
                instance: line.instance,
                stream: if line.is_stderr { "stderr" } else { "stdout" },
                text: line.text,
            };
            if printer.is_structured() {
                printer.line(&view);
            } else {
                printer.text(&format!("{} {}  {}", view.host, view.instance, printable(&view.text)));
            }
        }
    }
    Ok(if is_complete { Exit::Done } else { Exit::Refused })
}
