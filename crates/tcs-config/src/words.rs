//! Splitting a command line into words.

/// Splits at white space; quotes of either kind keep a word together and are dropped. Nothing else is special: no shell
/// reads it. Returns nothing when a quote is not closed.
pub(crate) fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        let words = split_words(" /bin/x --name 'a b' \"\" c\"d e\" ").unwrap();
        assert_eq!(words, ["/bin/x", "--name", "a b", "", "cd e"]);
        assert_eq!(split_words("/bin/x 'a"), None);
    }
}
