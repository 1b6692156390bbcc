"""METEOR and SPICE: the reference's figures where Java is, the reasons where it is not."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics import java

NASTY = Path(__file__).resolve().parents[1] / "goldens" / "nasty"
SETS = ["coco_human_loo", "coco_corrupt_varrefs", "coco_fakecap_subset", "flickr8k_loo"]
NEEDED = "needs Java 8+, pip install vlm[java]"
DOG = [["a", "dog"]]

# Speaks METEOR's protocol: the matches of a line are its hypothesis' words and number of parts.
SPEAKS = """
for line in sys.stdin:
    parts = line.rstrip("\\n").split(" ||| ")
    if parts[0] == "SCORE":
        print(float(len(parts[-1].split())), float(len(parts)))
    else:
        values = [float(part.split()[0]) for part in parts[1:]]
        print(*values, sum(values), sep="\\n")
"""


@pytest.fixture
def real_java() -> None:
    if reason := java.missing("METEOR"):
        pytest.skip(f"METEOR {reason}")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pycocoevalcap of empty jars, before any real one."""
    folder = tmp_path / "site" / "pycocoevalcap"
    (folder / "meteor").mkdir(parents=True)
    (folder / "meteor" / "meteor-1.5.jar").touch()
    (folder / "spice" / "lib").mkdir(parents=True)
    monkeypatch.syspath_prepend(folder.parent)
    return folder


