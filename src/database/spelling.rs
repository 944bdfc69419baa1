//! Database URLs as frameworks and drivers spell them: which scheme, which options, and passwords that nobody has escaped.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::error::UrlError;

/// Schemes of PostgreSQL: libpq's, and those of dj-database-url and of Rails' adapters. A driver may follow after `+` (SQLAlchemy).
const SCHEMES: [&str; 9] =
    ["postgresql", "postgres", "pgsql", "psql", "postgis", "timescale", "timescaledb", "postgresql2", "cockroachdb"];

/// Options that the driver knows.
const KEPT: [&str; 20] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
    "replication",
    "fallback_application_name",
];

/// What an option of a URL is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An option of TLS, in libpq's words.
    Tls(&'static str, String),
    Kept,
    /// A setting of a driver's or a pool's: `schema`, `pgbouncer`, `prepared_statement_cache_size`.
    OfNobody,
}

/// What follows `scheme://`; `None` where the text is no URL.
pub(super) fn rest_of_url(text: &str) -> Result<Option<String>, UrlError> {
    let is_jdbc = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("jdbc:"));
    let text = if is_jdbc { &text[5..] } else { text };
    // `jdbc:postgresql:name` is a database of this machine.
    let local = text.strip_prefix("postgresql:").filter(|name| is_jdbc && !name.starts_with("//"));
    if let Some(name) = local {
        return Ok(Some(format!("localhost/{}", name.trim_start_matches('/'))));
    }
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
    if !scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-._".contains(it)) {
        return Ok(None);
    }
    let plain = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
    if SCHEMES.contains(&plain.as_str()) { Ok(Some(rest.to_owned())) } else { Err(UrlError::Scheme(plain)) }
}

/// Splits at the `?` that begins the options: a password may have one, too.
pub(super) fn base_and_query(rest: &str) -> (&str, &str) {
    let Some((base, query)) = rest.split_once('?') else { return (rest, "") };
    if is_option(query) || !query.contains('@') {
        return (base, query);
    }
    let at = rest.rfind('@').unwrap_or(0);
    rest[at..].find('?').map_or((rest, ""), |place| (&rest[..at + place], &rest[at + place + 1..]))
}

/// True if it begins as `name=value` does.
fn is_option(query: &str) -> bool {
    let name = query.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || "_-.".contains(it))
}

/// What a password may not have in a URL, and people write all the same.
const IN_USERINFO: &AsciiSet =
    &CONTROLS.add(b' ').add(b'/').add(b'?').add(b'#').add(b'[').add(b']').add(b'@').add(b'"').add(b'<').add(b'>');

/// The same with a name and a password that can be read: what is not escaped in them is. Hosts begin behind the last `@`.
pub(super) fn escaped(base: &str) -> String {
    let Some((user_and_password, hosts)) = base.rsplit_once('@') else { return base.to_owned() };
    let (user, password) = match user_and_password.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user_and_password, None),
    };
    let written = |text: &str| utf8_percent_encode(&with_percents(text), IN_USERINFO).to_string();
    match password {
        Some(password) => format!("{}:{}@{hosts}", written(user), written(password)),
        None => format!("{}@{hosts}", written(user)),
    }
}

