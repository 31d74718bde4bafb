//! The binary: parses the command line and runs one command.

fn main() -> std::process::ExitCode {
    contact_relay::dev::services::holder::main()
}
