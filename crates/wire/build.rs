//! Compiles `/proto` without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = ["stentor/v1/log.proto", "stentor/v1/snapshot.proto", "stentor/v1/bus.proto"];
    let descriptors = protox::compile(files, ["../../proto"])?;
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
