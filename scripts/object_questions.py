"""Yes/no questions about the objects of images, in the JSON lines of POPE.

python scripts/object_questions.py instances_val2014.json --strategy popular --output pope.jsonl
vlm evaluate answers.json --pope pope.jsonl
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm.cli.arguments import Arguments
from vlm.errors import InputError
from vlm.files import read_json, write_lines
from vlm.formats.ids import as_id
from vlm.formats.instances import read_objects
from vlm.metrics.polling import STRATEGIES, object_questions


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the questions; the exit status is 2 where the input cannot be used."""
    try:
        write(_parser().parse_args(arguments))
    except InputError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename} cannot be written ({error.strerror}); give another --output"
    else:
        return 0
    print(f"object_questions: error: {reason}", file=sys.stderr)
    return 2


def _parser() -> Arguments:
    parser = Arguments(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("instances", help="COCO instances JSON")
    parser.add_argument("--strategy", choices=STRATEGIES, default="random", help="absent objects")
    parser.add_argument("--each", type=int, default=3, help="present and absent objects an image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, help="JSON-lines file")
    return parser


def write(options: argparse.Namespace) -> None:
    """Asks about the objects and writes the questions, images by their file names."""
    instances = Path(options.instances)
    questions = object_questions(
        read_objects(instances), strategy=options.strategy, each=options.each, seed=options.seed
    )
    images = read_json(instances)["images"]
    files: dict[Any, Any] = {
        as_id(image["id"]): image.get("file_name") or as_id(image["id"]) for image in images
    }
    rows = (
        {"question_id": number, "image": files[image], "text": text, "label": label}
        for number, (image, text, label) in enumerate(questions, start=1)
    )
    write_lines(Path(options.output), rows)


if __name__ == "__main__":
    sys.exit(main())
