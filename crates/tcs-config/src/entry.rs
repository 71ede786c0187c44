//! One entry of `services:`, checked against the common keys and its type's schema.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tcs_wire::{Kind, RestartPolicy, ServiceId};

use crate::catalog::{ManifestError, TypeCatalog, below};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expand::{has_reference, is_name};
use crate::keys;
use crate::merge::overlay;
use crate::model::{Enabled, LogLevel, Program, Restart, ServiceEntry};
use crate::reader::{Lookup, Reader};
use crate::schema::{Check, has_field};
use crate::settings::is_top_key;
use crate::source::Span;
use crate::suggest::nearest;
use crate::timer::read_timer;
use crate::words::split_words;
use crate::yaml::{self, Map, Value};

/// Variables that the unit sets by itself.
const OWN_VARIABLES: [&str; 2] = ["TCS_MANAGER", "TCS_RUNNER_ID"];

/// An entry before its keys are read: all files laid over each other.
pub(crate) struct Declared {
    pub(crate) id: ServiceId,
    pub(crate) map: Map,
    /// The value of `type:`, or what else to point at.
    pub(crate) span: Span,
}

/// What an entry is read against.
pub(crate) struct Setting<'a> {
    pub(crate) types: &'a TypeCatalog,
    pub(crate) root: &'a Path,
    pub(crate) top: &'a Map,
    pub(crate) defaults: &'a Map,
    pub(crate) lookup: Lookup<'a>,
    pub(crate) nats_required: bool,
    /// Whether programs must be there: for units they must, a service by itself need not know the others.
    pub(crate) programs: bool,
}

/// Reads an entry; problems are added, and nothing is returned when it cannot be used.
pub(crate) fn read_entry(
    declared: Declared,
    setting: &Setting<'_>,
    problems: &mut Diagnostics,
) -> Option<ServiceEntry> {
    let mut found = Diagnostics::default();
    let entry = read(declared, setting, &mut found);
    let (errors, warnings) = found.split();
    let sound = errors.is_empty();
    errors
        .into_iter()
        .chain(warnings)
        .for_each(|problem| problems.push(problem));
    entry.filter(|_| sound)
}

fn read(declared: Declared, setting: &Setting<'_>, problems: &mut Diagnostics) -> Option<ServiceEntry> {
    let Declared { id, map, span } = declared;
    let mut reader = Reader {
        map: &map,
        defaults: Some(setting.defaults),
        lookup: setting.lookup,
        problems,
    };
    let foreign = reader.own("exec").is_some();
    let installed = setting.types.get(&id.service_type());
    let manifest = installed.and_then(|installed| installed.manifest.as_ref().ok());
    let known_kind = read_kind(&mut reader, foreign, manifest.map(|manifest| manifest.kind));
    let program = read_program(&mut reader, &id, &span, setting);
    if let Some(kind) = known_kind {
        refuse_foreign_keys(&mut reader, kind);
    }
    let timed = reader.own("schedule").or(reader.own("every")).is_some();
    let kind = known_kind.unwrap_or(if timed { Kind::Job } else { Kind::Permanent });
    let timer = (kind == Kind::Job).then(|| read_timer(&mut reader)).flatten();
    let restart = read_restart(&mut reader, kind);
    let enabled = reader.choice(
        "enabled",
        &[
            ("true", Enabled::True),
            ("false", Enabled::False),
            ("manual", Enabled::Manual),
        ],
    );
    let entry = ServiceEntry {
        kind,
        enabled: enabled.unwrap_or(Enabled::True),
        restart,
        timer,
        max_runtime: reader.positive("max_runtime"),
        start_timeout: reader.positive("start_timeout"),
        stop_timeout: reader.positive("stop_timeout"),
        watchdog: reader.duration("watchdog"),
        environment: read_environment(&mut reader, setting.defaults),
        log_level: reader.choice("log_level", &LogLevel::NAMES),
        required: reader.flag("required").unwrap_or(setting.nats_required),
        program: program?,
        fields: serde_json::Map::new(),
        place: span.place(),
        declared: true,
        span,
        id,
    };
    let schema = manifest.filter(|_| !foreign).map(|manifest| &manifest.config);
    let fields = own_fields(&map, schema, setting);
    check_fields(&entry, &fields, &map, schema, problems);
    let fields = fields
        .iter()
        .map(|(key, node)| (key.name.clone(), node.to_json()))
        .collect();
    Some(ServiceEntry { fields, ..entry })
}

/// Returns the kind, or nothing when the type is not installed here.
fn read_kind(reader: &mut Reader<'_>, foreign: bool, manifest: Option<Kind>) -> Option<Kind> {
    if foreign {
        let kind = reader.choice("kind", &[("permanent", Kind::Permanent), ("job", Kind::Job)]);
        return Some(kind.unwrap_or(Kind::Permanent));
    }
    for name in ["kind", "notify"] {
        if let Some(node) = reader.own(name) {
            let problem = Diagnostic::error(&node.span, format!("`{name}` goes with `exec` only"));
            reader
                .problems
                .push(problem.help("remove it: the manifest beside the binary says it"));
        }
    }
    manifest
}

