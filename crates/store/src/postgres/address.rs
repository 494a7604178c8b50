//! Where the servers of a database are: one, or a primary and those that may take its place.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::{LOCK_MS, STATEMENT_MS};
use crate::error::StoreError;

/// `postgres://user:password@host:port/database?parameters`, as libpq writes it; also with several hosts,
/// `host1:port1,host2:port2`, of which the one is used that is no standby. What it does not say comes from
/// `PGPASSWORD`, `~/.pgpass` and the like. `sslmode=verify-full` demands TLS and a certificate for the host's name.
#[derive(Clone)]
pub struct PostgresUrl(Arc<[PgConnectOptions]>);

impl FromStr for PostgresUrl {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        let address = |why: String| {
            // Without what may be a password.
            let host = url.rsplit_once('@').map_or(url, |(_, host)| host);
            StoreError::Address { url: host.to_owned(), why }
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(address("it begins with another scheme".to_owned()));
        }
        let servers = each_server(url).map_err(|why| address(why.to_owned()))?;
        let servers = servers.iter().map(|url| PgConnectOptions::from_str(url));
        let servers: Result<Arc<[_]>, sqlx::Error> = servers.collect();
        Ok(PostgresUrl(servers.map_err(|error| address(error.to_string()))?))
    }
}

impl PostgresUrl {
    /// Hosts and database, for messages.
    pub fn database(&self) -> String {
        let host = |options: &PgConnectOptions| match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let hosts = self.0.iter().map(host).collect::<Vec<_>>().join(", ");
        let database =
            self.0.first().map(|first| first.get_database().unwrap_or(first.get_username()));
        format!("{} at {hosts}", database.unwrap_or_default())
    }

    /// How a connection to each of the servers is opened. Statements are not logged, since a slow one would be logged
    /// above debug. Keep-alives let the server notice within half a minute that we are gone.
    pub(super) fn servers(&self) -> impl Iterator<Item = PgConnectOptions> {
        self.0.iter().map(|options| {
            let options = options.clone().application_name("offhook").statement_cache_capacity(512);
            options
                .options([
                    ("synchronous_commit", "on"),
                    ("statement_timeout", STATEMENT_MS),
                    ("lock_timeout", LOCK_MS),
                    ("tcp_keepalives_idle", "10"),
                    ("tcp_keepalives_interval", "5"),
                    ("tcp_keepalives_count", "3"),
                    ("client_min_messages", "warning"),
                ])
                .disable_statement_logging()
        })
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({})", self.database())
    }
}

/// One address for each host that `url` names, in its order.
fn each_server(url: &str) -> Result<Vec<String>, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut named = (Vec::new(), Vec::new());
    let mut others = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("host", all)) => named.0 = all.split(',').collect(),
            Some(("port", all)) => named.1 = all.split(',').collect(),
            // What is done anyway: a standby cannot be written.
            Some(("target_session_attrs", "read-write" | "primary" | "any")) => {}
            Some(("target_session_attrs", _)) => {
                return Err("offhook writes: target_session_attrs can only be read-write");
            }
            Some(_) | None => others.push(parameter),
        }
    }
    let one = |hosts: &str, own: Vec<String>| {
        let all: Vec<&str> = others.iter().copied().chain(own.iter().map(String::as_str)).collect();
        let query = if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) };
        format!("{scheme}://{user}{hosts}{path}{query}")
    };
    let (names, ports) = named;
    if !names.is_empty() {
        let port = |n: usize| ports.get(n).or(ports.last()).map(|port| format!("port={port}"));
        let own = |(n, name): (usize, &&str)| {
            one(hosts, [format!("host={name}")].into_iter().chain(port(n)).collect())
        };
        return Ok(names.iter().enumerate().map(own).collect());
    }
    let port = ports.first().map(|port| format!("port={port}"));
    Ok(hosts.split(',').map(|host| one(host, port.iter().cloned().collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_of_an_address_is_a_server_of_its_own() {
        let table: [(&str, &[&str]); 7] = [
            ("postgres://db.example.com/calls", &["calls at db.example.com:5432"]),
            ("postgres://u:p,@a,b:5433/calls", &["calls at a:5432", "calls at b:5433"]),
            (
                "postgresql://u@[::1]:1,[::2]/d?sslmode=disable",
                &["d at [::1]:1", "d at [::2]:5432"],
            ),
            ("postgres:///d?host=/run/a,/run/b", &["d at /run/a", "d at /run/b"]),
            ("postgres://u@localhost/d?host=a,b&port=1,2", &["d at a:1", "d at b:2"]),
            ("postgres:///d?host=a,b&port=7", &["d at a:7", "d at b:7"]),
            ("postgres://u@a,b/d?target_session_attrs=read-write", &["d at a:5432", "d at b:5432"]),
        ];
        for (url, servers) in table {
            let parsed: PostgresUrl = url.parse().unwrap();
            let each = parsed.0.iter().map(|one| PostgresUrl(Arc::from([one.clone()])).database());
            assert_eq!(each.collect::<Vec<_>>(), servers, "{url}");
        }
        let standby = "postgres://u@a,b/d?target_session_attrs=standby".parse::<PostgresUrl>();
        assert!(matches!(standby, Err(StoreError::Address { .. })), "{standby:?}");
    }
}
