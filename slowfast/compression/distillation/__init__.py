"""A student learns from one or several teachers."""
