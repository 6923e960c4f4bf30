//! The two macros of the project. `GUIDE.md` shows what they expand to.

/// Registers a plugin by name: `register!(dyn Objective, "clip", ClipConfig);`.
///
/// The options type derives `Serialize`, `Deserialize`, `JsonSchema` and `Debug`, and implements [`Config`](crate::Config) for the kind. A
/// fourth argument gives other defaults, which is a preset: `register!(dyn Backbone, "vit_b_32", VitConfig, VitConfig::b32);`.
#[macro_export]
macro_rules! register {
    ($kind:ty, $name:literal, $config:ty) => {
        $crate::register!($kind, $name, $config, <$config as ::std::default::Default>::default);
    };
    ($kind:ty, $name:literal, $config:ty, $defaults:expr) => {
        $crate::inventory::submit! {
            $crate::PluginEntry::<$kind> {
                name: $name,
                schema: || $crate::guard::schema($name, $crate::schema_json::<$config>),
                defaults: || $crate::guard::defaults($name, $defaults),
                parse: |options| $crate::guard::parse::<$kind, $config>($name, options),
                origin: $crate::Origin {
                    package: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    file: file!(),
                    line: line!(),
                },
            }
        }
    };
}

/// Exports a plugin crate as a library that is loadable at run time. It stands once, in `lib.rs`, and expands to nothing unless the crate's own feature `dylib` is
/// on: so a program that links the crate has no duplicate symbol.
#[macro_export]
macro_rules! export {
    () => {
        /// What a host reads before it runs anything of this library.
        #[cfg(feature = "dylib")]
        // SAFETY: no other symbol of a library has this name.
        #[unsafe(no_mangle)]
        pub static VLHUB_PLUGIN: $crate::abi::LibraryHeader =
            $crate::abi::LibraryHeader { identity: $crate::abi::IDENTITY, layout: $crate::abi::LAYOUT, load: __vlhub_load };

        #[cfg(feature = "dylib")]
        unsafe fn __vlhub_load(host: &$crate::abi::Host<'_>) -> $crate::Exports {
            $crate::guard::exports(|| {
                host.adopt_logging();
                $crate::registered_here().only_from(env!("CARGO_PKG_NAME"))
            })
        }
    };
}

/// A test program that holds every plugin of a crate to the laws of its kind. A crate's `tests/conformance.rs` is this one line and a `use`
/// of the crate, with `harness = false` in its manifest. A plugin that cannot meet a law says why:
/// `conformance!(except: ["objective::nearest::permutation" = "the queue remembers order"]);`
#[cfg(feature = "testkit")]
#[macro_export]
macro_rules! conformance {
    () => { $crate::conformance!(except: []); };
    (except: [$($law:literal = $reason:literal),* $(,)?]) => {
        fn main() -> ::std::process::ExitCode {
            $crate::testkit::main(&[$(($law, $reason)),*])
        }
    };
}
