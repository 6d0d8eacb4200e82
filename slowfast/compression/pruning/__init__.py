"""Structured pruning: whole channels go, and everything that reads or gives them."""
