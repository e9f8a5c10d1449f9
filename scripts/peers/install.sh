#!/usr/bin/env bash
# Makes .venv with PyTorch for the peer programs of this folder: about 1.2 GB. Nothing else needs it.
#
# The wheel links CUDA libraries even where it runs on the CPU only. Those that a CUDA toolkit under
# CUDA_HOME (default /usr/local/cuda) has are taken from there, the rest from pip; where there is no
# toolkit, pip brings them all (4 GB).
set -euo pipefail
cd "$(dirname "$0")/../.."

torch=2.15.0
[[ -x .venv/bin/python ]] || python3 -m venv .venv
pip=(.venv/bin/pip install --quiet --disable-pip-version-check)

if [[ -d ${CUDA_HOME:=/usr/local/cuda}/lib ]]; then
  "${pip[@]}" --no-deps torch==$torch nvidia-cufile nvidia-cusparselt-cu13==0.8.1 \
    nvidia-nvshmem-cu13==3.7.2 nvidia-nccl-cu13==2.30.7 \
    filelock typing-extensions sympy mpmath networkx jinja2 markupsafe fsspec numpy setuptools
else
  "${pip[@]}" torch==$torch numpy
fi
scripts/peers/python -c 'import torch; print("torch", torch.__version__)'
