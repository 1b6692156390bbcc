"""Words to walk through, each over what it looked at: one HTML file that needs no network."""

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlm.errors import InputError
from vlm.explain.overlay import HEAT, OPACITY, is_grid
from vlm.formats.word_maps import LAST, reductions_of_weights, told

LONGEST = 512
"""Pixels: the longer side of a photo in the page; larger ones are scaled."""
QUALITY = 80
"""Of the photos' JPEG."""


class Reading(NamedTuple):
    """A text of an image, and where each of its words looked.

    Attributes:
        words: of a caption, a beam or a question, in order.
        weights: ``(layer, head, word, region)`` of cross-attention, rows not negative; without
            layers where there are only maps.
        probabilities: ``(word,)`` in [0, 1]; NaN for a word that was given, as a question's are,
            after which comes its answer; None when all were.
        runners_up: other words with their probabilities, for each word; may be empty.
        maps: ``(word, region)`` by the name of their reduction; those that weights alone give
            are left out of the page, which computes them.
        deletion: scores by the name of their reduction, lower being better; under "by chance" that
            of an order by chance.
        score: of a beam, its log-probability say.
        answers: the best ones of a question, each with its probability.
        name: what it is: "caption", "question"; when empty one of these, or "beam 1" to the last.
    """

    words: Sequence[str]
    weights: NDArray
    probabilities: Sequence[float] | NDArray | None = None
    runners_up: Sequence[Sequence[tuple[str, float]]] = ()
    maps: Mapping[str, NDArray] = MappingProxyType({})
    deletion: Mapping[str, float] = MappingProxyType({})
    score: float | None = None
    answers: Sequence[tuple[str, float]] = ()
    name: str = ""


class Viewed(NamedTuple):
    """An image of the page.

    Attributes:
        title: its file name, say.
        picture: upright, of any size.
        boxes: ``(region, 4)`` as x0 y0 x1 y1 in [0, 1] of the picture.
        texts: one, or several to choose from: beams, say, or questions.
        scores: that sort the gallery, by name.
    """

    title: str
    picture: Image.Image
    boxes: NDArray
    texts: Sequence[Reading]
    scores: Mapping[str, float] = MappingProxyType({})


def viewer(title: str, entries: Iterable[Viewed], *, reduction: str = LAST) -> str:
    """An HTML page: a gallery, and each image with its words, layers, heads and reductions.

    Whatever titles and texts hold stays text. Pictures are read one after the other, so that
    `entries` may open them as they are asked for.

    Args:
        title: of the page.
        entries: its images; a single one has no gallery.
        reduction: that is shown first.

    Raises:
        InputError: if there is no image, an image has no text, arrays do not fit each other, or
            no text has the reduction.
    """
    index, blocks, scaled, known = [], [], 0, {}
    for number, entry in enumerate(entries):
        _check(entry)
        for text in entry.texts:
            known |= dict.fromkeys(_reductions(text))
        photo = _shown(entry.picture)
        scaled += photo.size != entry.picture.size
        texts = [_said(text) for text in entry.texts]
        index.append({"title": entry.title, "texts": texts, "scores": _numbers(entry.scores)})
        blocks.append(_block(f"photo-{number}", "text/plain", _jpeg(photo)))
        blocks.append(_data(f"entry-{number}", _entry(entry, photo.size)))
    if not index:
        raise InputError("a page of maps needs at least one image, got none; name one")
    if reduction not in known:
        raise InputError(f"no text has the reduction {reduction!r}; {told(list(known))}")
    names = dict.fromkeys(name for each in index for name in each["scores"])
    about = {
        **{"entries": index, "scores": list(names), "reduction": reduction},
        **{"heat": HEAT.tolist(), "opacity": OPACITY},
    }
    said = f"Scaled: {scaled} of {len(index)} photos," if len(index) > 1 else "The photo was scaled"
    return _filled(
        title,
        data="\n".join([_data("page", about), *blocks]),
        scaled=f"{said} to {LONGEST} pixels on the longer side." if scaled else "",
    )


def quantised(rows: NDArray) -> bytes:
    """Weights in 8 bits each, as the page reads them.

    Every row is scaled by its largest weight, so that none is off by more than 1/510 of that.

    Args:
        rows: ``(..., region)``, not negative.

    Returns:
        Every row's float32 scale, lowest byte first, then every weight as one byte: a weight is
        its byte times its row's scale.
    """
    flat = np.asarray(rows, dtype=np.float32).reshape(-1, rows.shape[-1])
    scales = flat.max(axis=1) / np.float32(255)
    levels = np.rint(flat / np.maximum(scales, np.finfo(np.float32).tiny)[:, None])
    return scales.astype("<f4").tobytes() + levels.clip(0, 255).astype(np.uint8).tobytes()


