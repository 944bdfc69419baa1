//! The table of docs/ARCHITECTURE.md holds: a module names only what its line allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{GATEWAY, ROOT, sources};

/// Modules that each module may name, by the table; `None` where that is everything.
fn allowed() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/ARCHITECTURE.md")).expect("the document");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let line = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `src/")?.split(" | ").collect();
        let [name, _, may] = cells[..] else { panic!("three cells: {line}") };
        let may = may.trim_end_matches('|').trim();
        let names = quoted(may).iter().flat_map(|it| it.split(' ')).map(str::to_owned).collect();
        Some((name.trim_end_matches('`').to_owned(), (may != "all").then_some(names)))
    };
    text.lines().filter_map(line).collect()
}

/// The modules that a line of code names.
fn named(line: &str) -> Vec<&str> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let mut names: Vec<&str> = line
        .match_indices("crate::")
        .map(|(at, prefix)| &line[at + prefix.len()..])
        .map(|rest| rest.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_')).next().unwrap_or_default())
        .collect();
    if line.contains("gateway_under_test::") {
        names.push(GATEWAY);
    }
    names
}

#[test]
fn a_module_names_only_what_the_table_allows() {
    let allowed = allowed();
    let files = sources(&Path::new(ROOT).join("src"));
    let mut modules = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in &files {
        let inside = file.strip_prefix(Path::new(ROOT).join("src")).expect("a file of src");
        let module = inside.iter().next().expect("a name").to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        modules.insert(module.clone());
        let Some(may) = allowed.get(&module) else { panic!("docs/ARCHITECTURE.md has no line for src/{module}") };
        let Some(may) = may else { continue };
        let text = fs::read_to_string(file).expect("a source");
        let is_test = inside.to_string_lossy().contains("test");
        let code = text.split("#[cfg(test)]\nmod tests {").next().filter(|_| !is_test).unwrap_or_default();
        for (index, line) in code.lines().enumerate() {
            for name in named(line).into_iter().filter(|name| *name != module && !may.contains(*name)) {
                if allowed.contains_key(name) || name == GATEWAY {
                    wrong.push(format!("{}:{}: {module} may not name {name}", file.display(), index + 1));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    let described: BTreeSet<String> = allowed.into_keys().collect();
    assert_eq!(described, modules, "the table has a line for each module and no other");
}

#[test]
fn the_reference_gateway_names_nothing_of_the_instrument() {
    let files = sources(&Path::new(ROOT).join(GATEWAY).join("src"));
    let names_it = |file: &&PathBuf| fs::read_to_string(file).expect("a source").contains("rbac_bench");
    assert_eq!(files.iter().filter(names_it).count(), 0);
}
