//! Gates that must not pass, and healthy ones that must.

mod kiosk;
mod live;
mod recorded;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::{Place, text};
use crate::support::postgres::cluster;
use kiosk::{APPLICATION, Kiosk, Mode};

/// The rules of the scenario, all of which a healthy kiosk keeps.
const RULES: &str = "[[gate]]\nrule = \"idle_in_transaction.max<10\"\n[[gate]]\nrule = \"latency.p95<1s\"\n\
                     [[gate]]\nrule = \"transaction_age.max<2s\"\n";

/// A place with a scenario of a kiosk.
struct Bench {
    place: Place,
    database: String,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let database = runtime.block_on(async {
            let (cluster, config) = (cluster().await, cluster().await.config());
            let (user, name) = (config.get_user().expect("a user"), config.get_dbname().expect("a database"));
            format!("host={} port={} user={user} dbname={name}", cluster.socket_dir().display(), cluster.port())
        });
        // The server's supervisor lives as long as what started it.
        std::mem::forget(runtime);
        Self { place: Place::new(), database }
    }

    /// The scenario, with these lines under `[database]`, these routes and these rules.
    fn write(&self, url: &str, database: &str, routes: &str, rest: &str) -> String {
        let text = format!(
            "name = \"kiosk\"\n[target]\nurl = \"{url}\"\nhealth = \"/health\"\n[database]\nurl_env = \"KIOSK_DATABASE\"\n\
             {database}\n[load]\nusers = 4\nramp_up = \"0s\"\nduration = \"3s\"\nclient_timeout = \"1s\"\n\
             think_time = [\"10ms\", \"40ms\"]\n{routes}\n{rest}"
        );
        let path = self.place.tmp().join("kiosk.toml");
        fs::write(&path, text).expect("a scenario");
        path.display().to_string()
    }

    fn scenario(&self, url: &str) -> String {
        self.write(url, &format!("applications = [\"{APPLICATION}\"]"), ROUTES, RULES)
    }

    fn program(&self) -> Command {
        let mut program = self.place.program();
        program.env("KIOSK_DATABASE", &self.database);
        program
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.program().args(arguments).output().expect("the program starts")
    }
}

const ROUTES: &str = "[[route]]\nroute = \"GET /items\"\n[[route]]\nroute = \"GET /reports/{id}\"\n\
                      params = { id = { from = 1, to = 9 } }\nmust_not_have = \"/error\"\n";

/// The exit code, and everything that was printed.
fn outcome(output: &Output) -> String {
    format!("{:?}\n{}{}", output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn read_record(folder: &Path) -> Value {
    crate::program::record(folder)
}
