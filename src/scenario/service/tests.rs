//! Refusals of a service's scenario, in full words.

use crate::scenario::error::ScenarioError;
use crate::scenario::overrides::{Override, VARIANT};
use crate::scenario::source::problems;
use crate::scenario::{Experiment, ServiceScenario};

pub(crate) const SHOP: &str = r#"name = "shop"
title = "A shop"
[target]
url = "http://127.0.0.1:8000"
health = "/health"
[database]
url_env = "DATABASE_URL"
[load]
users = 20
duration = "10s"
[[identity]]
bearer_env = "SHOP_TOKEN"
[[route]]
route = "GET /reports/{id}"
weight = 3
params = { id = [1, 2, "three"] }
query = { full = "yes" }
[[route]]
route = "POST /orders"
json = { article = "{article}", count = 1 }
params = { article = { from = 1, to = 100 } }
expect = [201]
must_have = "/id"
changes_data = true
[variants.before]
[variants.after]
url = "http://127.0.0.1:8001"
"#;

fn shown(error: &ScenarioError) -> String {
    let hint = error.hint().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    format!("{error}{hint}")
}

fn refused(text: &str, sets: &[Override]) -> String {
    shown(&Experiment::from_text("shop.toml", text, sets).expect_err(text))
}

/// A change to [`SHOP`], `old → new`, and what is then reported.
pub(crate) const WRONG: &[(&str, &str)] = &[
    (
        "title = → titel =",
        "scenario `shop.toml:2:1`: unknown key `titel`: expected one of `name`, `title`, `notes`, `run`, `pool_capacity`, `target`, `database`, `pgbouncer`, `load`, `health`, `monitor`, `identity`, `route`, `journey`, `variants`, `gate`\n  hint: did you mean `title`?",
    ),
    (
        "name = \"shop\" → name = \"My Shop\"",
        "scenario `shop.toml:1:8`: `name` is \"My Shop\": expected 1 to 64 of a-z, 0-9 and -, not starting with -, since it names a folder",
    ),
    (
        "[target]\nurl = \"http://127.0.0.1:8000\" → [target]",
        "scenario `shop.toml:3:1`: `target` has no `url`, and a variant has none either",
    ),
    (
        "url = \"http://127.0.0.1:8000\" → url = \"127.0.0.1:8000\"",
        "scenario `shop.toml:4:7`: `target.url`: invalid URL \"127.0.0.1:8000\": expected one such as \"http://127.0.0.1:8000\"",
    ),
    (
        "url = \"http://127.0.0.1:8000\" → url = \"http://me:s3cret@127.0.0.1:8000\"",
        "scenario `shop.toml:4:7`: `target.url`: invalid URL: expected one without name and password, which belong to an [[identity]]",
    ),
    (
        "url = \"http://127.0.0.1:8000\" → url = \"http://127.0.0.1:8000/?a=b\"",
        "scenario `shop.toml:4:7`: `target.url`: invalid URL \"http://127.0.0.1:8000/?a=b\": expected one without `?` and `#`, which belong to a [[route]]",
    ),
    (
        "url = \"http://127.0.0.1:8000\" → url = \"http://127.0.0.1:8000\"\nurls = [\"http://127.0.0.1:8001\"]",
        "scenario `shop.toml:5:8`: `target.urls` is beside `target.url`: one of them is needed",
    ),
    (
        "health = \"/health\" → health = \"health\"",
        "scenario `shop.toml:5:10`: `target.health` is \"health\": expected a path that starts with `/`",
    ),
    (
        "health = → helth =",
        "scenario `shop.toml:5:1`: unknown key `target.helth`: expected one of `url`, `urls`, `health`, `command`, `env`, `folder`, `ready`, `ready_within`, `metrics`, `tls`\n  hint: did you mean `target.health`?",
    ),
    (
        "url_env = \"DATABASE_URL\" → url = \"postgresql://app:s3cret@127.0.0.1/shop\"",
        "scenario `shop.toml:7:7`: `database.url` holds a password, which would be in every copy of the scenario: put the URL into an environment variable and name it with `url_env`, or into a file with `url_file`",
    ),
    (
        "url_env = \"DATABASE_URL\" → url_env = \"postgresql://app:s3cret@127.0.0.1/shop\"",
        "scenario `shop.toml:7:11`: `database.url_env` is not the name of a variable: expected letters, digits and `_`; the value stays outside",
    ),
    (
        "url_env = \"DATABASE_URL\" → url_env = \"DATABASE_URL\"\nurl_file = \"url\"",
        "scenario `shop.toml:6:1`: `database` is given in more than one way: one of `url`, `url_env` and `url_file` is needed",
    ),
    (
        "health = \"/health\" → env = { POOL_SIZE = 20 }",
        "scenario `shop.toml:5:21`: invalid value `20` for `target.env.POOL_SIZE`: expected a text in quotes",
    ),
    (
        "health = \"/health\" → ready = \"/health\"",
        "scenario `shop.toml:5:9`: `target.ready` is for a `command` that starts the service, and there is none",
    ),
    (
        "health = \"/health\" → command = \"uvicorn app:app\"",
        "scenario `shop.toml:5:11`: invalid value \"uvicorn app:app\" for `target.command`: expected a list",
    ),
    (
        "health = \"/health\" → command = [\"\"]",
        "scenario `shop.toml:5:11`: `target.command` has no program: the first text names it",
    ),
    (
        "health = \"/health\" → command = [\"serve\"]\nready = \"ready\"",
        "scenario `shop.toml:6:9`: `target.ready` is \"ready\": expected a path that starts with `/`",
    ),
    (
        "health = \"/health\" → command = [\"serve\"]\nready_within = \"0s\"",
        "scenario `shop.toml:6:16`: `target.ready_within` is 0s: above 0 is needed",
    ),
    (
        "health = \"/health\" → command = [\"serve\"]\nenv = { DATABASE_URL = \"postgresql://app:s3cret@127.0.0.1/shop\" }",
        "scenario `shop.toml:6:24`: `target.env.DATABASE_URL` holds a password, which would be in every copy of the scenario: leave it out, since the service inherits the environment",
    ),
    (
        "health = \"/health\" → command = [\"serve\", \"postgresql://app:s3cret@127.0.0.1/shop\"]",
        "scenario `shop.toml:5:11`: `target.command` holds a password, which would be in every copy of the scenario: the service inherits the environment, where it belongs",
    ),
    (
        "[variants.before] → [variants.before]\nfolder = \"../before\"",
        "scenario `shop.toml:26:10`: `variants.before.folder` is for a `command`, and neither target nor variant has one",
    ),
    (
        "users = 20 → users = 0",
        "scenario `shop.toml:9:9`: invalid value `0` for `load.users`: expected at least 1, at most 1000000",
    ),
    (
        "users = 20 → usres = 20",
        "scenario `shop.toml:9:1`: unknown key `load.usres`: expected one of `users`, `arrival_rate`, `max_in_flight`, `max_rate`, `ramp_up`, `settle`, `duration`, `stages`, `client_timeout`, `think_time`, `balance`, `seed`, `allow_data_changes`\n  hint: did you mean `load.users`?",
    ),
    ("duration = \"10s\" → duration = \"0s\"", "scenario `shop.toml:10:12`: `load.duration` is 0s: above 0 is needed"),
    (
        "duration = \"10s\" → think_time = [\"2s\", \"1s\"]",
        "scenario `shop.toml:10:14`: `load.think_time` is 2s to 1s: the shorter one comes first",
    ),
    (
        "duration = \"10s\" → health = \"/health\"",
        "scenario `shop.toml:10:1`: unknown key `load.health`: expected one of `users`, `arrival_rate`, `max_in_flight`, `max_rate`, `ramp_up`, `settle`, `duration`, `stages`, `client_timeout`, `think_time`, `balance`, `seed`, `allow_data_changes`\n  hint: did you mean `target.health`?",
    ),
    (
        "users = 20 → arrival_rate = 0",
        "scenario `shop.toml:9:16`: invalid value `0.0` for `load.arrival_rate`: expected above 0, at most 1000000",
    ),
    (
        "users = 20 → arrival_rate = \"fast\"",
        "scenario `shop.toml:9:16`: invalid value \"fast\" for `load.arrival_rate`: expected a number",
    ),
    (
        "users = 20 → users = 20\narrival_rate = 5",
        "scenario `shop.toml:9:9`: `load.users` is beside `arrival_rate`: users make a closed workload, a rate an open one; one of them is needed",
    ),
    (
        "users = 20 → arrival_rate = 50\nmax_rate = 20",
        "scenario `shop.toml:10:12`: `load.max_rate` is 20 requests a second, and the open workload asks for 50",
    ),
    (
        "users = 20 → arival_rate = 50",
        "scenario `shop.toml:9:1`: unknown key `load.arival_rate`: expected one of `users`, `arrival_rate`, `max_in_flight`, `max_rate`, `ramp_up`, `settle`, `duration`, `stages`, `client_timeout`, `think_time`, `balance`, `seed`, `allow_data_changes`\n  hint: did you mean `load.arrival_rate`?",
    ),
    (
        "users = 20 → users = 20\nmax_in_flight = 0",
        "scenario `shop.toml:10:17`: invalid value `0` for `load.max_in_flight`: expected at least 1, at most 1000000",
    ),
    (
        "users = 20 → stages = [{ rate = 5, for = \"1s\" }]",
        "scenario `shop.toml:10:12`: `load.duration` is beside `stages`, which say how much load there is, and how long",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ rate = 5, for = \"1s\" }, { users = 5, for = \"1s\" }]",
        "scenario `shop.toml:9:10`: `load.stages` have users here and rates there: a workload is closed or open",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ for = \"1s\" }]",
        "scenario `shop.toml:9:11`: `load.stages[1]` has not one of: `users`, for a closed workload; `rate`, for an open one",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ rate = -5, for = \"1s\" }]",
        "scenario `shop.toml:9:11`: `load.stages[1]` has a rate that is not 0 to 1000000 requests a second",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ rate = 5 }]",
        "scenario `shop.toml:9:10`: `load.stages.for` is missing",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ rate = 5, lasting = \"1s\" }]",
        "scenario `shop.toml:9:23`: unknown key `load.stages[1].lasting`: expected one of `users`, `rate`, `for`",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ users = 0, for = \"1s\" }, { users = 0, for = \"1s\" }]",
        "scenario `shop.toml:9:10`: `load.stages` have no load: one of them needs more than 0",
    ),
    (
        "users = 20\nduration = \"10s\" → stages = [{ users = 5, for = \"0s\" }]",
        "scenario `shop.toml:9:10`: `load.stages` take no time: one of them needs more than 0s",
    ),
    (
        "users = 20\nduration = \"10s\" → arrival_rate = 5\nstages = [{ rate = 5, for = \"1s\" }]",
        "scenario `shop.toml:9:16`: `load.arrival_rate` is beside `stages`, which say how much load there is, and how long",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → bearer = \"s3cret\"",
        "scenario `shop.toml:12:1`: unknown key `identity[1].bearer`: expected one of `bearer_env`, `bearer_column`, `user`, `password_env`, `password_column`, `header`, `value_env`, `login`, `file`\n  hint: did you mean `identity[1].bearer_env`?",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → bearer_env = \"s3cret.token\"",
        "scenario `shop.toml:12:14`: `identity[1].bearer_env` is not the name of a variable: expected letters, digits and `_`; the value stays outside",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → user = \"me\"",
        "scenario `shop.toml:11:1`: `identity[1]` is not one of: `bearer_env`; `user` and `password_env`; `header` and `value_env`; `login`; `file` alone (`bearer_column` and `password_column` may stand for the variables)",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → header = \"X Key\"\nvalue_env = \"KEY\"",
        "scenario `shop.toml:12:10`: `identity[1].header` is \"X Key\", which is not the name of a header",
    ),
    (
        "route = \"GET /reports/{id}\" → route = \"/reports/{id}\"",
        "scenario `shop.toml:14:9`: `route[1].route`: invalid route \"/reports/{id}\": expected a method and a path, such as \"GET /reports/{id}\"",
    ),
    (
        "route = \"GET /reports/{id}\" → route = \"GET /reports/{id\"",
        "scenario `shop.toml:14:9`: `route[1].route`: invalid path \"GET /reports/{id\": expected one in which each `{` is followed by a name (letters, digits and `_`) and a `}`",
    ),
    (
        "route = \"GET /reports/{id}\" → route = \"GET /reports/{key}\"",
        "scenario `shop.toml:16:17`: `route[1].params.id` stands nowhere: `{id}` is in no path, query, header or body of the route (and 1 more)\n  hint: `rbac-bench scenario check` lists them all",
    ),
    (
        "weight = 3 → weight = 0",
        "scenario `shop.toml:15:10`: invalid value `0` for `route[1].weight`: expected at least 1, at most 1000000",
    ),
    (
        "weight = 3 → wieght = 3",
        "scenario `shop.toml:15:1`: unknown key `route[1].wieght`: expected one of `route`, `weight`, `params`, `query`, `headers`, `text`, `json`, `form`, `body_file`, `mcp`, `timeout`, `read_for`, `think_time`, `capture`, `expect`, `must_have`, `must_not_have`, `changes_data`\n  hint: did you mean `route[1].weight`?",
    ),
    (
        "[1, 2, \"three\"] → []",
        "scenario `shop.toml:16:17`: `route[1].params.id` is empty: at least one value is needed",
    ),
    (
        "[1, 2, \"three\"] → [1.5]",
        "scenario `shop.toml:16:17`: `route[1].params.id`: invalid list: expected whole numbers and texts",
    ),
    (
        "[1, 2, \"three\"] → 7",
        "scenario `shop.toml:16:17`: invalid value `7` for `route[1].params.id`: expected a list such as [1, 2], a range such as { from = 1, to = 100 } or { file = \"ids.txt\" }",
    ),
    (
        "[1, 2, \"three\"] → { from = 9, to = 1 }",
        "scenario `shop.toml:16:17`: `route[1].params.id` is 9 to 1: the smaller one comes first",
    ),
    (
        "[1, 2, \"three\"] → { from = 9 }",
        "scenario `shop.toml:16:17`: `route[1].params.id`: invalid table: expected a list such as [1, 2], a range such as { from = 1, to = 100 } or { file = \"ids.txt\" }",
    ),
    (
        "[1, 2, \"three\"] → { form = 1, to = 9 }",
        "scenario `shop.toml:16:19`: unknown key `route[1].params.id.form`: expected one of `from`, `to`, `file`\n  hint: did you mean `route[1].params.id.from`?",
    ),
    (
        "query = { full = \"yes\" } → headers = { Authorization = \"Bearer s3cret\" }",
        "scenario `shop.toml:17:29`: `route[1].headers.Authorization` holds a secret: it belongs to an [[identity]], which names a variable",
    ),
    (
        "query = { full = \"yes\" } → query = { full = true }",
        "scenario `shop.toml:17:18`: invalid value `true` for `route[1].query.full`: expected a text in quotes",
    ),
    (
        "json = { article → text = \"x\"\njson = { article",
        "scenario `shop.toml:21:8`: `route[2].json` is beside `text`: a request has one body",
    ),
    (
        "expect = [201] → expect = [20]",
        "scenario `shop.toml:22:10`: `route[2].expect` has 20: expected statuses, 100 to 599",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", json = { user = \"{user}\" }, token = \"/t\" }",
        "scenario `shop.toml:12:9`: `identity[1].login` needs `{user}`: `user` in the identity, or a column of its `file`, gives it",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → user = \"me\"\nlogin = { route = \"POST /login\", form = { p = \"{password}\" }, token = \"/t\" }",
        "scenario `shop.toml:13:9`: `identity[1].login` needs `{password}`: `password_env` in the identity, or `password_column`, gives it",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", json = { shop = \"{shop}\" }, token = \"/t\" }",
        "scenario `shop.toml:12:9`: `identity[1].login` needs `{shop}`, which is a column of no `file`",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", token = \"t\" }",
        "scenario `shop.toml:12:42`: `identity[1].login.token` is \"t\": expected a JSON pointer, such as \"/access_token\"",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"/login\", token = \"/t\" }",
        "scenario `shop.toml:12:19`: `identity[1].login.route`: invalid route \"/login\": expected a method and a path, such as \"GET /reports/{id}\"",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\" }",
        "scenario `shop.toml:12:9`: `identity[1].login.token` is missing",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", token = \"/t\", header = \"X Key\" }",
        "scenario `shop.toml:12:57`: `identity[1].login.header` is \"X Key\", which is not the name of a header",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → bearer_env = \"SHOP_TOKEN\"\nlogin = { route = \"POST /login\", token = \"/t\" }",
        "scenario `shop.toml:11:1`: `identity[1]` is not one of: `bearer_env`; `user` and `password_env`; `header` and `value_env`; `login`; `file` alone (`bearer_column` and `password_column` may stand for the variables)",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → bearer_column = \"token\"",
        "scenario `shop.toml:12:17`: `identity[1].bearer_column` is a column of no `file`",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → user = \"me\"\npassword_env = \"A\"\npassword_column = \"b\"\nfile = \"u.csv\"",
        "scenario `shop.toml:11:1`: `identity[1]` is not one of: `bearer_env`; `user` and `password_env`; `header` and `value_env`; `login`; `file` alone (`bearer_column` and `password_column` may stand for the variables)",
    ),
    ("weight = 3 → timeout = \"0s\"", "scenario `shop.toml:15:11`: `route[1].timeout` is 0s: above 0 is needed"),
    (
        "weight = 3 → think_time = [\"2s\", \"1s\"]",
        "scenario `shop.toml:15:14`: `route[1].think_time` is 2s to 1s: the shorter one comes first",
    ),
    (
        "weight = 3 → think_time = \"2s\"",
        "scenario `shop.toml:15:14`: invalid value \"2s\" for `route[1].think_time`: expected a list of two",
    ),
    (
        "weight = 3 → capture = { report = \"/id\" }",
        "scenario `shop.toml:15:22`: `route[1].capture.report` is for later steps, and the route is in no [[journey]]",
    ),
    (
        "weight = 3 → mcp = { tool = \"slow\" }",
        "scenario `shop.toml:15:7`: `route[1].mcp` is sent with POST, and the route has GET",
    ),
    (
        "{ article → { body = \"{article}\" }\nmcp = { tool = \"\", arguments = {} }\n#",
        "scenario `shop.toml:21:7`: `route[2].mcp` is beside `json`: a request has one body (and 1 more)\n  hint: `rbac-bench scenario check` lists them all",
    ),
    (
        "{ article → { a = \"{article}\" }\nmcp = { tol = \"slow\" }\n#",
        "scenario `shop.toml:21:9`: unknown key `route[2].mcp.tol`: expected one of `tool`, `arguments`\n  hint: did you mean `route[2].mcp.tool`?",
    ),
    (
        "{ article → { a = \"{article}\" }\nbody_file = \"order.bin\"\n#",
        "scenario `shop.toml:21:13`: `route[2].body_file` is beside `json`: a request has one body",
    ),
    (
        "{ article → { a = \"{article}\" }\nform = { b = 1 }\n#",
        "scenario `shop.toml:21:14`: invalid value `1` for `route[2].form.b`: expected a text in quotes",
    ),
    (
        "[variants.before] → [[journey]]\nname = \"buy\"\nsteps = []\n[variants.before]",
        "scenario `shop.toml:27:9`: `journey[1].steps` is empty: at least one route is needed, by its name",
    ),
    (
        "[variants.before] → [[journey]]\nsteps = [\"POST /orders\"]\n[variants.before]",
        "scenario `shop.toml:25:1`: `journey.name` is missing",
    ),
    (
        "[variants.before] → [[journey]]\nname = \"buy\"\nsteps = [\"POST /order\"]\n[variants.before]",
        "scenario `shop.toml:27:9`: `journey[1].steps` names `POST /order`, which is not a [[route]]\n  hint: did you mean `POST /orders`?",
    ),
    (
        "[variants.before] → [[journey]]\nname = \"buy\"\nstep = [\"POST /orders\"]\n[variants.before]",
        "scenario `shop.toml:27:1`: unknown key `journey[1].step`: expected one of `name`, `weight`, `steps`\n  hint: did you mean `journey[1].steps`?",
    ),
    (
        "must_have = \"/id\" → capture = { order = \"id\" }\n[[journey]]\nname = \"buy\"\nsteps = [\"POST /orders\", \"GET /orders/{order}\"]\n[[route]]\nroute = \"GET /orders/{order}\"",
        "scenario `shop.toml:18:1`: `route[2]` does not say whether it changes data: POST may, so `changes_data` is needed (and 1 more)\n  hint: `rbac-bench scenario check` lists them all",
    ),
    (
        "must_have = \"/id\" → capture = { ordre = \"/id\" }\nchanges_data = true\n[[journey]]\nname = \"buy\"\nsteps = [\"POST /orders\", \"GET /orders/{order}\"]\n[[route]]\nroute = \"GET /orders/{order}\"",
        "scenario `shop.toml:27:9`: `journey[1].steps` has `GET /orders/{order}`, which needs `{order}`, and no step before it captures that (and 1 more)\n  hint: `rbac-bench scenario check` lists them all",
    ),
    (
        "must_have = \"/id\" → capture = { order = \"/id\", note = \"/note\" }\nchanges_data = true\n[[journey]]\nname = \"buy\"\nsteps = [\"POST /orders\", \"GET /orders/{order}\"]\n[[route]]\nroute = \"GET /orders/{order}\"",
        "scenario `shop.toml:23:35`: `route[2].capture.note` stands nowhere: `{note}` is in no later step of a journey",
    ),
    (
        "[variants.before] → [[journey]]\nname = \"a\"\nsteps = [\"POST /orders\"]\n[[journey]]\nname = \"a\"\nsteps = [\"POST /orders\"]\n[variants.before]",
        "scenario `shop.toml:29:8`: `journey[2].name` is `a`, as another one is",
    ),
    (
        "must_have = \"/id\" → must_have = \"id\"",
        "scenario `shop.toml:23:13`: `route[2].must_have` has \"id\": expected JSON pointers, such as \"/data/id\"",
    ),
    (
        "changes_data = true → ",
        "scenario `shop.toml:18:1`: `route[2]` does not say whether it changes data: POST may, so `changes_data` is needed",
    ),
    (
        "{ article = \"{article}\", → { article = 1,",
        "scenario `shop.toml:21:22`: `route[2].params.article` stands nowhere: `{article}` is in no path, query, header or body of the route",
    ),
    (
        "title = \"A shop\" → run = [\"befor\"]",
        "scenario `shop.toml:2:7`: `run` names `befor`, which is not a variant: expected one of `after`, `before`\n  hint: did you mean `before`?",
    ),
    (
        "title = \"A shop\" → run = [\"after\", \"after\"]",
        "scenario `shop.toml:2:7`: `run` names `after` twice: each variant runs once",
    ),
    (
        "[variants.after]\nurl → [variants.after]\nurls",
        "scenario `shop.toml:27:8`: invalid value \"http://127.0.0.1:8001\" for `variants.after.urls`: expected a list",
    ),
    (
        "[variants.before] → [variants.\"be fore\"]",
        "scenario `shop.toml:25:1`: `variants.\"be fore\"`: invalid variant name `be fore`: expected 1 to 32 ASCII letters, digits, `_`, `-` and `.`, a letter or digit first",
    ),
    (
        "[variants.before] → [[gate]]\nrule = \"failure_ratio<=1%\"\nvariants = [\"aftr\"]\n[variants.before]",
        "scenario `shop.toml:27:12`: `gate[1].variants` says `aftr`: expected one of `after`, `before`\n  hint: did you mean `after`?",
    ),
    (
        "[1, 2, \"three\"] → [\"TODO: id (integer), values that exist\"]",
        "scenario `shop.toml:16:17`: `route[1].params.id` is still TODO: give values, such as [1, 2], { from = 1, to = 100 } or { file = \"ids.txt\" }",
    ),
    (
        "url = \"http://127.0.0.1:8000\" → url = \"http://todo.invalid\"",
        "scenario `shop.toml:4:7`: `target.url` is still TODO: say where the service is, such as \"http://127.0.0.1:8000\"",
    ),
    (
        "url = \"http://127.0.0.1:8001\" → url = \"http://TODO.invalid:8001/v2\"",
        "scenario `shop.toml:27:7`: `variants.after.url` is still TODO: say where the service is, such as \"http://127.0.0.1:8000\"",
    ),
    (
        "query = { full = \"yes\" } → query = { full = \"TODO: yes or no\" }",
        "scenario `shop.toml:17:18`: `route[1].query.full` is still TODO: give a value",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → user = \"TODO: a user's name\"\npassword_env = \"SHOP_PASSWORD\"",
        "scenario `shop.toml:12:8`: `identity[1].user` is still TODO: say who the users are",
    ),
    (
        "query = { full = \"yes\" } → json = { a = [{ b = \"TODO: b\" }, 1] }",
        "scenario `shop.toml:17:21`: `route[1].json.a[1].b` is still TODO: give what the body holds",
    ),
    (
        "title = \"A shop\" → pool_capacity = 0",
        "scenario `shop.toml:2:17`: invalid value `0` for `pool_capacity`: expected at least 1, at most 1000000",
    ),
    (
        "health = \"/health\" → command = [\"serve\"]\nenv = { PGPASSWORD = \"s3cret\" }",
        "scenario `shop.toml:6:22`: `target.env.PGPASSWORD` holds a secret by its name, which would be in every copy of the scenario: leave it out, since the service inherits the environment",
    ),
    (
        "[variants.before] → [variants.before]\ncommand = [\"serve\"]\nenv = { api_token = \"s3cret\" }",
        "scenario `shop.toml:27:21`: `variants.before.env.api_token` holds a secret by its name, which would be in every copy of the scenario: leave it out, since the service inherits the environment",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", json = { user = \"me\", password = \"s3cret\" }, token = \"/t\" }",
        "scenario `shop.toml:12:67`: `identity[1].login.json.password` holds a secret, which would be in every copy of the scenario: write {password}, and name a variable with `password_env` or a column with `password_column`",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", json = { a = [{ client-secret = { is = 7 } }] }, token = \"/t\" }",
        "scenario `shop.toml:12:73`: `identity[1].login.json.a[1].client-secret.is` holds a secret, which would be in every copy of the scenario: write {password}, and name a variable with `password_env` or a column with `password_column`",
    ),
    (
        "bearer_env = \"SHOP_TOKEN\" → login = { route = \"POST /login\", form = { password = \"s3cret\", grant_type = \"password\" }, token = \"/t\" }",
        "scenario `shop.toml:12:54`: `identity[1].login.form.password` holds a secret, which would be in every copy of the scenario: write {password}, and name a variable with `password_env` or a column with `password_column`",
    ),
    (
        "query = { full = \"yes\" } → headers = { X-Auth-Token = \"s3cret\" }",
        "scenario `shop.toml:17:28`: `route[1].headers.X-Auth-Token` holds a secret: it belongs to an [[identity]], which names a variable",
    ),
    (
        "query = { full = \"yes\" } → headers = { X-Api-Key = \"s3cret\" }",
        "scenario `shop.toml:17:25`: `route[1].headers.X-Api-Key` holds a secret: it belongs to an [[identity]], which names a variable",
    ),
];

