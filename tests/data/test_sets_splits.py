"""Splits are Karpathy's, whatever they come from, and neither short nor overlapping."""

import json
import re
from pathlib import Path

import pytest

from vlm.data.sets.sources import SETS
from vlm.data.sets.splits import (
    captions_tree,
    check_splits,
    read_id_lists,
    read_karpathy,
    read_texts,
)
from vlm.errors import InputError
from vlm.files import write_json
from vlm.formats.captions import CaptionSample, read_captions

COUNTS = {"train": 5, "val": 2, "test": 3}
# split, folder and number of COCO images, as dataset_coco.json has them
ROWS = [
    ("train", "train2014", 9),
    ("val", "val2014", 42),
    ("restval", "val2014", 73),
    ("test", "val2014", 136),
    ("train", "train2014", 25),
    ("test", "val2014", 133),
    ("restval", "val2014", 74),
    ("val", "val2014", 139),
    ("train", "train2014", 30),
    ("test", "val2014", 143),
]


def coco_name(folder: str, number: int) -> str:
    return f"COCO_{folder}_{number:012}.jpg"


def karpathy(file: Path, rows=ROWS) -> Path:
    """A file in the form of dataset_coco.json."""
    images = [
        {
            "filepath": folder,
            "filename": coco_name(folder, number),
            "imgid": place,
            "cocoid": number,
            "split": split,
            "sentids": [2 * place, 2 * place + 1],
            "sentences": [
                {"tokens": ["a"], "raw": f"A {number}.", "imgid": place, "sentid": 2 * place},
                {"tokens": ["b"], "raw": f"B {number}.", "imgid": place, "sentid": 2 * place + 1},
            ],
        }
        for place, (split, folder, number) in enumerate(rows)
    ]
    write_json(file, {"images": images, "dataset": "coco"})
    return file


def ids(splits) -> dict[str, list]:
    return {name: [sample.image_id for sample in samples] for name, samples in splits.items()}


WANTED = {"train": [9, 73, 25, 74, 30], "val": [42, 139], "test": [136, 133, 143]}


def test_karpathys_json(tmp_path):
    splits = read_karpathy(karpathy(tmp_path / "dataset_coco.json"))
    assert ids(splits) == WANTED
    assert splits["train"][1] == CaptionSample(
        73, Path("val2014/COCO_val2014_000000000073.jpg"), ("A 73.", "B 73.")
    )
    check_splits(splits, COUNTS, "dataset_coco.json")


def test_karpathys_json_of_flickr_goes_by_file_names(tmp_path):
    sentences = [{"raw": "a dog ."}]
    images = [
        {"filename": f"{split}.jpg", "imgid": 0, "split": split, "sentences": sentences}
        for split in ("train", "val", "test")
    ]
    write_json(tmp_path / "dataset_flickr8k.json", {"images": images})
    splits = read_karpathy(tmp_path / "dataset_flickr8k.json", "Flicker8k_Dataset")
    assert ids(splits) == {name: [f"{name}.jpg"] for name in ("train", "val", "test")}
    assert splits["val"][0].path == Path("Flicker8k_Dataset/val.jpg")


LINES = {
    "ids": lambda folder, number: str(number),
    "padded ids": lambda folder, number: f"{number:012}",
    "names": coco_name,
    "names of 2017": lambda folder, number: f"{number:012}.jpg",
    "paths and ids": lambda folder, number: f"{folder}/{coco_name(folder, number)} {number}",
    "paths": lambda folder, number: f"images/{folder}/{coco_name(folder, number)}",
}


@pytest.mark.parametrize("spelled", LINES)
def test_lists_of_ids_give_the_same_as_the_json(tmp_path, spelled):
    json_splits = read_karpathy(karpathy(tmp_path / "dataset_coco.json"))
    texts = []
    for folder in ("train2014", "val2014"):
        official = [
            CaptionSample(n, Path(coco_name(f, n)), (f"A {n}.", f"B {n}."))
            for split, f, n in ROWS
            if f == folder
        ]
        write_json(tmp_path / f"captions_{folder}.json", captions_tree(official, ""))
        texts += read_texts(tmp_path / f"captions_{folder}.json", "")
    files = []
    for name in ("train", "restval", "val", "test"):
        lines = [LINES[spelled](folder, n) for split, folder, n in ROWS if split == name]
        files.append(tmp_path / f"karpathy_{name}_images.txt")
        files[-1].write_text("\n".join(lines) + "\n\n")
    splits = read_id_lists(files, texts)
    assert {k: sorted(v) for k, v in splits.items()} == {
        k: sorted(v) for k, v in json_splits.items()
    }
    assert read_texts(tmp_path / "dataset_coco.json", "") == [
        sample for split in json_splits.values() for sample in split
    ]


def test_lists_of_flickr8k_and_its_token_file(tmp_path):
    tokens = tmp_path / "Flickr8k.token.txt"
    tokens.write_text("1_a.jpg#0\tA dog .\n1_a.jpg#1\tA cat .\n2_b.jpg.1#0\todd\n3_c.jpg#0\tx\n")
    texts = read_texts(tokens, "Flicker8k_Dataset")
    for name, image in (("train", "1_a"), ("dev", "3_c")):
        (tmp_path / f"Flickr_8k.{name}Images.txt").write_text(f"{image}.jpg\n")
    splits = read_id_lists(sorted(tmp_path.glob("Flickr_8k*")), texts)
    assert ids(splits) == {"val": ["3_c.jpg"], "train": ["1_a.jpg"]}
    path = Path("Flicker8k_Dataset/1_a.jpg")
    assert splits["train"] == [CaptionSample("1_a.jpg", path, ("A dog .", "A cat ."))]
    tokens.write_text("1_a.jpg#0 A dog .\n")
    with pytest.raises(InputError, match=r"token\.txt, line 1: expected NAME#0<tab>CAPTION; corr"):
        read_texts(tokens, "")


