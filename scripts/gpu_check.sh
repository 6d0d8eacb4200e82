#!/usr/bin/env bash
# Checks everything a GPU has to do here and prints one JSON, in under 8 minutes (docs/gpu.md).
#
#   bash scripts/gpu_check.sh --output gpu.json
#   bash scripts/gpu_check.sh --device cpu     the same code, tiny, on a machine without a GPU
#
# Exit status: 0 all is well, 1 a check failed, 3 there is no GPU. PYTHON, the interpreter to use
# (default: .venv's, which scripts/setup.sh makes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${PYTHON:-}" ]; then
  bash scripts/setup.sh >&2
  PYTHON=${VENV:-.venv}/bin/python
fi
exec "$PYTHON" tools/gpu_check.py "$@"
