"""The demo: a video or camera with what is recognised in it drawn on top."""
