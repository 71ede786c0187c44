//! The head of every file that is written: who wrote it, out of what, and whether it was changed since.
//!
//! All that `install` has to remember lies in the files themselves, so there is no list that could be lost, or differ
//! from what is there.

use std::fmt::Write as _;

const FIRST_WORDS: &str = "Written by tcs-systemd-gen";

/// What is known of a file by its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Written here and unchanged since; with the value of `enabled` that it was written for.
    Ours {
        /// `true`, `false` or `manual`; none for files that are not of one service.
        enabled: Option<String>,
    },
    /// Written here and changed by somebody.
    Changed,
    /// Not written here.
    Foreign,
}

/// How a file marks a comment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Comment {
    Hash,
    Slashes,
}

impl Comment {
    fn sign(self) -> &'static str {
        match self {
            Self::Hash => "#",
            Self::Slashes => "//",
        }
    }
}

/// Puts a head before `body`.
pub(crate) fn seal(
    comment: Comment,
    source: &str,
    advice: &str,
    enabled: Option<&str>,
    body: &str,
) -> String {
    let sign = comment.sign();
    let mut head = format!("{sign} {FIRST_WORDS} from {source}.\n{sign} {advice}\n{sign} ");
    if let Some(enabled) = enabled {
        let _ = write!(head, "enabled={enabled} ");
    }
    let rest = format!("\n{body}");
    let sum = checksum(&[&head, &rest]);
    format!("{head}checksum={sum}{rest}")
}

/// Reads the head of a file.
pub(crate) fn read(text: &str) -> Origin {
    if !text.lines().next().is_some_and(|line| line.contains(FIRST_WORDS)) {
        return Origin::Foreign;
    }
    let Some(at) = text.find("checksum=") else {
        return Origin::Changed;
    };
    let (head, tail) = text.split_at(at);
    let tail = &tail["checksum=".len()..];
    let (sum, rest) = tail.split_at(tail.find('\n').unwrap_or(tail.len()));
    if sum != checksum(&[head, rest]) {
        return Origin::Changed;
    }
    let words = head.lines().last().unwrap_or_default().split(' ');
    let enabled = words
        .filter_map(|word| word.strip_prefix("enabled="))
        .next_back()
        .map(str::to_owned);
    Origin::Ours { enabled }
}

/// FNV-1a: it finds edits, and nobody gains by forging it.
fn checksum(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{sum:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_head() {
        let text = seal(
            Comment::Hash,
            "/etc/tcs/services.yaml:3",
            "Leave it.",
            Some("true"),
            "[Unit]\nA=checksum=1\n",
        );
        assert_eq!(
            read(&text),
            Origin::Ours {
                enabled: Some("true".to_owned())
            }
        );
        assert_eq!(read(&text.replace("A=", "B=")), Origin::Changed);
        assert_eq!(
            read(&text.replace("enabled=true", "enabled=false")),
            Origin::Changed
        );
        assert_eq!(read(&text[..60]), Origin::Changed);
        assert_eq!(read("[Unit]\n"), Origin::Foreign);
        assert_eq!(
            read(&seal(Comment::Slashes, "x", "y", None, "z")),
            Origin::Ours { enabled: None }
        );
    }
}
