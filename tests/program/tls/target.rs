//! A service behind HTTPS.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Signed};
use crate::program::{Place, json, record, text};
use crate::support::postgres::cluster;

/// A page of everything: a good answer, a healthy one, and the gauges of a pool. At each reading, four more checkouts have
/// waited: one for nothing, two for up to half a second, and one for longer than all bounds.
fn page() -> String {
    static READ: AtomicU64 = AtomicU64::new(0);
    let read = READ.fetch_add(1, Ordering::Relaxed);
    let waits = [("0.01", read), ("0.1", read), ("0.5", 3 * read), ("+Inf", 4 * read)];
    let waits = waits.map(|(bound, count)| format!("pool_wait_seconds_bucket{{le=\"{bound}\"}} {count}\n")).concat();
    format!(
        "# TYPE pool_used gauge\npool_used{{pool=\"a\"}} 3\npool_used{{pool=\"b\"}} 4\npool_waiting NaN\n{waits}# EOF\n"
    )
}

/// Serves the page with this certificate; only to clients of `clients`, where that is given. Gives its port.
async fn serve(signed: &Signed, clients: Option<&Authority>) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(signed.certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.expect("versions");
    let config = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate")).expect("one");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            config.with_client_cert_verifier(verifier.expect("a verifier"))
        }
        None => config.with_no_client_auth(),
    };
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).expect("they fit")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its number").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let page = page();
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.len());
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                        head.clear();
                    }
                }
            });
        }
    });
    port
}

async fn run(place: &Arc<Place>, folder: &Path, port: u16, target: &str) -> Output {
    let (server, config) = (cluster().await, cluster().await.config());
    let user = config.get_user().expect("a user").to_owned();
    let database = format!("host={} port={} user={user} dbname=postgres", server.socket_dir().display(), server.port());
    let scenario = folder.join("shop.toml");
    let toml = format!(
        "name = \"shop\"\n[target]\nurl = \"https://localhost:{port}\"\nhealth = \"/health\"\n{target}\n\
         [database]\nexpect_sessions = false\n[load]\nusers = 2\nramp_up = \"0s\"\nduration = \"2s\"\nthink_time = [\"20ms\", \"50ms\"]\n\
         [[route]]\nroute = \"GET /items\"\n"
    );
    fs::write(&scenario, toml).expect("a scenario");
    let mut program = place.program();
    program.env("DATABASE_URL", database).arg("run").arg(&scenario).arg("--json");
    tokio::task::spawn_blocking(move || program.output().expect("it starts")).await.expect("it ends")
}

/// Error texts of the requests.
fn errors(place: &Place) -> Vec<String> {
    let record = record(&place.run_folder());
    let errors = record["variants"]["service"]["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_client_certificates_is_loaded_and_probed() {
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ca.pem"), ours.pem()).expect("a file");
    ours.sign("me").write(folder.path(), "me");
    let port = serve(&ours.sign("localhost"), Some(&ours)).await;
    let tls = "[target.tls]\nca_file = \"ca.pem\"\nclient_cert_file = \"me.crt\"\nclient_key_file = \"me.key\"\n";
    let metrics = "[target.metrics]\npath = \"/metrics\"\nchecked_out = \"pool_used\"\npending = \"pool_waiting\"\n\
                   timeouts = \"pool_timeouts_total\"\nwait = \"pool_wait_seconds\"\n";
    let place = Arc::new(Place::new());
    let output = run(&place, folder.path(), port, &format!("{metrics}{tls}")).await;
    let printed = text(&output.stderr);
    let document = json(&output);
    let summary = &document["variants"]["service"];
    assert!(summary["requests"].as_u64().is_some_and(|it| it > 10), "{summary:#}");
    assert_eq!((&summary["failure_ratio"], &summary["replicas_healthy_min"]), (&Value::from(0.0), &Value::from(1)));
    // Both pools together; what is not on the page is stated once, and not known.
    assert_eq!((&summary["pool_checked_out_peak"], &summary["pool_timeouts"]), (&Value::from(7), &Value::Null));
    let waits = ["p50", "p95"].map(|it| summary[format!("pool_wait_{it}_ms")].as_f64());
    assert_eq!(waits, [Some(500.0), None], "the upper bound of its bucket, or none: {summary:#}");
    assert_eq!(printed.matches("there is no gauge `pool_timeouts_total`").count(), 1, "{printed}");
    let samples = fs::read_to_string(place.run_folder().join("samples.ndjson")).expect("samples");
    let pools = samples.lines().filter(|line| line.contains("checked_out")).collect::<Vec<_>>();
    assert!(
        pools.iter().any(|line| line.contains("\"pending\":null,") && line.contains("\"checked_out\":7")),
        "{pools:?}"
    );

    // Without a certificate of its own, the client is turned away.
    let place = Arc::new(Place::new());
    run(&place, folder.path(), port, "[target.tls]\nca_file = \"ca.pem\"\n").await;
    let refused = errors(&place);
    // Anyone who is turned away while still speaking may hear of it as a reset alone.
    assert!(refused.iter().any(|it| it.contains("has refused our certificate")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_certificate_is_one_error_with_its_name() {
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ca.pem"), ours.pem()).expect("a file");
    for (signed, fault) in [
        (ours.sign_expired("localhost"), "its certificate has expired"),
        (ours.sign("shop.example.com"), "its certificate is for another name"),
        (Authority::new("theirs").sign("localhost"), "its certificate is of an authority that is not trusted"),
    ] {
        let port = serve(&signed, None).await;
        let place = Arc::new(Place::new());
        run(&place, folder.path(), port, "[target.tls]\nca_file = \"ca.pem\"\n").await;
        assert_eq!(errors(&place), [format!("connection failed: {fault}")]);
        let samples = fs::read_to_string(place.run_folder().join("samples.ndjson")).expect("samples");
        assert!(samples.contains(fault), "the probe says it, too");
    }
}

#[tokio::test]
async fn files_that_are_not_there_are_reported_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Arc::new(Place::new());
    let output = run(&place, folder.path(), 9, "[target.tls]\nca_file = \"ca.pem\"\n").await;
    assert_eq!(output.status.code(), Some(2));
    let printed = text(&output.stderr);
    assert!(
        printed.contains("`target.tls` cannot be used") && printed.contains("caused by: cannot read `"),
        "{printed}"
    );
    let half = run(&place, folder.path(), 9, "[target.tls]\nclient_cert_file = \"me.crt\"\n").await;
    assert!(text(&half.stderr).contains("has one of `client_cert_file` and `client_key_file`"));
}
