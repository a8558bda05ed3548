//! Files of an agent's folder: the journal, as it is and with a checksum that fits, and the smaller ones.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use windlass_agent::data::DataDir;
use windlass_agent::lease::LeaseFile;
use windlass_agent::member::Member;
use windlass_agent::state::Journal;
use windlass_agent::status::Status;
use windlass_core::Digest;

/// A folder in memory, one per process.
fn folder() -> PathBuf {
    let root = ["/dev/shm", "/tmp"].into_iter().find(|root| std::fs::metadata(root).is_ok()).unwrap_or(".");
    let folder = PathBuf::from(root).join(format!("windlass-fuzz-{}", std::process::id()));
    let _ = windlass_certs::files::create_private_dir(&folder); // made by the first input
    folder
}

fuzz_target!(|data: &[u8]| {
    let folder = folder();
    let path = folder.join("journal");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("a folder in memory");
        Journal::open(&path).ok().map(|journal| journal.state())
    };
    let whole = open(data);
    let framed = [format!("windlass-journal 1 {}\n", Digest::of(data).to_hex()).as_bytes(), data].concat();
    if let Some(state) = open(&framed) {
        assert_eq!(state.version, 1);
        let _ = state.committed(1);
        assert!(whole.is_none(), "one file is not both");
    }
    std::fs::write(folder.join("status.json"), data).expect("a folder in memory");
    let _ = Status::load(&folder.join("status.json"));
    std::fs::write(folder.join("lease.json"), data).expect("a folder in memory");
    let _ = LeaseFile::new(folder.join("lease.json")).load();
    let _ = std::fs::remove_file(folder.join("member.json"));
    let member = windlass_certs::files::create_secret(&folder.join("member.json"), data);
    if let (Ok(()), Ok(data)) = (member, DataDir::open(&folder)) {
        let _ = Member::load(&data);
    }
});
