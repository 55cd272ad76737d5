//! Links `moldau` to a fixed address on Linux.
//!
//! At an address of the loader's choice, each start would write four megabytes of pointers into the tables of trait
//! objects and read six megabytes of relocations for that: memory that an idle broker would keep.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}"));
    if target("OS").as_deref() == Ok("linux") && target("ENV").as_deref() == Ok("gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
