//! How the released binary is linked: functions that compile to the same code are kept once, for every kind of
//! the API brings such functions by the hundred; and the places that say where the binary is loaded are kept packed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let profile = std::env::var("PROFILE").unwrap_or_default();
    if target == "x86_64-unknown-linux-gnu" && profile == "release" {
        // The toolchain's own linker on this target, LLD, can do both; others need not know the flags.
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
