"""``vlm doctor PATH``: files and folders with real damage are found out, sound ones are told."""

import json
import shutil
from pathlib import Path

import pytest

from vlm.cli import main
from vlm.data.sets.build import RECORD
from vlm.files import file_hash, read_json, write_json, write_lines


def lines(capsys, status: int, *arguments: object) -> list[str]:
    assert main(["doctor", *map(str, arguments)]) == status
    return capsys.readouterr().out.splitlines()


# --- Annotations and photos ------------------------------------------------------------------


def test_captions_and_their_images(tiny_world, tmp_path, capsys):
    file = tiny_world / "captions_val.json"
    (line,) = lines(capsys, 0, file)
    assert line == f"ok    {file}: 7 images, 35 captions, 5 an image"
    images = shutil.copytree(tiny_world / "images", tmp_path / "images")
    told = lines(capsys, 0, file, "--images", images)[1]
    assert told == f"ok    {file}: all 7 images are in {images} and can be read"
    name = read_json(file)["images"][2]["file_name"]
    (images / name).write_bytes((images / name).read_bytes()[:300])
    assert (
        f"1 of 7 images of {file} cannot be used" in lines(capsys, 2, file, "--images", images)[1]
    )
    assert "does not exist; correct --images" in lines(capsys, 2, file, "--images", "none")[1]


@pytest.mark.parametrize(
    ("captions", "status", "words"),
    [
        (([], []), "ok", "2 images without captions, for vlm predict"),
        ((["a"], ["b", "c"]), "ok", "2 images, 3 captions, 1 to 2 an image"),
        ((["a"], []), "warn", "0 to 1 an image; 1 images have none (b.jpg); write one each"),
        ((["a"], [" "]), "fail", "captions of images b.jpg are empty; write them"),
    ],
)
def test_images_without_captions(captions, status, words, tmp_path, capsys):
    rows = [{"image": n, "captions": c} for n, c in zip(("a.jpg", "b.jpg"), captions, strict=True)]
    write_lines(tmp_path / "my.jsonl", rows)
    (line,) = lines(capsys, 2 if status == "fail" else 0, tmp_path / "my.jsonl")
    assert line.startswith(f"{status:<4}  {tmp_path / 'my.jsonl'}: ")
    assert words in line


def test_objects_questions_answers_and_what_is_none_of_these(tmp_path, capsys):
    trees = {
        "objects": {
            "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
            "categories": [{"id": 5, "name": "cat"}],
            "annotations": [{"image_id": 1, "category_id": 5}],
        },
        "questions": {"questions": [{"question_id": 1, "image_id": 2, "question": "what?"}]},
        "answers": {"annotations": [{"question_id": 1, "answers": [{"answer": "a"}]}]},
        "results": [{"image_id": 1, "caption": "a"}],
        "list": [1, 2],
    }
    for name, tree in trees.items():
        write_json(tmp_path / name, tree)
    (tmp_path / "cut").write_text('{"images": [')
    files = [tmp_path / name for name in (*trees, "cut", "absent")]
    told = [line.replace(f"{tmp_path}/", "") for line in lines(capsys, 2, *files)]
    assert told == [
        "ok    objects: objects of 1 categories in 2 images, none in 1",
        "ok    questions: 1 questions about 1 images",
        "ok    answers: the answers to 1 questions, 1 a question",
        "warn  results: a list of results, which is not looked into here; vlm evaluate checks it",
        "fail  list: is a list, no file of captions, objects, questions or answers; "
        "see vlm doctor --help for what can be given",
        "fail  cut: file cut is not whole JSON (line 1: Expecting value); it may have been cut "
        "off, fetch or write it again",
        "fail  absent: does not exist; check it",
    ]


def test_folders_of_photos_and_photos(tiny_world, tmp_path, capsys):
    images = shutil.copytree(tiny_world / "images", tmp_path / "images")
    photo = sorted(images.iterdir())[0]
    assert lines(capsys, 0, photo) == [f"ok    {photo}: an image that can be read"]
    assert "45 images, " in lines(capsys, 0, images)[0]
    photo.write_bytes(b"")
    assert f"1 of 45 images of {images} cannot be used: " in lines(capsys, 2, images)[0]
    assert lines(capsys, 2, photo)[0].endswith("is empty; restore, convert or remove it")
    (tmp_path / "empty").mkdir()
    assert "and holds no image; name one" in lines(capsys, 2, tmp_path / "empty")[0]


# --- Prepared sets ---------------------------------------------------------------------------


@pytest.fixture
def prepared(tiny_world, tmp_path) -> Path:
    """A set as ``vlm prepare`` leaves it."""
    folder = tmp_path / "set"
    shutil.copytree(tiny_world / "images", folder / "images")
    files = {}
    for split in ("train", "val"):
        file = folder / f"{split}.json"
        shutil.copy(tiny_world / f"captions_{split}.json", file)
        tree = read_json(file)
        holds = {"images": len(tree["images"]), "captions": len(tree["annotations"])}
        files[file.name] = {"hash": file_hash(file), "holds": holds}
    write_json(folder / RECORD, {"set": "Tiny", "photos": True, "origins": {}, "files": files})
    return folder


def test_a_prepared_set(prepared, capsys):
    told = [line.removeprefix(f"ok    {prepared}: ") for line in lines(capsys, 0, prepared)]
    assert told == [
        "Tiny: train.json 24 images, 120 captions; val.json 7 images, 35 captions",
        "train shares no image with val",
        "all 31 photos are there",
    ]
    assert lines(capsys, 0, prepared, "--full")[-1].endswith("are there and can be read")


