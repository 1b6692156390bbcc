#!/usr/bin/env bash
# COCO captioning from nothing to scores on Karpathy's test split and, with SUBMIT=1, to the archive
# that the official server takes.
#
#     bash scripts/coco_captioning.sh
#     SUBMIT=1 ALGORITHM=mine bash scripts/coco_captioning.sh
#     MODEL=siglip2 BACKBONE=vit_base_patch16_siglip_256.v2_webli bash scripts/coco_captioning.sh
#
# Stopped anywhere, the same line goes on; what is there already is not made again.
#
# Disk: 20.4 GB are fetched, with room for 35.1 GB while they are unpacked (vlm prepare tells it);
# the features take 128 GB, five views in int8, and 26 GB with VIEWS=1 (docs/backbones.md has other
# backbones); SUBMIT=1 fetches 6.7 GB more. Time: this has NOT been run on the full COCO yet, only,
# by a test, on ten photos. vlm extract prints the images a second of your machine before it starts.
#
# Karpathy's training split holds 30,504 images of val2014. The server wants captions of val2014
# too, but only its scores on test2014 say something of a model trained so.
set -euo pipefail

MODEL=${MODEL:-clip}                        # of configs/coco_MODEL.yaml, the store and the run
BACKBONE=${BACKBONE:-resnet50x4_clip_gap.openai}
DATA=${DATA:-data/coco}
STORE=${STORE:-$DATA/features_$MODEL}
RUN=${RUN:-runs/coco_$MODEL}
FROM=${FROM:-}                              # folders and mirrors that have COCO, parted by spaces
VIEWS=${VIEWS:-5}                           # of each training image
DTYPE=${DTYPE:-int8}                        # or float16, twice as large
DEVICES=${DEVICES:-1}                       # of this machine; for several machines see *_slurm.sh
WORKERS=${WORKERS:-8}                       # processes that load images, for each device
VERIFY=${VERIFY:-100}                       # images that the backbone looks at again
SUBMIT=${SUBMIT:-0}
ALGORITHM=${ALGORITHM:-vlm-$MODEL}           # its name on the server
COCO=${COCO:-http://images.cocodataset.org} # or a mirror; for what vlm prepare does not fetch
EXTRACT=${EXTRACT:-}                        # further options of vlm extract, e.g. --batch-size 128
FIT=${FIT:-}                                # further options of vlm fit, e.g. --data.batch_size 32

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

from=()
for place in $FROM; do from+=(--from "$place"); done
vlm prepare coco --output "$DATA" ${from[@]+"${from[@]}"}

# shellcheck disable=SC2086  # options are words
vlm extract --images "$DATA/images" --backbone "$BACKBONE" --output "$STORE" --views "$VIEWS" \
    --dtype "$DTYPE" --devices "$DEVICES" --workers "$WORKERS" --verify "$VERIFY" $EXTRACT
vlm doctor "$DATA" "$STORE"

machine=(--trainer.devices "$DEVICES" --data.workers "$WORKERS")
if [[ ! -f $RUN/trained ]]; then
    if [[ -f $RUN/checkpoints/last.ckpt ]]; then
        start=(--config "$RUN/config.yaml" --ckpt_path "$RUN/checkpoints/last.ckpt")
    else
        start=(--config "$here/configs/coco_$MODEL.yaml")
    fi
    # shellcheck disable=SC2086
    vlm fit "${start[@]}" --output "$RUN" --data.root "$DATA" --model.backbone.name "$BACKBONE" \
        --data.store.init_args.path "$STORE" --data.store.init_args.views "$VIEWS" \
        "${machine[@]}" $FIT
    touch "$RUN/trained"
fi

best=$RUN/checkpoints/best.ckpt
[[ -f $RUN/test/metrics.json ]] ||
    vlm test --ckpt_path "$best" --output "$RUN/test" "${machine[@]}"
# CHAIR (objects that are not there) and what is novel, beside the scores that vlm test gives.
[[ -f $RUN/test/evaluation.json ]] ||
    vlm evaluate "$RUN/test" --references "$DATA/test.json" --training "$DATA/train.json" \
        --instances "$DATA/annotations/instances_val2014.json" --output "$RUN/test/evaluation.json"

[[ $SUBMIT == 1 ]] || exit 0

# An archive of COCO's server: fetched, held to its checksum, one folder of it moved into place.
bring() { # archive, its SHA-256 (published in TensorFlow Datasets), what it holds, where that goes
    local work="$DATA/.test2014" name
    name=$(basename "$1")
    [[ ! -e $4 ]] || return 0
    mkdir -p "$work" "$(dirname "$4")"
    if [[ ! -f $work/$name ]]; then
        curl --fail --location --retry 5 --continue-at - --output "$work/$name.partial" "$COCO/$1"
        echo "$2  $work/$name.partial" | sha256sum --check --status || {
            rm "$work/$name.partial"
            echo "$COCO/$1 is not the official archive; run the same line again" >&2
            exit 2
        }
        mv "$work/$name.partial" "$work/$name"
    fi
    python -m zipfile --extract "$work/$name" "$work"
    mv "$work/$3" "$4"
    rm "$work/$name"
}
bring annotations/image_info_test2014.zip \
    7cecc66f6b09c1671c1896a1bcc1f35eb09b7fcf00a5c18420a5f0f5983dc8c9 \
    annotations/image_info_test2014.json "$DATA/annotations/image_info_test2014.json"
bring zips/test2014.zip \
    ead40c62230cb2cf70ff4c8b4c70abdc260a7556e77b3282621d06d8e2e35bdf \
    test2014 "$DATA/test2014"

# Each of these images is looked at once, so that no store is made of them.
predict() { # split, folder of its photos, file that lists them
    [[ -f $RUN/$1/results.json ]] ||
        vlm predict --ckpt_path "$best" --output "$RUN/$1" --data.store null --data.root "$DATA" \
            --data.images "$2" --data.annotations "$3" "${machine[@]}"
}
predict val2014 images/val2014 annotations/captions_val2014.json
predict test2014 test2014 annotations/image_info_test2014.json

python "$here/scripts/make_submission.py" captions \
    "$RUN/val2014/results.json" "$RUN/test2014/results.json" \
    --ids "$DATA/annotations/captions_val2014.json" "$DATA/annotations/image_info_test2014.json" \
    --algorithm "$ALGORITHM" --output "$RUN/submission"
