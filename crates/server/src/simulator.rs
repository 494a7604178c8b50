use std::process::ExitCode;
#[derive(clap::Args)]
pub struct Arguments {}
pub async fn run(_: Arguments) -> Result<ExitCode, crate::serve::ServeError> {
    Ok(ExitCode::SUCCESS)
}
