"""Rewriting datasets so that loading them costs less."""
