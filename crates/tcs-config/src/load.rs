//! From files to a checked [`Site`].
//!
//! Every problem is collected, so that one run shows them all. The same reading serves four readers: the generator
//! wants everything to be right; the manager takes what is sound; a service asks for its own entry, which a typo in
//! another one must not hurt; the operator's tools need the address of NATS.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tcs_wire::{Manifest, ServiceId, ServiceType, Variant};

use crate::catalog::TypeCatalog;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::entry::{Declared, Setting, read_entry};
use crate::find::Found;
use crate::merge::{drop_nulls, overlay};
use crate::model::Site;
use crate::schema::{field_names, has_field, is_yaml_1_1_boolean};
use crate::settings::{check_other_keys, read_settings};
use crate::source::{MAX_FILE_BYTES, Source, Span};
use crate::yaml::{self, Map, Node, Value};

/// A configuration, and what its author should know of it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub site: Site,
    /// What does not stop anybody.
    pub warnings: Vec<Diagnostic>,
}

/// Reads everything for units: all services with their programs, `${VAR}` from the host's variables only.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn load(found: &Found, types: &TypeCatalog) -> Result<Loaded, Diagnostics> {
    Files::read(found).finish(found, types, Aim::Units).into_result()
}

/// Reads what is sound: entries with problems are left out and told.
///
/// # Errors
/// What is wrong beside the entries.
pub fn load_sound(found: &Found, types: &TypeCatalog) -> Result<Loaded, Diagnostics> {
    let files = Files::read(found);
    let mut settings = files.clone().finish(found, types, Aim::Settings);
    if !settings.errors.is_empty() {
        return settings.into_result();
    }
    settings = files.finish(found, types, Aim::Sound);
    settings.warnings.extend(std::mem::take(&mut settings.errors));
    settings.into_result()
}

/// Reads all but the services: the host, NATS, the streams.
///
/// # Errors
/// What is wrong with these.
pub fn load_settings(found: &Found) -> Result<Loaded, Diagnostics> {
    Files::read(found)
        .finish(found, &TypeCatalog::default(), Aim::Settings)
        .into_result()
}

/// Reads the configuration of one service, which `site.services` then holds alone: its entry, or what the defaults
/// make of its type when no entry has its id.
///
/// # Errors
/// What is wrong with it, or with the keys that hold for all services.
pub fn load_service(found: &Found, id: &ServiceId, manifest: &Manifest) -> Result<Loaded, Diagnostics> {
    let types = TypeCatalog::of(id.service_type().as_str().into(), manifest.clone());
    Files::read(found)
        .finish(found, &types, Aim::Service(id))
        .into_result()
}

/// What is read, for whom.
#[derive(Clone, Copy)]
enum Aim<'a> {
    Units,
    Sound,
    Settings,
    Service(&'a ServiceId),
}

struct Outcome {
    site: Site,
    errors: Diagnostics,
    warnings: Vec<Diagnostic>,
}

impl Outcome {
    fn into_result(self) -> Result<Loaded, Diagnostics> {
        if self.errors.is_empty() {
            Ok(Loaded {
                site: self.site,
                warnings: self.warnings,
            })
        } else {
            Err(self.errors)
        }
    }
}

/// All files, the keys at the top laid over each other, the entries still apart.
#[derive(Clone, Default)]
struct Files {
    top: Map,
    /// The list of each file.
    lists: Vec<Vec<Node>>,
    problems: Diagnostics,
    /// Whether a file could not be read at all.
    broken: bool,
}

impl Files {
    fn read(found: &Found) -> Self {
        let mut files = Self::default();
        for path in &found.files {
            match read_text(path) {
                Ok(source) => files.add(&source),
                Err(problem) => files.give_up(problem),
            }
        }
        files
    }

    fn give_up(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
        self.broken = true;
    }

    fn add(&mut self, source: &Arc<Source>) {
        let node = match yaml::parse(source, &mut self.problems) {
            Ok(node) => node,
            Err(problem) => return self.give_up(problem),
        };
        let map = match node.value {
            Value::Map(map) => map,
            Value::Null => return,
            _ => {
                let problem = Diagnostic::error(
                    &node.span,
                    format!("this file is {}, a map of keys is expected", node.describe()),
                );
                return self.give_up(problem.help("begin with `services:` and a list of entries below it"));
            }
        };
        let (services, rest): (Map, Map) = map.into_iter().partition(|(key, _)| key.name == "services");
        overlay(&mut self.top, &rest);
        for (_, node) in services {
            match node.value {
                Value::List(items) => self.lists.push(items),
                Value::Null => {}
                _ => {
                    let problem = Diagnostic::error(
                        &node.span,
                        format!("`services` is {}, a list is expected", node.describe()),
                    );
                    self.problems
                        .push(problem.help("write each entry as `- type: TYPE`, its keys indented below"));
                }
            }
        }
    }

