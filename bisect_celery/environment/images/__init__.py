"""Environments that are images: a Dockerfile read, what its build is given, and what came of it."""
