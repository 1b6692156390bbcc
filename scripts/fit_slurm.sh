#!/usr/bin/env bash
# A training on several machines of a SLURM cluster; an example, to be edited where it says so.
#
#     CONFIG=configs/coco_clip.yaml RUN=runs/coco_clip sbatch scripts/fit_slurm.sh
#
# Started again, after its time or a machine is gone, the job goes on with checkpoints/last.ckpt,
# which is written after each validation; what was learnt since then is learnt again. The configs of
# COCO write it (save_last: true). It has not been run on a real cluster, only, by a test, on two
# nodes that are none.
#
# Every task takes data.batch_size images a step: with 8 tasks and the 64 of the COCO configs a step
# has 512, for which the learning rate was not chosen. Divide it: FIT="--data.batch_size 8".
#
# EDIT: your cluster's partition and account, machines, GPUs, time.
#SBATCH --job-name=vlm-fit
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# A task is a process with one GPU, so --ntasks-per-node must equal --gpus-per-node: Lightning takes
# the tasks that srun starts and starts none of its own. It also reads --ntasks-per-node and --nodes
# and refuses others, and does not see SLURM in a job that is named bash or interactive.
set -euo pipefail

CONFIG=${CONFIG:?file of the experiment}
RUN=${RUN:?folder of the run}
FIT=${FIT:-} # further options of vlm fit

# Two minutes before the end SLURM tells this shell alone (B:), which puts the job back into the
# queue. Told itself, Lightning would write a checkpoint of its own in the midst of an epoch, which
# nothing that is given --ckpt_path reads.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
# Since SLURM 22.05 srun does not take --cpus-per-task over by itself.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

start=(--config "$CONFIG")
if [[ -f $RUN/checkpoints/last.ckpt ]]; then
    start=(--config "$RUN/config.yaml" --ckpt_path "$RUN/checkpoints/last.ckpt")
fi
# shellcheck disable=SC2086  # options are words
srun vlm fit "${start[@]}" --output "$RUN" --trainer.num_nodes "$SLURM_NNODES" \
    --trainer.devices "$SLURM_NTASKS_PER_NODE" --data.workers "$((SLURM_CPUS_PER_TASK - 1))" $FIT &
wait "$!" # in the background, for a shell that waits in front hears no signal
