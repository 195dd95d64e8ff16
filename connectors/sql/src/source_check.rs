//! What could keep a type from being read, or let a change go unnoticed.

use std::sync::Arc;

use muster_connector::{Error, Finding, ReadRequest, Source as _, UsedType};

use crate::connector::{SqlConnector, finding};
use crate::error::Failure;
use crate::follow::Way;
use crate::schema::TableType;
use crate::statement::{Sql, joined, sql};

impl SqlConnector {
    pub(crate) async fn examine_source(&self, table: &TableType, used: &UsedType, findings: &mut Vec<Finding>) {
        let name = &table.object_type.name;
        let setting = |part: &str| format!("types.{name}.{part}");
        let is_known = |attribute: &&String| table.object_type.attribute(attribute).is_some();
        let attributes: Vec<String> = used.attributes.iter().filter(is_known).cloned().collect();
        let request =
            ReadRequest { object_type: name.as_str().into(), attributes: attributes.into(), named: Arc::default() };
        if let Some(Way::Tracking) = table.follow.as_ref().map(|follow| &follow.way) {
            match self.only_text(sql!("SELECT {}", self.database.tracking_begins(&table.table.name))).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let table = &table.table.name;
                    let problem = format!("the database does not track changes of {table}");
                    let fix = format!(
                        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON; ALTER TABLE {table} ENABLE CHANGE_TRACKING; \
                         GRANT VIEW CHANGE TRACKING ON {table} TO the user"
                    );
                    findings.push(Finding::error(Some(&setting("changes.tracking")), problem, fix));
                    return;
                }
                Err(failure) => return findings.push(finding(self.database.engine(), failure)),
            }
        }
        if let Err(error) = self.read(&request, None).await {
            let problem = format!("{} cannot be read: {}", table.table.name, told(&error));
            let fix = match error {
                Error::Credentials { fix, .. } | Error::Configuration { fix, .. } => fix,
                _ => "see the database's own message".to_owned(),
            };
            findings.push(Finding::error(Some(&setting("table")), problem, fix));
            return;
        }
        let anchor = &table.object_type.anchor.attributes;
        let columns = || anchor.iter().filter_map(|name| table.table.column(name));
        let from = &table.table.name;
        let rows = table.belonging.and("t");
        if columns().any(|column| column.nullable) {
            let nulls =
                joined(columns().map(|column| format!("t.{} IS NULL", table.table.quoted(&column.name))), " OR ");
            match self.count(sql!("SELECT {} FROM {from} AS t WHERE ({nulls}){rows}", self.counted())).await {
                Ok(0) => {}
                Ok(count) => {
                    let problem =
                        format!("{count} rows have no value in {}, so nobody can tell them apart", anchor.join(", "));
                    let fix = "name other columns, or leave those rows out of what is read".to_owned();
                    findings.push(Finding::error(Some(&setting("anchor")), problem, fix));
                }
                Err(failure) => findings.push(finding(self.database.engine(), failure)),
            }
        }
        if !table.table.is_unique(anchor) {
            let keys = joined(columns().map(|column| format!("t.{}", table.table.quoted(&column.name))), ", ");
            let condition = table.belonging.condition("t").map_or(String::new(), |rows| format!(" WHERE {rows}"));
            let counted = self.counted();
            let repeated = sql!(
                "SELECT {counted} FROM (SELECT count(*) AS c FROM {from} AS t{condition} GROUP BY {keys} HAVING count(*) > 1) AS r"
            );
            match self.count(repeated).await {
                Ok(0) => {}
                Ok(count) => {
                    let problem =
                        format!("{count} values of {} stand in several rows, of which one is read", anchor.join(", "));
                    let fix = "name columns that identify a row, or read a query with one row for each object";
                    findings.push(Finding::error(Some(&setting("anchor")), problem, fix.to_owned()));
                }
                Err(failure) => findings.push(finding(self.database.engine(), failure)),
            }
        }
        if let Some(Way::Column(column)) = table.follow.as_ref().map(|follow| &follow.way)
            && column.nullable
        {
            let grows = table.table.quoted(&column.name);
            match self.count(sql!("SELECT {} FROM {from} AS t WHERE t.{grows} IS NULL{rows}", self.counted())).await {
                Ok(0) => {}
                Ok(count) => {
                    let problem = format!(
                        "{count} rows have no value in {:?}: nothing tells when they change, and they are read every time",
                        column.name
                    );
                    let fix = "let the application fill it in every row".to_owned();
                    findings.push(Finding::warning(Some(&setting("changes.column")), problem, fix));
                }
                Err(failure) => findings.push(finding(self.database.engine(), failure)),
            }
        }
    }

    fn counted(&self) -> String {
        self.database.read_number("count(*)")
    }

    async fn count(&self, query: Sql) -> Result<u64, Failure> {
        Ok(self.only_text(query).await?.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    async fn only_text(&self, query: Sql) -> Result<Option<Arc<str>>, Failure> {
        let mut session = self.database.begin(false).await?;
        let rows = session.query(query).await?;
        session.commit().await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }
}

fn told(error: &Error) -> String {
    match error {
        Error::Credentials { problem, .. } | Error::Configuration { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}
