//! Meanings of the engine's errors.

use bollard::errors::Error;

use super::super::RuntimeError;

/// The HTTP status that the engine answered with, if it answered.
pub(super) const fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own message.
pub(super) fn message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn unavailable(error: Error) -> RuntimeError {
    RuntimeError::Unavailable(Box::new(error))
}

/// Whether the engine did not answer at all.
pub(super) const fn is_unavailable(error: &Error) -> bool {
    matches!(
        error,
        Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::HttpClientError { .. }
            | Error::IOError { .. }
            | Error::RequestTimeoutError
            | Error::SocketNotFoundError(_)
    )
}

/// Maps an error of a request that was to do `doing`.
pub(super) fn refused(doing: &'static str) -> impl FnOnce(Error) -> RuntimeError {
    move |error| {
        if is_unavailable(&error) {
            return unavailable(error);
        }
        RuntimeError::Refused { doing, message: message(&error) }
    }
}

/// Maps an error of creating or starting a container.
pub(super) fn starting(doing: &'static str, error: Error) -> RuntimeError {
    let text = message(&error);
    if status(&error) == Some(404) && text.contains("No such image") {
        return RuntimeError::NotFound { what: "image", name: text };
    }
    let taken =
        ["port is already allocated", "address already in use"].iter().any(|phrase| text.contains(phrase));
    if status(&error).is_some() && taken {
        return RuntimeError::PortTaken { port: port_in(&text).unwrap_or(0) };
    }
    refused(doing)(error)
}

/// The port in `Bind for 0.0.0.0:20001 failed` or `listen tcp4 0.0.0.0:8080: bind`.
fn port_in(text: &str) -> Option<u16> {
    let after = |phrase: &str| text.split_once(phrase).map(|(_, rest)| rest);
    let rest = after("Bind for ").or_else(|| after("listen tcp4 ")).or_else(|| after("listen tcp "))?;
    let address = rest.split_whitespace().next()?.trim_end_matches(':');
    address.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_what_engines_say() {
        #[rustfmt::skip]
        let table = [
            ("driver failed programming external connectivity on endpoint x (ab12): Bind for 0.0.0.0:20001 failed: port is already allocated", Some(20001)),
            ("driver failed programming external connectivity on endpoint x: Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use", Some(8080)),
            ("failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use", None),
            ("OCI runtime create failed", None),
        ];
        for (text, want) in table {
            assert_eq!(port_in(text), want, "{text}");
            let error = Error::DockerResponseServerError { status_code: 500, message: text.to_owned() };
            let taken = matches!(starting("start", error), RuntimeError::PortTaken { .. });
            assert_eq!(taken, text.contains("already"), "{text}");
        }
    }
}
