"""What a model costs, how fast it is, and how it leaves Python."""
