"""The plan of ``vlm prepare``: what it cannot know it says, and what cannot be is refused in it."""

import zipfile
from pathlib import Path

import pytest
from ten_photos import ARCHIVES, COUNTS, SPLITS, name_of, photo, small

from vlm.cli import main
from vlm.data.sets.sources import SETS


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("vlm.data.sets.fetch.time.sleep", lambda seconds: None)
    # The official sets are large, and no disk shall be too small to plan for them.
    for module in ("vlm.data.sets.fetch", "vlm.cli.prepare"):
        monkeypatch.setattr(f"{module}.free_bytes", lambda folder: 10**12)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def coco(monkeypatch) -> None:
    entry = SETS["coco"]
    entry = entry._replace(sources=tuple(map(small, entry.sources)), counts=COUNTS)
    monkeypatch.setitem(SETS, "coco", entry)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a plan that is well."""
    assert main(["prepare", *arguments, "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "dry run: nothing was fetched or written"
    assert not Path("data").exists()
    return told[:-1]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, list[str]]:
    """The sentence, and what was printed before it."""
    assert main(["prepare", *arguments]) == 2
    told = capsys.readouterr()
    assert not Path("data").exists()
    return told.err.partition("vlm: error: ")[2].strip(), told.out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nocaps"], "to fetch 15,100 photos and 2 files of unknown size; room needed unknown, "),
        (["nocaps", "--only", "captions"], "to fetch 2 files of unknown size; room needed unknown"),
        (["nocaps", "--only", "images"], "to fetch 15,100 photos of unknown size; room needed un"),
        (["flickr8k"], "to fetch 37 MB, and 2 files of unknown size; room needed at least 220 MB,"),
        (["vqav2"], "to fetch 33.4 GB, and 5 files of unknown size; room needed at least "),
        (["coco"], "to fetch 20.4 GB; room needed about 35.1 GB, free 1,000.0 GB"),
    ],
)
def test_sizes_that_nobody_publishes_are_named(arguments, words, capsys):
    assert planned(capsys, *arguments)[-1].startswith(words)


def test_photos_that_are_there_are_not_counted(capsys):
    folder = Path("o/images/val")
    folder.mkdir(parents=True)
    for number in range(4_499):
        (folder / f"{number}.jpg").touch()
    told = planned(capsys, "nocaps", "--only", "images", "--output", "o")
    assert "fetch 1 of 4,500 photos from " in "".join(told)
    assert told[-1].startswith("to fetch 10,601 photos of unknown size; ")


def test_what_has_to_be_asked_for_is_told_behind_the_plan(capsys):
    for option in ([], ["--dry-run"]):
        sentence, plan = refused(capsys, "flickr30k", *option)
        assert plan[0] == "Flickr30k, Karpathy's splits, to data/flickr30k"
        assert "  37 MB  fetch https://cs.stanford.edu/" in plan[1]
        place = "https://shannon.cs.illinois.edu/DenotationGraph/"
        assert plan[2].endswith(f"  ?  to be asked for at {place}")
        assert plan[3].startswith("to fetch 37 MB; room needed at least ")
        assert len(plan) == 4
        assert sentence == (
            f"flickr30k-images.tar.gz is given only to those who ask at {place}; ask there and "
            "name the folder that holds it, or its photos, as --from FOLDER"
        )
    assert planned(capsys, "flickr30k", "--only", "captions")[-1].startswith("to fetch 37 MB; room")


# --- Folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "archive", "sentence"),
    [
        ("coco", "train2014.zip", "has 2 bytes where 13,510,573,713 are expected; remove it,"),
        ("flickr8k", "Flickr8k_Dataset.zip", "is damaged or no archive; remove it, fetch it"),
        ("flickr30k", "flickr30k-images.tar.gz", "is damaged or no archive; remove it, fetch it"),
        ("flickr30k", "flickr30k-images.tar", "is damaged or no archive; remove it, fetch it"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--dry-run"]])
def test_archives_that_cannot_be_right_are_refused(name, archive, sentence, option, capsys):
    Path("mine").mkdir()
    Path("mine", archive).write_bytes(b"xx")
    told, plan = refused(capsys, name, "--from", "mine", *option)
    assert told.startswith(f"mine/{archive} {sentence}")
    assert plan == []


def test_a_folder_with_nothing_of_the_set_is_told(capsys, coco, server):
    for name in ("empty", "some"):
        Path(name).mkdir()
    told = planned(capsys, "coco", "--from", "empty")
    line = "nothing of this set found in empty: expected e.g. train2014.zip or train2014/ with 4"
    assert told[-2] == f"{line} photos"
    assert told[-1].startswith("to fetch ")
    Path("some/val2014.zip").write_bytes(ARCHIVES["val2014.zip"])
    told = planned(capsys, "coco", "--from", "empty", "--from", "some")
    assert told[-2] == f"{line} photos"
    assert sum("nothing of this set" in row for row in told) == 1
    told = planned(capsys, "coco", "--from", "empty", "--only", "captions")
    assert told[-2].endswith(" expected e.g. caption_datasets.zip or dataset_coco.json")
    assert planned(capsys, "nocaps", "--from", "empty")[-2].endswith("e.g. val/ with 4,500 photos")
    # Where all of it is there no folder is asked for anything.
    place = f"{server.url}/m"
    assert main(["prepare", "coco", "--from", place, "--output", "o"]) == 0
    capsys.readouterr()
    told = planned(capsys, "coco", "--from", "empty", "--output", "o")
    assert "nothing of this set" not in "".join(told)


def test_folders_that_are_used_are_not_told_of(capsys, coco):
    Path("mine").mkdir()
    for number in SPLITS:
        photos = Path("mine", name_of(number))
        photos.parent.mkdir(exist_ok=True)
        photos.write_bytes(photo(number))
    for name in ("caption_datasets.zip", "annotations_trainval2014.zip"):
        zipfile.ZipFile(Path("mine", name), "w").close()
        Path("mine", name).write_bytes(ARCHIVES[name])
    told = planned(capsys, "coco", "--from", "mine")
    assert told[-1].startswith("to fetch nothing; room needed about ")
    assert "nothing of this set" not in "".join(told)


@pytest.mark.parametrize("output", ["file", "file/below"])
@pytest.mark.parametrize("option", [[], ["--dry-run"]])
def test_a_file_is_no_output(output, option, capsys):
    Path("file").write_text("mine")
    told, plan = refused(capsys, "coco", "--output", output, *option)
    holder = Path("file").absolute()
    assert told == (
        f"--output {output} can be no folder, as {holder} is a file; give another --output"
    )
    assert plan == []


# --- Splits of one's own ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"notes.txt": "x"}, "the name of notes.txt tells no split; expected one of train, "),
        ({"train.txt": "x"}, "expected train 6 / val 1 / test 3 images in train.txt, got train 1"),
        ({"a.json": "x"}, "file a.json is not JSON, it starts with 'x'; give a JSON file"),
        ({"a.json": "{}"}, "a.json is not a file of Karpathy's splits; expected 'images' with"),
        ({"a.json": '{"images": []}'}, "expected train 6 / val 1 / test 3 images in a.json, got"),
        ({"a.json": "{}", "b.json": "{}"}, "expected one JSON file of splits, got 2; give the"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--dry-run"]])
def test_splits_that_cannot_be_right_are_refused(files, sentence, option, coco, capsys):
    for name, content in files.items():
        Path(name).write_text(content)
    told, plan = refused(capsys, "coco", *option, "--splits", *files)
    assert told.startswith(sentence)
    assert plan == []
