#!/usr/bin/env bash
# A batch script for Slurm, to be copied and changed: one task per rank, stopped in time to save.
#   sbatch --nodes=2 --ntasks-per-node=4 scripts/launch/slurm.sh train -c x.yaml --set parallel.expert=4
#SBATCH --job-name=artel
#SBATCH --output=%x-%j.out
# Five minutes before the time limit the ranks are asked to finish the step and save; submit the same line again to go on.
#SBATCH --signal=USR1@300
set -euo pipefail

artel="${ARTEL:-build/release/artel}"
# Kernels are loaded at the start: see mpirun.sh.
export CUDA_MODULE_LOADING="${CUDA_MODULE_LOADING:-EAGER}"
# --mpi=pmix: what Open MPI is started with; MPICH and Intel MPI take pmi2. `srun --mpi=list` shows what there is.
srun --mpi="${ARTEL_SLURM_MPI:-pmix}" --kill-on-bad-exit=1 "$artel" "$@"
