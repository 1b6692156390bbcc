"""The caption tokenizer against the outputs of the reference program, and its own laws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.text.ptb import _lex, _lex_chunk, tokenize
from vlm.text.ptb_rules import beyond_a_space, plain_line

NASTY = Path(__file__).resolve().parents[1] / "goldens" / "nasty"


def split(line: str) -> list[str]:
    """Tokens of a line of the reference, which only ever separates them by a plain space."""
    return line.split(" ") if line else []


@pytest.mark.parametrize("kind", ["plain", "hard", "fuzz", "nasty"])
def test_single_captions_equal_the_reference(shared: Path, kind: str):
    # ptb_tokens.json: java PTBTokenizer -preserveLines -lowerCase (CoreNLP 3.4.1), then the
    # punctuation filter of pycocoevalcap 1.2; every caption alone between neutral lines.
    rows = json.loads((shared / "goldens" / "ptb_tokens.json").read_text())["rows"]
    rows = [(caption, split(line)) for of, caption, _, line in rows if of == kind]
    assert len(rows) > 200
    different = [(caption, line) for caption, line in rows if tokenize([caption]) != [line]]
    assert different == []


def test_neighbouring_captions_equal_the_reference(shared: Path):
    rows = json.loads((shared / "goldens" / "ptb_context.json").read_text())["rows"]
    assert len(rows) == 238
    for caption, following, _, line in rows:
        assert tokenize([caption, following])[0] == split(line), (caption, following)


def test_nasty_captions_equal_the_reference():
    # tests/goldens/nasty: tokens by pycocoevalcap 1.2.
    expected = json.loads((NASTY / "expected.json").read_text())["tokenized"]
    captions: dict[str, list[str]] = {}
    for annotation in json.loads((NASTY / "refs.json").read_text())["annotations"]:
        captions.setdefault(str(annotation["image_id"]), []).append(annotation["caption"])
    flat = [caption for image in expected["refs"] for caption in captions[image]]
    lines = [split(line) for image in expected["refs"] for line in expected["refs"][image]]
    assert len(flat) == 191
    assert tokenize(flat) == lines


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("The dog's toys can't move.", "the dog 's toys ca n't move"),
        ("You cannot, 'tis gonna rain", "you can not 't is gon na rain"),
        ("o'clock y'all O'Brien Ho'ohu", "o'clock y' all o'brien ho'ohu"),
        ("a dog.A cat and/or e-mail w/", "a dog.a cat and/or e-mail w /"),
        ("AT&T but at&t", "at&t but at & t"),
        ("at 5:54pm, £2,000 or US$5", "at 5:54 pm # 2,000 or us$ 5"),
        ("½ of img_001.jpg", "1/2 of img_001 jpg"),
        ("a man :) (tall) ;-)", "a man :-rrb- -lrb- tall -rrb- ;--rrb-"),
        ("No. 5 but no.", "no. 5 but no"),
        ("in the U.S. on St. James St.", "in the u.s. on st. james st."),
        ("22 3/4 or (555) 123-4567", "22\u00a03/4 or -lrb-555-rrb-\u00a0123-4567"),
        ("well\u00addressed a\u200bman \U0001f600 ☃", "welldressed a man ☃"),
    ],
)
def test_each_kind_of_token(caption: str, tokens: str):
    assert tokenize([caption]) == [split(tokens)]


def test_final_initial_keeps_its_period_unless_the_next_caption_opens_a_sentence():
    letter = "a sign with a K."
    assert tokenize([letter, "Two dogs"])[0][-1] == "k."
    assert tokenize([letter, "The dog"])[0][-1] == "k"
    assert tokenize([letter, " \n", "The dog"])[0][-1] == "k"
    assert tokenize([letter])[0][-1] == "k."


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_line_break_is_a_space_and_shifts_nothing(end: str):
    captions = [f"a man{end}rides", "a horse", f"on{end}{end}a beach{end}"]
    assert tokenize(captions) == [["a", "man", "rides"], ["a", "horse"], ["on", "a", "beach"]]


def test_no_captions_and_no_text():
    assert tokenize([]) == []
    assert tokenize(["", " ", "...", "-----"]) == [[], [], [], []]


WORDS = [
    "a",
    "K",
    "st",
    "NO",
    "n't",
    "'s",
    "22",
    "3/4",
    "(555)",
    "123-4567",
    "<b x>",
    "&amp;",
    "The",
]
PIECES = st.sampled_from(WORDS) | st.sampled_from(list("   .,-'@#$&ऽ")) | st.just("http://x.org/a")


@settings(deadline=None)
@given(st.lists(PIECES, max_size=17).map("".join))
def test_reading_by_chunk_equals_reading_the_whole_line(caption: str):
    # A mixed fraction makes the tokenizer read the line as a whole.
    whole = tokenize([f"{caption} , 7 1/2"])[0]
    assert whole == [*tokenize([f"{caption} ,"])[0], "7\u00a01/2"]


@settings(deadline=None)
@given(st.lists(st.text(), max_size=5))
def test_any_text_gives_clean_tokens(captions: list[str]):
    tokens = tokenize(captions)
    assert len(tokens) == len(captions)
    for token in (token for caption in tokens for token in caption):
        assert token.replace("\u00a0", "x").split() == [token.replace("\u00a0", "x")]
        assert token == token.lower()


@pytest.mark.parametrize("unit", ["a", "a.", "a'", "ऽ", "A&", "+a", "1,", "-a", "( ", "<", "a@"])
def test_long_captions_take_time_in_proportion(unit: str):
    # An exponential or strongly quadratic rule would run into the test's time limit.
    assert len("".join(tokenize([unit * 5_000])[0])) >= 5_000


def test_imports_neither_torch_nor_lightning():
    code = "import sys, vlm.text.ptb; print(sorted({'torch', 'lightning'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LETTERS = st.text("acgnotSTWe,.", min_size=1, max_size=9)
WHOLE = ["cannot", "Gonna,", "lemme", "etc.", "calif.", "washington.", "no.", "a", "I,", "can't"]


@settings(deadline=None)
@given(LETTERS | st.sampled_from(WHOLE))
def test_a_plain_word_is_what_the_rules_make_of_it(chunk: str):
    assert list(_lex_chunk(chunk)) == _lex(chunk, "")


@settings(deadline=None)
@given(st.lists(PIECES | LETTERS, max_size=9).map(" ".join), st.sampled_from(["", "The", "5", "a"]))
def test_a_plain_line_holds_nothing_beyond_a_space(caption: str, following: str):
    if plain_line().match(caption):
        assert not beyond_a_space().search(f"{' '.join(caption.split())}\n{following}\n")
