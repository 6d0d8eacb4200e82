#!/usr/bin/env python3
"""Score trained or exported weights of this directory's model: python eval.py --help"""

from pathlib import Path

from slowfast.learners.templates.evaluate import main

if __name__ == "__main__":
    main(folder=Path(__file__).resolve().parent)
