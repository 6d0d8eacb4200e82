#!/usr/bin/env bash
# From a dataset to a compressed, exported, measured model. Without arguments: on a small synthetic
# dataset.
#
#   bash scripts/run_pipeline.sh
#   bash scripts/run_pipeline.sh --config configs/MECCANO/X3D_M.yaml --data_dir /data/meccano \
#        --output_dir runs/meccano
#
# See --help for all options. Runs again where it stopped: a stage that is done and whose inputs
# have not changed is not run again. Makes .venv on the first run.
set -euo pipefail
# Paths on the command line are meant from where the user stands, so this does not change folder.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh" --deploy
venv=${VENV:-.venv}
case $venv in /*) ;; *) venv=$root/$venv ;; esac
exec "$venv/bin/python" "$root/tools/pipeline.py" "$@"
