"""The browser page and the HTTP interface of `tools/serve.py`."""
