//! Which machine this is.

use std::fmt::Write;
use std::fs;

use sha2::{Digest, Sha256};

use crate::record::Machine;

/// This machine.
pub(crate) fn this() -> Machine {
    let read = |path: &str| fs::read_to_string(path).ok();
    Machine {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cores: std::thread::available_parallelism().map(std::num::NonZero::get).ok(),
        cpu: read("/proc/cpuinfo").and_then(|text| cpu(&text)),
        id: id(read("/etc/machine-id").as_deref(), read("/proc/sys/kernel/hostname").as_deref()),
    }
}

/// The name of the first processor: all of a machine are alike, or it is like no other anyway.
fn cpu(cpuinfo: &str) -> Option<String> {
    let values = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut names = values.filter(|(key, _)| key.trim() == "model name").map(|(_, name)| name.trim().to_owned());
    names.find(|name| !name.is_empty())
}

/// A hash, since the identifier itself is confidential. Either part is enough: a container has a name of its own, and
/// an image may have brought its identifier along.
fn id(machine_id: Option<&str>, hostname: Option<&str>) -> Option<String> {
    let [machine_id, hostname] = [machine_id, hostname].map(|part| part.unwrap_or_default().trim());
    if machine_id.is_empty() && hostname.is_empty() {
        return None;
    }
    let mut text = String::new();
    for byte in Sha256::digest(format!("rbac-bench\n{machine_id}\n{hostname}")).iter().take(8) {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_reported_by_its_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu(text).as_deref(), Some("Some CPU @ 2.00GHz"));
        assert_eq!(cpu("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
    }

    #[test]
    fn two_machines_have_two_ids_and_one_has_one() {
        let one = id(Some("0123abcd\n"), Some("host\n"));
        assert_eq!(one, id(Some("0123abcd"), Some("host")));
        assert_ne!(one, id(Some("0123abcd"), Some("other")));
        assert_ne!(one, id(Some("4567"), Some("host")));
        assert_eq!(one.map(|it| it.len()), Some(16));
        assert_eq!(id(Some("\n"), None), None);
    }
}
