//! What the connection's user may do, found out without doing it: statements on no rows, undone.

use muster_connector::UsedType;

use crate::connector::SqlConnector;
use crate::database::Session;
use crate::error::{Class, Failure};
use crate::own::{Parameter, Purpose};
use crate::schema::TableType;
use crate::statement::{Sql, Stage, joined, sql};

/// What a sync would fail at.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// The right that is missing, where it is a matter of rights.
    pub(crate) right: Option<&'static str>,
    /// A sync may do without it.
    pub(crate) optional: bool,
    /// The setting of the type that is to blame, where it is not the table.
    pub(crate) setting: Option<String>,
    pub(crate) failure: Failure,
}

impl SqlConnector {
    /// Does to a table what writing will do, on no rows, and undoes it.
    pub(crate) async fn rehearse(&self, table: &TableType, used: &UsedType) -> Result<Vec<Obstacle>, Failure> {
        let anchor = &table.object_type.anchor.attributes;
        let written: Vec<_> = table
            .table
            .columns
            .iter()
            .filter(|column| !column.generated && used.attributes.contains(&column.name))
            .map(|column| table.table.quoted(&column.name))
            .collect();
        let keys = anchor.iter().filter_map(|name| table.table.column(name));
        let stage = Stage::new(self.database.temporary_schema(), keys.map(|key| key.stage_type.clone()).collect());
        let name = &table.table.name;
        let mut obstacles = Vec::new();
        let mut session = self.database.begin(true).await?;
        if let Err(failure) = session.stage(&stage, &[]).await {
            obstacles.push(obstacle(self.database.temporary_right(), false, failure)?);
            session = self.database.begin(true).await?;
        }
        let read = joined(anchor.iter().map(|name| table.table.quoted(name)).chain(written.clone()), ", ");
        let mut tries: Vec<(&'static str, bool, Sql)> =
            vec![("SELECT", false, sql!("SELECT {read} FROM {name} WHERE 1 = 0"))];
        if !written.is_empty() {
            let with = |term: usize| {
                let others = table.belonging.of_new_rows().map(|(column, given)| [column.to_string(), given.clone()]);
                let all = written.iter().map(|column| [column.to_string(), column.to_string()]).chain(others);
                joined(all.filter_map(|pair| pair.into_iter().nth(term)), ", ")
            };
            let same = joined(written.iter().map(|column| format!("{column} = {column}")), ", ");
            if table.own.of(Purpose::Create).is_none() {
                tries.push((
                    "INSERT",
                    false,
                    sql!("INSERT INTO {name} ({}) SELECT {} FROM {name} WHERE 1 = 0", with(0), with(1)),
                ));
            }
            if table.own.of(Purpose::Update).is_none() {
                tries.push(("UPDATE", false, sql!("UPDATE {name} SET {same} WHERE 1 = 0")));
            }
        }
        if table.belonging.of_deleted_rows(self.database.as_ref()).is_none() && table.own.of(Purpose::Delete).is_none()
        {
            tries.push(("DELETE", true, sql!("DELETE FROM {name} WHERE 1 = 0")));
        }
        for (right, optional, statement) in tries {
            session.savepoint().await?;
            if let Err(failure) = session.execute(statement).await {
                session = self.as_before(session).await?;
                // MySQL asks for a value of every required column even where there is no row.
                if matches!(failure.class, Class::Row { rule: "required", .. }) {
                    continue;
                }
                obstacles.push(obstacle(right, optional, failure)?);
            }
        }
        for (purpose, statement) in table.own.all() {
            let stage_type = |parameter: &Parameter| {
                table.table.column(&parameter.column).map_or(String::new(), |column| column.stage_type.clone())
            };
            let (text, parameters) =
                statement.render(|number, parameter| self.database.mark(number, &stage_type(parameter)));
            let bound: Vec<String> = parameters.into_iter().map(stage_type).collect();
            session.savepoint().await?;
            if let Err(failure) = session.examine(sql!("{text}"), &bound).await {
                session = self.as_before(session).await?;
                let setting = Some(format!("statements.{}", purpose.name()));
                obstacles.push(Obstacle { setting, ..obstacle("EXECUTE", false, failure)? });
            }
        }
        for (setting, expression) in table.belonging.expressions() {
            session.savepoint().await?;
            if let Err(failure) = session.execute(sql!("SELECT {expression} FROM {name} WHERE 1 = 0")).await {
                session = self.as_before(session).await?;
                obstacles.push(Obstacle { setting: Some(setting), ..obstacle("EXECUTE", false, failure)? });
            }
        }
        Ok(obstacles)
    }

    /// A session in which nothing was tried yet. Some errors end the whole transaction, and with it the savepoint.
    async fn as_before(&self, mut session: Box<dyn Session>) -> Result<Box<dyn Session>, Failure> {
        match session.return_to_savepoint().await {
            Ok(()) => Ok(session),
            Err(_) => self.database.begin(true).await,
        }
    }
}

fn obstacle(right: &'static str, optional: bool, failure: Failure) -> Result<Obstacle, Failure> {
    match failure.class {
        Class::Forbidden => Ok(Obstacle { right: Some(right), optional, setting: None, failure }),
        // A row is refused where there is none: the statement itself must be wrong.
        Class::ReadOnly | Class::NotThere | Class::NoFile | Class::Bug | Class::Row { .. } | Class::Unique { .. } => {
            Ok(Obstacle { right: None, optional: false, setting: None, failure })
        }
        _ => Err(failure),
    }
}
