//! S-12: on PostgreSQL no row of another tenant exists for a session, whatever is asked there. Asked past the store,
//! with psql, in the name of the role that owns the tables; the tables are those that the database has.

use std::collections::{BTreeMap, BTreeSet};

use engine::vocabulary::TenantId;
use tokio::task::block_in_place;

use crate::fixture::{Fixture, Place, cluster, open_url};
use crate::tenancy::{A, B, fill, read_as};

/// What the server keeps for itself; nobody reads it for a tenant.
const ITS_OWN: [&str; 6] =
    ["answers", "attempts", "last_commit", "meta", "registrations", "schema_version"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_security_is_forced_on_every_table() {
    let filled = Filled::new().await;
    assert_eq!(block_in_place(|| filled.without_a_wall()), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_select_without_a_condition_shows_a_tenants_own_rows_in_every_table() {
    let filled = Filled::new().await;
    block_in_place(|| {
        let all = filled.rows(&cluster().url_of_superuser(&filled.database), None);
        let (of_a, of_b) = (filled.rows_shown_to(Some("7")), filled.rows_shown_to(Some("8")));
        for (table, rows) in &all {
            assert!(!rows.is_empty(), "`fill` writes no row to {table}: let it");
            let (of_a, of_b) = (&of_a[table], &of_b[table]);
            if ITS_OWN.contains(&table.as_str()) {
                assert!(of_a.is_empty() && of_b.is_empty(), "{table} is the server's own");
                continue;
            }
            assert!(!of_a.is_empty() && !of_b.is_empty(), "{table} hides a tenant's own rows");
            assert_eq!(of_a.intersection(of_b).next(), None, "{table}");
            assert_eq!(of_a.union(of_b).cloned().collect::<BTreeSet<_>>(), *rows, "{table}");
            for (shown, tenant) in [(of_a, A), (of_b, B)] {
                let named = shown
                    .iter()
                    .all(|(_, owner)| owner.is_empty() || *owner == tenant.0.to_string());
                assert!(named, "{table} shows {tenant:?} {shown:?}");
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_tenant_nothing_is_there_and_the_sign_for_all_shows_all() {
    let filled = Filled::new().await;
    block_in_place(|| {
        for setting in [None, Some(""), Some("9")] {
            for (table, rows) in filled.rows_shown_to(setting) {
                assert_eq!(rows, BTreeSet::new(), "{table} is open to {setting:?}");
            }
        }
        let all = filled.rows(&cluster().url_of_superuser(&filled.database), None);
        assert_eq!(filled.rows_shown_to(Some("*")), all);
        // What is no tenant is told so.
        let refused = filled.ask(Some("7 OR true"), "SELECT * FROM cdrs").unwrap_err();
        assert!(refused.contains("invalid input syntax"), "{refused}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_another_tenant_is_not_written_in_any_table() {
    let filled = Filled::new().await;
    block_in_place(|| {
        let before = filled.rows_shown_to(Some("7"));
        filled.steal_from(A);
        for setting in [Some("8"), None] {
            let each = filled.tables.iter().map(|table| {
                refused(table, &format!("INSERT INTO {table} SELECT * FROM stolen.{table}"))
            });
            filled.ask(setting, &each.collect::<String>()).unwrap();
        }
        let owned = filled.tables.iter().filter(|table| filled.has_tenant(table));
        let given_away =
            owned.map(|table| refused(table, &format!("UPDATE {table} SET tenant = 7")));
        filled.ask(Some("8"), &given_away.collect::<String>()).unwrap();
        for setting in [Some("8"), None] {
            let each = filled.tables.iter().map(|table| format!("DELETE FROM {table};"));
            filled.ask(setting, &each.collect::<String>()).unwrap();
        }
        assert_eq!(filled.rows_shown_to(Some("7")), before, "what is not seen is not removed");
        let of_b: usize = filled.rows_shown_to(Some("8")).values().map(BTreeSet::len).sum();
        assert_eq!(of_b, 0, "what is seen is");
    });
}

/// Each read that names a tenant is made where that tenant's rows alone exist: it finds them also when nobody may see
/// all any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_names_a_tenant_is_read_behind_the_wall() {
    let filled = Filled::new().await;
    let blind = filled.tables.iter().map(|table| {
        format!(
            "CREATE POLICY blind ON {table} AS RESTRICTIVE FOR SELECT
             USING (current_setting('offhook.tenant', true) <> '*');"
        )
    });
    block_in_place(|| cluster().sql(&filled.database, &blind.collect::<String>()));
    let store = &filled.fixture.store;
    assert_eq!(store.tenants().await.unwrap(), [], "who sees all is blind");
    assert_eq!(store.softphones().await.unwrap(), []);
    for tenant in [A, B] {
        for (read, found) in read_as(store, tenant, tenant).await {
            assert!(found > 0, "{read} of {tenant:?} is read by one who sees all");
        }
    }
}

/// T-11: the schema before this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_from_before_the_walls_gets_them() {
    let filled = Filled::new().await;
    filled.fixture.store.close().await;
    let down = filled.tables.iter().map(|table| {
        format!(
            "DROP POLICY tenancy ON {table};
             ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
             ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"
        )
    });
    let down = down.chain(["UPDATE schema_version SET version = 3;".to_owned()]);
    block_in_place(|| cluster().sql(&filled.database, &down.collect::<String>()));
    let all = block_in_place(|| filled.rows_shown_to(Some("7")));
    let store = open_url(&cluster().url(&filled.database)).await;
    block_in_place(|| {
        assert_eq!(filled.without_a_wall(), "");
        let of_a = filled.rows_shown_to(Some("7"));
        assert!(of_a["cdrs"].len() < all["cdrs"].len(), "it was open, and is not any more");
    });
    for (read, found) in read_as(&store, A, A).await {
        assert!(found > 0, "{read}");
    }
}

/// A database with rows of two tenants in each table.
struct Filled {
    fixture: Fixture,
    database: String,
    tables: Vec<String>,
}

/// Where a row is, and the tenant that it names.
type Rows = BTreeMap<String, BTreeSet<(String, String)>>;

impl Filled {
    async fn new() -> Filled {
        let fixture = Fixture::postgres().await;
        for tenant in [A, B] {
            fill(&fixture.store, tenant).await;
        }
        let Place::Database(database) = &fixture.place else { unreachable!() };
        let database = database.clone();
        let tables = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')
                      AND relnamespace = 'public'::regnamespace ORDER BY relname";
        let tables = block_in_place(|| cluster().sql(&database, tables));
        let tables = tables.lines().map(str::to_owned).collect();
        Filled { fixture, database, tables }
    }

    /// The tables that another session could read past a policy.
    fn without_a_wall(&self) -> String {
        let open = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')
                    AND relnamespace = 'public'::regnamespace
                    AND NOT (relrowsecurity AND relforcerowsecurity
                             AND EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = pg_class.oid))";
        cluster().sql(&self.database, open)
    }

    /// What a session of ours sees, with `offhook.tenant` as given.
    fn rows_shown_to(&self, setting: Option<&str>) -> Rows {
        self.rows(&cluster().url(&self.database), setting)
    }

    fn rows(&self, url: &str, setting: Option<&str>) -> Rows {
        let each = self.tables.iter().map(|table| {
            format!("SELECT '{table}', of.ctid, to_jsonb(of) ->> 'tenant' FROM {table} AS of")
        });
        let said = ask(url, setting, &each.collect::<Vec<_>>().join(" UNION ALL ")).unwrap();
        let mut rows: Rows = self.tables.iter().map(|of| (of.clone(), BTreeSet::new())).collect();
        for line in said.lines() {
            let [table, place, tenant] = line.split('|').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let of = rows.get_mut(table).expect("it is one of them");
            of.insert((place.to_owned(), tenant.to_owned()));
        }
        rows
    }

    fn ask(&self, setting: Option<&str>, statements: &str) -> Result<String, String> {
        ask(&cluster().url(&self.database), setting, statements)
    }

    fn has_tenant(&self, table: &str) -> bool {
        let column = format!(
            "SELECT count(*) FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attname = 'tenant'"
        );
        cluster().sql(&self.database, &column) == "1"
    }

    /// Copies of what the tenant has, and of the server's own, that anybody may read.
    fn steal_from(&self, tenant: TenantId) {
        let each = self.tables.iter().map(|table| {
            let whose = if ITS_OWN.contains(&table.as_str()) { "*" } else { &tenant.0.to_string() };
            format!(
                "SET offhook.tenant = '{whose}';
                 CREATE TABLE stolen.{table} AS SELECT * FROM {table};"
            )
        });
        let steal = "CREATE SCHEMA stolen;".to_owned() + &each.collect::<String>();
        self.ask(None, &steal).unwrap();
    }
}

/// In the name of the tables' owner, or of the superuser.
fn ask(url: &str, setting: Option<&str>, statements: &str) -> Result<String, String> {
    let mut psql = cluster().psql(url, statements);
    if let Some(tenant) = setting {
        let tenant = tenant.replace(' ', "\\ ");
        psql.env("PGOPTIONS", format!("-c offhook.tenant={tenant}"));
    }
    let said = psql.output().expect("psql runs");
    let text = |bytes| String::from_utf8(bytes).expect("psql speaks UTF-8");
    if said.status.success() { Ok(text(said.stdout)) } else { Err(text(said.stderr)) }
}

/// A block that fails unless the statement is refused by the policy of this table.
fn refused(table: &str, statement: &str) -> String {
    format!(
        "DO $$ BEGIN
             IF NOT EXISTS (SELECT FROM stolen.{table}) THEN
                 RAISE EXCEPTION 'there is nothing to steal in {table}';
             END IF;
             BEGIN
                 {statement};
             EXCEPTION WHEN insufficient_privilege THEN
                 IF SQLERRM NOT LIKE '%row-level security policy for table \"{table}\"%' THEN
                     RAISE;
                 END IF;
                 RETURN;
             END;
             RAISE EXCEPTION 'let into {table}';
         END $$;"
    )
}
