"""What users start from: whole ways of working, over the same engine as everything else."""
