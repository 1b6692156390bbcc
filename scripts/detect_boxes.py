"""Boxes of a torchvision detector, as the COCO detections file that `vlm extract --boxes` reads.

    python scripts/detect_boxes.py photos --detector fasterrcnn_resnet50_fpn_v2 --output boxes.json

Images are named as `vlm extract` names those of a folder: by their file's name below it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vlm.cli.arguments import Arguments
from vlm.data.folders import list_images
from vlm.data.images import load_image
from vlm.errors import InputError
from vlm.files import require_writable, write_json
from vlm.models.detector import Detector


def main() -> None:
    """Looks at every image of a folder and writes what was found."""
    parser = Arguments(prog="detect_boxes.py", description=__doc__)
    parser.add_argument("images", type=Path, help="a folder")
    parser.add_argument("--detector", default="fasterrcnn_resnet50_fpn_v2", help="torchvision's")
    parser.add_argument("--weights", default="DEFAULT", help="torchvision's own, or a file")
    parser.add_argument("--boxes", type=int, default=36, help="of an image, at most")
    parser.add_argument("--threshold", type=float, default=0.05, help="least score of a box")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps")
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    options = parser.parse_args()
    require_writable(options.output)
    paths = list_images(options.images)
    detector = Detector(
        options.detector,
        options.weights,
        boxes=options.boxes,
        score_threshold=options.threshold,
    ).to(options.device)
    rows = []
    for path in tqdm(paths, unit=" images"):
        key = path.relative_to(options.images).as_posix()
        rows += detections(detector, path, options.device, key=key)
    write_json(options.output, rows)
    print(f"{len(rows)} boxes of {len(paths)} images written to {options.output}")


def detections(detector: Detector, path: Path, device: str, *, key: str) -> list[dict]:
    """The boxes of an image file in pixels, each a record of COCO's format of results."""
    image = load_image(path)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(device)
    found = detector([pixels])[0]
    corner = torch.tensor([image.width, image.height] * 2)
    rows = []
    for box, score in zip(found.boxes.cpu() * corner, found.scores.tolist(), strict=True):
        x0, y0, x1, y1 = box.tolist()
        rows.append({"image_id": key, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score})
    return rows


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"detect_boxes.py: error: {error}", file=sys.stderr)
        sys.exit(2)
