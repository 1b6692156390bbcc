"""Images of a page whose words look at known places."""

import numpy as np
from PIL import Image

from vlm.explain.viewer import Reading, Viewed

EVIL = "</script><b>fat</b><!--\u2028"
SELECTED = "#words [aria-selected=true]"
ROWS, COLUMNS = 3, 5
UPPER_LEFT, MIDDLE, LOWER_RIGHT = 0, 7, 14
OTHER = 9  # at the right


def boxes() -> np.ndarray:
    y, x = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
    return np.stack([x / COLUMNS, y / ROWS, (x + 1) / COLUMNS, (y + 1) / ROWS], axis=1)


def looks(*places: int, share: float = 1.0) -> np.ndarray:
    """``(word, region)`` with a share of each word at one place, the rest everywhere."""
    rows = np.full((len(places), ROWS * COLUMNS), (1 - share) / (ROWS * COLUMNS))
    rows[np.arange(len(places)), places] += share
    return rows


def caption(words: str = "a dog runs", **more) -> Reading:
    """Two layers of two heads; the last layer's heads agree on another place for each word."""
    last = looks(UPPER_LEFT, LOWER_RIGHT, MIDDLE, share=0.5)
    weights = np.stack(
        [
            np.stack([looks(OTHER, OTHER, OTHER), looks(MIDDLE, MIDDLE, MIDDLE)]),
            np.stack([last, last]),
        ]
    )
    options = {
        "probabilities": [0.5, 0.834, 0.25],
        "runners_up": [[], [("cat", 0.1), ("fox", 0.001)], []],
        "maps": {"rollout": looks(LOWER_RIGHT, UPPER_LEFT, MIDDLE)},
        "deletion": {"last": 0.42, "by chance": 0.5},
    }
    return Reading(words.split(" "), weights, **{**options, **more})


GREY = Image.new("RGB", (200, 120), (128, 128, 128))


def of_one(*texts: Reading, regions: np.ndarray | None = None) -> list[Viewed]:
    return [Viewed("dog.jpg", GREY, boxes() if regions is None else regions, texts)]


def many(count: int = 120) -> list[Viewed]:
    """A gallery whose scores fall, rise and fall again along it; the third has no score."""
    words = ("a dog runs", "a cat sleeps", f"a {EVIL} runs")
    scores = [{} if at == 2 else {"CIDEr-D": float((at * 7) % count)} for at in range(count)]
    return [
        Viewed(f"{at + 1}.jpg", GREY, boxes(), [caption(words[at % 3])], scores[at])
        for at in range(count)
    ]
