//! A full disk, as sled tells of it.

/// Whether the error is sled's way of saying that the disk is full. Sled keeps the system's error to itself.
pub(in crate::store) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<sled::Error>().and_then(|error| match error {
        sled::Error::Io(io) => Some(io),
        _ => None,
    });
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
}
