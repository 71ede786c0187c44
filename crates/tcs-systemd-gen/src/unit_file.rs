//! Writing unit files: sections, and values escaped by systemd's rules.

use std::fmt::{self, Write as _};

/// A unit file, or a drop-in, as typed lines.
#[derive(Debug, Default)]
pub(crate) struct UnitFile {
    sections: Vec<(&'static str, Vec<Line>)>,
}

#[derive(Debug)]
struct Line {
    directive: &'static str,
    value: String,
}

impl UnitFile {
    /// Adds a line to a section; a value without meaning to systemd's parser is written as it is.
    pub(crate) fn add(&mut self, section: &'static str, directive: &'static str, value: impl fmt::Display) {
        let value = plain(&value.to_string());
        self.push(section, directive, value);
    }

    /// Adds the line that takes back what a list had so far.
    pub(crate) fn reset(&mut self, section: &'static str, directive: &'static str) {
        self.push(section, directive, String::new());
    }

    /// Adds a command line (`ExecStart=` and its kin). `${NAME}` in arguments is left to systemd; all else is literal.
    pub(crate) fn command<'a>(
        &mut self,
        section: &'static str,
        directive: &'static str,
        words: impl IntoIterator<Item = &'a str>,
    ) {
        let words: Vec<String> = words.into_iter().map(command_word).collect();
        self.push(section, directive, words.join(" "));
    }

    /// Adds a variable (`Environment=`).
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.push("Service", "Environment", quoted(&format!("{name}={value}")));
    }

    fn push(&mut self, section: &'static str, directive: &'static str, value: String) {
        let line = Line { directive, value };
        match self.sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, lines)) => lines.push(line),
            None => self.sections.push((section, vec![line])),
        }
    }
}

impl fmt::Display for UnitFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (section, lines)) in self.sections.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            writeln!(f, "{gap}[{section}]")?;
            for Line { directive, value } in lines {
                writeln!(f, "{directive}={value}")?;
            }
        }
        Ok(())
    }
}

/// Escapes specifiers; a sign that would end the line, or go on with the next one, becomes a space.
fn plain(value: &str) -> String {
    let line: String = value
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.trim_end_matches('\\').replace('%', "%%")
}

/// Quotes a word of a command line (`systemd.service(5)`, "command lines").
fn command_word(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        escaped.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(after) = tail.strip_prefix("$${") {
            // Escaped by the author already.
            escaped.push_str("$${");
            rest = after;
        } else if let Some(length) = reference_length(tail) {
            escaped.push_str(&tail[..length]);
            rest = &tail[length..];
        } else {
            escaped.push_str("$$");
            rest = &tail[1..];
        }
    }
    escaped.push_str(rest);
    quoted(&escaped)
}

/// Returns the length of the `${NAME}` that a text begins with.
fn reference_length(text: &str) -> Option<usize> {
    let name = text.strip_prefix("${")?;
    let end = name.find('}')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (end > 0 && name[..end].chars().all(fits)).then_some(end + 3)
}

/// Quotes a word if it needs it, with C escapes, and escapes specifiers.
fn quoted(word: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/_-.,:=+@${}%".contains(c);
    if !word.is_empty() && word.chars().all(harmless) {
        return word.replace('%', "%%");
    }
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' => text.push_str("%%"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if c.is_ascii_control() => {
                let _ = write!(text, "\\x{:02x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads words as `extract_first_word()` of systemd does with its flags for command lines, then expands specifiers.
    fn read_words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quote = None;
        let mut signs = line.chars();
        while let Some(c) = signs.next() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (_, '\\') => {
                    let escaped = match signs.next().unwrap() {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'x' => {
                            let digits: String = signs.by_ref().take(2).collect();
                            char::from(u8::from_str_radix(&digits, 16).unwrap())
                        }
                        other => other,
                    };
                    word.get_or_insert_default().push(escaped);
                }
                (None, '"' | '\'') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
                (_, c) => word.get_or_insert_default().push(c),
            }
        }
        assert!(quote.is_none(), "an open quote in {line}");
        words.extend(word);
        words
            .into_iter()
            .map(|word| {
                word.replace("%%", "\u{1}")
                    .replace('%', "SPECIFIER")
                    .replace('\u{1}', "%")
            })
            .collect()
    }

    fn line(words: &[String]) -> String {
        let mut unit = UnitFile::default();
        unit.command("Service", "ExecStart", words.iter().map(String::as_str));
        let text = unit.to_string();
        let line = text
            .strip_prefix("[Service]\nExecStart=")
            .unwrap()
            .strip_suffix('\n')
            .unwrap();
        assert!(
            !line.contains('\n') && !line.ends_with('\\'),
            "more than one line: {text}"
        );
        line.to_owned()
    }

    proptest! {
        #[test]
        fn words_are_read_back_as_they_were(words in proptest::collection::vec("[^$\u{0}\u{1}]{0,12}", 1..5)) {
            prop_assert_eq!(read_words(&line(&words)), words);
        }

        #[test]
        fn dollars_are_literal_but_for_references(words in proptest::collection::vec("[a$ ]{0,8}", 1..4)) {
            let read: Vec<String> = read_words(&line(&words)).iter().map(|word| word.replace("$$", "$")).collect();
            prop_assert_eq!(read, words);
        }

        #[test]
        fn no_value_begins_another_line(value in ".{0,30}\n?.{0,10}") {
            let mut unit = UnitFile::default();
            unit.add("Service", "Description", &value);
            unit.variable("A", &value);
            prop_assert_eq!(unit.to_string().split('\n').count(), 4);
        }
    }

    #[test]
    fn references_are_left_to_systemd() {
        let words = [
            "/bin/x",
            "${TOKEN}",
            "a${B}c",
            "$HOME",
            "$${X}",
            "${not one}",
            "100%",
        ]
        .map(str::to_owned);
        assert_eq!(
            line(&words),
            r#"/bin/x ${TOKEN} a${B}c $$HOME $${X} "$${not one}" 100%%"#
        );
    }
}
