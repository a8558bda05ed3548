//! Notes about parts of a compose file that a manifest does not carry over.

use serde::Serialize;

/// A key that a manifest does not carry over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub(crate) struct Note {
    /// The key in the compose file: `services.web.build`.
    pub(crate) key: String,
    /// The reason why it is not carried over, or the difference.
    pub(crate) reason: String,
    /// The way to have it all the same.
    pub(crate) hint: String,
}

/// The path that a manifest names for a file beside the compose file; `None` for a folder, or nothing yet.
pub(crate) type Files<'f> = dyn Fn(&str) -> Option<String> + 'f;
