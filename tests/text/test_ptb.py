"""The caption tokenizer against the outputs of the reference program, and its own laws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.errors import InputError
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


@pytest.mark.parametrize(
    ("caption", "tokens"),
    # Each value by the reference program, as in ptb_tokens.json, for kinds that it lacks.
    [
        (
            "etc.q or Jan. 5, Mass. but mass. on St.-Denis etc.-and",
            "etc. q or jan. 5 mass. but mass on st.-denis etc.-and",
        ),
        ("a K. Once a K. Our but a K. On it", "a k once a k our but a k. on it"),
        ("no. 5, fig. 2 but no. five", "no. 5 fig. 2 but no five"),
        (
            "'em 'til 'cause '99 bugs, rock'n'roll, somethin' ol' d'",
            "'em 'til 'cause '99 bugs rock 'n' roll somethin' ol' d'",
        ),
        (
            "jack-o'-lantern x-O'Brien five-o'clock D'64 y'know",
            "jack-o lantern x-o'brien five-o'clock d'64 y' know",
        ),
        (
            "c'mon it\u2019s James\u2019sin O\u2019Brien don`t gov't nn't",
            "c'mon it 's james 's in o\u2019brien do n`t gov t nn t",
        ),
        (
            "the boys\u2019 \u2019\u2019 \u00ab\u00ab \u201d\u2019 \u201a\u201e \u201cK\u201d",
            "the boys ```` ''' \u201a\u201e k",
        ),
        (
            "800 541 1360 or +44 20 7946 0958",
            "800\u00a0541\u00a01360 or +44\u00a020\u00a07946\u00a00958",
        ),
        ("(55) 8633-190 but 1 800 555", "-lrb-55-rrb-\u00a08633-190 but 1 800 555"),
        (
            "1/2/3/4 F/A-18 black/red/pink/grey 3\u20444 5-1/2 12/25-26",
            "1/2/3 / 4 f/a -18 black/red/pink / grey 3\u20444 5-1/2 12/25-26",
        ),
        (
            "dog.-a cat,b-c x-U.S. 1.5e-3 X-ray.travels a,b\u2011c",
            "dog.-a cat,b-c x-u.s. 1.5e-3 x-ray travels a b\u2011c",
        ),
        ("A+B CAT&DOG A&amp;B C# c++ a+b US.$", "a+b cat&dog a&b c# c++ a + b us $"),
        ("001.jpg, 10.x but 5.jpgs v1.2.3-x", "001.jpg 10.x but 5 jpgs v1.2.3-x"),
        (
            "www.x-y.de/ab ab.com/x http://x/ ftp://x.com a+b.com",
            "www.x-y.de/ab ab.com / x http://x/ ftp / / x.com a+b.com",
        ),
        ("5@b.c, b@- @a-b #a_b #é2", "5@b.c, b@- @a b #a _ b #é 2"),
        (
            "&mdash; &eacute;t&eacute; &#39; &QUOT; &copy; it&apos;s",
            "&eacute;t&eacute; &#39; &quot; & copy it 's",
        ),
        (
            '<a href="x (y)"> <a b=c> </b > <!-- x --> <_x',
            '<a\u00a0href="x\u00a0(y)"> < a b = c > </b\u00a0> <!--\u00a0x\u00a0--> <_x',
        ),
        ("^_^ (-_-) >_< :[ :d :o ;} =P :)犬", "^_^ -lrb--_--rrb- >_< :[ :d o -rcb- =p :-rrb- 犬"),
        ("## @@@ >>> ----- -- **** ~~ == \\*", "## @@@ >> > ----- **** ~ ~ = = \\*"),
        (
            "\u20b95 \u00a45 \u00a35 5\u00a2 \u338f \u2460 \u2163 10\u207b\u00b3 x\u00b2",
            "5 $ 5 # 5 5 cents \u2460 10 \u207b\u00b3 x \u00b2",
        ),
        (
            "\u300ax\u300b \u300cy\u300d \u3002 \u2012 \u27e8z\u27e9 \u301c \u00a6 \u2764\ufe0f",
            "x y \u3002 \u27e8 z \u27e9 \u00a6 \u2764",
        ),
        (
            "आदम\u0940-x ह\u093fन\u094dद\u0940/x café/x ไทยn't \u2113a x\u0338 a\u00adb-c",
            "आदम\u0940 x ह\u093fन\u094dद\u0940 / x café / x ไทยn t \u2113a x\u0338 ab-c",
        ),
    ],
)
def test_each_rare_kind_of_token(caption: str, tokens: str):
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
    assert tokenize(["", " ", "...", "----"]) == [[], [], [], []]


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


UNITS = ["a", "a.", "a'", "ऽ", "A&", "+a", "1,", "-a", "( ", "<", "a@"]
UNITS += ["*.*a.", "<a b='", "<!-", "a.,", "ab,", "www.a/", "&a;", "12 ", "K. ", "a\u00ad", "nn't"]


@pytest.mark.parametrize("unit", UNITS)
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


def test_what_is_no_list_of_captions_is_told():
    with pytest.raises(InputError, match=r"^expected a list of captions, got the text 'a dog'; gi"):
        tokenize("a dog")
    with pytest.raises(
        InputError, match=r"^expected text as caption, got None; write one or leave"
    ):
        tokenize(["a dog", None])
