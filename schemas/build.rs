//! Compiles the .proto files with protox, so that no protoc needs to be installed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(
        ["godwit/client.proto", "godwit/content.proto", "godwit/e2ee.proto", "godwit/media.proto", "godwit/bus.proto"],
        ["proto"],
    )?;
    // Few messages have these: the others are not to be larger for them.
    let mut config = prost_build::Config::new();
    config.bytes(["."]).boxed(".godwit.client.Send.properties").boxed(".godwit.client.Message.properties");
    config.boxed(".godwit.bus.Publish.extras").boxed(".godwit.bus.Deliver.extras");
    config.boxed(".godwit.client.Change.mls");
    config.boxed(".godwit.client.Response.identity").boxed(".godwit.client.Response.mls_group");
    config.compile_fds(files)?;
    Ok(())
}
