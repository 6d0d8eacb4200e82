"""Augmentation of whole clips: what is drawn (once per clip), and what is done to pixels."""
