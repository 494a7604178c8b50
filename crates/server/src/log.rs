//! The log of the process, and what a panic may say in it.

use std::any::Any;
use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

/// Logs go to stderr; `RUST_LOG` chooses, `info` is the default.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
    std::panic::set_hook(Box::new(panicked));
}

/// The message of a panic may be made of what was at hand, numbers and texts of a call among it: above debug only the
/// place is told.
fn panicked(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(
        place,
        thread,
        "a broken invariant: please report it; RUST_LOG=debug shows its message, which may hold call data"
    );
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::debug!(place, message = message(info.payload()), %backtrace, "a panic");
}

pub(crate) fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    const CHILD: &str = "OFFHOOK_TEST_PANICS";
    const NUMBER: &str = "13811112222";

    /// The hook belongs to a whole process, so the panic happens in one of its own.
    #[test]
    fn a_panic_tells_its_place_and_call_data_at_debug_only() {
        if std::env::var_os(CHILD).is_some() {
            super::start();
            let dial = || panic!("{NUMBER} cannot be dialled");
            assert!(std::thread::spawn(dial).join().is_err());
            return;
        }
        for (level, shown) in [("info", false), ("debug", true)] {
            let child = Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "--nocapture"])
                .arg("log::tests::a_panic_tells_its_place_and_call_data_at_debug_only")
                .env(CHILD, "1")
                .env("RUST_LOG", level)
                .output()
                .expect("it runs");
            let told = [child.stdout, child.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(told.contains("log.rs:"), "{told}");
            assert_eq!(told.contains(NUMBER), shown, "{level}: {told}");
        }
    }
}
