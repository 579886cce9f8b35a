#!/usr/bin/env bash
# Writes requirements.lock: what `make install` installs, each file of each release by its SHA-256, for all platforms and
# Pythons that pyproject.toml allows. Needs uv (https://docs.astral.sh/uv). CUDA's libraries are left out: torch asks for
# them by exact versions itself, and a CPU build of torch needs none. A build of torch that is not on the index, such as
# its CPU wheel, is given as a file, and its hash is added: tools/lock.sh torch-2.13.0+cpu-cp311-....whl
set -euo pipefail
cd "$(dirname "$0")/.."
cuda=(cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-{cublas,cuda-cupti,cuda-nvrtc,cuda-runtime,cudnn-cu13,cufft}
  nvidia-{cufile,curand,cusolver,cusparse,cusparselt-cu13,nccl-cu13,nvjitlink,nvshmem-cu13,nvtx})
printf 'hatchling\neditables\n' | uv pip compile pyproject.toml - --extra dev --constraints constraints.txt \
  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
  "${cuda[@]/#/--no-emit-package=}" --output-file requirements.lock
for wheel in "$@"; do
  sum=$(sha256sum "$wheel" | cut -d ' ' -f 1)
  sed -i "s/^torch==\([^ ]*\) /&\\\\\n    --hash=sha256:$sum /" requirements.lock
done
sed -i '1i # Written by tools/lock.sh.' requirements.lock
