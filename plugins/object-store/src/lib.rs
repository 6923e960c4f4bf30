//! Stores of objects in clouds: `s3://`, `gs://` and `az://`, over the crate `object_store`.
//!
//! Credentials come from the environment, as `object_store` reads them, and never from a run file, which is kept with every checkpoint.

mod az;
mod buckets;
mod gs;
mod s3;
#[cfg(test)]
mod tests;

vlhub_sdk::export!();
