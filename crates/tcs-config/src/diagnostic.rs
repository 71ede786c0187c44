//! What is wrong in a configuration file: where, what was expected, what to do.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::{Place, Span};

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is done with this configuration.
    Error,
    /// Told once, then carried on.
    Warning,
}

/// One problem in a configuration file.
///
/// `Display` gives the message, the place, the line itself and what to do, without colours.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    span: Option<Span>,
    label: String,
    also: Vec<(Span, String)>,
    help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: Some(span.clone()),
            label: String::new(),
            also: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// Makes an error that concerns a whole file or none.
    pub(crate) fn without_place(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: String::new(),
            also: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a second place that has to do with the problem.
    pub(crate) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also.push((span.clone(), label.into()));
        self
    }

    /// Adds what the reader should do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Returns how bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns what is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns where it is, or nothing when no line of a file is to blame.
    pub fn place(&self) -> Option<Place> {
        self.span.as_ref().map(Span::place)
    }

    /// Returns the report as text, with terminal colours when `styled`.
    pub fn render(&self, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&self.message);
        let mut group = match &self.span {
            None => Group::with_title(title),
            Some(span) => self
                .snippets(span)
                .into_iter()
                .fold(Group::with_title(title), Group::element),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if styled {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// Cuts out the lines to show: one snippet per file, the file with the primary place first.
    fn snippets<'a>(&'a self, span: &'a Span) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let marks = std::iter::once((AnnotationKind::Primary, span, self.label.as_str())).chain(
            self.also
                .iter()
                .map(|(span, label)| (AnnotationKind::Context, span, label.as_str())),
        );
        let mut files: Vec<(&std::path::Path, Snippet<'a, annotate_snippets::Annotation<'a>>)> = Vec::new();
        for (kind, span, label) in marks {
            let mark = kind.span(span.marked());
            let mark = if label.is_empty() { mark } else { mark.label(label) };
            let path = span.source.path.as_path();
            let index = files.iter().position(|(known, _)| *known == path);
            let snippet = match index {
                Some(index) => files.remove(index).1,
                None => Snippet::source(&span.source.text)
                    .path(path.to_string_lossy())
                    .fold(true),
            };
            files.insert(index.unwrap_or(files.len()), (path, snippet.annotation(mark)));
        }
        files.into_iter().map(|(_, snippet)| snippet).collect()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Everything that is wrong with a configuration; never empty when it is returned as an error.
///
/// `Display` gives all messages, each as [`Diagnostic`] shows it. The exit code that goes with it is 78.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Puts the messages into the order of the files and lines.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_cached_key(Diagnostic::place);
    }

    /// Splits into errors and warnings.
    pub(crate) fn split(self) -> (Self, Vec<Diagnostic>) {
        let (errors, warnings): (Vec<_>, Vec<_>) = self
            .0
            .into_iter()
            .partition(|each| each.severity == Severity::Error);
        (Self(errors), warnings)
    }

    /// Returns whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many problems there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the problems in the order of the files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Returns all reports as text, with terminal colours when `styled`.
    pub fn render(&self, styled: bool) -> String {
        self.0
            .iter()
            .map(|each| each.render(styled))
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(diagnostics: I) -> Self {
        Self(diagnostics.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
