//! `diff` and `show`.

use std::path::Path;

use similar::TextDiff;
use tcs_wire::{Exit, ServiceId, UnitName};

use crate::failure::Failure;
use crate::output::Printer;
use crate::plan::{Change, Plan};
use crate::prepare::Prepared;
use crate::render::{Rendered, STATICS, drop_in_path};
use crate::root::Root;

/// Shows how a tree differs from what is declared, as a unified diff.
///
/// # Errors
/// Whatever is wrong with the configuration; a file that cannot be read.
pub fn diff(root: &Root, explicit: Option<&Path>, printer: Printer) -> Result<Exit, Failure> {
    let prepared = Prepared::new(root, explicit)?;
    printer.diagnostics(&prepared.warnings);
    let plan = Plan::install(root, &prepared.rendered)?;
    for change in plan
        .changes
        .iter()
        .chain(plan.kept.iter().map(|kept| &kept.change))
    {
        printer.line(unified(change).trim_end());
    }
    for kept in &plan.kept {
        printer.note(format!(
            "`{}` would be left as it is: {}",
            kept.path.display(),
            kept.why
        ));
    }
    for path in &plan.unread {
        printer.note(format!(
            "`{}` is not compared: only root may read it",
            path.display()
        ));
    }
    Ok(if plan.changes.is_empty() && plan.kept.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn unified(change: &Change) -> String {
    let path = change.path().display().to_string();
    let (before, after) = match change {
        Change::Write { before, after, .. } => (before.as_deref(), Some(after.as_str())),
        Change::Remove { before, .. } => (Some(before.as_str()), None),
        Change::Enable { target, .. } => return format!("+++ {path} -> {}", target.display()),
        Change::Disable { .. } => return format!("--- {path}"),
    };
    let name = |text: Option<&str>| text.map_or("/dev/null", |_| path.as_str()).to_owned();
    TextDiff::from_lines(before.unwrap_or_default(), after.unwrap_or_default())
        .unified_diff()
        .header(&name(before), &name(after))
        .to_string()
}

/// Shows the units of one service as they are rendered: the template, then what is its own.
///
/// # Errors
/// Whatever is wrong with the configuration; a service that is not declared.
pub fn show(root: &Root, explicit: Option<&Path>, name: &str, printer: Printer) -> Result<Exit, Failure> {
    let prepared = Prepared::new(root, explicit)?;
    printer.diagnostics(&prepared.warnings);
    let declared = || {
        let ids: Vec<&str> = prepared
            .site
            .services
            .iter()
            .map(|entry| entry.id.as_str())
            .collect();
        if ids.is_empty() {
            "none".to_owned()
        } else {
            ids.join(", ")
        }
    };
    let id = read_name(name).filter(|id| prepared.site.service(id).is_some());
    let id = id.ok_or_else(|| Failure::NotDeclared {
        name: name.to_owned(),
        declared: declared(),
    })?;
    let mut parts = Vec::new();
    for (unit, template) in [
        (UnitName::service(&id), &STATICS[0]),
        (UnitName::timer(&id), &STATICS[1]),
    ] {
        let drop_in = drop_in_path(&unit);
        let Some(text) = prepared.rendered.files.get(&drop_in) else {
            continue;
        };
        let (path, template) = template_text(root, &prepared.rendered, template)?;
        parts.push(format!(
            "# {path}\n{}\n\n# {}\n{}",
            template.trim_end(),
            drop_in.display(),
            text.trim_end()
        ));
    }
    printer.line(parts.join("\n\n"));
    Ok(Exit::Done)
}

/// Reads a service id, a unit instance or a unit name.
fn read_name(name: &str) -> Option<ServiceId> {
    let unit = || UnitName::parse(name).ok().map(|unit| unit.id().clone());
    let instance = name.strip_prefix("tcs@").unwrap_or(name);
    unit()
        .or_else(|| ServiceId::from_instance(instance).ok())
        .or_else(|| ServiceId::parse(instance).ok())
}

fn template_text(
    root: &Root,
    rendered: &Rendered,
    template: &crate::render::Static,
) -> Result<(&'static str, String), Failure> {
    if let Some(text) = rendered.files.get(Path::new(template.installed)) {
        return Ok((template.installed, text.clone()));
    }
    let text = root.read(Path::new(template.packaged))?;
    Ok((template.packaged, text.unwrap_or_default()))
}
