"""ROUGE-L of captions: the longest common subsequence with the references (Lin, 2004)."""

from collections.abc import Sequence

_BETA = 1.2  # weight of recall against precision


def rouge_l(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> list[float]:
    """Scores every candidate against its image's references.

    Precision and recall are each the best over the references, possibly of two different ones, as
    COCO scoring takes them. A caption without tokens counts as one empty token.

    Args:
        candidates: The tokens of one candidate an image.
        references: The tokens of each image's references, at least one; images in the same order.

    Returns:
        One score an image, in [0, 1].
    """
    return [_rouge_l(*pair) for pair in zip(candidates, references, strict=True)]


def _rouge_l(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    candidate = candidate or [""]
    places: dict[str, int] = {}
    for position, token in enumerate(candidate):
        places[token] = places.get(token, 0) | 1 << position
    common = [_common_length(places, len(candidate), reference or [""]) for reference in references]
    precision = max(common) / len(candidate)
    recall = max(n / max(1, len(tokens)) for n, tokens in zip(common, references, strict=True))
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common_length(places: dict[str, int], length: int, tokens: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of its table in one integer (Hyyrö, 2004).

    Args:
        places: For each candidate token, the bits of its positions.
        length: Number of candidate tokens.
        tokens: The reference.
    """
    row = everywhere = (1 << length) - 1  # a zero where the table grows by one
    for token in tokens:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & everywhere
    return length - row.bit_count()
