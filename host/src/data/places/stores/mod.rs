//! The stores of the program itself: web servers and commands.

mod http;
mod pipe;

/// The scheme of commands, which are `pipe:COMMAND` without slashes.
pub(super) const PIPE: &str = "pipe";
