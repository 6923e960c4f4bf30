//! What of a run's options and of its command line may leave this machine: no user, password, signature or command.

use serde_json::{Map, Value};

use crate::config::log::LOG;

/// What stands in place of a secret.
const HIDDEN: &str = "…";

/// What a command in a list of data begins with.
const PIPE: &str = "pipe:";

/// Words anywhere in a name that is that of a secret.
const IN_NAMES: [&str; 5] = ["password", "passwd", "secret", "credential", "authorization"];

/// How such names end. `token` alone is too common a word in names of options: `token_strip` is none.
const ENDS_OF_NAMES: [&str; 5] = ["token", "api_key", "apikey", "access_key", "private_key"];

/// The options of a run: texts as [`redacted`] leaves them, and nothing of one whose name is that of a secret.
pub(super) fn redacted_options(options: &Map<String, Value>) -> Map<String, Value> {
    fn clean(key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if text.is_empty() => value.clone(),
            // Flags stay: `class_token` is an option of towers.
            Value::String(_) | Value::Number(_) if names_secret(key) => HIDDEN.into(),
            Value::String(text) => redacted(text).into(),
            Value::Array(items) => items.iter().map(|item| clean(key, item)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), clean(key, value))).collect::<Map<_, _>>().into(),
            other => other.clone(),
        }
    }
    options.iter().filter(|(key, _)| key.as_str() != LOG).map(|(key, value)| (key.clone(), clean(key, value))).collect()
}

/// The arguments of a command line: each as [`redacted`] leaves it, and nothing of one that follows a flag such as `--hub-token`.
pub(super) fn redacted_arguments(arguments: &[String]) -> Vec<String> {
    let mut after_secret_flag = false;
    let clean = |argument: &String| {
        let is_flag = argument.starts_with("--");
        let hidden = after_secret_flag && !is_flag;
        after_secret_flag = is_flag && !argument.contains('=') && names_secret(argument);
        if hidden { HIDDEN.to_owned() } else { redacted(argument) }
    };
    arguments.iter().map(clean).collect()
}

/// A text with addresses, commands and `KEY=VALUE` in it, as far as others may read it.
///
/// - of a command (`pipe:curl …`) its program alone: what follows may hold headers, and only a shell knows where it ends
/// - of each address neither user and password nor what signs it (`?…`)
/// - nothing behind `KEY=` where the key names a secret
fn redacted(text: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    let command = text.match_indices(PIPE).map(|(at, _)| at).find(|at| !text[..*at].ends_with(is_word));
    let (text, command) = match command {
        Some(at) => (&text[..at], shown_command(&text[at + PIPE.len()..])),
        None => (text, String::new()),
    };
    without_assigned_secret(&without_credentials(text)) + &command
}

/// `curl -H …` as `pipe:curl …`. A first word that may be more than the name of a program, such as `TOKEN=…`, is hidden too.
fn shown_command(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default();
    let is_name = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._/".contains(&byte));
    if is_name && !program.is_empty() { format!("{PIPE}{program} {HIDDEN}") } else { format!("{PIPE}{HIDDEN}") }
}

fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + "://".len());
        clean += scheme;
        let authority = after.find(|letter: char| letter.is_whitespace() || "/?#\"".contains(letter)).map_or(after, |end| &after[..end]);
        let address = authority.rfind('@').map_or(after, |at| &after[at + 1..]);
        // What signs an address may hold anything but what ends it; another address before it stands beside this one, behind a comma.
        let unsigned = address.find(['?', '#']).map_or(address, |end| &address[..end]);
        // The `::` of `[::1]` separates nothing.
        let host = if address.starts_with('[') { address.find(']').unwrap_or(0) } else { 0 };
        let ends = [
            address.find(|letter: char| letter.is_whitespace() || letter == '"'),
            address[host..].find("::").map(|at| host + at),
            unsigned.find("://"),
        ];
        let end = ends.into_iter().flatten().min().unwrap_or(address.len());
        clean += &unsigned[..end.min(unsigned.len())];
        rest = &address[end..];
    }
    clean + rest
}

