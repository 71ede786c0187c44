//! What a PropertiesChanged or GetAll brings, cut down to what is kept.

use std::collections::HashMap;

use zbus::Variant;

/// The properties that are read; the other 250 of a service are skipped while decoding.
const KNOWN: [&str; 36] = [
    "ActiveEnterTimestamp",
    "ActiveExitTimestamp",
    "ActiveState",
    "ConditionResult",
    "Description",
    "DropInPaths",
    "ExecMainCode",
    "ExecMainExitTimestamp",
    "ExecMainPID",
    "ExecMainStartTimestamp",
    "ExecMainStatus",
    "FragmentPath",
    "InactiveEnterTimestamp",
    "InactiveExitTimestamp",
    "InvocationID",
    "LastTriggerUSec",
    "LoadState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "NextElapseUSecMonotonic",
    "NextElapseUSecRealtime",
    "Restart",
    "RestartForceExitStatus",
    "RestartPreventExitStatus",
    "RestartUSec",
    "Result",
    "StartLimitBurst",
    "StartLimitIntervalUSec",
    "StateChangeTimestamp",
    "StateChangeTimestampMonotonic",
    "StatusText",
    "SubState",
    "Type",
    "UnitFileState",
    "WatchdogUSec",
];

/// Exit codes and signals, as `RestartPreventExitStatus=` names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExitSet {
    /// Exit codes.
    pub codes: Vec<i32>,
    /// Numbers of signals.
    pub signals: Vec<i32>,
}

impl ExitSet {
    /// Returns whether the end of a process is in the set; negative for a signal.
    pub fn contains(&self, exit_code: i32) -> bool {
        if exit_code < 0 {
            self.signals.contains(&-exit_code)
        } else {
            self.codes.contains(&exit_code)
        }
    }
}

/// One property's value, free of D-Bus types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string, or an array of bytes in hexadecimal.
    Text(String),
    /// Any integer; times are in microseconds.
    Number(i128),
    /// A boolean.
    Flag(bool),
    /// An array of strings.
    List(Vec<String>),
    /// A set of exit codes and signals.
    Exits(ExitSet),
}

/// The properties of one message, by systemd's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(&'static str, Value)>);

impl Properties {
    pub(super) fn decode(all: &HashMap<&str, Variant<'_>>) -> Self {
        let kept = KNOWN
            .iter()
            .filter_map(|name| Some((*name, value(all.get(name)?)?)));
        Self(kept.collect())
    }

    /// Makes a set by hand, as a message would have brought it; unknown names are left out.
    pub fn of(values: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self(
            values
                .into_iter()
                .filter(|(name, _)| KNOWN.contains(name))
                .collect(),
        )
    }

    /// Returns the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Returns whether nothing is in it that is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(super) fn value(variant: &Variant<'_>) -> Option<Value> {
    Some(match variant {
        Variant::Str(text) => Value::Text(text.to_string()),
        Variant::Bool(flag) => Value::Flag(*flag),
        Variant::I32(number) => Value::Number((*number).into()),
        Variant::U32(number) => Value::Number((*number).into()),
        Variant::I64(number) => Value::Number((*number).into()),
        Variant::U64(number) => Value::Number((*number).into()),
        Variant::Array(array) if array.element_signature() == &zbus::Signature::U8 => {
            let bytes = array
                .iter()
                .map(|item| if let Variant::U8(byte) = item { *byte } else { 0 });
            Value::Text(bytes.fold(String::with_capacity(32), |text, byte| {
                text + &format!("{byte:02x}")
            }))
        }
        Variant::Array(array) => {
            let text = |item: &Variant<'_>| {
                if let Variant::Str(text) = item {
                    Some(text.to_string())
                } else {
                    None
                }
            };
            Value::List(array.iter().map(text).collect::<Option<_>>()?)
        }
        Variant::Structure(structure) => match structure.fields() {
            [Variant::Array(codes), Variant::Array(signals)] => {
                let number = |item: &Variant<'_>| {
                    if let Variant::I32(number) = item {
                        Some(*number)
                    } else {
                        None
                    }
                };
                Value::Exits(ExitSet {
                    codes: codes.iter().filter_map(number).collect(),
                    signals: signals.iter().filter_map(number).collect(),
                })
            }
            _ => return None,
        },
        _ => return None,
    })
}
