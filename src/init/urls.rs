//! A draft from a list of URLs: what a browser's address bar, or a colleague, gives.

use super::traffic::{ObservedTraffic, Request};
use super::{Draft, InitError, name_from};
use crate::scenario::service::BaseUrl;

/// Makes a draft of URLs, which are of one service. `target` replaces where they point.
///
/// # Errors
/// When one is no URL, or of another service than the first.
pub fn draft(urls: &[String], target: Option<&BaseUrl>) -> Result<Draft, InitError> {
    let mut traffic = ObservedTraffic::default();
    let mut service: Option<BaseUrl> = None;
    for url in urls {
        let (base, path_and_query) = parts(url)?;
        match &service {
            Some(first) if *first != base => {
                return Err(InitError::TwoServices { first: first.to_string(), other: base.to_string() });
            }
            _ => service = Some(base),
        }
        traffic.see(Request { method: "GET", target: &path_and_query, status: 200 });
    }
    let routes = traffic.by_count().into_iter().map(|(key, seen)| (seen.count(), seen.route(&key)));
    let weighted = |(count, route): (u64, Option<super::DraftRoute>)| {
        route.map(|route| super::DraftRoute { weight: u32::try_from(count).unwrap_or(u32::MAX), ..route })
    };
    let routes: Vec<_> = routes.filter_map(weighted).map(super::with_cautions).collect();
    let origin = super::file::counted(urls.len(), "URL");
    if routes.is_empty() {
        return Err(InitError::NoRoutes { origin, notes: Vec::new() });
    }
    let target = target.cloned().or(service);
    let host = target.as_ref().map_or("", BaseUrl::host);
    let name = if host.starts_with(|c: char| c.is_ascii_digit() || c == ':') {
        "my-service".to_owned()
    } else {
        name_from(host)
    };
    Ok(Draft {
        name,
        title: String::new(),
        origin,
        target,
        target_comments: Vec::new(),
        health: None,
        identities: Vec::new(),
        routes,
        notes: Vec::new(),
    })
}

/// The service's URL, and path and query.
fn parts(url: &str) -> Result<(BaseUrl, String), InitError> {
    let (before, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let base: BaseUrl = format!("{before}://{host}")
        .parse()
        .map_err(|error: crate::scenario::service::BaseUrlError| InitError::Url(error.to_string()))?;
    // As a client writes it.
    let written = base.url().join(&path).map_err(|error| InitError::Url(error.to_string()))?;
    let query = written.query().map_or_else(String::new, |query| format!("?{query}"));
    Ok((base, format!("{}{query}", written.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::service::{Scalar, Values};

    fn of(urls: &[&str]) -> Result<Draft, InitError> {
        draft(&urls.iter().map(ToString::to_string).collect::<Vec<_>>(), None)
    }

    #[test]
    fn urls_that_differ_in_ids_are_one_route() {
        let draft = of(&[
            "http://localhost:8000/users/7?full=yes#top",
            "http://localhost:8000/users/8?full=no&token=s3cret",
            "http://localhost:8000",
            "http://localhost:8000/search?q=black+tea",
        ])
        .unwrap();
        let names: Vec<_> = draft.routes.iter().map(|route| (route.route.as_str(), route.weight)).collect();
        assert_eq!(names, [("GET /users/{id}", 2), ("GET /", 1), ("GET /search", 1)]);
        let users = &draft.routes[0];
        assert_eq!(users.params[0], ("id".to_owned(), Values::List(vec![Scalar::Number(7), Scalar::Number(8)])));
        assert_eq!(users.query[0], ("full".to_owned(), "{full}".to_owned()));
        assert_eq!(draft.routes[2].query, [("q".to_owned(), "black tea".to_owned())]);
        assert_eq!(
            (draft.name.as_str(), draft.target.unwrap().to_string().as_str()),
            ("localhost", "http://localhost:8000")
        );
        assert!(!format!("{:?}", draft.routes).contains("s3cret"));
    }

    #[test]
    fn urls_of_two_services_or_none_are_refused() {
        let error = of(&["http://localhost:1/a", "http://localhost:2/a"]).unwrap_err().to_string();
        assert_eq!(error, "`--url` names `http://localhost:1` and `http://localhost:2`: one service at a time");
        for url in ["", "/a", "localhost/a", "ftp://localhost/a", "http://me:s3cret@localhost/a"] {
            let error = of(&[url]).expect_err(url).to_string();
            assert!(error.starts_with("`--url`: ") && !error.contains("s3cret"), "{error}");
        }
    }
}
