//! Runs the tests: `cargo test --test integration [FILTER]`, with the options of the standard harness.
//!
//! Tests run side by side. Those marked `alone` stop or restart the shared services; they run last, one at a time.

pub(crate) mod app;
pub(crate) mod broker;
mod confirms;
pub(crate) mod contracts;
pub(crate) mod dead_letters;
pub(crate) mod dice;
mod environment;
pub(crate) mod event;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod rows;

use std::{
    any::Any,
    fmt::Debug,
    panic::AssertUnwindSafe,
    pin::Pin,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use app::TestApp;
use contact_relay::dev::services::install;
use environment::Environment;
use futures_util::FutureExt as _;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::{
    runtime::Runtime,
    sync::{OnceCell, RwLock},
    time::{Instant, interval},
};

/// Deadline for a condition. Generous, because only a failure uses it up.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_mins(2);

/// Concurrent tests unless `--test-threads` is given. They mostly wait.
const THREADS: usize = 6;

/// One test: an async function of a [`TestApp`], and its name.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) body: for<'a> fn(&'a TestApp) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
    pub(crate) alone: bool,
    pub(crate) needs: Need,
}

/// What a test needs beyond the services.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    Nothing,
    /// A program. The test is skipped on a machine that lacks it.
    Program(&'static str),
    /// Chromium and its driver, which are installed like the services.
    Browser,
}

inventory::collect!(Test);

/// `#[apply(test)]` makes an `async fn(&TestApp)` a test.
macro_rules! test {
    ($($function:tt)+) => { $crate::support::register!(false, Nothing, $($function)+); };
}
pub(crate) use test;

/// `#[apply(alone)]` makes an `async fn(&TestApp)` a test that stops or restarts the shared services.
macro_rules! alone {
    ($($function:tt)+) => { $crate::support::register!(true, Nothing, $($function)+); };
}
pub(crate) use alone;

/// Registers a test under the name of its function.
macro_rules! register {
    ($alone:literal, $need:ident $(($program:literal))?, $(#[$attribute:meta])* async fn $name:ident $($rest:tt)+) => {
        $(#[$attribute])*
        async fn $name $($rest)+
        inventory::submit!($crate::support::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            body: |app| Box::pin($name(app)),
            alone: $alone,
            needs: $crate::support::Need::$need $(($program))?,
        });
    };
}
pub(crate) use register;

struct Stage {
    runtime: Runtime,
    environment: OnceCell<Result<Arc<Environment>, String>>,
    browser: OnceCell<Result<(), String>>,
    /// Read-locked by every test, write-locked by one that must be alone.
    floor: RwLock<()>,
}

/// Runs the tests that match the command line.
pub(crate) fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut tests: Vec<Test> = inventory::iter::<Test>.into_iter().copied().collect();
    tests.sort_by_key(|test| (test.alone, test.name));
    let runtime = Runtime::new().expect("a runtime");
    let stage = Arc::new(Stage {
        runtime,
        environment: OnceCell::new(),
        browser: OnceCell::new(),
        floor: RwLock::new(()),
    });
    let trial = |test: Test| {
        let stage = Arc::clone(&stage);
        let name = test.name.trim_start_matches("integration::");
        Trial::ignorable_test(name, move || stage.runtime.block_on(stage.perform(test)))
    };
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect());
    if let Some(Ok(environment)) = stage.environment.get() {
        stage.runtime.block_on(environment.close());
    }
    conclusion.exit_code()
}

impl Stage {
    async fn perform(&self, test: Test) -> Result<Completion, Failed> {
        if let Need::Program(program) = test.needs
            && Command::new(program).arg("--version").output().is_err()
        {
            return Ok(Completion::ignored_with(format!("{program} is not installed")));
        }
        let environment = self.environment.get_or_init(async || Environment::open().await.map(Arc::new));
        let environment = environment.await.as_ref().map_err(|error| format!("no services: {error}"))?;
        if matches!(test.needs, Need::Browser) {
            // After the services, because apt-get runs once at a time.
            let ensure = async || install::ensure_browser().await.map_err(|error| error.to_string());
            let installed = self.browser.get_or_init(ensure).await;
            installed.as_ref().map_err(|error| format!("no browser: {error}"))?;
        }
        if test.alone && !environment.is_private() {
            return Ok(Completion::ignored_with("it stops services, and these are not ours"));
        }
        if test.alone {
            let _floor = self.floor.write().await;
            let completion = Self::act(test, environment).await;
            environment.restore().await;
            completion
        } else {
            let _floor = self.floor.read().await;
            Self::act(test, environment).await
        }
    }

    async fn act(test: Test, environment: &Arc<Environment>) -> Result<Completion, Failed> {
        let app = TestApp::new(Arc::clone(environment)).await;
        let acted = AssertUnwindSafe((test.body)(&app)).catch_unwind().await;
        let acted = match acted {
            Ok(()) => AssertUnwindSafe(app.assert_settled()).catch_unwind().await,
            panicked => panicked,
        };
        let logs = app.logs();
        app.close().await;
        match acted {
            Ok(()) => Ok(Completion::Completed),
            Err(panic) => Err(format!("{}\n{logs}", message(&*panic)).into()),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// The only item. Panics if there are none or several.
pub(crate) fn only<T: Debug>(items: impl IntoIterator<Item = T>) -> T {
    let mut items: Vec<T> = items.into_iter().collect();
    assert_eq!(items.len(), 1, "{items:#?}");
    items.remove(0)
}

/// Polls `probe` until it returns a value. Panics with `what` after [`WAIT_TIMEOUT`].
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let mut tick = interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out after {} s: {what}", WAIT_TIMEOUT.as_secs());
    }
}
