#!/usr/bin/env bash
# Make the environment of SpikeInterface and its sorters in benchmarks/sorters/.venv, which git ignores.
# SpikeInterface 0.105 needs zarr 2 and cannot live beside the product, so recordings and sortings pass as files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$here/.venv"
"$here/.venv/bin/python" -m pip install --quiet 'spikeinterface[full]==0.105.*' mountainsort5 hdbscan torch 'kilosort==4.*'
"$here/.venv/bin/python" -c 'import spikeinterface; print("spikeinterface", spikeinterface.__version__)'
