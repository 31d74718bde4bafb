//! `completions`.

use clap_complete::Shell;

use super::{exit::Exit, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  contact-relay completions bash > /etc/bash_completion.d/contact-relay
  contact-relay completions zsh > \"${fpath[1]}/_contact-relay\"")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a script that completes the words of `command` in that shell.
pub(super) fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<Exit> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::line(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::Done)
}