    fn finish(mut self, found: &Found, types: &TypeCatalog, aim: Aim<'_>) -> Outcome {
        drop_nulls(&mut self.top);
        let problems = &mut self.problems;
        let variables = &found.variables;
        let at_run_time = |name: &str| variables.at_run_time(name).map(str::to_owned);
        let of_host = |name: &str| variables.of_host(name).map(str::to_owned);
        let lookup: crate::reader::Lookup<'_> = if matches!(aim, Aim::Units) {
            &of_host
        } else {
            &at_run_time
        };
        let mut site = read_settings(&self.top, variables, lookup, problems);
        site.sources.clone_from(&found.files);
        if !matches!(aim, Aim::Settings) && !self.broken {
            let no_defaults = Map::new();
            let setting = Setting {
                types,
                root: &found.root,
                top: &self.top,
                defaults: read_defaults(&self.top, problems).unwrap_or(&no_defaults),
                lookup,
                nats_required: site.nats.required,
                programs: matches!(aim, Aim::Units),
            };
            let mut entry_problems = Diagnostics::default();
            let mut declared = merge_entries(self.lists, &site.default_variant, &mut entry_problems);
            if let Aim::Units = aim {
                let types: Vec<ServiceType> = declared.iter().map(|entry| entry.id.service_type()).collect();
                check_top(&setting, &types, &declared, problems);
            }
            if let Aim::Service(id) = aim {
                // A problem in another entry is for others to tell.
                entry_problems = Diagnostics::default();
                declared.retain(|entry| entry.id == *id);
            }
            let undeclared = declared.is_empty();
            if let (Aim::Service(id), true) = (aim, undeclared) {
                let nowhere = Source::new(Path::new("(no configuration)"), String::new());
                declared.push(Declared {
                    id: id.clone(),
                    map: Map::new(),
                    span: Span::new(&nowhere, 0..0),
                });
            }
            entry_problems
                .into_iter()
                .for_each(|problem| problems.push(problem));
            for entry in declared {
                site.services.extend(read_entry(entry, &setting, problems));
            }
            if undeclared && let (Aim::Service(_), Some(entry)) = (aim, site.services.first_mut()) {
                entry.declared = false;
            }
        }
        self.problems.sort();
        let (errors, warnings) = self.problems.split();
        Outcome {
            site,
            errors,
            warnings,
        }
    }
}

fn read_text(path: &Path) -> Result<Arc<Source>, Diagnostic> {
    let refuse = |why: String, help: &str| {
        Err(Diagnostic::without_place(format!("`{}` {why}", path.display())).help(help.to_owned()))
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            return refuse("is larger than 8 MiB".to_owned(), "split it into services.d/");
        }
        Ok(_) => {}
        Err(error) => {
            return refuse(
                format!("cannot be read: {error}"),
                "make it readable for everybody (mode 0644)",
            );
        }
    }
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Source::new(path, text)),
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            refuse(format!("is not UTF-8 at line {line}"), "save it as UTF-8")
        }
        Err(error) => refuse(
            format!("cannot be read: {error}"),
            "make it readable for everybody (mode 0644)",
        ),
    }
}

fn read_defaults<'a>(top: &'a Map, problems: &mut Diagnostics) -> Option<&'a Map> {
    let (_, node) = yaml::get(top, "defaults")?;
    let Some(map) = node.as_map() else {
        let message = format!("`defaults` is {}, a map of keys is expected", node.describe());
        problems.push(Diagnostic::error(&node.span, message).help("write keys of an entry below it"));
        return None;
    };
    for (key, _) in map {
        if ["type", "variant", "instance_context", "exec", "kind", "notify"].contains(&key.name.as_str()) {
            let problem = Diagnostic::error(&key.span, format!("`{}` cannot hold for all entries", key.name));
            problems.push(problem.help("write it into the entries that it is meant for"));
        }
    }
    Some(map)
}

