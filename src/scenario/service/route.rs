//! A route of a service, by its name; and what stands for its parameters.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as Derived, Serialize, Serializer};

/// The methods that a route may have.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// Methods that change nothing, by their definition.
const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// Method and path template, as a record names the route: `GET /reports/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteName(String);

/// Errors of a [`RouteName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteNameError {
    #[error("invalid route {0:?}: expected a method and a path, such as \"GET /reports/{{id}}\"")]
    Form(String),
    #[error(
        "invalid path {0:?}: expected one in which each `{{` is followed by a name (letters, digits and `_`) and a `}}`"
    )]
    Braces(String),
}

impl RouteName {
    /// The whole name.
    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn method(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// The path template.
    pub fn path(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    /// True if its method changes nothing, by its definition.
    pub fn is_safe(&self) -> bool {
        SAFE.contains(&self.method())
    }

    /// The names in braces in the path.
    pub fn params(&self) -> Vec<&str> {
        names_in_braces(self.path()).unwrap_or_default()
    }
}

/// The names in braces in a text; braces around anything else are none.
pub(super) fn holes(text: &str) -> impl Iterator<Item = String> {
    let inside = text.split('{').skip(1).filter_map(|piece| piece.split_once('}').map(|(name, _)| name));
    let is_name =
        |name: &&str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    inside.filter(is_name).map(str::to_owned)
}

fn names_in_braces(path: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let (name, after) = rest[at..].strip_prefix('{')?.split_once('}')?;
        let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if name.is_empty() || !letters {
            return None;
        }
        names.push(name);
        rest = after;
    }
    Some(names)
}

impl FromStr for RouteName {
    type Err = RouteNameError;

    fn from_str(text: &str) -> Result<Self, RouteNameError> {
        let route = Self(text.to_owned());
        let plain = !text.chars().any(char::is_control) && !route.path().contains(['?', '#']);
        if !METHODS.contains(&route.method()) || !route.path().starts_with('/') || !plain {
            return Err(RouteNameError::Form(text.to_owned()));
        }
        if names_in_braces(route.path()).is_none() {
            return Err(RouteNameError::Braces(text.to_owned()));
        }
        Ok(route)
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for RouteName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RouteName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Values of a parameter; one is drawn for each request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Values {
    List(Vec<Scalar>),
    /// A whole number from the first to the last.
    Range {
        from: i64,
        to: i64,
    },
    /// A line of a file.
    File {
        /// Beside the scenario's file.
        file: PathBuf,
    },
}

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Derived)]
#[serde(untagged)]
pub enum Scalar {
    Number(i64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

const VALUES_FORMS: &str = "a list such as [1, 2], a range such as { from = 1, to = 100 } or { file = \"ids.txt\" }";

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Derived)]
        #[serde(deny_unknown_fields)]
        struct Table {
            from: Option<i64>,
            to: Option<i64>,
            file: Option<PathBuf>,
        }
        struct ValuesVisitor;
        impl<'de> Visitor<'de> for ValuesVisitor {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(VALUES_FORMS)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Values, A::Error> {
                let list = Vec::<Scalar>::deserialize(SeqAccessDeserializer::new(seq));
                // What an untagged enum says of a wrong value is no help.
                list.map(Values::List)
                    .map_err(|_kind| de::Error::custom("invalid list: expected whole numbers and texts"))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Values, A::Error> {
                match Table::deserialize(MapAccessDeserializer::new(map))? {
                    Table { from: Some(from), to: Some(to), file: None } => Ok(Values::Range { from, to }),
                    Table { from: None, to: None, file: Some(file) } => Ok(Values::File { file }),
                    _ => Err(de::Error::custom(format_args!("invalid table: expected {VALUES_FORMS}"))),
                }
            }
        }
        deserializer.deserialize_any(ValuesVisitor)
    }
}

/// Reads a list of texts, or one.
pub(super) fn one_or_more<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct OneOrMore<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|it| vec![it])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }
    deserializer.deserialize_any(OneOrMore(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_method_and_a_path_with_names_in_braces() {
        let route: RouteName = "GET /a/{id}/b/{part_2}".parse().unwrap();
        assert_eq!((route.method(), route.path(), route.params()), ("GET", "/a/{id}/b/{part_2}", vec!["id", "part_2"]));
        let route: RouteName = "POST /rpc tools/call".parse().unwrap();
        assert_eq!((route.path(), route.name(), route.is_safe()), ("/rpc", "POST /rpc tools/call", false));
        for text in ["", "GET", "get /a", "GET a", "GET  /a", "FETCH /a", "GET /a?b=1", "GET /a\n"] {
            assert!(matches!(text.parse::<RouteName>(), Err(RouteNameError::Form(_))), "{text:?}");
        }
        for text in ["GET /{", "GET /}", "GET /{}", "GET /{a b}", "GET /{a}{", "GET /{a-b}"] {
            let refused = text.parse::<RouteName>();
            assert!(refused.is_err(), "{text:?}: {refused:?}");
        }
    }
}
