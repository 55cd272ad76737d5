//! The broker's settings: from a file or a document, then the command line's, which are stronger.

use std::path::Path;

use moldau_broker::{BrokerConfig, ConfigFileError};
use moldau_connect::config::Document;

use super::ServeArgs;
use crate::output::{UsageError, print_note};

/// The settings of a configuration file; notes about it go to the terminal.
///
/// # Errors
/// The file cannot be read, or has mistakes.
pub(super) fn from_file(path: &Path) -> anyhow::Result<BrokerConfig> {
    let mut config = BrokerConfig::default();
    match config.apply_file(path) {
        Ok(notes) => {
            for note in notes {
                print_note(&note);
            }
            Ok(config)
        }
        Err(ConfigFileError::Mistakes(mistakes)) => Err(UsageError(mistakes).into()),
        Err(error @ ConfigFileError::Read { .. }) => Err(error.into()),
    }
}

/// The settings in the section `broker:` of a moldau.yaml.
///
/// # Errors
/// A setting is unknown, wrong or not supported.
pub(super) fn from_document(document: &Document) -> anyhow::Result<BrokerConfig> {
    let mut config = BrokerConfig::default();
    config
        .apply_settings(&document.broker)
        .map_err(|error| UsageError(format!("section broker: {error}")))?;
    Ok(config)
}

/// `base` with what the command line says: `-o` beats the other options, and those beat `base`.
///
/// # Errors
/// An option `-o` is no `NAME=VALUE`, or its setting is unknown, wrong or not supported.
pub(super) fn with_arguments(
    mut base: BrokerConfig,
    args: &ServeArgs,
) -> anyhow::Result<BrokerConfig> {
    if let Some(data_dir) = &args.data_dir {
        base.data_dir.clone_from(data_dir);
    }
    if let Some(address) = args.kafka {
        base.listeners = vec![address.0];
    }
    for option in &args.options {
        let (name, value) = option.split_once('=').ok_or_else(|| {
            UsageError(format!(
                "-o {option}: not a setting; write for example -o num.partitions=3"
            ))
        })?;
        base.set(name.trim(), value)
            .map_err(|error| UsageError(format!("-o {option}: {error}")))?;
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn with(base: &str, arguments: &[&str]) -> anyhow::Result<BrokerConfig> {
        let mut config = BrokerConfig::default();
        config.apply_text(base, moldau_broker::config::FileFormat::Properties, "f")?;
        let arguments = ["moldau"].iter().chain(arguments);
        with_arguments(config, &Command::try_parse_from(arguments)?.serve)
    }

    #[test]
    fn the_command_line_beats_the_file_and_its_o_beats_all() {
        let file = "log.dirs=/file\nlisteners=PLAINTEXT://:1\nnum.partitions=2\n";
        let config = with(file, &[]).unwrap();
        assert_eq!(config.data_dir, Path::new("/file"));
        let arguments = [
            "--data-dir",
            "/option",
            "--kafka",
            ":2",
            "-o",
            "num.partitions=3",
        ];
        let config = with(file, &arguments).unwrap();
        assert_eq!(config.data_dir, Path::new("/option"));
        assert_eq!((config.listeners[0].port(), config.num_partitions), (2, 3));
        let arguments = [
            "--data-dir",
            "/option",
            "-o",
            "log.dirs=/o",
            "-o",
            "listeners=:3",
        ];
        let config = with(file, &arguments).unwrap();
        assert_eq!(config.data_dir, Path::new("/o"));
        assert_eq!(config.listeners[0].port(), 3);
    }

    #[test]
    fn an_option_that_is_wrong_says_what_would_be_right() {
        for (option, expected) in [
            (
                "num.partition=3",
                "-o num.partition=3: unknown broker setting \"num.partition\"; did you mean \"num.partitions\"?",
            ),
            (
                "colour",
                "-o colour: not a setting; write for example -o num.partitions=3",
            ),
        ] {
            let error = with("", &["-o", option]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
