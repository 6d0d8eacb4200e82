"""Building blocks shared by the model families, one block per file."""