/// A `%` that begins no escape stands for itself.
fn with_percents(text: &str) -> String {
    let mut written = String::new();
    let bytes = text.as_bytes();
    for (place, letter) in text.char_indices() {
        written.push(letter);
        let is_escape =
            || bytes.get(place + 1..place + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if letter == '%' && !is_escape() {
            written.push_str("25");
        }
    }
    written
}

/// What an option is for; `value` is decoded.
///
/// # Errors
/// For options of libpq's that decide who is trusted, and that are not there.
pub(super) fn meaning(name: &str, value: &str) -> Result<Meaning, UrlError> {
    let refused = |option, instead| Err(UrlError::Option { option, instead });
    Ok(match name {
        "sslmode" => Meaning::Tls("sslmode", value.to_owned()),
        "sslrootcert" => Meaning::Tls("sslrootcert", value.to_owned()),
        "sslcert" => Meaning::Tls("sslcert", value.to_owned()),
        "sslkey" => Meaning::Tls("sslkey", value.to_owned()),
        // asyncpg's, JDBC's and node-postgres' `ssl`.
        "ssl" => Meaning::Tls(
            "sslmode",
            match value.to_ascii_lowercase().as_str() {
                "" | "true" | "1" | "yes" => "require".to_owned(),
                "false" | "0" | "no" => "disable".to_owned(),
                _ => value.to_owned(),
            },
        ),
        "sslcrl" => return refused("sslcrl", "leave it out, and check the certificate by `sslrootcert`"),
        "sslpassword" => return refused("sslpassword", "`sslkey` names a key without a password"),
        "service" => return refused("service", "write host, user and database out"),
        name if KEPT.contains(&name) => Meaning::Kept,
        _ => Meaning::OfNobody,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Database;

    fn read(text: &str) -> (String, String) {
        let database = Database::from_url(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let password = database.config().get_password().map(|it| String::from_utf8_lossy(it).into_owned());
        (database.masked_url(), password.unwrap_or_default())
    }

    #[test]
    fn urls_are_read_as_people_have_them() {
        let plain = "postgresql://app@db.local:5433/shop";
        for (url, password) in [
            ("postgresql://app:pw@db.local:5433/shop", "pw"),
            ("postgres://app:pw@db.local:5433/shop?sslmode=disable", "pw"),
            ("postgresql+asyncpg://app:pw@db.local:5433/shop?ssl=require", "pw"),
            ("postgresql+psycopg2://app:pw@db.local:5433/shop", "pw"),
            ("postgresql+psycopg://app:pw@db.local:5433/shop?application_name=shop", "pw"),
            ("postgresql+asyncpg://app:pw@db.local:5433/shop?prepared_statement_cache_size=0&ssl=prefer", "pw"),
            (
                "postgresql://app:pw@db.local:5433/shop?schema=public&pgbouncer=true&connection_limit=5&pool_timeout=10",
                "pw",
            ),
            (
                "jdbc:postgresql://db.local:5433/shop?user=app&password=pw&currentSchema=shop&reWriteBatchedInserts=true",
                "pw",
            ),
            ("jdbc:postgresql://db.local:5433/shop?user=app&password=p%40ss&ssl=true", "p@ss"),
            ("postgis://app:pw@db.local:5433/shop?conn_max_age=600", "pw"),
            ("pgsql://app:pw@db.local:5433/shop", "pw"),
            ("POSTGRES://app:pw@db.local:5433/shop", "pw"),
            ("\"postgresql://app:pw@db.local:5433/shop\"", "pw"),
            ("  postgresql://app:pw@db.local:5433/shop\n", "pw"),
            ("postgresql://app:p%40ss%2Fword@db.local:5433/shop", "p@ss/word"),
            ("postgresql://app:p@ss/word@db.local:5433/shop", "p@ss/word"),
            ("postgresql://app:p#ss@db.local:5433/shop", "p#ss"),
            ("postgresql://app:p?ss@db.local:5433/shop", "p?ss"),
            ("postgresql://app:p?ss@db.local:5433/shop?sslmode=require", "p?ss"),
            ("postgresql://app:100%@db.local:5433/shop", "100%"),
            ("postgresql://app:a:b@db.local:5433/shop", "a:b"),
            ("postgresql://app:p ss@db.local:5433/shop", "p ss"),
            ("postgresql://app:pw@/shop?host=db.local&port=5433", "pw"),
            ("host=db.local port=5433 user=app password=pw dbname=shop", "pw"),
            ("host=db.local port=5433 user=app password='p w' dbname=shop connect_timeout=10 sslmode=prefer", "p w"),
            ("postgresql://db.local:5433/shop?user=app&password=pw", "pw"),
            ("postgres://app:pw@db.local:5433/shop?pool=20&reaping_frequency=10", "pw"),
            ("postgresql://app:pw@db.local:5433/shop?uselibpqcompat=true&sslmode=require", "pw"),
        ] {
            assert_eq!(read(url), (plain.to_owned(), password.to_owned()), "{url}");
        }
        assert_eq!(read("jdbc:postgresql:shop").0, "postgresql://localhost:5432/shop");
        assert_eq!(
            read("postgresql://app@%2Fvar%2Frun%2Fpostgresql/shop").0,
            "postgresql://app@%2Fvar%2Frun%2Fpostgresql:5432/shop"
        );
        assert_eq!(read("postgresql://app:pw@a:1,b:2/shop").0, "postgresql://app@a:1,b:2/shop");
    }

    #[test]
    fn another_database_s_url_is_refused_with_what_is_expected() {
        for (url, reported) in [
            ("mysql://app:s3cret@db/shop", "its scheme is `mysql`: expected `postgresql://`"),
            ("sqlite:///shop.db", "its scheme is `sqlite`"),
            ("jdbc:mysql://db/shop?password=s3cret", "its scheme is `mysql`"),
            ("https://app:s3cret@db/shop", "its scheme is `https`"),
            ("postgresql://app:s3cret@db/shop?service=x", "its option `service` is not supported"),
            ("postgresql://app:s3cret@db:55x/shop", "invalid"),
        ] {
            let error = Database::from_url(url).expect_err(url).to_string();
            assert!(error.contains(reported) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_password_is_in_what_is_shown(password in "[ -~]{8,24}") {
            for url in [format!("postgresql://app:{password}@db.local:5433/shop"), format!("jdbc:postgresql://db/shop?user=a&password={password}")] {
                let shown = match Database::from_url(&url) {
                    Ok(database) => database.masked_url(),
                    Err(error) => error.to_string(),
                };
                proptest::prop_assert!(!shown.contains(&password), "{shown}");
            }
        }
    }
}
