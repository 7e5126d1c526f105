#!/bin/bash
# Train on a Slurm cluster, on one node or many: a process for every GPU, and the job goes back into the queue when its
# time is up, until training is done.
#
#   sbatch scripts/slurm-train.sh pretrain CORPUS --config plan/pretrain.yaml --out PRETRAIN
#   sbatch --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 scripts/slurm-train.sh align CORPUS --encoder PRETRAIN --out ALIGN
#
# Edit these lines, or give the same options to sbatch, which win. One task is one GPU.
#SBATCH --job-name=vlp-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=8G
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-train-%j.log
#
# Corpus, configuration and output must be at the same paths on every node. VLP is the command (default: vlp of the active
# environment). Accounts and partitions go into SBATCH_ACCOUNT and SBATCH_PARTITION.
#
# How the signal travels: 120 seconds before the end of its time (--signal=B:) Slurm sends SIGUSR1 to this script, and it
# to srun, which hands it to every task. The training loop ends its step, writes a checkpoint and exits with 130, and the
# script puts the job back into the queue. If a step and a checkpoint take longer than 120 seconds, raise that number.
# There is no torchrun in between: its agent dies of SIGUSR1, and kills its processes 30 seconds after a SIGTERM.
set -uo pipefail

if [[ $# -lt 2 || -z ${SLURM_JOB_ID:-} ]]; then
  sed -n '5,6p' "$0" >&2
  exit 2
fi
read -r -a vlp <<<"${VLP:-vlp}"

# what torchrun would set; rank and local rank are the task's own
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))} # two jobs that share a node take different ports
WORLD_SIZE=${SLURM_NTASKS:-$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))}
export MASTER_ADDR MASTER_PORT WORLD_SIZE
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # or every process takes all cores of its node for small operations
[[ -z ${SLURM_CPUS_PER_TASK:-} ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun does not inherit it
# NCCL finds its network itself. Where it takes the wrong one (slow, or it hangs at the start), name the right one:
# export NCCL_SOCKET_IFNAME=ib0 NCCL_DEBUG=WARN

stopping=
stop() {
  stopping=1
  [[ -z ${step:-} ]] || kill -USR1 "$step" 2>/dev/null
}
trap stop USR1

# a task that dies takes the others along: they would wait for it for ever
# shellcheck disable=SC2016 # the task expands its own variables
srun --kill-on-bad-exit=1 bash -c 'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID; exec "$@"' task \
  "${vlp[@]}" "$@" "processes=$WORLD_SIZE" &
step=$!
code=0
for _ in 1 2 3 4; do # a signal ends wait before srun has ended; of a process that has, bash keeps the exit code
  wait "$step"
  code=$?
  [[ $code -eq 138 ]] || break
done

if [[ -n $stopping && $code -ne 0 ]]; then
  if [[ $code -eq 130 ]]; then
    echo "a checkpoint is written; job $SLURM_JOB_ID goes back into the queue (start ${SLURM_RESTART_COUNT:-0})"
    scontrol requeue "$SLURM_JOB_ID" && exit 0
  else
    echo "training ended with $code and not with a checkpoint in time: raise the seconds of --signal" >&2
  fi
fi
exit "$code"
