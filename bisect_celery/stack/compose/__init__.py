"""Compose files: our own, read here, and a project's, resolved by a compose program."""
