"""Trained models as files that run without this package: one module per format."""
