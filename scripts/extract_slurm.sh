#!/usr/bin/env bash
# Region features on several machines of a SLURM cluster; an example, to be edited where it says so.
#
#     IMAGES=data/coco/images BACKBONE=resnet50x4_clip_gap.openai STORE=data/coco/features_clip \
#         VIEWS=5 DTYPE=int8 sbatch scripts/extract_slurm.sh
#
# Every task writes its own shards of one store, which must lie where all machines see it. Started
# again, after its time or a machine is gone, the job goes on. It has not been run on a real
# cluster, only, by a test, on two nodes that are none.
#
# Weights come from the internet, which machines that compute seldom have: fetch them before, where
# there is one, by the same vlm extract with --dry-run.
#
# EDIT: your cluster's partition and account, machines, GPUs, time.
#SBATCH --job-name=vlm-extract
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# A task is a process with one GPU, so --ntasks-per-node must equal --gpus-per-node: Lightning takes
# the tasks that srun starts and starts none of its own. It also reads --ntasks-per-node and --nodes
# and refuses others, and does not see SLURM in a job that is named bash or interactive.
set -euo pipefail

IMAGES=${IMAGES:?folder or file of the images}
BACKBONE=${BACKBONE:?name of a timm model}
STORE=${STORE:?folder of the store}
VIEWS=${VIEWS:-1}
DTYPE=${DTYPE:-float16}
EXTRACT=${EXTRACT:-} # further options of vlm extract, e.g. --batch-size 128

# Two minutes before the end SLURM tells this shell alone (B:), which puts the job back into the
# queue.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
# Since SLURM 22.05 srun does not take --cpus-per-task over by itself.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

# shellcheck disable=SC2086  # options are words
srun vlm extract --images "$IMAGES" --backbone "$BACKBONE" --output "$STORE" --views "$VIEWS" \
    --dtype "$DTYPE" --nodes "$SLURM_NNODES" --devices "$SLURM_NTASKS_PER_NODE" \
    --workers "$((SLURM_CPUS_PER_TASK - 1))" $EXTRACT &
wait "$!" # in the background, for a shell that waits in front hears no signal