#[test]
fn each_mistake_is_reported_with_its_place_and_what_is_allowed() {
    let mut wrong = Vec::new();
    for (change, expected) in WRONG {
        let (old, new) = change.split_once(" → ").expect("an arrow");
        assert!(SHOP.contains(old), "{old}");
        let seen = refused(&SHOP.replacen(old, new, 1), &[]);
        assert!(!seen.contains("s3cret"), "{seen}");
        if seen != *expected {
            wrong.push(format!("    ({change:?}, {seen:?}),"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn shop(text: &str, sets: &[Override]) -> ServiceScenario {
    ServiceScenario::from_text("folder/shop.toml", text, sets).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_password_on_the_command_line_is_not_repeated() {
    let set = Override::from_set("database.url=postgresql://app:s3cret@127.0.0.1/shop").unwrap();
    let seen = refused(SHOP, &[set]);
    assert!(seen.starts_with("`--set database.url=…`: `database` is given in more than one way"), "{seen}");
}

#[test]
fn variants_are_run_in_the_order_of_the_file_or_as_asked() {
    let names =
        |scenario: &ServiceScenario| scenario.variant_names().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&shop(SHOP, &[])), ["before", "after"]);
    assert_eq!(names(&shop(SHOP, &[VARIANT.by_flag("after")])), ["after"]);
    assert_eq!(names(&shop(SHOP, &[VARIANT.by_flag("both")])), ["before", "after"]);
    assert_eq!(
        refused(SHOP, &[VARIANT.by_flag("held")]),
        "`--variant held`: `run` names `held`, which is not a variant: expected one of `after`, `before`"
    );
    let plain = SHOP.split("[variants").next().unwrap();
    assert_eq!(names(&shop(plain, &[])), ["service"]);
}

#[test]
fn variants_have_their_own_targets_and_writes_are_left_out() {
    let scenario = shop(SHOP, &[]);
    let urls = |name: &str| scenario.urls(name.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(urls("before"), ["http://127.0.0.1:8000"]);
    assert_eq!(urls("after"), ["http://127.0.0.1:8001"]);
    assert_eq!(scenario.routes().count(), 1);
    assert_eq!(shop(SHOP, &[Override::from_set("load.allow_data_changes=true").unwrap()]).routes().count(), 2);
    assert_eq!(scenario.folder, std::path::Path::new("folder"));
}

#[test]
fn a_scenario_read_from_its_record_is_the_same() {
    let scenario = ServiceScenario { folder: std::path::PathBuf::new(), ..shop(SHOP, &[]) };
    let experiment = Experiment::Service(Box::new(scenario.clone()));
    let text = serde_json::to_string(&experiment).unwrap();
    assert_eq!(serde_json::from_str::<Experiment>(&text).unwrap(), experiment);
    let text = toml::to_string_pretty(&scenario).unwrap();
    assert_eq!(ServiceScenario::from_text("again.toml", &text, &[]).unwrap(), scenario);
}

#[test]
fn the_least_that_is_needed_is_a_name_a_target_and_a_route() {
    let text = "name = \"x\"\n[target]\nurl = \"http://localhost:1\"\n[[route]]\nroute = \"GET /\"\n";
    assert!(problems("x.toml", text, &[]).unwrap().is_empty());
}

#[test]
fn a_hole_is_no_secret_whatever_it_fills() {
    let text = SHOP
        .replace("query = { full = \"yes\" }", "headers = { X-CSRF-Token = \"{id}\" }")
        .replace("\"/health\"", "\"/health\"\ncommand = [\"serve\"]\nenv = { PGPASSWORD = \"\" }")
        .replace("bearer_env = \"SHOP_TOKEN\"", "user = \"me\"\npassword_env = \"A\"\n\
            login = { route = \"POST /in\", json = { password = \"{password}\", remember_token = true }, token = \"/t\" }");
    let found = problems("shop.toml", &text, &[]).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_is_not_asked_for_may_wait_and_words_are_no_marks() {
    let body = "json = { article = \"{article}\", count = 1 }";
    let text = SHOP.replace(body, "json = { article = \"{article}\", count = \"TODO: how many\" }");
    assert!(problems("shop.toml", &text, &[]).unwrap().is_empty(), "the route is switched off");
    assert_eq!(
        refused(&text, &[Override::from_set("load.allow_data_changes=true").unwrap()]),
        "scenario `shop.toml:20:41`: `route[2].json.count` is still TODO: give what the body holds"
    );
    for (old, new) in
        [("full = \"yes\"", "status = \"TODO\""), ("A shop", "TODO: a shop"), ("\"three\"", "\"a TODO: b\"")]
    {
        assert!(problems("shop.toml", &SHOP.replace(old, new), &[]).unwrap().is_empty(), "{new}");
    }
}
