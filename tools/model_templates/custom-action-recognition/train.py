#!/usr/bin/env python3
"""Train or finetune the model of this directory: python train.py --help"""

from pathlib import Path

from slowfast.learners.templates.train import main

if __name__ == "__main__":
    main(folder=Path(__file__).resolve().parent)
