//! The binary: all of it is the library beside it, which fuzz targets reach into.

use std::process::ExitCode;

fn main() -> ExitCode {
    offhook::main()
}
