#!/usr/bin/env bash
# VQA v2: questions, answers and photos, the features of all its images and, from a file of answers,
# what the official server takes.
#
#     bash scripts/vqav2.sh
#     ANSWERS=answers.json ALGORITHM=mine bash scripts/vqav2.sh
#
# It ends with the features. `vlm fit --config configs/vqav2.yaml` trains on them, `vlm predict` with the
# questions of SPLIT as --data.questions writes answers.json; ANSWERS is that file or anybody's, in any
# form that vlm evaluate reads, and becomes the file to hand in.
#
# Stopped anywhere, the same line goes on; what is there already is not made again.
#
# Disk: 33.4 GB of photos are fetched, with room for 46.9 GB while they are unpacked (vlm prepare
# tells it); the features of 204,721 images take 40 GB with the backbone below in int8. Time: this
# has NOT been run on the full VQA v2 yet, only, by a test, on ten photos. vlm extract prints the
# images a second of your machine before it starts.
set -euo pipefail

BACKBONE=${BACKBONE:-vit_base_patch16_siglip_256.v2_webli}
DATA=${DATA:-data/vqav2}
STORE=${STORE:-$DATA/features}
FROM=${FROM:-}                # folders and mirrors that have VQA v2 or COCO, parted by spaces
VIEWS=${VIEWS:-1}             # of each image
DTYPE=${DTYPE:-int8}          # or float16, twice as large
DEVICES=${DEVICES:-1}         # of this machine; for several machines see extract_slurm.sh
WORKERS=${WORKERS:-8}         # processes that load images, for each device
VERIFY=${VERIFY:-100}         # images that the backbone looks at again
EXTRACT=${EXTRACT:-}          # further options of vlm extract, e.g. --batch-size 128
ANSWERS=${ANSWERS:-}          # file of answers to hand in
SPLIT=${SPLIT:-test2015}      # that they answer, or test-dev2015
ALGORITHM=${ALGORITHM:-vlm}   # its name on the server

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

from=()
for place in $FROM; do from+=(--from "$place"); done
vlm prepare vqav2 --output "$DATA" ${from[@]+"${from[@]}"}

# shellcheck disable=SC2086  # options are words
vlm extract --images "$DATA/images" --backbone "$BACKBONE" --output "$STORE" --views "$VIEWS" \
    --dtype "$DTYPE" --devices "$DEVICES" --workers "$WORKERS" --verify "$VERIFY" $EXTRACT
vlm doctor "$DATA" "$STORE"

[[ -z $ANSWERS ]] ||
    python "$here/scripts/make_submission.py" answers "$ANSWERS" \
        --questions "$DATA/annotations/v2_OpenEnded_mscoco_${SPLIT}_questions.json" \
        --algorithm "$ALGORITHM" --output "$DATA/submission"
