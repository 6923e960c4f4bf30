//! Reading the command line: this program's own flags, and beside them those of open_clip and VL Hub.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command as Grammar, CommandFactory, Parser};

use super::{Cli, Command, TrainArgs};
use crate::compat::{self, SplitLine};
use crate::failure::Failure;

/// Why a command line cannot be read.
#[derive(Debug)]
pub enum LineError {
    /// The parser's own message, or its help.
    Parser(clap::Error),
    /// A flag of open_clip or VL Hub, or one that nobody knows.
    Refused(Failure),
}

/// Commands that take the flags of open_clip and VL Hub.
const COMPATIBLE: [&str; 2] = ["train", "eval"];

/// Reads a command line, the program's name first.
///
/// # Errors
/// What is wrong, or help that was asked for.
pub fn read(arguments: Vec<OsString>) -> Result<Cli, LineError> {
    let grammar = Cli::command();
    let Some((at, command)) = command_of(&grammar, &arguments) else { return parse(arguments) };
    let mut cli = with_flags(&grammar, command, at, &arguments)?;
    if let Command::Train(args) = &mut cli.command {
        args.settle();
        // open_clip and VL Hub have one program: without training data it measures.
        let own_data = args.overrides.iter().any(|argument| argument.starts_with("data.train") || argument.starts_with("base="));
        if args.file.is_none() && !own_data && compat::only_measures(&args.given) {
            return with_flags(&grammar, "eval", at, &arguments);
        }
    }
    Ok(cli)
}

/// Reads the arguments of one command, which stand behind its name at `at`.
fn with_flags(grammar: &Grammar, command: &str, at: usize, arguments: &[OsString]) -> Result<Cli, LineError> {
    let SplitLine { own, given } =
        compat::split(command, &arguments[at + 1..], &own_flags(grammar, command)).map_err(LineError::Refused)?;
    // Flags alone are a whole command line, and the parser does not see them.
    let mut seen: Vec<OsString> = arguments[..at].to_vec();
    seen.push(command.into());
    seen.extend(own);
    if !given.is_empty() {
        let mut grammar = grammar.clone().mut_subcommand(command, |command| command.arg_required_else_help(false));
        let matches = grammar.try_get_matches_from_mut(seen).map_err(LineError::Parser)?;
        let mut cli = <Cli as clap::FromArgMatches>::from_arg_matches(&matches).map_err(LineError::Parser)?;
        match &mut cli.command {
            Command::Train(args) => args.given = given,
            Command::Eval(args) => args.given = given,
            _ => {}
        }
        return Ok(cli);
    }
    parse(seen)
}

fn parse(arguments: Vec<OsString>) -> Result<Cli, LineError> {
    Cli::try_parse_from(arguments).map_err(LineError::Parser)
}

/// The command that takes flags of open_clip and VL Hub, and where its name stands.
fn command_of<'a>(grammar: &Grammar, arguments: &'a [OsString]) -> Option<(usize, &'a str)> {
    let takes_value = |name: &str| {
        let flag = grammar.get_arguments().find(|flag| flag.get_long() == Some(name));
        flag.is_some_and(|flag| flag.get_action().takes_values())
    };
    let mut at = 1;
    loop {
        let word = arguments.get(at)?.to_str()?;
        match word.strip_prefix("--") {
            Some(name) if !name.contains('=') && takes_value(name) => at += 2,
            Some(_) => at += 1,
            None => return COMPATIBLE.contains(&word).then_some((at, word)),
        }
    }
}

/// The names of a command's own flags, and of those that every command has.
fn own_flags(grammar: &Grammar, command: &str) -> Vec<String> {
    let own = grammar.find_subcommand(command).into_iter().flat_map(Grammar::get_arguments);
    let names = own.chain(grammar.get_arguments()).filter_map(|flag| flag.get_long().map(str::to_owned));
    names.chain(["help".to_owned()]).collect()
}

impl TrainArgs {
    /// Without a run file, the first `key=value` stands where one would.
    fn settle(&mut self) {
        let option = |file: &PathBuf| file.to_str().is_some_and(|text| text.contains('=')) && !file.exists();
        if let Some(file) = self.file.take_if(|file| option(file)) {
            self.overrides.insert(0, file.display().to_string());
        }
    }
}
