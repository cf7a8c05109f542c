#!/bin/bash
# A search on four nodes of a Slurm cluster:  sbatch docs/cluster/slurm.sh
# /shared is seen by every node; it holds this repository's .venv, the data and the runs.
#SBATCH --job-name=trp-search
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:INT@300

cd /shared/trp_search || exit 1
export PATH=$PWD/.venv/bin:$PATH
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):6379
run=/shared/runs/cifar10

# The same command starts the search and continues it after a time limit.
if [ -e "$run/search.yaml" ]; then
  words=(resume "$run")
else
  words=(search search_spaces/cifar10.yaml --out "$run")
fi

# One Ray on all nodes; the search itself runs on the first. Ray ends with it.
srun ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$SLURM_GPUS_ON_NODE" \
  -- trp-search "${words[@]}" --address auto
