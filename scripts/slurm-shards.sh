#!/bin/bash
# Share the shards of a command on a Slurm cluster: one job that plans, an array that works, one job that merges.
#
#   scripts/slurm-shards.sh TASKS (anonymize dicom|anonymize reports|vlp prepare) SOURCE --out OUT [option ...] [key=value ...]
#
# Every node must see SOURCE, OUT, OUT.private and the file of --secret-file (which anonymize needs) at the same paths.
# Options of sbatch (account, partition, time) go into SBATCH_ACCOUNT, SBATCH_PARTITION, SBATCH_TIMELIMIT; CORES (default 4)
# is the cores of a task and MEMORY (default 2G) the memory of each. Run the same command again after a failure: shards
# that are done are not done again.
set -euo pipefail

case "${2:-} ${3:-}" in
  "anonymize dicom" | "anonymize reports" | "vlp prepare") known=1 ;;
  *) known=0 ;;
esac
if [[ $# -lt 6 || $known == 0 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
  sed -n '4p' "$0" >&2
  exit 2
fi
tasks=$1
shift
cores=${CORES:-4}
name=$1-$2
command=("$@" "workers=$cores" --quiet)
submit() { sbatch --parsable --cpus-per-task="$1" --mem-per-cpu="${MEMORY:-2G}" --output="slurm-$name-%A_%a.log" "${@:2}"; }

plan=$(submit 1 --job-name="$name-plan" --wrap="$(printf '%q ' "${command[@]}" --plan)")
work=$(submit "$cores" --job-name="$name-work" --array="1-$tasks" --dependency="afterok:$plan" --requeue \
  --wrap="$(printf '%q ' "${command[@]}") --shards \$SLURM_ARRAY_TASK_ID/$tasks")
finish=$(submit "$cores" --job-name="$name-finish" --dependency="afterok:$work" \
  --wrap="$(printf '%q ' "${command[@]}" --finish)")
echo "plan $plan, work $work (1-$tasks), finish $finish"
