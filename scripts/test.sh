#!/usr/bin/env bash
# Sets up .venv and runs the tests.
#
#   bash scripts/test.sh                      the quick set
#   bash scripts/test.sh --slow               everything
#   bash scripts/test.sh tests/models -k x3d  what follows goes to pytest
#
# Environment: TEST_WORKERS, processes to test with (default: one per core, at most 8).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

select=(-m 'not slow')
if [ "${1:-}" = --slow ]; then select=(); shift; fi

bash scripts/setup.sh --dev

# One thread per worker: the workers already use every core, and spinning OpenMP threads of one
# slow the others several times down.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_WAIT_POLICY=passive
exec "${VENV:-.venv}/bin/python" -m pytest -n "${TEST_WORKERS:-auto}" --maxprocesses 8 \
  --dist worksteal --timeout 600 "${select[@]}" "$@"
