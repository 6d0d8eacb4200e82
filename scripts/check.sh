#!/usr/bin/env bash
# Every gate a change must pass, cheap ones first: format, lint, types, layers, duplicate code, tests.
#
#   bash scripts/check.sh              all of it
#   bash scripts/check.sh --no-tests   without the full test run
#
# All gates run even when one fails; the last lines name those that did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh --dev || exit 1

bin=${VENV:-.venv}/bin
code=(slowfast tools tests scripts setup.py)
failed=()
gate() {
  local name=$1
  shift
  echo "== $name: $*"
  "$@" || failed+=("$name")
}

gate format "$bin/ruff" format --check "${code[@]}"
gate lint "$bin/ruff" check "${code[@]}"
gate types "$bin/mypy"
gate layers "$bin/python" -m pytest -q tests/test_layering.py tests/test_cfg_edge.py
gate duplicates "$bin/pylint" --disable=all --enable=duplicate-code slowfast tools
[ "${1:-}" = --no-tests ] || gate tests bash scripts/test.sh --slow

if [ ${#failed[@]} -gt 0 ]; then
  echo "Failed: ${failed[*]}"
  exit 1
fi
echo "All checks passed."
