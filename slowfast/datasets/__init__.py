"""Video datasets and what a batch of them looks like."""
