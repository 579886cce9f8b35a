#!/usr/bin/env bash
# Writes requirements.lock: what `make install` installs, each file of each release by its SHA-256, for all platforms and
# Pythons that pyproject.toml allows. Needs uv (https://docs.astral.sh/uv). CUDA's libraries are left out: torch asks for
# them by exact versions itself, and a CPU build of torch needs none. CPU builds are not on the index, and pip prefers what
# is: those that are given as files, tools/lock.sh torch-2.13.0+cpu-cp311-....whl, are in torch-cpu.lock, installed before.
set -euo pipefail
cd "$(dirname "$0")/.."
cuda=(cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-{cublas,cuda-cupti,cuda-nvrtc,cuda-runtime,cudnn-cu13,cufft}
  nvidia-{cufile,curand,cusolver,cusparse,cusparselt-cu13,nccl-cu13,nvjitlink,nvshmem-cu13,nvtx})
printf 'hatchling\neditables\n' | uv pip compile pyproject.toml - --extra dev --constraints constraints.txt \
  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
  "${cuda[@]/#/--no-emit-package=}" --output-file requirements.lock
sed -i '1i # Written by tools/lock.sh.' requirements.lock
if [ $# -gt 0 ]; then
  version=$(sed -n 's/^torch==\([^ ]*\) .*/\1/p' requirements.lock)
  printf '# Written by tools/lock.sh.\ntorch==%s+cpu' "$version" > torch-cpu.lock
  sha256sum "$@" | sed 's/ .*//; s/^/ --hash=sha256:/' | tr -d '\n' >> torch-cpu.lock
  echo >> torch-cpu.lock
fi
