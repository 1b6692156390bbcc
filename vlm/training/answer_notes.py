"""What is said of a set of questions before a model meets it: what it can earn, what it loses."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from vlm.formats.question_sets import oddities
from vlm.metrics.vqa import ceiling, human_answers, rounded
from vlm.text.answers import soft_targets, vocabulary_form
from vlm.text.tokenizer import CaptionTokenizer


def answer_notes(
    samples: Sequence[Any], answers: Sequence[str], tokenizer: CaptionTokenizer, *, longest: int
) -> list[str]:
    """Oddities of a set, one a line; how much of it the answers cover comes first of the model's.

    Args:
        samples: images with their questions.
        answers: the vocabulary.
        tokenizer: of questions.
        longest: tokens of a question that the model reads, start and end included.
    """
    notes = oddities(samples)
    asked = [question for sample in samples for question in sample.questions]
    notes += _covered([question.answers for question in asked if question.answers], answers)
    human = human_answers(samples)
    if human:
        most = fmean(ceiling(human, answers).values())
        notes[-1] += f"; the most they can earn is {rounded(most):.2f} %"
    ids = tokenizer.encode([question.text for question in asked], max_length=10**6)
    faults = {
        "have words that this model does not know": sum(tokenizer.unknown in row for row in ids),
        f"are longer than {longest - 2} words and lose their last ones": sum(
            len(row) > longest for row in ids
        ),
        "have no word": sum(len(row) < 3 for row in ids),
    }
    return notes + [f"{count} questions {fault}" for fault, count in faults.items() if count]


def _covered(people: Sequence[Sequence[str]], answers: Sequence[str]) -> list[str]:
    """How many questions have an answer to learn, and how many would if they were spelled so."""
    if not people:
        return []
    known = set(answers)
    taught = [bool(soft_targets(given, known)) for given in people]
    spelled = sum(
        not learnt and any(vocabulary_form(answer) in known for answer in given)
        for given, learnt in zip(people, taught, strict=True)
    )
    notes = []
    if spelled:
        notes.append(
            f"{spelled} questions have answers that are known only in lower case and without "
            "punctuation; as written they teach nothing, so write them like that"
        )
    share = sum(taught) / len(taught)
    return [*notes, f"{len(answers)} answers cover {share:.1%} of {len(people)} questions"]
