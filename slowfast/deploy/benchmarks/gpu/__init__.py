"""Everything that a GPU has to do here, tried and timed on the machine at hand, within minutes."""