def test_lists_that_cannot_be_used(tmp_path):
    texts = [CaptionSample(9, Path(coco_name("train2014", 9)), ("A.",))]
    file = tmp_path / "train.txt"
    file.write_text("9\n77\nCOCO_val2014_000000000078.jpg\n")
    strange = re.escape("lists images that have no captions: 77, COCO_val2014_000000000078.jpg;")
    with pytest.raises(InputError, match=strange):
        read_id_lists([file], texts)
    for name in ("ids.txt", "train_val.txt"):
        (tmp_path / name).write_text("9\n")
        with pytest.raises(InputError, match=r"tells no split; expected one of train, restval, "):
            read_id_lists([tmp_path / name], texts)


@pytest.mark.parametrize(
    "tree",
    [[], {}, {"images": [{}]}, {"images": [{"filename": "a", "sentences": [], "split": "all"}]}],
)
def test_other_json_is_told(tmp_path, tree):
    write_json(tmp_path / "a.json", tree)
    with pytest.raises(InputError, match=r"a\.json is not a file of Karpathy's splits; expected"):
        read_karpathy(tmp_path / "a.json")


def test_wrong_numbers_are_told(tmp_path):
    splits = read_karpathy(karpathy(tmp_path / "a.json", ROWS[1:]))
    with pytest.raises(InputError) as told:
        check_splits(splits, COUNTS, "a.json")
    assert str(told.value) == (
        "expected train 5 / val 2 / test 3 images in a.json, got train 4 / val 2 / test 3; give "
        "the official file of this data set"
    )
    with pytest.raises(InputError, match="got train 4 / val 0 / test 0;"):
        check_splits({"train": splits["train"]}, COUNTS, "a.json")


@pytest.mark.parametrize(("place", "split"), [(1, "val"), (3, "test")])
def test_splits_that_overlap_are_told(tmp_path, place, split):
    rows = list(ROWS)
    rows[place] = (split, "train2014", 9)  # the first of train, as a photo of another split
    splits = read_karpathy(karpathy(tmp_path / "a.json", rows))
    told = re.escape(f"in two splits of a.json, got 1 in train and {split}: 9; give the official")
    with pytest.raises(InputError, match=told):
        check_splits(splits, COUNTS, "a.json")


def test_val_and_test_that_overlap_are_told(tmp_path):
    rows = [*ROWS[:-1], ("test", "val2014", 42)]
    splits = read_karpathy(karpathy(tmp_path / "a.json", rows))
    with pytest.raises(InputError, match="got 1 in val and test: 42; give"):
        check_splits(splits, COUNTS, "a.json")


def test_an_image_that_comes_twice_in_a_split_is_told(tmp_path):
    rows = [*ROWS[:-2], ("train", "train2014", 9), ROWS[-1]]
    splits = read_karpathy(karpathy(tmp_path / "a.json", rows))
    with pytest.raises(InputError, match=r"a\.json lists images of train twice; give the official"):
        check_splits(splits, COUNTS, "a.json")


def test_what_is_written_is_read_as_it_was(tmp_path):
    samples = [
        CaptionSample(9, Path("train2014/a.jpg"), ("A dog.", "Ein Hund 🐕")),
        CaptionSample("b.jpg", Path("b.jpg"), (), "near-domain"),
    ]
    write_json(tmp_path / "train.json", captions_tree(samples, "a set"))
    images = tmp_path / "images"
    wanted = [sample._replace(path=images / sample.path) for sample in samples]
    assert read_captions(tmp_path / "train.json", images) == wanted
    assert json.loads((tmp_path / "train.json").read_text())["info"] == {"description": "a set"}


def test_the_numbers_of_the_table_are_karpathys():
    """Karpathy & Fei-Fei 2015 and the papers that use these splits since."""
    counts = {name: tuple(entry.counts.values()) for name, entry in SETS.items() if entry.splits}
    assert counts == {
        "coco": (113_287, 5_000, 5_000),
        "flickr8k": (6_000, 1_000, 1_000),
        "flickr30k": (29_000, 1_014, 1_000),
    }
    photos = {
        path: photos
        for entry in SETS.values()
        for source in entry.sources
        for path, photos in source.holds.items()
        if photos
    }
    assert sum(counts["coco"]) == photos["train2014"] + photos["val2014"]


def test_real_splits_keep_their_photos(shared, tmp_path):
    data = shared / "data" / "flickr8k"
    rows = []
    for split, name in (("train", "train"), ("val", "val")):
        for sample in read_captions(data / f"annotations/captions_{name}.json", Path()):
            sentences = [{"raw": caption} for caption in sample.captions]
            rows.append({"filename": sample.path.name, "split": split, "sentences": sentences})
    write_json(tmp_path / "dataset_flickr8k.json", {"images": rows})
    splits = read_karpathy(tmp_path / "dataset_flickr8k.json")
    tree = captions_tree(splits["val"], "")
    assert (len(splits["train"]), len(tree["images"]), len(tree["annotations"])) == (
        5996,
        1000,
        5000,
    )
    official = read_captions(data / "annotations/captions_val.json", Path())
    assert [s.captions for s in splits["val"]] == [s.captions for s in official]
