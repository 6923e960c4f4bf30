//! HTML and SVG: everything that is written is escaped, and a page needs nothing but itself.

use std::fmt::{Display, Write as _};

/// HTML in the making.
#[derive(Debug, Default)]
pub struct Html(String);

/// Attributes of an element.
pub type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

impl Html {
    /// An element with content.
    pub fn el(&mut self, tag: &str, attributes: Attributes<'_>, fill: impl FnOnce(&mut Self)) {
        self.start(tag, attributes);
        self.0.push('>');
        fill(self);
        write!(self.0, "</{tag}>").ok();
    }
    /// An element with a text.
    pub fn leaf(&mut self, tag: &str, attributes: Attributes<'_>, text: impl Display) {
        self.el(tag, attributes, |html| html.text(text));
    }
    /// An element without content.
    pub fn void(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.start(tag, attributes);
        self.0.push_str("/>");
    }
    /// A text.
    pub fn text(&mut self, text: impl Display) {
        escape(&text.to_string(), &mut self.0);
    }
    /// What was written elsewhere, as it is.
    pub fn add(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }
    /// What was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// A table with a heading; a cell that starts with a digit, a sign or a dash is set as a number, and what follows a line break small below.
    pub fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        self.el("div", &[("class", &"scroll")], |html| {
            html.el("table", &[], |html| {
                if !head.is_empty() {
                    html.el("thead", &[], |html| html.el("tr", &[], |html| head.iter().for_each(|cell| html.leaf("th", &[], cell))));
                }
                html.el("tbody", &[], |html| {
                    for row in rows {
                        html.el("tr", &[], |html| {
                            for (column, cell) in row.iter().enumerate() {
                                let attributes: Attributes<'_> = if column > 0 && is_number(cell) { &[("class", &"n")] } else { &[] };
                                html.el("td", attributes, |html| match cell.split_once('\n') {
                                    None => html.text(cell),
                                    Some((first, below)) => {
                                        html.text(first);
                                        html.leaf("small", &[], below);
                                    }
                                });
                            }
                        });
                    }
                });
            });
        });
    }
    /// A section of a page.
    pub fn section(&mut self, title: &str, fill: impl FnOnce(&mut Self)) {
        self.el("section", &[], |html| {
            html.leaf("h2", &[], title);
            fill(html);
        });
    }

    fn start(&mut self, tag: &str, attributes: Attributes<'_>) {
        write!(self.0, "<{tag}").ok();
        for (name, value) in attributes {
            write!(self.0, " {name}=\"").ok();
            escape(&value.to_string(), &mut self.0);
            self.0.push('"');
        }
    }
}

fn is_number(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit() || "-–+±".contains(first))
}

fn escape(text: &str, into: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            // Not allowed in a document, escaped or not.
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => into.push('\u{fffd}'),
            _ => into.push(letter),
        }
    }
}

/// A whole page. Its content policy forbids scripts and anything from elsewhere.
pub fn document(title: &str, fill: impl FnOnce(&mut Html)) -> String {
    let mut html = Html("<!doctype html>\n".into());
    html.el("html", &[("lang", &"en")], |html| {
        html.el("head", &[], |html| {
            html.void("meta", &[("charset", &"utf-8")]);
            html.void("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
            let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
            html.void("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy)]);
            html.leaf("title", &[], title);
            // The style is ours and holds no `<`: it must not be escaped.
            html.0.push_str("<style>");
            html.0.push_str(include_str!("page.css"));
            html.0.push_str("</style>");
        });
        html.el("body", &[], |html| html.el("main", &[], fill));
    });
    html.0.push('\n');
    html.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_written_can_become_markup() {
        let evil = "<script>alert('x')</script>\"&\u{1}";
        let page = document(evil, |html| {
            html.leaf("p", &[("title", &evil)], evil);
            html.table(&[evil], [vec![evil.into()]]);
        });
        assert!(!page.contains("<script") && !page.contains('\u{1}'), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;").count(), 5);
        assert!(!page.contains("http://") && !page.contains("https://"), "a page needs no network");
    }

    #[test]
    fn cells_with_numbers_are_set_as_numbers() {
        for (cell, number) in [("12.5 %", true), ("-3", true), ("±0", true), ("clip", false), ("", false)] {
            assert_eq!(is_number(cell), number, "{cell}");
        }
    }
}
