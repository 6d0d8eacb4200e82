"""Trained models as files that run without this package: one module per format."""

from slowfast.deploy.export.table import EXPORTERS

__all__ = ["EXPORTERS"]
