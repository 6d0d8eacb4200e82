#!/usr/bin/env python3
"""Export trained weights of this directory's model: python export.py --help"""

from pathlib import Path

from slowfast.learners.templates.export import main

if __name__ == "__main__":
    main(folder=Path(__file__).resolve().parent)
