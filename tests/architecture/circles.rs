//! No file needs one that needs it, so that each can be read after those that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

use super::{GATEWAY, ROOT, sources};

/// A module's path within its crate; the crate's own is empty.
type ModulePath = Vec<String>;

/// The modules that each module's file names.
type Graph = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

#[test]
fn no_file_is_in_a_circle_with_others_than_its_own_children() {
    for folder in ["src", &format!("{GATEWAY}/src")] {
        let graph = graph(&Path::new(ROOT).join(folder));
        let circles: Vec<String> =
            graph.keys().filter_map(|module| circle(module, &graph)).map(|path| path.join(" -> ")).collect();
        assert!(circles.is_empty(), "{folder}:\n{}", circles.join("\n"));
    }
}

#[test]
fn a_circle_is_found_whichever_way_a_file_names_another() {
    let file = |path: &str, code: &str| (path.split("::").map(str::to_owned).collect::<ModulePath>(), code.to_owned());
    let circular = |a: &str, b: &str| {
        let files = BTreeMap::from([file("m", "mod a; mod b;"), file("m::a", a), file("m::b", b)]);
        let graph = graph_of(&files);
        graph.keys().any(|module| circle(module, &graph).is_some())
    };
    assert!(circular("use super::b::B;", "use super::{a::{self, A}, X};"));
    assert!(circular("fn f() -> crate::m::b::B { todo!() }", "fn g() { super::a::f(); }"));
    assert!(!circular("use super::b::B;", "use super::X; use std::fmt;"));
    assert!(!circular("use super::b::B;", "#[cfg(test)] mod tests { use super::super::a::A; }"));
}

fn graph(root: &Path) -> Graph {
    let files = sources(root).into_iter().filter(|file| !file.to_string_lossy().ends_with("tests.rs"));
    let modules = files.map(|file| {
        let inside = file.strip_prefix(root).expect("a file of the crate").with_extension("");
        let mut module: ModulePath = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        (module, fs::read_to_string(&file).expect("a source"))
    });
    graph_of(&modules.collect())
}

fn graph_of(files: &BTreeMap<ModulePath, String>) -> Graph {
    let names = |(module, code): (&ModulePath, &String)| {
        let code = syn::parse_file(code).unwrap_or_else(|error| panic!("{}: {error}", module.join("::")));
        let mut reader = Reader { here: module.clone(), files, named: BTreeSet::new() };
        reader.visit_file(&code);
        // A child may name what its `mod.rs` holds for all of them.
        reader.named.retain(|other| !module.starts_with(other));
        (module.clone(), reader.named)
    };
    files.iter().map(names).collect()
}

/// The shortest way from a module back to itself; `None` when there is none.
fn circle(module: &ModulePath, graph: &Graph) -> Option<Vec<String>> {
    let mut ways = vec![vec![module]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in way.last().and_then(|last| graph.get(*last)).into_iter().flatten() {
                let further: Vec<&ModulePath> = way.iter().copied().chain([next]).collect();
                if next == module {
                    return Some(further.iter().map(|it| it.join("::")).collect());
                }
                if seen.insert(next) {
                    longer.push(further);
                }
            }
        }
        ways = longer;
    }
    None
}

/// Reads which modules of the same crate a file names.
struct Reader<'a> {
    here: ModulePath,
    files: &'a BTreeMap<ModulePath, String>,
    named: BTreeSet<ModulePath>,
}

impl Reader<'_> {
    fn name(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        let (mut module, rest) = match first.as_str() {
            "crate" => (ModulePath::new(), rest),
            "self" => (self.here.clone(), rest),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                (self.here[..self.here.len().saturating_sub(ups)].to_vec(), &path[ups..])
            }
            _ => (self.here.clone(), path),
        };
        let from = module.len();
        for part in rest {
            module.push(part.clone());
            if !self.files.contains_key(&module) {
                module.pop();
                break;
            }
        }
        // A path that begins with no module of ours is of another crate, or of this file.
        if module.len() > from || matches!(first.as_str(), "crate" | "super") {
            self.named.insert(module);
        }
    }

    fn name_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.name_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.name(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.name(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.name(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.name_tree(tree, before)),
        }
    }
}

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|it| it.is_ident("test"))
        });
        if is_test {
            return;
        }
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.name_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.name(&parts);
        }
        visit::visit_path(self, path);
    }
}
