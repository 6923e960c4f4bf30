//! One test program: each further one would link libtorch again.

mod batch_norm;
mod caption;
mod cargo;
mod cli;
mod data;
mod dependencies;
mod dylib;
mod first_minutes;
mod identity;
mod labels;
mod layering;
mod models;
mod names;
mod objectives;
mod program;
mod rooms;
mod tables;
mod third_party;
mod train;
