"""``vlm prepare`` for sets of other forms than COCO's, the table of all, and light help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from preparing import ran, refused
from ten_photos import TRAIN, photo, small, snapshot, zipped

from vlm.cli import prepare
from vlm.data import CaptionData
from vlm.data.sets.entries import CaptionFiles, DataSet, QuestionFiles, Source
from vlm.data.sets.sources import SETS
from vlm.formats.questions import read_answers, read_questions


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("vlm.data.sets.fetch.time.sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)


def test_nocaps(server, capsys, monkeypatch):
    names = {"val": ["a1.jpg", "b2.jpg"], "test": ["c3.jpg", "d4.jpg", "e5.jpg"]}
    rows = []
    for split, photos in names.items():
        images = [
            {"id": n, "file_name": name, "domain": ["near-domain", "out-domain"][n % 2]}
            for n, name in enumerate(photos)
        ]
        told = [{"id": n, "image_id": n, "caption": f"It is {n}."} for n in range(2)]
        tree = {"images": images, "annotations": told} if split == "val" else {"images": images}
        server.files[f"/{split}.json"] = json.dumps(tree).encode()
        server.files |= {f"/{split}/{name}": photo(7) for name in photos}
        url = f"{server.url}/{split}"
        rows += [
            Source(f"{split}.json", (f"{url}.json",), None, None, {f"{split}.json": 0}),
            Source(
                *(split, (f"{server.url}/gone", url), None, None, {split: len(photos)}),
                into="images",
                listed=f"annotations/{split}.json",
            ),
        ]
    captions = (
        CaptionFiles("annotations/val.json", "val", "val", 2, 2),
        CaptionFiles("annotations/test.json", "test", "test", 3, 0),
    )
    entry = SETS["nocaps"]._replace(sources=tuple(rows), captions=captions)
    monkeypatch.setitem(SETS, "nocaps", entry)
    told = ran(capsys, "nocaps")
    assert f"fetch 3 of 3 photos from {server.url}/gone" in told
    assert "data/nocaps/val.json   2 images, 2 captions\n" in told
    assert (
        "next: vlm test --ckpt_path runs/coco/checkpoints/best.ckpt --data.root data/nocaps" in told
    )
    data = CaptionData({"val": "val.json", "predict": "test.json"}, "images", root="data/nocaps")
    data.check_images("val")
    data.check_images("predict")
    assert [(s.image_id, s.domain) for s in data.samples("val")] == [
        (0, "near-domain"),
        (1, "out-domain"),
    ]
    server.asked.clear()
    assert "nothing was fetched or written" in ran(capsys, "nocaps")
    assert server.asked == []
    Path("data/nocaps/images/test/d4.jpg").unlink()
    assert f"fetch 1 of 3 photos from {server.url}/gone" in ran(capsys, "nocaps")
    assert server.asked == [("/gone/d4.jpg", None), ("/test/d4.jpg", None)]


@pytest.fixture
def vqa(server, monkeypatch) -> DataSet:
    questions = [{"question_id": 10 * n, "image_id": n, "question": f"What is {n}?"} for n in TRAIN]
    answers = [
        {"question_id": 10 * n, "image_id": n, "answers": [{"answer": "a"}] * 10} for n in TRAIN
    ]
    content = zipped(
        {
            "q.json": json.dumps({"questions": questions}).encode(),
            "a.json": json.dumps({"annotations": answers}).encode(),
        }
    )
    server.files["/m/qa.zip"] = content
    sources = (
        Source("qa.zip", ("http://127.0.0.1:9/",), None, None, {"q.json": 0, "a.json": 0}),
        small(SETS["coco"].sources[2]),
    )
    rows = (QuestionFiles("annotations/q.json", "annotations/a.json", len(TRAIN)),)
    entry = SETS["vqav2"]._replace(sources=sources, questions=rows)
    monkeypatch.setitem(SETS, "vqav2", entry)
    return entry


def test_vqav2_keeps_the_official_files(server, capsys, vqa):
    told = ran(capsys, "vqav2", "--from", f"{server.url}/m")
    assert "data/vqav2/annotations/q.json  4 questions, 4 images\n" in told
    assert "data/vqav2/annotations/a.json  40 answers\n" in told
    annotations = Path("data/vqav2/annotations")
    assert read_questions(annotations / "q.json")[0].text == "What is 9?"
    assert len(read_answers(annotations / "a.json")) == 4
    before, asked = snapshot(Path("data")), len(server.asked)
    assert "nothing was fetched or written" in ran(capsys, "vqav2")
    assert (snapshot(Path("data")), len(server.asked)) == (before, asked)


def test_vqav2_with_other_numbers_is_told(server, capsys, vqa, monkeypatch):
    rows = (vqa.questions[0]._replace(number=5),)
    monkeypatch.setitem(SETS, "vqav2", vqa._replace(questions=rows))
    told = refused(capsys, "vqav2", "--from", f"{server.url}/m")
    assert told == "expected 5 questions in annotations/q.json, got 4; get the official file"


def test_flickr30k_takes_a_folder_of_any_name(server, capsys, tmp_path, monkeypatch):
    photos = tmp_path / "my photos"
    photos.mkdir()
    images = []
    for number, split in enumerate(("train", "val", "test"), start=1):
        (photos / f"{number}.jpg").write_bytes(photo(number))
        sentences = [{"raw": "a man ."}]
        images += [{"filename": f"{number}.jpg", "split": split, "sentences": sentences}]
    content = zipped({"dataset_flickr30k.json": json.dumps({"images": images}).encode()})
    server.files["/m/caption_datasets.zip"] = content
    entry = SETS["flickr30k"]
    text, pictures = entry.sources
    sources = (
        text._replace(size=None, checksum=None, urls=(f"{server.url}/m/{text.name}",)),
        pictures._replace(holds={"flickr30k-images": 3}),
    )
    counts = {"train": 1, "val": 1, "test": 1}
    monkeypatch.setitem(SETS, "flickr30k", entry._replace(sources=sources, counts=counts))
    told = ran(capsys, "flickr30k", "--from", str(photos))
    assert f"link to {photos}" in told
    data = CaptionData("val.json", "images", root="data/flickr30k")
    data.check_images("val")
    assert data.samples("val")[0].image_id == "2.jpg"


# --- the table and the door ------------------------------------------------------------------


def test_the_verb_knows_the_whole_table():
    assert set(prepare.NAMES) == set(SETS)


@pytest.mark.parametrize("name", prepare.NAMES)
def test_every_entry_of_the_table_holds_together(name):
    entry = SETS[name]
    held = {
        f"{source.into}/{path}".lstrip("/") for source in entry.sources for path in source.holds
    }
    read = [entry.splits, *entry.texts, *(row.file for row in entry.captions)]
    read += [file for row in entry.questions for file in row[:2]]
    read += [source.listed for source in entry.sources]
    assert {file for file in read if file} <= held
    for source in entry.sources:
        assert source.urls or source.form
        assert all(url.startswith("http") for url in source.urls)
        assert source.listed or source.form or all(u.endswith(source.name) for u in source.urls)
        digits = {"sha256": 64, "md5": 32, "": 0}
        algorithm, _, digest = (source.checksum or "").partition(":")
        assert len(digest) == digits[algorithm]
        assert all(photos > 0 for photos in source.holds.values()) == source.is_photos
    assert "{" not in entry.next_command.format(output="o", name=name).replace('{"train"', "")


def test_help_is_light():
    code = "import sys; from vlm.cli import main\ntry: main(['prepare', '--help'])\n"
    code += "except SystemExit: print('torch' in sys.modules, 'lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")
