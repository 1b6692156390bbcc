"""Captioners that write together, through the doors of vlm caption and vlm test."""

import json
from pathlib import Path

import pytest
import timm
import torch
from tiny_fit import photo
from torch import Tensor

from vlm.cli import main, trainer
from vlm.errors import InputError
from vlm.files import read_json
from vlm.training import VisionLanguageModule


def variant(arguments: list[str], output: Path, *options: str) -> str:
    """A checkpoint of one more tiny training."""
    once = ["--trainer.max_epochs", "1", "--output", str(output)]
    trainer.run("fit", [*arguments, *once, *options])
    return str(output / "checkpoints" / "best.ckpt")


@pytest.fixture(scope="session")
def other_eyes(tiny_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A captioner of the same words, another seed and another backbone, of another size."""
    folder = tmp_path_factory.mktemp("other")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        model = timm.create_model("test_efficientnet", num_classes=0)
    timm.models.save_for_hf(model, str(folder / "eyes"), safe_serialization=True)
    eyes = ["--model.backbone.name", f"local-dir:{folder / 'eyes'}"]
    loop = ["--data.store", "null", "--model.backbone.image_size", "[64, 96]"]
    return variant(tiny_arguments, folder, *eyes, *loop, "--seed_everything", "1")


@pytest.fixture(scope="session")
def same_eyes(tiny_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A captioner of the same words and the same backbone with another seed."""
    return variant(tiny_arguments, tmp_path_factory.mktemp("same"), "--seed_everything", "1")


@pytest.fixture(scope="session")
def other_words(tiny_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    words = ["--data.vocabulary.min_count", "3"]
    return variant(tiny_arguments, tmp_path_factory.mktemp("words"), *words)


def shortened(checkpoint: Path, folder: Path) -> Path:
    """The same model with six positions, which writes shorter captions."""
    content = torch.load(checkpoint, weights_only=True)
    content["vlm"]["parts"]["decoder"]["init_args"]["max_length"] = 6
    content["vlm"]["settings"]["decoding"]["init_args"]["max_length"] = 6
    weights = content["state_dict"]
    name = next(name for name in weights if name.endswith("position_embedding.weight"))
    weights[name] = weights[name][:6].clone()
    torch.save(content, folder / "short.ckpt")
    return folder / "short.ckpt"


def told(capsys, *arguments: str) -> list[dict]:
    assert main(["caption", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def probabilities(checkpoint: str, image: str, caption: str) -> Tensor:
    """Of each token of a caption at its place, read by one model alone: ``(L, V)``."""
    module = VisionLanguageModule.load(checkpoint)
    task = module.captioning
    tokens = [module.tokenizer.start, *task.spell(caption)]
    with torch.inference_mode():
        hidden = task.captioner(module.look_at([image]), torch.tensor([[tokens[:-1]]]))
        return task.captioner.decoder.logits(hidden)[0, 0].softmax(-1)


def test_a_model_with_itself_writes_what_it_writes_alone(
    tiny_checkpoint: Path, tiny_world: Path, capsys
):
    photos = [str(path) for path in sorted((tiny_world / "images").iterdir())[:3]]
    alone = told(capsys, str(tiny_checkpoint), *photos)
    twice = told(capsys, str(tiny_checkpoint), *photos, "--ensemble", *[str(tiny_checkpoint)] * 2)
    assert [row["caption"] for row in twice] == [row["caption"] for row in alone]
    likely = [row["log_probability"] for row in alone]
    assert [row["log_probability"] for row in twice] == pytest.approx(likely, abs=1e-5)


@pytest.mark.parametrize("beams", ["1", "3"])
def test_each_word_has_the_mean_of_the_probabilities_that_the_models_give_it(
    tiny_checkpoint: Path, same_eyes: str, other_eyes: str, tiny_world: Path, capsys, beams: str
):
    image, files = photo(tiny_world), [str(tiny_checkpoint), same_eyes, other_eyes]
    options = ["--ensemble", *files[1:], "--beams", beams]
    (row,) = told(capsys, files[0], image, *options)
    module = VisionLanguageModule.load(files[0])
    tokens = module.captioning.spell(row["caption"])[: module.captioning.decoding.max_length]
    each = torch.stack([probabilities(file, image, row["caption"]) for file in files])
    mean = each.mean(0)[: len(tokens)]
    by_hand = mean.gather(1, torch.tensor(tokens).unsqueeze(1)).log().sum().item()
    assert row["log_probability"] == pytest.approx(by_hand, abs=1e-4)
    (alone,) = told(capsys, files[0], image, "--beams", beams)
    assert row["log_probability"] != pytest.approx(alone["log_probability"], abs=1e-2)
    if beams == "1":
        assert mean[1:, 4:].argmax(-1).add(4).tolist() == tokens[1:]


def test_a_split_is_written_together_and_scored(
    tiny_checkpoint: Path, other_eyes: str, tiny_world: Path, capsys
):
    options = ["--ckpt_path", str(tiny_checkpoint), "--ensemble", other_eyes]
    assert trainer.run("test", options).output == tiny_checkpoint.parent / "test-ensemble"
    results = read_json(tiny_checkpoint.parent / "test-ensemble" / "results.json")
    metrics = read_json(tiny_checkpoint.parent / "test-ensemble" / "metrics.json")
    assert metrics["ensemble"] == [str(tiny_checkpoint), other_eyes]
    assert metrics["images"] == len(results) == 7
    images = read_json(tiny_world / "captions_test.json")["images"]
    names = {row["id"]: row["file_name"] for row in images}
    photos = [str(tiny_world / "images" / names[row["image_id"]]) for row in results]
    capsys.readouterr()
    alone = told(capsys, str(tiny_checkpoint), *photos, "--ensemble", other_eyes)
    assert [row["caption"] for row in results] == [row["caption"] for row in alone]


def test_a_store_serves_all_that_would_see_the_same(
    tiny_checkpoint: Path, same_eyes: str, other_eyes: str, tiny_store: Path, tmp_path: Path
):
    store = ["--data.store", "vlm.data.FeatureStore", "--data.store.path", str(tiny_store)]
    options = ["--ckpt_path", str(tiny_checkpoint), *store, "--data.images", "gone"]
    for name, others in (("alone", []), ("together", ["--ensemble", same_eyes])):
        trainer.run("test", [*options, *others, "--output", str(tmp_path / name)])
    files = [tmp_path / name / "results.json" for name in ("alone", "together")]
    assert len(read_json(files[1])) == len(read_json(files[0])) == 7
    with pytest.raises(InputError, match="gone"):
        trainer.run("test", [*options, "--ensemble", other_eyes, "--output", str(tmp_path / "a")])


def test_what_else_a_leader_does_it_does_alone(joint: Path, tiny_world: Path, tmp_path: Path):
    folders = []
    for name, others in (("alone", []), ("together", ["--ensemble", str(joint)])):
        options = ["--ckpt_path", str(joint), *others, "--output", str(tmp_path / name)]
        folders.append(trainer.run("test", options).output)
    for file in ("results.json", "answers.json"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_who_cannot_write_along_is_refused_by_name(
    tiny_checkpoint: Path,
    other_words: str,
    answerer: Path,
    tiny_world: Path,
    tmp_path: Path,
    capsys,
):
    short = shortened(tiny_checkpoint, tmp_path)
    refused = {
        other_words: f"{other_words} writes with another vocabulary than {tiny_checkpoint}; ",
        str(answerer): f"{answerer}: this model answers questions and writes no captions",
        str(short): f"{short} has 6 positions, and captions of 7 tokens may be written",
        "gone.ckpt": "checkpoint gone.ckpt does not exist; check the path",
    }
    for file, words in refused.items():
        asked = ["caption", str(tiny_checkpoint), photo(tiny_world), "--ensemble", file]
        assert main(asked) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"vlm: error: {words}")
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match="another vocabulary than"):
        trainer.run("test", [*options, "--ensemble", other_words])
    assert not (tmp_path / "out").exists(), "nothing half-written"


def test_a_training_knows_no_ensemble(tiny_arguments: list[str], tiny_checkpoint: Path, tmp_path):
    options = ["--ensemble", str(tiny_checkpoint), "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match="no option 'ensemble'"):
        trainer.run("fit", [*tiny_arguments, *options])