@pytest.fixture
def stub(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a ``java`` of some Python lines alone on the PATH; it starts like a Java in order."""

    def write(program: str, *, version: str = "sys.exit(0)") -> None:
        command = tmp_path / "bin" / "java"
        command.parent.mkdir(exist_ok=True)
        start = f"#!{sys.executable} -S\nimport sys\nif '-version' in sys.argv: {version}\n"
        command.write_text(start + program)
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(command.parent))

    return write


def assert_equal_to_the_reference(folder: Path, *, shards: int | None):
    expected = json.loads((folder / "expected.json").read_text())
    tokens, images = expected["tokenized"], list(expected["per_image"])
    scores = java.meteor(
        [tokens["cands"][image].split(" ") for image in images],
        [[text.split(" ") for text in tokens["refs"][image]] for image in images],
        shards=shards,
    )
    assert scores.corpus == expected["corpus"]["METEOR"]
    assert scores.per_image == [expected["per_image"][image]["METEOR"] for image in images]


@pytest.mark.java
@pytest.mark.usefixtures("real_java")
@pytest.mark.parametrize("name", SETS)
def test_meteor_equals_the_reference(shared: Path, name: str):
    # pycocoevalcap 1.2, which asks one process for one caption after the other.
    assert_equal_to_the_reference(shared / "goldens" / "captions" / name, shards=None)


@pytest.mark.java
@pytest.mark.usefixtures("real_java")
@pytest.mark.parametrize("shards", [1, 3])
def test_meteor_of_nasty_captions_hangs_on_no_shard(shards: int):
    assert_equal_to_the_reference(NASTY, shards=shards)


@pytest.mark.java
@pytest.mark.usefixtures("real_java")
def test_meteor_hangs_on_no_locale(monkeypatch: pytest.MonkeyPatch):
    hostile = "-Duser.language=de -Duser.country=DE -Dfile.encoding=US-ASCII"
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", hostile)
    # A German Java stops at the points in the matches; in ASCII the two words would be one.
    scores = java.meteor([["cafë"], ["café"]], [[["café"]], [["café"]]])
    assert scores.per_image == [0.0, 1.0]


@pytest.mark.java
@pytest.mark.usefixtures("real_java")
def test_meteor_lives_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    installed = java._package()
    assert installed
    folder = tmp_path / "a folder"
    (folder / "pycocoevalcap" / "meteor" / "data").mkdir(parents=True)
    shutil.copy(installed / java._METEOR, folder / "pycocoevalcap" / java._METEOR)
    (folder / "pycocoevalcap" / java._PARAPHRASES).symlink_to(installed / java._PARAPHRASES)
    monkeypatch.syspath_prepend(folder)
    assert java._package() == folder / "pycocoevalcap"
    assert java.meteor([["couches"]], [[["sofa"]]]).corpus > 0


@pytest.mark.java
@pytest.mark.usefixtures("real_java")
def test_empty_candidates_have_no_meteor():
    assert java.meteor([[], ["|||"]], [DOG, [[], ["|||"]]]) == (0.0, [0.0, 0.0])


@pytest.mark.parametrize("metric", ["METEOR", "SPICE"])
def test_no_java(metric, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert java.missing(metric) == f"{NEEDED} (the package is here, Java is not)"
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    assert java.missing(metric) == java.needed() == NEEDED


@pytest.mark.parametrize("metric", ["METEOR", "SPICE"])
def test_no_package(metric, stub, monkeypatch: pytest.MonkeyPatch):
    stub(SPEAKS)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    assert java.missing(metric) == f"{NEEDED} (Java is here, the package is not)"
    with pytest.raises(InputError, match=rf"^{metric} cannot be computed here: needs Java 8\+"):
        (java.meteor if metric == "METEOR" else java.spice)(DOG, [DOG])


def test_a_java_that_fails_gives_its_first_line(stub):
    stub("", version="sys.exit('Picked up JAVA_TOOL_OPTIONS: x\\n\\nno runtime here\\nsecond')")
    assert (
        java.missing("METEOR") == java.missing("SPICE") == "Java does not start (no runtime here)"
    )


def test_a_java_that_is_no_program(stub, tmp_path: Path):
    stub("")
    (tmp_path / "bin" / "java").write_bytes(b"\x00\x01")
    assert str(java.missing("METEOR")).startswith("Java does not start ([Errno 8]")


def test_spice_names_its_files(stub, package: Path):
    stub(SPEAKS)
    library, models = package / "spice" / "lib", "stanford-corenlp-3.6.0-models.jar"
    assert java.missing("METEOR") is None
    assert java.missing("SPICE") == f"needs stanford-corenlp-3.6.0.jar and {models} in {library}"
    (library / "stanford-corenlp-3.6.0.jar").touch()
    assert java.missing("SPICE") == f"needs {models} in {library}"
    (library / models).touch()
    assert java.missing("SPICE") is None


@pytest.mark.parametrize("shards", [None, 1, 2, 3, 7])
def test_order_is_kept_over_shards(stub, shards: int | None):
    stub(SPEAKS)
    lengths = [3, 0, 5, 2, 7]
    candidates = [["w"] * length for length in lengths]
    scores = java.meteor(candidates, [DOG] * 5, shards=shards)
    assert scores == (17.0, [3.0, 0.0, 5.0, 2.0, 7.0])


def test_pipes_never_fill(stub):
    # Megabytes each way, where a pipe holds 64 kB.
    stub(SPEAKS)
    candidates = [["word"] * 41] * 20_011
    assert java.meteor(candidates, [DOG] * 20_011, shards=1).corpus == 41.0 * 20_011


@given(st.lists(st.sampled_from(["dog", "|", "||", "|||", "||||", "", "22\u00a03/4"]), max_size=7))
def test_only_the_candidate_is_cleaned(tokens: list[str]):
    command, first, last = java._score_line(tokens, [["x", "|||", "y"]]).rsplit(" ||| ", 2)
    assert (command, first) == ("SCORE ||| x", "y")
    assert "|||" not in last
    if not {"|||", "||||", ""} & set(tokens):
        assert last == " ".join(tokens)


def test_java_that_dies_midway_is_one_sentence(stub):
    stub("print('1 1', flush=True); sys.exit('out of memory\\n\\tat Main')")
    with pytest.raises(
        InputError, match=r"stopped early, at 1 of 3 replies \(out of memory\); mend"
    ):
        java.meteor(DOG * 3, [DOG] * 3, shards=1)


def test_one_dead_shard_ends_the_others(stub):
    stub("if 'bad' in sys.stdin.read(): sys.exit(3)\nimport time; time.sleep(600)")
    with pytest.raises(InputError, match=r"at 0 of 1 replies \(it gave no reason\)"):
        java.meteor([["good"], ["bad"]], [DOG] * 2, shards=2)


def test_java_that_hangs_is_ended(stub, monkeypatch: pytest.MonkeyPatch):
    stub("import time; time.sleep(600)")
    monkeypatch.setattr(java, "missing", lambda metric: None)
    monkeypatch.setattr(java, "_START_S", 0.1)
    with pytest.raises(InputError, match=r"was not done in 1 s; use fewer shards"):
        java.meteor(DOG, [DOG])


def test_errors_between_the_replies_are_seen(stub):
    stub("print('Error: specify hypothesis and at least one reference')")
    with pytest.raises(InputError, match=r"\(Error: specify hypothesis"):
        java.meteor(DOG, [DOG])


@pytest.mark.parametrize("score", [java.meteor, java.spice])
def test_captions_that_do_not_fit_are_refused(score):
    with pytest.raises(InputError, match="got 2 candidates and the references of 1: align"):
        score(DOG * 2, [DOG])
    with pytest.raises(InputError, match="at least one image, got 0 candidates"):
        score([], [])
    with pytest.raises(InputError, match=r"^images 1, 2, 3, 4, 5 and 1 more have no references"):
        score(DOG * 7, [DOG, *[[]] * 6])
    with pytest.raises(InputError, match=r"^image 1 has no references"):
        score(DOG * 2, [DOG, []])


def test_no_shard_is_refused(stub):
    stub(SPEAKS)
    with pytest.raises(InputError, match="1 or more shards, not 0"):
        java.meteor(DOG, [DOG], shards=0)


class Spice:
    """The interface of pycocoevalcap's class; F is the share of human words that were said."""

    def compute_score(self, gts, res):
        assert list(gts) == list(res) == [0, 1, 2]
        assert (gts[1], res[1]) == (["two cats", "cats"], ["cats sit"])
        scores = [{"All": {"f": share}, "Object": {"f": 0.3}} for share in (0.5, 0.25, 0.0)]
        return np.mean([0.5, 0.25, 0.0]), scores


class BrokenSpice:
    def compute_score(self, gts, res):
        raise PermissionError("no place for the cache")


@pytest.fixture
def whole_package(stub, package: Path) -> None:
    stub(SPEAKS)
    for name in java._CORENLP:
        (package / "spice" / "lib" / name).touch()


def give(program: type, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pycocoevalcap.spice.spice")
    module.__dict__["Spice"] = program
    for name in ("pycocoevalcap.spice", "pycocoevalcap.spice.spice"):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("whole_package")
def test_spice_by_the_packages_class(monkeypatch: pytest.MonkeyPatch):
    give(Spice, monkeypatch)
    references = [DOG, [["two", "cats"], ["cats"]], DOG]
    assert java.spice([["a"], ["cats", "sit"], []], references) == (0.25, [0.5, 0.25, 0.0])


@pytest.mark.usefixtures("whole_package")
def test_spice_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    give(BrokenSpice, monkeypatch)
    with pytest.raises(InputError, match=r"^SPICE's Java program failed \(no place for the cache"):
        java.spice(DOG, [DOG])
