//! One test program: each further one would link libtorch again.

mod batch_norm;
mod caption;
mod cargo;
mod cli;
mod data;
mod dependencies;
mod dylib;
mod fault_shards;
mod faults;
mod first_minutes;
mod fuzzing;
mod identity;
mod labels;
mod layering;
mod models;
mod names;
mod objectives;
mod program;
mod rooms;
mod third_party;
mod train;
