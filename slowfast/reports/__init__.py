"""What people look at: tables, curves, confusion matrices, sample clips."""
