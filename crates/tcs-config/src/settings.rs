//! The keys at the top of the file.

use tcs_wire::{HostName, SubjectPrefix, Variant};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::find::Variables;
use crate::keys::{NATS_KEYS, TOP_KEYS};
use crate::model::{NatsSettings, Site};
use crate::reader::{Lookup, Reader};
use crate::source::Span;
use crate::suggest::nearest;
use crate::yaml::{self, Map, Value};

/// Reads everything but the services.
pub(crate) fn read_settings(
    top: &Map,
    variables: &Variables,
    lookup: Lookup<'_>,
    problems: &mut Diagnostics,
) -> Site {
    let mut reader = Reader {
        map: top,
        defaults: None,
        lookup,
        problems,
    };
    let host = reader
        .text("host")
        .and_then(|(text, span)| match HostName::parse(&text) {
            Ok(host) => Some(host),
            Err(_) => {
                let right = HostName::from_system(&text);
                let message = format!("`{text}` cannot name a host: a-z, 0-9, `_` and `-` can");
                reader
                    .problems
                    .push(Diagnostic::error(&span, message).help(format!("write `{right}`")));
                None
            }
        });
    let manage_streams = reader.flag("manage_streams").unwrap_or(true);
    let default_variant =
        reader
            .text("default_variant")
            .and_then(|(text, span)| match Variant::parse(&text) {
                Ok(variant) => Some(variant),
                Err(error) => {
                    reader.problems.push(Diagnostic::error(&span, error.to_string()));
                    None
                }
            });
    Site {
        host: host.unwrap_or_else(system_host),
        nats: read_nats(top, variables, lookup, problems),
        manage_streams,
        default_variant: default_variant.unwrap_or_else(Variant::main),
        services: Vec::new(),
        sources: Vec::new(),
    }
}

/// Returns what the system calls itself; not from /proc, which the units' sandbox hides.
fn system_host() -> HostName {
    HostName::from_system(&rustix::system::uname().nodename().to_string_lossy())
}

fn read_nats(
    top: &Map,
    variables: &Variables,
    lookup: Lookup<'_>,
    problems: &mut Diagnostics,
) -> NatsSettings {
    let empty = Map::new();
    let map = match yaml::get(top, "nats").map(|(_, node)| node) {
        None => &empty,
        Some(node) => match &node.value {
            Value::Map(map) => map,
            Value::Null => &empty,
            _ => {
                let message = format!("`nats` is {}, a map of keys is expected", node.describe());
                problems.push(
                    Diagnostic::error(&node.span, message).help("write `nats: {url: nats://HOST:4222}`"),
                );
                &empty
            }
        },
    };
    let mut reader = Reader {
        map,
        defaults: None,
        lookup,
        problems,
    };
    reader.only("`nats`", &NATS_KEYS);
    let urls = read_urls(&mut reader, variables);
    let subject_prefix =
        reader
            .text("subject_prefix")
            .and_then(|(text, span)| match SubjectPrefix::parse(&text) {
                Ok(prefix) => Some(prefix),
                Err(error) => {
                    reader.problems.push(Diagnostic::error(&span, error.to_string()));
                    None
                }
            });
    NatsSettings {
        urls,
        subject_prefix: subject_prefix.unwrap_or_default(),
        required: reader.flag("required").unwrap_or(false),
    }
}

fn read_urls(reader: &mut Reader<'_>, variables: &Variables) -> Vec<String> {
    if let Some(urls) = reader.texts("url") {
        for name in ["host", "port"] {
            if let Some(node) = reader.own(name) {
                let problem = Diagnostic::error(&node.span, format!("`{name}` stands beside `url`"));
                reader.problems.push(problem.help("keep one of the two"));
            }
        }
        return urls
            .into_iter()
            .filter_map(|(url, span)| check_url(&url, &span, reader.problems))
            .collect();
    }
    let host = reader.text("host").map(|(host, span)| (host, Some(span)));
    let host = host.or_else(|| {
        variables
            .at_run_time("NATS_HOST")
            .map(|host| (host.to_owned(), None))
    });
    let port = match reader.count("port") {
        Some(port) if (1..=65_535).contains(&port) => Some(port.to_string()),
        Some(port) => {
            if let Some(node) = reader.own("port") {
                let problem = Diagnostic::error(&node.span, format!("`{port}` is not a port"));
                reader
                    .problems
                    .push(problem.help("ports are numbers from 1 to 65535"));
            }
            None
        }
        None => variables.at_run_time("NATS_PORT").map(str::to_owned),
    };
    let (host, span) = host.unwrap_or_else(|| ("127.0.0.1".to_owned(), None));
    let url = format!("nats://{host}:{}", port.unwrap_or_else(|| "4222".to_owned()));
    match span {
        Some(span) => check_url(&url, &span, reader.problems).into_iter().collect(),
        None => vec![url],
    }
}

/// Returns the address with its scheme, if it is one.
fn check_url(url: &str, span: &Span, problems: &mut Diagnostics) -> Option<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let address = rest.trim_end_matches('/');
    let server = address.rsplit_once('@').map_or(address, |(_, server)| server);
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (server, None),
    };
    let host_fits = !host.is_empty() && !host.contains(['/', ' ', ',', '?', '#']);
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if ["nats", "tls"].contains(&scheme) && host_fits && port_fits {
        return Some(format!("{scheme}://{address}"));
    }
    let problem = Diagnostic::error(span, format!("`{url}` is not the address of a NATS server"));
    problems.push(problem.help("write `nats://HOST:PORT`, or `tls://HOST:PORT`; several as a list"));
    None
}

/// Checks the keys at the top that are not ours: they are fields of the declared types (design decision 34).
pub(crate) fn check_other_keys(
    top: &Map,
    is_field: &dyn Fn(&str) -> bool,
    field_names: &[&str],
    problems: &mut Diagnostics,
) {
    let known = || TOP_KEYS.iter().map(|key| key.name);
    for (key, _) in top.iter().filter(|(key, _)| !is_top_key(&key.name)) {
        let near = nearest(&key.name, known());
        if is_field(&key.name) {
            if let Some(near) = near {
                let message = format!("`{}` is taken as a field of services", key.name);
                problems
                    .push(Diagnostic::warning(&key.span, message).help(format!("did you mean `{near}`?")));
            }
            continue;
        }
        let near = near.or_else(|| nearest(&key.name, field_names.iter().copied()));
        let help = near.map_or_else(
            || {
                let all = known()
                    .filter(|name| *name != "registry")
                    .collect::<Vec<_>>()
                    .join("`, `");
                format!("here stand `{all}`, and fields that a declared type has")
            },
            |near| format!("did you mean `{near}`?"),
        );
        problems
            .push(Diagnostic::error(&key.span, format!("there is no key `{}` here", key.name)).help(help));
    }
}

/// Returns whether a key at the top is one of the suite's.
pub(crate) fn is_top_key(name: &str) -> bool {
    TOP_KEYS.iter().any(|key| key.name == name)
}
