#!/usr/bin/env bash
# Makes .venv with everything the project needs; does nothing when that is already there.
#
#   bash scripts/setup.sh [--dev | --deploy] [--cpu]
#
#   --dev     also the tools that the tests and checks use
#   --deploy  also what exports, quantises and runs models elsewhere (--dev has that too)
#   --cpu     take torch's smaller CPU-only build from pytorch.org (the default build of PyPI on
#             Linux brings CUDA along, several gigabytes)
#
# Environment: PYTHON, the interpreter to make .venv from (3.11 to 3.13); VENV, where it goes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${VENV:-.venv}
target=.
pip_options=(--quiet --quiet --disable-pip-version-check --no-input)
for option in "$@"; do
  case $option in
    --dev) target='.[dev]' ;;
    --deploy) target='.[deploy,quantize]' ;;
    --cpu) pip_options+=(--extra-index-url https://download.pytorch.org/whl/cpu) ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit ;;
    *) echo "setup.sh: unknown option $option (see --help)" >&2; exit 2 ;;
  esac
done

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if fits "$candidate"; then echo "$candidate"; return; fi
  done
  echo "setup.sh: no Python 3.11, 3.12 or 3.13 with venv found (tried: ${PYTHON:-python3 python3.13 python3.12 python3.11})." >&2
  echo "Debian, Ubuntu: apt install python3 python3-venv. Another interpreter: PYTHON=/path/to/python3.12 bash $0" >&2
  return 1
}

if ! fits "$venv/bin/python"; then
  python=$(find_python)
  echo "Making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

# The stamp names what was installed: same files and a target that covers this one, nothing to do.
stamp=$venv/.installed
wanted=$(cat requirements.txt setup.py pyproject.toml | sha256sum | cut -d' ' -f1)
covering=("$target" '.[dev]')
if [ "$target" = . ]; then covering+=('.[deploy,quantize]'); fi
for done_target in "${covering[@]}"; do
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted $PWD $done_target" ]; then exit 0; fi
done

echo "Installing requirements.txt and $target into $venv (the first time takes minutes)"
"$venv/bin/python" -m pip install "${pip_options[@]}" -r requirements.txt -e "$target"
echo "$wanted $PWD $target" >"$stamp"
echo "Installed. Use it with: source $venv/bin/activate"
