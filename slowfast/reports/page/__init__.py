"""The page about a set of runs, as one HTML file and as Markdown."""
