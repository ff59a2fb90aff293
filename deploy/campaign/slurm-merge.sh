#!/bin/sh
# Joins the reports of slurm.sh, once all its tasks have ended.
#SBATCH --job-name=raft-sim-merge
#SBATCH --output=raft-sim-merge.log
set -eu

cd "${REPORTS:-$PWD/reports}"
code=0
raft-sim merge share-*.json > whole.json || code=$?
raft-sim merge --format text whole.json || true
exit "$code"
