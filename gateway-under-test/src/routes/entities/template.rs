//! Templates of prompts: text with `{{ argument }}` in it. Anybody may have written one and anybody may ask for it, so that
//! nothing else is understood: no loop, no variable, no filter.

use serde_json::{Map, Value};

use crate::error::GatewayError;

/// A filled template is at most as long as this, in bytes.
const LONGEST: usize = 1024 * 1024;

enum TemplatePart<'a> {
    Text(&'a str),
    Argument(&'a str),
}

/// Fills in the arguments; one that is not given is empty.
///
/// # Errors
/// [`GatewayError::Invalid`] for what is no template, and for a text that would be too long.
pub(in crate::routes) fn fill(template: &str, arguments: &Map<String, Value>) -> Result<String, GatewayError> {
    let mut filled = String::new();
    for part in parts(template)? {
        match part {
            TemplatePart::Text(text) => filled.push_str(text),
            TemplatePart::Argument(name) => match arguments.get(name) {
                Some(Value::String(text)) => filled.push_str(text),
                Some(value) => filled.push_str(&value.to_string()),
                None => {}
            },
        }
        if filled.len() > LONGEST {
            return Err(GatewayError::Invalid(format!("the prompt would be longer than {LONGEST} bytes")));
        }
    }
    Ok(filled)
}

fn parts(template: &str) -> Result<Vec<TemplatePart<'_>>, GatewayError> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find("{{") {
        let (text, after) = rest.split_at(open);
        let Some(close) = after.find("}}") else {
            return Err(GatewayError::Invalid("template: a `{{` is not closed".to_owned()));
        };
        let name = after[2..close].trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(GatewayError::Invalid(
                "template: only the name of an argument may stand in `{{ }}`".to_owned(),
            ));
        }
        found.push(TemplatePart::Text(text));
        found.push(TemplatePart::Argument(name));
        rest = &after[close + 2..];
    }
    found.push(TemplatePart::Text(rest));
    let program = |part: &TemplatePart<'_>| matches!(part, TemplatePart::Text(text) if text.contains("{%") || text.contains("{#"));
    if found.iter().any(program) {
        return Err(GatewayError::Invalid("template: `{%` and `{#` are not understood".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let arguments = json!({ "word": "hé{{ word }}", "n": 7, "long": "x".repeat(100_000) });
        fill(template, arguments.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_put_in_once_and_as_they_are() {
        assert_eq!(filled("Say {{ word }}, {{n}} times{{ missing }}.").unwrap(), "Say hé{{ word }}, 7 times.");
        assert_eq!(filled("no argument } {").unwrap(), "no argument } {");
    }

    #[test]
    fn nothing_but_the_name_of_an_argument_is_understood() {
        for template in
            ["{{ word", "{{ }}", "{{ word ~ word }}", "{{ 7 * 7 }}", "{% set x = 1 %}", "{# note #}", "{{{{}}}}"]
        {
            assert!(filled(template).unwrap_err().starts_with("template:"), "{template}");
        }
    }

    #[test]
    fn a_text_that_would_be_too_long_is_refused() {
        assert!(filled(&"{{long}}".repeat(20)).unwrap_err().contains("longer than"));
    }
}
