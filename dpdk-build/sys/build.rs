// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds libdpdk by pkg-config, compiles the shim, generates the bindings.
//!
//! The flags come from `pkg-config` itself and all of them go to both compilers: `-include
//! rte_config.h` and `-march` change structure layouts and must not be lost. Linking is shared, so
//! that the distribution's security updates reach us and drivers are found as plug-ins.
//!
//! Whatever is missing ends the build with one sentence that says what to install.

use std::env;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;

const INSTALL: &str = "apt-get install libdpdk-dev libclang-dev clang pkg-config";

/// The list of functions is what the project uses of DPDK.
const FUNCTIONS: &[&str] = &[
    "shim_.*",
    "rte_version",
    "rte_eal_get_runtime_dir",
    "rte_eal_init",
    "rte_eal_cleanup",
    "rte_get_tsc_hz",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_dev_name",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_free_bulk",
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_ring_create",
    "rte_ring_free",
    "rte_eth_find_next_owned_by",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_info_get",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_configure",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_dev_close",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_eth_macaddr_get",
    "rte_eth_dev_default_mac_addr_set",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_set_mtu",
    "rte_eth_promiscuous_enable",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_get",
    "rte_eth_allmulticast_enable",
    "rte_eth_allmulticast_get",
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_dev_rss_reta_query",
    "rte_eth_dev_rss_reta_update",
];

const CONSTANTS: &[&str] = &[
    "SHIM_.*",
    "RTE_MAX_LCORE",
    "RTE_MAX_ETHPORTS",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_PKTMBUF_HEADROOM",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ETH_RETA_GROUP_SIZE",
    "RING_F_SP_ENQ",
    "RING_F_SC_DEQ",
    "RING_F_MP_RTS_ENQ",
];

/// Behind a pointer only. Some of these do not survive translation (packed structures with aligned
/// members), the others are none of our business.
const OPAQUE: &[&str] = &["rte_mempool", "rte_ring", "rte_device"];

fn main() {
    for name in ["build.rs", "shim.h", "shim.c", "../dpdk.version"] {
        println!("cargo::rerun-if-changed={name}");
    }
    for name in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "LIBCLANG_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if let Err(sentence) = build() {
        println!("cargo::error={sentence}");
    }
}

fn build() -> Result<(), String> {
    let release = pkg_config("--modversion")?;
    require_supported(release.trim())?;
    let cflags: Vec<String> = words(&pkg_config("--cflags")?);
    link(&words(&pkg_config("--libs")?));
    compile_shim(&cflags)?;
    generate(&cflags)
}

fn pkg_config(question: &str) -> Result<String, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let answer = Command::new(&program)
        .args([question, "libdpdk"])
        .output()
        .map_err(|e| format!("{program} did not run ({e}); install it: {INSTALL}"))?;
    if !answer.status.success() {
        return Err(format!("{program} does not find libdpdk; install it: {INSTALL}"));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Refuses a release that is not in `dpdk.version`.
fn require_supported(release: &str) -> Result<(), String> {
    let list = include_str!("../dpdk.version");
    let supported: Vec<&str> =
        list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    let fits = |base: &&str| release.strip_prefix(*base).is_some_and(|rest| !digit_first(rest));
    if supported.iter().any(fits) {
        return Ok(());
    }
    let list = supported.join(", ");
    Err(format!("libdpdk {release} is not supported; install one of {list}: {INSTALL}"))
}

fn digit_first(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn words(flags: &str) -> Vec<String> {
    flags.split_whitespace().map(str::to_owned).collect()
}

/// Passes `-L` and `-l` on; the rest (`-Wl,--as-needed`) rustc does by itself.
fn link(flags: &[String]) {
    for flag in flags {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo::rustc-link-lib=dylib={name}");
        }
    }
}

fn compile_shim(cflags: &[String]) -> Result<(), String> {
    let mut compiler = cc::Build::new();
    compiler.file("shim.c").define("ALLOW_EXPERIMENTAL_API", None).warnings(true);
    for flag in cflags {
        compiler.flag(flag);
    }
    compiler.try_compile("dpdk_shim").map_err(|e| {
        let reason = e.to_string();
        let first = reason.lines().next().unwrap_or_default();
        format!("the C compiler refused shim.c ({first}); install what it needs: {INSTALL}")
    })
}

fn generate(cflags: &[String]) -> Result<(), String> {
    let clang = Command::new("clang").arg("--version").output();
    if !clang.is_ok_and(|answer| answer.status.success()) {
        return Err(format!("clang did not run; install it: {INSTALL}"));
    }
    let mut builder = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(cflags)
        .clang_arg("-DALLOW_EXPERIMENTAL_API")
        .blocklist_type("rte_mbuf.*")
        .derive_default(true)
        .derive_debug(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(true);
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    // bindgen panics where libclang cannot be loaded; its message is replaced by ours.
    panic::set_hook(Box::new(|_| ()));
    let bindings = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    drop(panic::take_hook());
    let bindings = bindings
        .map_err(|_| format!("libclang is missing or not usable; install it: {INSTALL}"))?
        .map_err(|e| format!("bindgen cannot read DPDK's headers: {e}"))?;
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings
        .write_to_file(Path::new(&folder).join("bindings.rs"))
        .map_err(|e| format!("the bindings cannot be written to {}: {e}", folder.display()))
}
