"""The subcommands of `prunery`, one module each, and what they share: reading configs, laying out text."""
