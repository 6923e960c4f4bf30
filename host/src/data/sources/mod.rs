//! The sources that come with the program. Each file registers one, as a plugin crate would; what they share stands beside them.

pub mod clip_benchmark;
pub mod csv;
pub mod folder;
mod group;
pub mod mix;
mod npy;
mod python_json;
mod records;
pub mod shapes;
mod shards;
mod suffixes;
mod tar_index;
pub mod webdataset;

#[cfg(test)]
mod tests {
    use vlhub_core::{Source, registered_here};
    use vlhub_sdk::testkit::{LawOutcome, all, source};

    #[test]
    fn every_source_keeps_the_laws() {
        let entries = registered_here().only_from(env!("CARGO_PKG_NAME")).source;
        assert_eq!(entries.len(), 6);
        for entry in entries {
            for (law, keeps) in all::laws::<dyn Source>().iter().chain(source::LAWS) {
                if let LawOutcome::Broken(why) = keeps(entry) {
                    panic!("source::{}::{law}: {why}", entry.name);
                }
            }
        }
    }
}
