"""Published lists of the answers that a model may give, read in the order of their indices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm.errors import InputError
from vlm.files import read_json, read_text
from vlm.formats.fields import brief, is_text
from vlm.formats.ids import refuse_doubles, shown

FORM = "expected JSON of answers (a list, or each with its index) or a text file of one a line"


def read_answer_list(file: Path) -> list[str]:
    """The answers of a list, as written.

    Four forms are read: an object with the index of each answer, as LXMERT's ``ans2label``
    (Tan and Bansal 2019, arXiv:1908.07490); a list of that and its inverse, as OpenVQA's
    ``answer_dict``; a list of the answers; and, in a file that is not named ``.json``, a text
    of one answer a line. The empty answer may be among them in all but the last.

    Raises:
        InputError: if the file is missing, cut off or of another form, lists no answer or one
            twice, or its indices are not 0, 1, 2 and so on.
    """
    is_json = file.name.removesuffix(".gz").endswith(".json")
    answers = _of_tree(file, read_json(file)) if is_json else _lines(file)
    if not answers:
        raise InputError(f"{file} lists no answer; give a file with answers")
    refuse_doubles(file, "answer", answers)
    return answers


def _lines(file: Path) -> list[str]:
    text = read_text(file)
    if text.lstrip().startswith(("[", "{")):
        raise InputError(f"{file} holds JSON, not one answer a line; end its name in .json")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _of_tree(file: Path, tree: Any) -> list[str]:
    """The answers in a JSON value."""
    if isinstance(tree, dict):
        return _of_indices(file, tree)
    if isinstance(tree, list) and [type(part) for part in tree] == [dict, dict]:
        answers = _of_indices(file, tree[0])
        if tree[1] != {str(index): answer for index, answer in enumerate(answers)}:
            raise InputError(
                f"{file}: its second object is not the first one inverted, answers by index; "
                "fetch it again"
            )
        return answers
    if not isinstance(tree, list):
        raise InputError(f"{file} is a single value, {brief(tree)}; {FORM}")
    return _texts(file, tree)


def _of_indices(file: Path, indices: Mapping[str, Any]) -> list[str]:
    """The answers in the order of the indices that they have."""
    wrong = [(answer, index) for answer, index in indices.items() if type(index) is not int]
    if wrong:
        answer, index = wrong[0]
        raise InputError(f"{file} has {brief(index)} as the index of {brief(answer)}; {FORM}")
    answers = sorted(_texts(file, list(indices)), key=indices.__getitem__)
    found = sorted(indices.values())
    absent = sorted(set(range(len(found))) - set(found))
    if absent:
        raise InputError(
            f"{file}: expected the indices 0 to {len(found) - 1} of {len(found)} answers, but "
            f"none has {shown(absent)}; number them without gaps"
        )
    return answers


def _texts(file: Path, answers: Sequence[Any]) -> list[str]:
    wrong = [number for number, answer in enumerate(answers, start=1) if not is_text(answer)]
    if wrong:
        got = brief(answers[wrong[0] - 1])
        raise InputError(f"{file}: expected text as answer {wrong[0]}, got {got}; {FORM}")
    return list(answers)
