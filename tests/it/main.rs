//! One test program: each further one would link libtorch again.

mod cargo;
mod dylib;
mod third_party;