/// Everything behind the first `KEY=` whose key names a secret is hidden, the rest of a table in one line too.
fn without_assigned_secret(text: &str) -> String {
    let is_secret = |at: &usize| {
        let before = text[..*at].trim_end().trim_end_matches(['"', '\'']);
        let key = before.rsplit(|letter: char| !(letter.is_ascii_alphanumeric() || "_-.".contains(letter))).next();
        key.is_some_and(names_secret)
    };
    match text.match_indices('=').map(|(at, _)| at).find(is_secret) {
        // A flag is no secret.
        Some(at) if !["", "true", "false"].contains(&text[at + 1..].trim()) => format!("{}={HIDDEN}", &text[..at]),
        _ => text.to_owned(),
    }
}

/// Whether the last part of a dotted key, or a flag, is the name of a secret.
fn names_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase().replace('-', "_");
    IN_NAMES.iter().any(|word| name.contains(*word)) || ENDS_OF_NAMES.iter().any(|end| name.ends_with(*end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_signs_an_address_stays_here() {
        let options = json!({
            "seed": 1,
            "log": { "mlflow": { "uri": "http://me:secret@host" } },
            "data": { "train": { "shards": [
                "https://me:secret@host:8/a.tar?sig=secret",
                "pipe:curl -H 'Authorization: Bearer secret' https://host/a",
                "b.tar::s3://me:secret@c/d",
            ] } },
            "store": { "mine": { "api_key": "secret", "password": 1234, "token": "", "host": "a" } },
            "backbone": { "image": { "class_token": true } },
        });
        let clean = redacted_options(options.as_object().expect("a table"));
        assert_eq!(
            Value::Object(clean),
            json!({
                "seed": 1,
                "data": { "train": { "shards": ["https://host:8/a.tar", "pipe:curl …", "b.tar::s3://c/d"] } },
                "store": { "mine": { "api_key": "…", "password": "…", "token": "", "host": "a" } },
                "backbone": { "image": { "class_token": true } },
            })
        );
    }

    #[test]
    fn every_address_and_secret_of_a_text_is_hidden_and_the_rest_stays() {
        for (text, wanted) in [
            ("https://me:secret@host:8/a.tar?sig=secret#secret", "https://host:8/a.tar"),
            ("--train-data=https://a/b.tar::https://me:secret@c/d.tar?x=secret", "--train-data=https://a/b.tar::https://c/d.tar"),
            ("shards=[\"https://a/b?secret\", \"s3://me:secret@c/d\"]", "shards=[\"https://a/b\", \"s3://c/d\"]"),
            ("https://a/b,https://me:secret@c/d", "https://a/b,https://c/d"),
            ("https://a/b?to=https://me:secret@c/d", "https://a/b"),
            ("http://[::1]:80/a?secret", "http://[::1]:80/a"),
            ("pipe:curl -H 'Authorization: Bearer secret' https://me:secret@host/a", "pipe:curl …"),
            ("data.train.shards=[\"a.tar\", \"pipe:/opt/bin/fetch secret\"]", "data.train.shards=[\"a.tar\", \"pipe:fetch …"),
            ("a.tar::pipe:TOKEN=secret curl https://host/a::b.tar", "a.tar::pipe:…"),
            ("store.mine.api_key=secret", "store.mine.api_key=…"),
            ("store.mine={ host = \"a\", \"password\" = \"secret\" }", "store.mine={ host = \"a\", \"password\" =…"),
            ("--hub-token=secret", "--hub-token=…"),
            ("https://a/token=secret/b", "https://a/token=…"),
            ("backbone.image.class_token=false", "backbone.image.class_token=false"),
            ("eval.shapes.templates=[\"a bagpipe: {}\"]", "eval.shapes.templates=[\"a bagpipe: {}\"]"),
            ("train.lr=0.1", "train.lr=0.1"),
            ("a/b://c", "a/b://c"),
        ] {
            assert_eq!(redacted(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_argument_after_a_secret_flag_is_hidden() {
        let arguments = ["train", "--hub-token", "secret", "--token-strip", "data.train.shards=pipe:curl secret", "--api-key", "--lr"];
        let clean = redacted_arguments(&arguments.map(str::to_owned));
        assert_eq!(clean, ["train", "--hub-token", "…", "--token-strip", "data.train.shards=pipe:curl …", "--api-key", "--lr"]);
    }
}
