#!/bin/sh
# A campaign of raft-sim as a Slurm array: each task runs one share of the seeds. README.md says how to use it.
#SBATCH --job-name=raft-sim
#SBATCH --array=0-15
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=04:00:00
#SBATCH --output=raft-sim-%a.log
set -eu

# The folder of the reports, on a file system that all machines share.
reports=${REPORTS:-$PWD/reports}
seeds=${SEEDS:-0..20000}
share=$SLURM_ARRAY_TASK_ID
mkdir -p "$reports"
cd "$reports"

code=0
raft-sim swarm --profile all --seeds "$seeds" --shard "$share/$SLURM_ARRAY_TASK_COUNT" -j "$SLURM_CPUS_PER_TASK" --coverage --format json --out "failures-$share" > "share-$share.part" || code=$?
mv "share-$share.part" "share-$share.json"
exit "$code"
