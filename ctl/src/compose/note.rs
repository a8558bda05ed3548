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

/// A path of the compose file, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A file, and the path that the manifest names it by.
    File(String),
    /// A folder.
    Folder,
    /// Nothing is there.
    Missing,
}

/// Looks a path up, from the folder of the compose file.
pub(crate) type Files<'f> = dyn Fn(&str) -> Found + 'f;
