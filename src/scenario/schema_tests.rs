//! The schema against everything that is a scenario, and against what is none.

use super::*;
use crate::scenario::builtin::BUILTINS;
use crate::scenario::service::tests::{SHOP, WRONG};

fn refused(text: &str) -> Option<String> {
    let document: toml::Value = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let document = serde_json::to_value(document).unwrap();
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    validator.iter_errors(&document).next().map(|error| format!("{}: {error}", error.instance_path()))
}

fn assert_fine(name: &str, text: &str) {
    assert_eq!(refused(text), None, "{name}\n{text}");
}

#[test]
fn every_scenario_that_comes_with_the_program_is_one() {
    for builtin in BUILTINS {
        assert_fine(builtin.name, builtin.text);
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for folder in ["scenarios", "tests/program", "fixtures/apps"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "toml") {
                assert_fine(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn the_examples_of_the_guide_are_scenarios() {
    let guide = include_str!("../../docs/SERVICE.md");
    let blocks = guide.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let whole: Vec<&str> = blocks.filter(|block| block.contains("name = ") && block.contains("[target]")).collect();
    assert!(!whole.is_empty());
    for text in whole {
        assert_fine("docs/SERVICE.md", text);
        let found =
            crate::scenario::source::problems("SERVICE.md", text, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_scenario_with_all_its_defaults_is_one() {
    for builtin in BUILTINS {
        let scenario = Scenario::from_text(builtin.name, builtin.text, &[]).unwrap();
        assert_fine(builtin.name, &toml::to_string(&scenario).unwrap());
    }
    let scenario = ServiceScenario::from_text("shop.toml", SHOP, &[]).unwrap();
    assert_fine("shop", &toml::to_string(&scenario).unwrap());
}

#[test]
fn what_cannot_be_read_is_none() {
    let mut seen = 0;
    for (change, _) in WRONG {
        let (old, new) = change.split_once(" → ").unwrap();
        let text = SHOP.replacen(old, new, 1);
        if toml::from_str::<ServiceScenario>(&text).is_err() {
            assert!(refused(&text).is_some(), "{change}");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
    for (old, new) in [
        ("users = 4000", "users = 0"),
        ("size = 20", "size = \"20\""),
        ("[gateway]", "[gatewya]"),
        ("\"held\"", "\"hled\""),
    ] {
        let text = BUILTINS[0].text;
        let changed = text.replacen(old, new, 1);
        if changed != text {
            assert!(refused(&changed).is_some(), "{new}");
        }
    }
}

#[test]
fn every_key_is_described() {
    let schema = schema();
    let definitions = schema["definitions"].as_object().unwrap();
    for name in ["ServiceScenario", "ServiceRoute", "ServiceLoad", "Target", "IdentitySource", "Scenario", "Gateway"] {
        let properties = definitions[name]["properties"].as_object().unwrap();
        for (key, property) in properties {
            let described = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(described, "{name}.{key}: {property}");
        }
    }
}