def _reductions(text: Reading) -> list[str]:
    layers, heads = text.weights.shape[:2]
    given = reductions_of_weights(layers, heads) if layers else []
    return [*given, *(name for name in text.maps if name not in given)]


def _check(entry: Viewed) -> None:
    """Refuses an entry whose parts do not fit each other."""
    boxes = np.asarray(entry.boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise InputError(f"{entry.title}: expected boxes of (region, 4), got {boxes.shape}")
    if not entry.texts:
        raise InputError(f"{entry.title} has no text to show; give it a caption or a question")
    for text in entry.texts:
        size = (len(text.words), len(boxes))
        for name, rows in (("weights", text.weights), *text.maps.items()):
            place = rows.shape[-2:] if name == "weights" else rows.shape
            if place != size or rows.ndim != (4 if name == "weights" else 2):
                raise InputError(
                    f"{entry.title}: {size[0]} words and {size[1]} boxes need rows of {size}, "
                    f"got {name} of {rows.shape}"
                )
            if not (np.isfinite(rows).all() and (rows >= 0).all()):
                raise InputError(f"{entry.title}: {name} has values below 0 or not finite")
        for name, each in (("probabilities", text.probabilities), ("runners_up", text.runners_up)):
            if each is not None and len(each) not in {len(text.words), 0}:
                raise InputError(
                    f"{entry.title}: expected {name} of {len(text.words)} words, got {len(each)}"
                )
        if not _reductions(text):
            raise InputError(f"{entry.title}: a text has neither weights nor maps; give it one")


def _entry(entry: Viewed, shown: tuple[int, int]) -> dict[str, Any]:
    """What the page reads when the image is opened."""
    boxes = np.asarray(entry.boxes, dtype=np.float64)
    return {
        "size": entry.picture.size,
        "shown": shown,
        "boxes": boxes.round(4).tolist(),
        "grid": is_grid(boxes),
        "readings": [
            _reading(text, text.name or _name(entry.texts, at))
            for at, text in enumerate(entry.texts)
        ],
    }


def _reading(text: Reading, name: str) -> dict[str, Any]:
    layers, heads = text.weights.shape[:2]
    maps = {each: text.maps[each] for each in _reductions(text) if each in text.maps}
    own = reductions_of_weights(layers, heads) if layers else []
    likely = [] if text.probabilities is None else _rounded(text.probabilities)
    return {
        "name": name,
        "words": list(text.words),
        "layers": layers,
        "heads": heads,
        "weights": _base64(quantised(text.weights)) if layers else "",
        "maps": {each: _base64(quantised(rows)) for each, rows in maps.items() if each not in own},
        "probabilities": likely,
        "runnersUp": [_ranked(others) for others in text.runners_up],
        "deletion": _numbers(text.deletion),
        "score": None if text.score is None else _rounded([text.score])[0],
        "answers": _ranked(text.answers),
    }


def _name(texts: Sequence[Reading], at: int) -> str:
    if texts[at].answers:
        return "question"
    several = len(texts) > 1 and not any(text.answers for text in texts)
    return f"beam {at + 1}" if several else "caption"


def _said(text: Reading) -> str:
    """The words; what was answered stands behind an arrow."""
    likely = [] if text.probabilities is None else _rounded(text.probabilities)
    given = next((at for at, each in enumerate(likely) if each is not None), 0)
    parts = (text.words[:given], text.words[given:])
    return " → ".join(" ".join(words) for words in parts if words)


def _ranked(pairs: Sequence[tuple[str, float]]) -> list[tuple[str, float | None]]:
    return list(zip([word for word, _ in pairs], _rounded([p for _, p in pairs]), strict=True))


def _rounded(values: Sequence[float] | NDArray) -> list[float | None]:
    """Four digits; None for what is not a number."""
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def _numbers(named: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers, which JSON can say."""
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def _shown(picture: Image.Image) -> Image.Image:
    photo = picture.convert("RGB")
    photo.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return photo


def _jpeg(photo: Image.Image) -> str:
    buffer = io.BytesIO()
    photo.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return _base64(buffer.getvalue())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _data(name: str, content: Any) -> str:
    """JSON within the page: no ``<`` can end the element that holds it."""
    said = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return _block(name, "application/json", said)


def _block(name: str, kind: str, content: str) -> str:
    return f'<script id="{name}" type="{kind}">{content}</script>'


def _filled(title: str, *, data: str, scaled: str) -> str:
    """The page's template with its parts; a policy lets it load nothing but itself."""
    folder = files("vlm.explain")
    template, style, script = (
        folder.joinpath(f"viewer.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        **{"title": html.escape(title), "policy": policy, "style": style, "script": script},
        **{"data": data, "scaled": scaled},
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{_base64(digest)}"
