//! One test program: each further one would link libtorch again.

mod caption;
mod cargo;
mod cli;
mod dylib;
mod labels;
mod layering;
mod models;
mod objectives;
mod program;
mod third_party;
mod train;