def test_a_prepared_set_that_was_changed(prepared, capsys):
    train, val = (read_json(prepared / f"{split}.json") for split in ("train", "val"))
    train["images"].append(val["images"][0])
    write_json(prepared / "train.json", train)
    gone = prepared / "images" / val["images"][1]["file_name"]
    gone.unlink()
    told = lines(capsys, 2, prepared)
    assert [line[:4] for line in told] == ["ok  ", "fail", "fail", "fail"]
    assert "train.json has changed since vlm prepare wrote it; move it away and run" in told[1]
    assert f"got 1: {val['images'][0]['id']}; remove" in told[2]
    assert f"1 of 32 photos are gone ({gone.name}); run the same vlm prepare again" in told[3]
    (prepared / "val.json").unlink()
    assert "val.json is gone; run" in lines(capsys, 2, prepared)[1]


def test_a_prepare_that_was_stopped(prepared, capsys):
    record = read_json(prepared / RECORD)
    del record["origins"]
    write_json(prepared / RECORD, record)
    (line,) = lines(capsys, 2, prepared)
    assert "vlm prepare was stopped before it was done; run the same" in line


@pytest.mark.parametrize(
    "left",
    [
        ".fetched/train2014.zip.partial",
        "annotations/nocaps_val_4500_captions.json.partial",
        "images/.val2014.zip.partial/a.jpg",
        "images/val/a.jpg.partial",
    ],
)
def test_a_prepare_that_is_half_done(prepared, left, capsys):
    (prepared / left).parent.mkdir(parents=True, exist_ok=True)
    (prepared / left).touch()
    lines(capsys, 0, prepared)
    record = read_json(prepared / RECORD)
    write_json(prepared / RECORD, record | {"photos": False})
    told = lines(capsys, 0, prepared)[-1]
    assert told == f"warn  {prepared}: its photos are unfinished; run the same vlm prepare again"
    (prepared / RECORD).unlink()
    (line,) = lines(capsys, 2, prepared)
    assert line == (
        f"fail  {prepared}: a data set that is unfinished, vlm prepare has begun it; run the same "
        "vlm prepare again, which goes on, unless one is at work"
    )


# --- Checkpoints and backbones ---------------------------------------------------------------


def test_a_checkpoint_and_its_run(tiny_checkpoint, tiny_run, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = lines(capsys, 0, tiny_checkpoint, "--full")
    assert "a checkpoint of CaptioningModule (format 4, vlm " in first
    assert " steps; it looks with 'local-dir:" in first
    assert second == f"ok    {tiny_checkpoint}: the weights of its backbone travel in it"
    assert lines(capsys, 0, tiny_run)[-1] == second
    assert list(tmp_path.iterdir()) == [], "nothing is unpacked"


def test_a_checkpoint_that_is_cut_off(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "a.ckpt").write_bytes(tiny_checkpoint.read_bytes()[:999])
    (line,) = lines(capsys, 2, tmp_path / "a.ckpt")
    assert "is not a checkpoint that can be read" in line


def test_a_checkpoint_whose_backbone_is_public(tiny_checkpoint, tiny_eyes, tmp_path, capsys):
    import torch

    content = torch.load(tiny_checkpoint, weights_only=True)
    recipe = content["vlm"]
    recipe["backbone_weights"] = None
    assert recipe["backbone"]["init_args"]["name"] == tiny_eyes
    torch.save(content, tmp_path / "a.ckpt")
    told = lines(capsys, 0, tmp_path / "a.ckpt")[1]
    assert told.endswith(f"are here, in {tiny_eyes.removeprefix('local-dir:')}/model.safetensors")
    told = lines(capsys, 0, tmp_path / "a.ckpt", "--full")[1]
    assert told.endswith("its backbone is here and has the weights that it was trained with")
    recipe["backbone"]["hash"] = "0" * 16
    torch.save(content, tmp_path / "a.ckpt")
    assert "was trained with" in lines(capsys, 2, tmp_path / "a.ckpt", "--full")[1]
    recipe["backbone"]["init_args"]["name"] = "local-dir:gone"
    torch.save(content, tmp_path / "a.ckpt")
    told = lines(capsys, 2, tmp_path / "a.ckpt")[1]
    assert "is gone, there are no weights in gone; give them with --backbone PATH" in told


def test_backbones_by_name(tmp_path, monkeypatch):
    from vlm.cli.doctor.backbone import examine_backbone

    def found(name: str, **arguments: object) -> str:
        part = {"class_path": "vlm.models.FrozenBackbone", "init_args": {"name": name, **arguments}}
        return str(examine_backbone("b", part, way_out="do x"))

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert found("resnet_18").startswith("fail  b: timm knows no backbone 'resnet_18'; correct")
    assert found("resnet18", pretrained=False).startswith("ok ")
    assert found("resnet18", weights="gone.pth").endswith("no weights in gone.pth; do x")
    absent = found("resnet18.a1_in1k")
    assert absent.startswith("warn  b: the weights of backbone 'resnet18.a1_in1k' are not in ")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert found("resnet18.a1_in1k").endswith("HF_HUB_OFFLINE is set; unset it, or do x")
    home = tmp_path / "models--timm--resnet18.a1_in1k"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "snapshots" / "abc" / "model.safetensors").touch()
    assert found("resnet18.a1_in1k").endswith("abc/model.safetensors")


def test_a_folder_in_timms_layout(tiny_eyes, tmp_path, capsys):
    folder = Path(shutil.copytree(tiny_eyes.removeprefix("local-dir:"), tmp_path / "eyes"))
    assert "are here, in " in lines(capsys, 0, folder)[0]
    (folder / "model.safetensors").unlink()
    for other in folder.glob("*.bin"):
        other.unlink()
    assert "is gone, there are no weights" in lines(capsys, 2, folder)[0]
    assert json.loads((folder / "config.json").read_text())
