//! Making and changing entities.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio_postgres::error::SqlState;

use super::fields::{Columns, Fields, Shared};
use super::kind::{Entity, visible};
use super::{Viewer, as_json, changed_or_why_not, existing};
use crate::auth::TeamScope;
use crate::db::DbError;
use crate::error::GatewayError;
use crate::masks::Place;
use crate::rbac::{Caller, User};
use crate::request::WorkSession;

/// What a server offers of each kind: how many of the named ones (`$1`) its maker may see; no more; and these.
struct Offer {
    key: &'static str,
    visible: &'static str,
    forget: &'static str,
    add: &'static str,
}

macro_rules! offer {
    ($key:literal, $table:literal, $association:literal, $column:literal) => {
        Offer {
            key: $key,
            visible: concat!("SELECT id FROM ", $table, " WHERE id = ANY ($1) AND ", visible!()),
            forget: concat!("DELETE FROM ", $association, " WHERE server_id = $1"),
            add: concat!(
                "INSERT INTO ",
                $association,
                " (server_id, ",
                $column,
                ") SELECT DISTINCT $1, unnest($2::text[])"
            ),
        }
    };
}

/// In the order of [`Fields::associated`].
const OFFERS: [Offer; 3] = [
    offer!("associatedTools", "tools", "server_tool_association", "tool_id"),
    offer!("associatedResources", "resources", "server_resource_association", "resource_id"),
    offer!("associatedPrompts", "prompts", "server_prompt_association", "prompt_id"),
];

