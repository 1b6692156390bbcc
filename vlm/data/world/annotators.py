"""Ten simulated people who answer a question, and who sometimes disagree as people do."""

from hashlib import blake2b
from struct import unpack

from vlm.data.world.captions import WORDINGS
from vlm.data.world.facts import Fact
from vlm.data.world.scene import RELATIONS, Scene

PEOPLE, MOST_DISSENTERS = 10, 4

# How likely a person is to answer differently. Where there are but two answers a wrong one
# earns the credit of every slip, so slips are rare there: always "yes" must not pay.
SLIP_OF_TWO, SLIP = 0.01, 0.05

# What else a person may see. Where the world has two words for a value, the other comes first.
ALIKE = {
    "red": ("orange", "pink"),
    "orange": ("red", "yellow"),
    "yellow": ("orange",),
    "green": ("blue",),
    "blue": ("purple",),
    "purple": ("blue", "pink"),
    "pink": ("purple", "red"),
    "white": ("gray",),
    "plain": ("no pattern",),
    "striped": ("lines",),
    "dotted": ("dots",),
    "checkered": ("squares", "striped"),
    "circle": ("ring",),
    "square": ("rectangle",),
    "triangle": ("arrow",),
    "star": ("cross",),
    "cross": ("star",),
    "ring": ("circle",),
    "heart": ("triangle",),
    "moon": ("circle",),
    "left": ("left side",),
    "right": ("right side",),
    "above": ("over", "top"),
    "below": ("under", "bottom"),
}


def ten_answers(text: str, fact: Fact, scene: Scene) -> tuple[str, ...]:
    """What ten people answer, the same at every call; six or more give the right answer.

    Those who do not, give the other answer to a question that has two, a number that is one off,
    another word for the same, or what looks much alike.

    Args:
        text: of the question.
        fact: that it asks for.
        scene: that it is about.
    """
    likely = SLIP_OF_TWO if fact.rival else SLIP
    # Twenty numbers below 2^16: a generator for each question would take longer than all else.
    digest = blake2b(f"{scene.seed} {text}".encode(), digest_size=4 * PEOPLE).digest()
    numbers = unpack(f">{2 * PEOPLE}H", digest)
    slips = [n for n in range(PEOPLE) if numbers[n] < likely * 2**16][:MOST_DISSENTERS]
    answers, others = [fact.answer] * PEOPLE, alternatives(fact)
    for person in slips:
        answers[person] = others[numbers[PEOPLE + person] % len(others)]
    return tuple(answers)


def alternatives(fact: Fact) -> tuple[str, ...]:
    """The answers that somebody may give in place of the right one, none of them twice."""
    if fact.rival:
        return (fact.rival,)
    if fact.answer.isdecimal():
        number = int(fact.answer)
        return tuple(str(other) for other in (number - 1, number + 1) if other >= 0)
    # What the world says for sides is part of a sentence, "to the left of", and no answer.
    same = () if fact.answer in RELATIONS else WORDINGS.get(fact.answer, ())[1:]
    return (*same, *ALIKE[fact.answer])
