//! The services that all tests share, and a migrated database to copy for each test.
//!
//! The services are private unless `CONTACT_RELAY_TEST_POSTGRES_URL` and `CONTACT_RELAY_TEST_AMQP_URL` are both set.
//! The database role must be allowed to create databases.

use std::sync::atomic::{AtomicU32, Ordering};

use contact_relay::{
    dev::services::{Action, Options, Service, Services},
    postgres::schema::{self, SchemaError},
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

pub(crate) struct Environment {
    postgres_url: String,
    amqp_url: String,
    /// Distinguishes this run's databases and queues from those of other runs on the same services.
    run: String,
    count: AtomicU32,
    private: bool,
    services: Mutex<Option<Services>>,
}

impl Environment {
    pub(crate) async fn open() -> Result<Self, String> {
        let given = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
        let urls = (given("CONTACT_RELAY_TEST_POSTGRES_URL"), given("CONTACT_RELAY_TEST_AMQP_URL"));
        let (postgres_url, amqp_url, services) = match urls {
            (Some(postgres_url), Some(amqp_url)) => (postgres_url, amqp_url, None),
            (None, None) => {
                let options = Options::disposable(env!("CARGO_BIN_EXE_contact-relay").into());
                let services = Services::start(options).await.map_err(|error| error.to_string())?;
                (services.postgres_url().to_owned(), services.amqp_url().to_owned(), Some(services))
            }
            _ => return Err("one of the two urls is set; set both or none".to_owned()),
        };
        let private = services.is_some();
        let environment = Self {
            postgres_url,
            amqp_url,
            run: format!("crt_{:08x}", rand::random::<u32>()),
            count: AtomicU32::new(0),
            private,
            services: Mutex::new(services),
        };
        match environment.create_template().await {
            Ok(()) => Ok(environment),
            Err(error) => Err(format!("the template database cannot be created: {error}")),
        }
    }

    /// A name for one test's database and queue namespace.
    pub(crate) fn new_name(&self) -> String {
        format!("{}_{}", self.run, self.count.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    pub(crate) fn database(&self, name: &str) -> PgConnectOptions {
        self.postgres_url.parse::<PgConnectOptions>().expect("a database url").database(name)
    }

    pub(crate) fn database_url(&self, name: &str) -> String {
        let mut url: url::Url = self.postgres_url.parse().expect("a database url");
        url.set_path(name);
        url.into()
    }

    /// Copies the migrated database.
    pub(crate) async fn create_database(&self, name: &str) {
        let statement = format!(r#"CREATE DATABASE "{name}" TEMPLATE "{}""#, self.run);
        self.administer(statement).await.expect("a database for the test");
    }

    pub(crate) async fn drop_database(&self, name: &str) {
        // Private services take leftovers with them.
        let _ = self.administer(format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#)).await;
    }

    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    /// What Postgres has logged; nothing if it is not private.
    pub(crate) async fn postgres_log(&self) -> String {
        let services = self.services.lock().await;
        let Some(services) = services.as_ref() else { return String::new() };
        let log = std::fs::read(services.state().join("postgres.log")).expect("its log");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Acts on a shared service. Only for tests that run alone.
    pub(crate) async fn control(&self, action: Action, service: Service) {
        let services = self.services.lock().await;
        let services = services.as_ref().expect("private services");
        services
            .control(action, service)
            .await
            .unwrap_or_else(|error| panic!("{action:?} {service:?}: {error}"));
    }

    /// Restores services that a failed test left stopped, paused or in alarm.
    pub(crate) async fn restore(&self) {
        for service in [Service::Postgres, Service::Rabbitmq] {
            for action in [Action::Resume, Action::Start, Action::Calm, Action::Unstall] {
                self.control(action, service).await;
            }
        }
    }

    pub(crate) async fn close(&self) {
        self.drop_database(&self.run).await;
        if let Some(services) = self.services.lock().await.take() {
            services.stop().await.expect("the services stop");
        }
    }

    async fn create_template(&self) -> Result<(), SchemaError> {
        self.administer(format!(r#"CREATE DATABASE "{}""#, self.run)).await?;
        let mut connection = PgConnection::connect_with(&self.database(&self.run)).await?;
        schema::apply(&mut connection).await?;
        Ok(connection.close().await?)
    }

    async fn administer(&self, statement: String) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.postgres_url).await?;
        // Names are generated from digits and letters.
        connection.execute(AssertSqlSafe(statement)).await?;
        connection.close().await
    }
}
