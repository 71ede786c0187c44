//! Unit names in object paths: systemd's bus label escaping (`bus_label_escape` in its source).

/// The parent of all unit objects.
pub(super) const UNIT_ROOT: &str = "/org/freedesktop/systemd1/unit/";

/// Returns the object path of a unit.
///
/// Everything but ASCII letters and digits becomes `_XX` in hexadecimal, a leading digit too.
pub fn unit_path(unit: &str) -> String {
    let mut path = String::with_capacity(UNIT_ROOT.len() + unit.len() * 2);
    path.push_str(UNIT_ROOT);
    if unit.is_empty() {
        path.push('_');
    }
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push('_');
            for nibble in [byte >> 4, byte & 0xf] {
                path.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
    }
    path
}

/// Returns the unit that an object path stands for; none for a path of something else.
pub fn unit_of_path(path: &str) -> Option<String> {
    let label = path.strip_prefix(UNIT_ROOT)?;
    if label == "_" {
        return Some(String::new());
    }
    let mut unit = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let digits = [bytes.next()?, bytes.next()?];
            unit.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            unit.push(byte);
        }
    }
    String::from_utf8(unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_systemd() {
        // As printed by `busctl tree org.freedesktop.systemd1` on 252.
        for (unit, label) in [
            (
                "tcs@plan_runner.zb08.service",
                "tcs_40plan_5frunner_2ezb08_2eservice",
            ),
            ("-.mount", "_2d_2emount"),
            ("3com.service", "_33com_2eservice"),
            (
                "run-credentials-systemd\\x2dsysusers.service.mount",
                "run_2dcredentials_2dsystemd_5cx2dsysusers_2eservice_2emount",
            ),
        ] {
            assert_eq!(unit_path(unit), format!("{UNIT_ROOT}{label}"));
            assert_eq!(unit_of_path(&unit_path(unit)).as_deref(), Some(unit));
        }
    }

    #[test]
    fn other_paths_are_no_units() {
        for path in [
            "/org/freedesktop/systemd1",
            "/org/freedesktop/systemd1/job/7",
            "/org/freedesktop/systemd1/unit/a_4",
        ] {
            assert_eq!(unit_of_path(path), None, "{path}");
        }
    }
}
