//! Compiles the protobuf files with a pure-Rust compiler, so that a fresh machine needs no protoc.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 3] =
    ["windlass/v1/enrolment.proto", "windlass/v1/link.proto", "windlass/v1/control.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=windlass");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