/// Checks the keys that are there for services, at the top and below `defaults`, against what the types have.
fn check_top(
    setting: &Setting<'_>,
    types: &[ServiceType],
    declared: &[Declared],
    problems: &mut Diagnostics,
) {
    let schemas: Vec<&serde_json::Value> = types
        .iter()
        .filter_map(|service_type| Some(&setting.types.get(service_type)?.manifest.as_ref().ok()?.config))
        .collect();
    // What is not known to have no such field may have it.
    let any_open = declared.iter().any(|entry| {
        yaml::get(&entry.map, "exec").is_some()
            || setting
                .types
                .get(&entry.id.service_type())
                .is_none_or(|installed| installed.manifest.is_err())
    });
    let is_field = |name: &str| any_open || schemas.iter().any(|schema| has_field(schema, name));
    let names: Vec<&str> = schemas.iter().copied().flat_map(field_names).collect();
    check_other_keys(setting.top, &is_field, &names, problems);
    for (key, _) in setting.defaults {
        if crate::keys::entry_names().any(|known| known == key.name) || is_field(&key.name) {
            continue;
        }
        let known = names
            .iter()
            .copied()
            .chain(crate::keys::entry_names().map(|name| -> &str { name }));
        let help = crate::suggest::nearest(&key.name, known).map_or_else(
            || "no declared type has a field of that name; remove it".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        problems
            .push(Diagnostic::error(&key.span, format!("there is no key `{}` here", key.name)).help(help));
    }
}

/// Lays entries of one id over each other, later files over earlier ones.
fn merge_entries(
    lists: Vec<Vec<Node>>,
    default_variant: &Variant,
    problems: &mut Diagnostics,
) -> Vec<Declared> {
    let mut declared: Vec<Declared> = Vec::new();
    let mut known: HashMap<ServiceId, usize> = HashMap::new();
    for list in lists {
        let mut here: HashMap<ServiceId, Span> = HashMap::new();
        for node in list {
            let Some((id, span, map)) = identify(node, default_variant, problems) else {
                continue;
            };
            if let Some(first) = here.get(&id) {
                problems.push(
                    Diagnostic::error(&span, format!("`{id}` is declared twice"))
                        .label("here again")
                        .also(first, "first here")
                        .help("remove one of them, or give it another `variant:`"),
                );
                continue;
            }
            here.insert(id.clone(), span.clone());
            match known.get(&id) {
                Some(index) => overlay(&mut declared[*index].map, &map),
                None => {
                    known.insert(id.clone(), declared.len());
                    declared.push(Declared { id, map, span });
                }
            }
        }
    }
    for entry in &mut declared {
        drop_nulls(&mut entry.map);
    }
    declared
}

/// Finds out which service an entry declares.
fn identify(
    node: Node,
    default_variant: &Variant,
    problems: &mut Diagnostics,
) -> Option<(ServiceId, Span, Map)> {
    let Value::Map(map) = node.value else {
        let message = format!("an entry is {}, a map of keys is expected", node.describe());
        problems.push(Diagnostic::error(&node.span, message).help("write `- type: TYPE`"));
        return None;
    };
    let Some((_, type_node)) = yaml::get(&map, "type").filter(|(_, node)| !node.is_null()) else {
        problems.push(
            Diagnostic::error(&node.span, "an entry has no `type`")
                .help("add `type: TYPE`, the name of its binary"),
        );
        return None;
    };
    let service_type = name(type_node, "type", problems, |text| {
        let service_type = ServiceType::parse(text)?;
        service_type.refuse_reserved()?;
        Ok(service_type)
    });
    let old = yaml::get(&map, "instance_context");
    if let (Some((key, _)), Some((new, _))) = (old, yaml::get(&map, "variant")) {
        let problem = Diagnostic::error(&key.span, "`instance_context` is the old name of `variant`");
        problems.push(
            problem
                .also(&new.span, "which stands here too")
                .help("remove one of them"),
        );
    }
    let variant = match yaml::get(&map, "variant")
        .or(old)
        .filter(|(_, node)| !node.is_null())
    {
        None => Some(default_variant.clone()),
        Some((key, node)) => {
            if let Value::Text(text) = &node.value
                && is_yaml_1_1_boolean(text)
                && node.span.text() == text
            {
                let message = format!("`{text}` without quotes is no text to the Python framework");
                problems.push(Diagnostic::warning(&node.span, message).help(format!("write \"{text}\"")));
            }
            name(node, &key.name, problems, Variant::parse)
        }
    };
    let (service_type, variant) = (service_type?, variant?);
    let span = type_node.span.clone();
    match ServiceId::new(&service_type, &variant) {
        Ok(id) => Some((id, span, map)),
        Err(error) => {
            problems
                .push(Diagnostic::error(&span, error.to_string()).help("shorten the type or the variant"));
            None
        }
    }
}

fn name<T>(
    node: &Node,
    key: &str,
    problems: &mut Diagnostics,
    parse: impl Fn(&str) -> Result<T, tcs_wire::IdError>,
) -> Option<T> {
    let Value::Text(text) = &node.value else {
        let message = format!("`{key}` is {}, a name is expected", node.describe());
        let help = format!("put it into quotes: \"{}\"", node.span.text());
        problems.push(Diagnostic::error(&node.span, message).help(help));
        return None;
    };
    if text == "defaults" {
        problems
            .push(Diagnostic::error(&node.span, "`defaults` is a reserved word").help("choose another name"));
        return None;
    }
    let right = text
        .to_ascii_lowercase()
        .replace(if key == "type" { ['-', ' '] } else { ['.', ' '] }, "_");
    let help = (right != *text && parse(&right).is_ok()).then(|| format!("write `{right}`"));
    parse(text)
        .map_err(|error| problems.push(Diagnostic::error(&node.span, error.to_string()).help_if(help)))
        .ok()
}