fn read_program(
    reader: &mut Reader<'_>,
    id: &ServiceId,
    span: &Span,
    setting: &Setting<'_>,
) -> Option<Program> {
    if reader.own("exec").is_some() {
        return read_exec(reader, setting);
    }
    let service_type = id.service_type();
    let Some(installed) = setting.types.get(&service_type) else {
        if !setting.programs {
            return Some(Program::Installed(service_type.as_str().into()));
        }
        let known = setting.types.iter().map(|(known, _)| known.as_str());
        let guess = nearest(service_type.as_str(), known);
        let folders: Vec<_> = setting
            .types
            .directories()
            .iter()
            .map(|folder| below(setting.root, folder).display().to_string())
            .collect();
        let help = guess.map_or_else(
            || {
                format!(
                    "put the binary `{service_type}` and its manifest `{service_type}.json` into one of {}, or say \
                     what runs with `exec:`",
                    folders.join(", ")
                )
            },
            |guess| format!("did you mean `{guess}`?"),
        );
        reader.problems.push(
            Diagnostic::error(span, format!("no service type `{service_type}` is installed")).help(help),
        );
        return None;
    };
    if let Err(error) = &installed.manifest {
        let why = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let binary = below(setting.root, &installed.binary);
        let help = match error {
            ManifestError::Read { .. } => "make it readable for everybody".to_owned(),
            _ => format!("run `{0} describe > {0}.json`", binary.display()),
        };
        reader.problems.push(Diagnostic::error(span, why).help(help));
        return None;
    }
    Some(Program::Installed(installed.binary.clone()))
}

