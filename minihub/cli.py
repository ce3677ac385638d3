"""The command line; nothing else reads argv."""
