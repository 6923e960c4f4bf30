//! Literals of Python: what `ast.literal_eval` reads, as far as JSON has it. JSON itself is read too.

use serde_json::{Map, Value};

/// Deepest nesting.
const DEEPEST: usize = 64;

/// Parses one literal: a dictionary with texts for keys, a list or tuple, a text, a number, `True`, `False`, `None`.
///
/// # Errors
/// What was found, and on which line.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blank();
    if parser.at < text.len() { Err(parser.unexpected("the end")) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn unexpected(&self, wanted: &str) -> String {
        let line = self.text[..self.at].matches('\n').count() + 1;
        let found: String = self.rest().chars().take(20).collect();
        let found = found.lines().next().unwrap_or_default();
        if found.is_empty() {
            format!("line {line}: it ends where {wanted} should be")
        } else {
            format!("line {line}: `{found}` where {wanted} should be")
        }
    }

    fn takes(&mut self, token: &str) -> bool {
        self.blank();
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        if self.takes("{") {
            return self.dictionary(depth);
        }
        for (open, close) in [("[", "]"), ("(", ")")] {
            if self.takes(open) {
                return self.list(close, depth);
            }
        }
        if self.rest().starts_with(['"', '\'']) {
            return self.text().map(Value::from);
        }
        for (word, value) in [
            ("True", true.into()),
            ("true", true.into()),
            ("False", false.into()),
            ("false", false.into()),
            ("None", Value::Null),
            ("null", Value::Null),
        ] {
            if self.takes(word) {
                return Ok(value);
            }
        }
        self.number()
    }

    fn dictionary(&mut self, depth: usize) -> Result<Value, String> {
        let mut entries = Map::new();
        while !self.takes("}") {
            if !self.rest().starts_with(['"', '\'']) {
                return Err(self.unexpected("a key in quotes"));
            }
            let key = self.text()?;
            if !self.takes(":") {
                return Err(self.unexpected("`:`"));
            }
            let value = self.value(depth + 1)?;
            if entries.insert(key.clone(), value).is_some() {
                return Err(format!("{} (the key `{key}` stands there twice)", self.unexpected("another key")));
            }
            if !self.takes(",") && !self.rest().starts_with('}') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
        Ok(Value::Object(entries))
    }

    fn list(&mut self, close: &str, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        while !self.takes(close) {
            items.push(self.value(depth + 1)?);
            if !self.takes(",") && !self.rest().starts_with(close) {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
        Ok(Value::Array(items))
    }

    fn text(&mut self) -> Result<String, String> {
        let unclosed = self.unexpected("a text that ends on its line");
        let mut letters = self.rest().char_indices();
        let quote = letters.next().map_or('"', |(_, quote)| quote);
        let mut out = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\n' => break,
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some(letter @ ('\\' | '/' | '"' | '\'')) => out.push(letter),
                    _ => return Err(format!("{unclosed} (only \\n, \\t, \\\\, \\/ and quotes are escaped)")),
                },
                letter if letter == quote => {
                    self.at += at + letter.len_utf8();
                    return Ok(out);
                }
                letter => out.push(letter),
            }
        }
        Err(unclosed)
    }

    fn number(&mut self) -> Result<Value, String> {
        let length =
            self.rest().find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-._".contains(letter)).unwrap_or(self.rest().len());
        let digits = self.rest()[..length].replace('_', "");
        let number = digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<f64>().map(Value::from));
        match number {
            Ok(number) if !number.is_null() => {
                self.at += length;
                Ok(number)
            }
            _ => Err(self.unexpected("a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literals_of_python_and_json_are_read() {
        for (text, expected, why) in [
            (
                "{'a': {'train_data': \"x/{00..09}.tar\", 'train_num_samples': 1_000,},}",
                json!({"a": {"train_data": "x/{00..09}.tar", "train_num_samples": 1000}}),
                "Python",
            ),
            (
                "# of last year\n{\n  'a': None, # nothing\n 'b': (1, 2.5e3), 'c': [True, False]}\n",
                json!({"a": null, "b": [1, 2500.0], "c": [true, false]}),
                "comments",
            ),
            (r#"{"a": {"b": "c\"d", "e": [-1, null, true]}}"#, json!({"a": {"b": "c\"d", "e": [-1, null, true]}}), "JSON"),
            ("{}", json!({}), "nothing"),
        ] {
            assert_eq!(parse(text).expect(why), expected, "{why}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused_with_its_line() {
        for (text, wanted) in [
            ("{'a': open('b')}", "line 1: `open('b')}` where a value"),
            ("{\n'a' 1}", "line 2"),
            ("{'a': 1, 'a': 2}", "`a` stands there twice"),
            ("{'a: 1}", "a text that ends"),
            ("{1: 2}", "a key in quotes"),
            ("{'a': 1} b", "the end"),
            ("", "it ends"),
            ("[1 2]", "`,` or `]`"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(100_000)).expect_err("it is deep").contains("deep"));
    }
}