fn read_exec(reader: &mut Reader<'_>, setting: &Setting<'_>) -> Option<Program> {
    let notify = reader.flag("notify").unwrap_or(false);
    let node = reader.own("exec")?;
    // References are left as they are: systemd fills them in, so that no secret gets into a unit.
    let command: Option<Vec<String>> = match &node.value {
        Value::Text(text) => split_words(text),
        Value::List(items) => items
            .iter()
            .map(|item| match &item.value {
                Value::Text(text) => Some(text.clone()),
                Value::Number(_) => Some(item.span.text().to_owned()),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    let Some(command) = command.filter(|command| !command.is_empty()) else {
        reader.wrong(
            node,
            "exec",
            "a command line, or a list of a program and its arguments,",
        );
        return None;
    };
    let program = Path::new(&command[0]);
    let problem = if has_reference(&command[0]) || !program.is_absolute() {
        Some(format!("`{}` is not the full path of a program", command[0]))
    } else if setting.programs {
        let file = below(setting.root, program);
        match std::fs::metadata(&file) {
            Err(error) => Some(format!("there is no program `{}`: {error}", file.display())),
            Ok(metadata) if !metadata.is_file() => Some(format!("`{}` is not a program", file.display())),
            Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
                Some(format!("`{}` is not executable", file.display()))
            }
            Ok(_) => None,
        }
    } else {
        None
    };
    if let Some(default) = command[1..]
        .iter()
        .find(|word| word.contains("${") && word.contains(":-"))
    {
        let problem = Diagnostic::error(
            &node.span,
            format!("`{default}` has a default, which systemd does not read here"),
        );
        reader
            .problems
            .push(problem.help("write `${NAME}`, and set NAME in /etc/tcs/env"));
    }
    if let Some(problem) = problem {
        let help = "write the path from `/` on of a program that is there";
        reader
            .problems
            .push(Diagnostic::error(&node.span, problem).help(help));
        return None;
    }
    Some(Program::Exec { command, notify })
}

/// Refuses keys that have no meaning for this kind; in `defaults` they are for the others.
fn refuse_foreign_keys(reader: &mut Reader<'_>, kind: Kind) {
    let (names, help): (&[&str], _) = match kind {
        Kind::Permanent => (
            &["schedule", "every", "persistent", "jitter", "max_runtime"],
            "it runs until it is stopped; for a program of your own (`exec:`) write `kind: job`",
        ),
        Kind::Job => (&["start_timeout"], "its time is limited by `max_runtime`"),
    };
    for name in names {
        if let Some(node) = reader.own(name) {
            let problem = Diagnostic::error(&node.span, format!("a {kind} service has no `{name}`"));
            reader.problems.push(problem.help(help));
        }
    }
}

fn read_restart(reader: &mut Reader<'_>, kind: Kind) -> Restart {
    let standard = Restart::default();
    let names = RESTART_NAMES;
    let policy = match kind {
        Kind::Permanent => reader.choice("restart", &names).unwrap_or(standard.policy),
        // What holds for all entries is meant for the permanent ones.
        Kind::Job if reader.own("restart").is_none() => RestartPolicy::No,
        Kind::Job => reader.choice("restart", &names).unwrap_or(RestartPolicy::No),
    };
    if kind == Kind::Job && policy == RestartPolicy::Always {
        // systemd does not load a oneshot with Restart=always (design decision 14).
        if let Some(node) = reader.own("restart") {
            let problem = Diagnostic::error(&node.span, "a job cannot be restarted always");
            reader
                .problems
                .push(problem.help("use `every:`, or write `restart: on-failure`"));
        }
    }
    let restart = Restart {
        policy,
        delay: reader.duration("restart_sec").unwrap_or(standard.delay),
        max: reader.count("restart_max").unwrap_or(standard.max),
        window: reader.positive("restart_window").unwrap_or(standard.window),
    };
    let spread = restart.delay.saturating_mul(restart.max);
    let names = ["restart_sec", "restart_max", "restart_window"];
    if policy != RestartPolicy::No
        && restart.max > 0
        && spread >= restart.window
        && let Some(node) = names.iter().find_map(|name| reader.node(name))
    {
        let window = crate::format_duration(restart.window);
        let message = format!(
            "the limit of {} restarts in {window} is never reached",
            restart.max
        );
        let least = crate::format_duration(spread + restart.delay.max(std::time::Duration::from_secs(1)));
        let help = format!("with these pauses `restart_window` must be longer: `{least}` at least");
        reader
            .problems
            .push(Diagnostic::warning(&node.span, message).help(help));
    }
    restart
}

const RESTART_NAMES: [(&str, RestartPolicy); 4] = [
    ("no", RestartPolicy::No),
    ("always", RestartPolicy::Always),
    ("on-failure", RestartPolicy::OnFailure),
    ("on-abnormal", RestartPolicy::OnAbnormal),
];

fn read_environment(reader: &mut Reader<'_>, defaults: &Map) -> BTreeMap<String, String> {
    let mut merged = Map::new();
    for map in [defaults, reader.map] {
        let Some((_, node)) = yaml::get(map, "environment") else {
            continue;
        };
        match &node.value {
            Value::Map(inner) => overlay(&mut merged, inner),
            Value::Null => {}
            _ => reader.wrong(node, "environment", "a map of names and texts"),
        }
    }
    let mut environment = BTreeMap::new();
    for (key, node) in &merged {
        let value = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => node.span.text().to_owned(),
            Value::Null => continue,
            _ => {
                reader.wrong(node, &format!("environment.{}", key.name), "a text");
                continue;
            }
        };
        let name = &key.name;
        let problem = if !is_name(name) {
            Diagnostic::error(&key.span, format!("`{name}` cannot name a variable"))
                .help("names are made of letters, digits and `_`")
        } else if OWN_VARIABLES.contains(&name.as_str()) {
            Diagnostic::error(&key.span, format!("`{name}` is set by the unit itself")).help("remove it")
        } else if value.contains('\0') {
            Diagnostic::error(&node.span, format!("`{name}` holds a zero byte")).help("remove it")
        } else if has_reference(&value) {
            Diagnostic::error(&node.span, "variables are not expanded here").help(format!(
                "put `{name}=...` into /etc/tcs/env, which every service reads; nothing of it gets into a unit"
            ))
        } else {
            environment.insert(name.clone(), value);
            continue;
        };
        reader.problems.push(problem);
    }
    environment
}

/// Lays an entry's own values over what `defaults` and the top of the file have for its type.
fn own_fields(map: &Map, schema: Option<&serde_json::Value>, setting: &Setting<'_>) -> Map {
    let fits = |name: &str| schema.is_none_or(|schema| has_field(schema, name));
    let is_common = |name: &str| keys::entry_names().any(|known| known == name);
    let mut fields: Map = setting
        .top
        .iter()
        .filter(|(key, _)| !is_top_key(&key.name) && fits(&key.name))
        .cloned()
        .collect();
    let defaults = setting
        .defaults
        .iter()
        .filter(|(key, _)| !is_common(&key.name) && fits(&key.name));
    overlay(&mut fields, &defaults.cloned().collect());
    overlay(
        &mut fields,
        &map.iter()
            .filter(|(key, _)| !is_common(&key.name))
            .cloned()
            .collect(),
    );
    fields
}

fn check_fields(
    entry: &ServiceEntry,
    fields: &Map,
    map: &Map,
    schema: Option<&serde_json::Value>,
    problems: &mut Diagnostics,
) {
    if let Some(schema) = schema {
        let found = Check::fields(schema, entry.id.as_str(), fields, &entry.span);
        found.into_iter().for_each(|problem| problems.push(problem));
        return;
    }
    for (key, _) in map
        .iter()
        .filter(|(key, _)| keys::entry_names().all(|known| known != key.name))
    {
        if let Some(near) = nearest(&key.name, keys::entry_names()) {
            let message = format!("`{}` is taken as a field of the service's own", key.name);
            problems.push(Diagnostic::warning(&key.span, message).help(format!("did you mean `{near}`?")));
        }
    }
}