/// `POST /tools` and the like: the entity as it is then.
///
/// # Errors
/// [`GatewayError::Invalid`] for a body that is none, [`GatewayError::Conflict`] when there is one of this name,
/// [`GatewayError::Forbidden`] for a team that the token does not speak for.
pub async fn create<E: Entity>(
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<(StatusCode, Response), GatewayError> {
    let fields = parse::<E::Fields>(&body, E::KIND.body_key)?;
    let place = Placement::of_new(&user, fields.shared())?;
    place.allowed(&caller, &user, E::KIND.create_permission).await?;
    let columns = of_new(&fields)?;
    let id = format!("{:032x}", rand::random::<u128>());
    let made = make::<E>(&caller, &user, &id, &fields, &columns, &place).await;
    let shown =
        made.map_err(|error| caller.masked(conflict_or::<E>(error, columns.get("name")), Place::Create(E::KIND.name)))?;
    caller.worker.replica.changes.fetch_add(1, Ordering::Release);
    Ok((E::KIND.created, as_json(&shown)))
}

/// `PUT /tools/{id}` and the like: what the body does not name stays as it is.
///
/// # Errors
/// As [`create`]; [`GatewayError::NotFound`] for what the user may not see, [`GatewayError::Forbidden`] for what is not
/// theirs.
pub async fn update<E: Entity>(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
    body: Bytes,
) -> Result<Response, GatewayError> {
    let fields = parse::<E::Fields>(&body, None)?;
    let place = Placement::of_changed(&user, fields.shared())?;
    place.allowed(&caller, &user, E::KIND.update_permission).await?;
    let mut columns = fields.columns()?;
    columns.extend(shared_columns(fields.shared()));
    let id = existing(&id)?;
    let changed = change::<E>(&caller, &user, id, &fields, &columns, &place).await;
    match changed.map_err(|error| conflict_or::<E>(error, columns.get("name")))? {
        Some(shown) => {
            caller.worker.replica.changes.fetch_add(1, Ordering::Release);
            Ok(as_json(&shown))
        }
        None => Err(changed_or_why_not::<E>(&caller, &user, id, &[]).await.err().unwrap_or(GatewayError::NotFound)),
    }
}

/// The body's fields, without a field that is wrong. FastAPI nests the entity under a key when a route takes more than
/// one thing.
fn parse<F: Fields>(body: &[u8], key: Option<&'static str>) -> Result<F, GatewayError> {
    let invalid = |text: String| GatewayError::Invalid(text);
    let mut body: Map<String, Value> = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    let fields = match key {
        None => Value::Object(body),
        Some(key) => {
            let Some(Value::Object(mut entity)) = body.remove(key) else {
                return Err(invalid(format!("{key}: an object is required")));
            };
            for beside in ["team_id", "visibility"] {
                if let Some(value) = body.remove(beside).filter(|value| !value.is_null()) {
                    entity.insert(beside.to_owned(), value);
                }
            }
            Value::Object(entity)
        }
    };
    let fields: F = serde_json::from_value(fields).map_err(|error| invalid(error.to_string()))?;
    fields.validate().map_err(|report| invalid(report.to_string().trim().to_owned()))?;
    Ok(fields)
}

/// Who an entity belongs to, and who sees it; `None` leaves it as it is.
struct Placement {
    team: Option<String>,
    visibility: Option<String>,
}

impl Placement {
    fn of_new(user: &User, asked: &Shared) -> Result<Self, GatewayError> {
        let visibility = asked.visibility.clone().unwrap_or_else(|| "public".to_owned());
        let for_team = visibility == "team";
        let team = asked.team_id.clone().or_else(|| user.teams.ids().first().filter(|_| for_team).cloned());
        if for_team && team.is_none() {
            return Err(GatewayError::Invalid("teamId: visibility `team` needs one".to_owned()));
        }
        Self::checked(user, team, Some(visibility))
    }

    fn of_changed(user: &User, asked: &Shared) -> Result<Self, GatewayError> {
        Self::checked(user, asked.team_id.clone(), asked.visibility.clone())
    }

    /// A token puts things only where it speaks for.
    fn checked(user: &User, team: Option<String>, visibility: Option<String>) -> Result<Self, GatewayError> {
        let allowed = match (&user.teams, &team) {
            (TeamScope::PublicOnly, team) => {
                team.is_none() && visibility.as_deref().is_none_or(|visibility| visibility == "public")
            }
            (TeamScope::Teams(teams), Some(team)) => teams.contains(team),
            (TeamScope::Teams(_), None) | (TeamScope::Unrestricted, _) => true,
        };
        if allowed { Ok(Self { team, visibility }) } else { Err(GatewayError::Forbidden) }
    }

    /// The permission was checked in the caller's own context: another team has roles of its own.
    async fn allowed(&self, caller: &Caller, user: &User, permission: &str) -> Result<(), GatewayError> {
        match &self.team {
            Some(team) if !user.is_admin && caller.team_of(&user.teams) != Some(team) => {
                caller.in_team(team).require_permission(permission).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

fn shared_columns(shared: &Shared) -> Columns {
    let mut columns = Columns::new();
    if let Some(description) = &shared.description {
        columns.insert("description".to_owned(), json!(description));
    }
    if let Some(tags) = &shared.tags {
        columns.insert("tags".to_owned(), json!(tags));
    }
    columns
}

/// Every column of a new entity: the defaults under what the body says.
fn of_new<F: Fields>(fields: &F) -> Result<Columns, GatewayError> {
    let Value::Object(mut columns) = F::defaults() else { return Ok(Columns::new()) };
    columns.extend(fields.columns()?);
    columns.extend(fields.fixed());
    columns.insert("tags".to_owned(), json!([]));
    columns.extend(shared_columns(fields.shared()));
    match columns.iter().find(|(_, value)| value.is_null()) {
        Some((missing, _)) => {
            let key = if missing == "text_content" { "content" } else { missing };
            Err(GatewayError::Invalid(format!("{key}: required")))
        }
        None => Ok(columns),
    }
}

async fn make<E: Entity>(
    caller: &Caller,
    user: &User,
    id: &str,
    fields: &E::Fields,
    columns: &Columns,
    place: &Placement,
) -> Result<String, GatewayError> {
    let columns = json!(columns).to_string();
    let mut work = caller.session.open(&caller.worker).await;
    let made = async {
        check_offers(&mut work, user, fields).await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&id, &columns, &place.team, &user.email, &place.visibility];
        work.query(E::KIND.insert, &params).await?;
        write_offers(&mut work, id, fields).await?;
        work.commit().await?;
        read_back::<E>(&mut work, user, id).await?.ok_or(GatewayError::NotFound)
    }
    .await;
    let ended = work.done().await;
    let made = made?;
    ended?;
    Ok(made)
}

async fn change<E: Entity>(
    caller: &Caller,
    user: &User,
    id: &str,
    fields: &E::Fields,
    columns: &Columns,
    place: &Placement,
) -> Result<Option<String>, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let columns = json!(columns).to_string();
    let mut work = caller.session.open(&caller.worker).await;
    let changed = async {
        check_offers(&mut work, user, fields).await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
            [&id, &all_teams, &teams, &own, &user.is_admin, &columns, &place.team, &place.visibility, &user.email];
        if work.query(E::KIND.update, &params).await?.is_empty() {
            return Ok(None);
        }
        write_offers(&mut work, id, fields).await?;
        work.commit().await?;
        // Whoever gives a thing to a team that their token does not speak for sees it no more.
        read_back::<E>(&mut work, user, id).await.map(|shown| shown.or(Some("null".to_owned())))
    }
    .await;
    let ended = work.done().await;
    let changed = changed?;
    ended?;
    Ok(changed)
}

async fn read_back<E: Entity>(work: &mut WorkSession, user: &User, id: &str) -> Result<Option<String>, GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    let rows = work.query(E::KIND.by_id, &[&id, &all_teams, &teams, &own]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Before anything is written: what a server is to offer must be there for its maker to see.
async fn check_offers<F: Fields>(work: &mut WorkSession, user: &User, fields: &F) -> Result<(), GatewayError> {
    let Viewer { all_teams, teams, own } = Viewer::of(user);
    for (offer, wanted) in OFFERS.iter().zip(fields.associated()) {
        let Some(wanted) = wanted else { continue };
        if wanted.iter().any(|id| id.contains('\0')) {
            return Err(GatewayError::Invalid(format!("{}: no such id", offer.key)));
        }
        let rows = work.query(offer.visible, &[&wanted, &all_teams, &teams, &own]).await?;
        let there: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        if let Some(missing) = wanted.iter().find(|id| !there.contains(&id.as_str())) {
            return Err(GatewayError::Invalid(format!("{}: there is no `{missing}`", offer.key)));
        }
    }
    Ok(())
}

async fn write_offers<F: Fields>(work: &mut WorkSession, id: &str, fields: &F) -> Result<(), DbError> {
    for (offer, wanted) in OFFERS.iter().zip(fields.associated()) {
        let Some(wanted) = wanted else { continue };
        work.query(offer.forget, &[&id]).await?;
        work.query(offer.add, &[&id, &wanted]).await?;
    }
    Ok(())
}

/// The same name twice, in words rather than in the database's.
fn conflict_or<E: Entity>(error: GatewayError, name: Option<&Value>) -> GatewayError {
    match &error {
        GatewayError::Database(cause) if cause.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            let name = name.and_then(Value::as_str).unwrap_or("this name");
            GatewayError::Conflict(format!("A {} called {name} exists already", E::KIND.name))
        }
        _ => error,
    }
}

/// The answer of a route whose entity is gone or changed.
pub(super) fn success(message: &str) -> Json<Value> {
    Json(json!({ "status": "success", "message": message }))
}
