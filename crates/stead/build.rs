//! How the released binary is linked: functions that compile to the same code are kept once. Every kind of
//! the API brings such functions by the hundred.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The toolchain's own linker on this target, LLD, can do it; others need not know the flag.
    let target = std::env::var("TARGET").unwrap_or_default();
    let profile = std::env::var("PROFILE").unwrap_or_default();
    if target == "x86_64-unknown-linux-gnu" && profile == "release" {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
