"""Eyes of the built-in world: they learn, are saved as timm saves, and use no held-out thing."""

import numpy as np
import pytest
import timm
import torch

from vlm.data.world import World, draw
from vlm.data.world.scene import combinations
from vlm.training import eyes
from vlm.training.eyes import ATTRIBUTES, train_eyes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eyes")
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eyes, "EXAMINED", 200)
        report = train_eyes(
            World(seed=2),
            folder,
            portraits=640,
            epochs=2,
            progress=lambda *step: steps.append(step),
        )
    return folder, report, steps


def load(folder):
    return timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()


def test_a_minute_part_of_the_training_tells_backgrounds_and_colours(trained):
    _, report, steps = trained
    assert steps == [(done, 40) for done in range(1, 41)]
    for shares in report:
        assert set(shares) == {*ATTRIBUTES, "object"}
        assert shares["background"] > 0.7  # 1 in 6 by chance
        assert shares["colour"] > 0.35  # 1 in 8 by chance


def test_features_of_the_saved_eyes_are_those_of_the_trained(tmp_path, monkeypatch):
    kept = []
    save = eyes._save
    monkeypatch.setattr(eyes, "EXAMINED", 7)
    monkeypatch.setattr(
        eyes, "_save", lambda model, folder: (save(model, folder), kept.append(model))
    )
    train_eyes(World(seed=2), tmp_path / "eyes", portraits=64, epochs=1)
    images = torch.rand(2, 3, 128, 160)
    with torch.inference_mode():
        features = kept[0].eval().forward_features(images)
        again = load(tmp_path / "eyes").forward_features(images)
    assert again.shape == (2, 96, 8, 10)
    assert torch.equal(again, features)
    assert sorted(file.name for file in (tmp_path / "eyes").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_the_saved_eyes_say_what_they_take(trained):
    config = timm.data.resolve_model_data_config(load(trained[0]))
    assert config["input_size"] == (3, 128, 160)
    assert list(config["mean"]) == list(config["std"]) == [0.5, 0.5, 0.5]


def test_a_region_sees_the_object_that_lies_in_it(trained):
    """The last map changes most where the picture did."""
    model, scene = load(trained[0]), World(seed=2).scene("train", 0)
    pixels, masks = draw(scene)
    blank = pixels.copy()
    blank[masks[0]] = 128
    pair = torch.from_numpy(np.stack([pixels, blank])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        before, after = model.forward_features(pair)
    change = (before - after).norm(dim=0)
    row, column = divmod(int(change.argmax()), change.shape[1])
    subject = scene.objects[0]
    assert abs((row + 0.5) * 16 - subject.y) < 28
    assert abs((column + 0.5) * 16 - subject.x) < 28


def test_training_repeats_itself_and_leaves_the_global_generator_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(eyes, "EXAMINED", 5)
    state = torch.random.get_rng_state()
    for name in ("one", "two"):
        train_eyes(World(seed=1), tmp_path / name, portraits=64, epochs=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_no_held_out_combination_and_no_scene_is_trained_on(tmp_path, monkeypatch):
    drawn, world = [], World(seed=4)
    fit = eyes._fit
    monkeypatch.setattr(eyes, "EXAMINED", 5)
    monkeypatch.setattr(eyes, "draw", lambda scene: (drawn.append(scene), draw(scene))[1])
    monkeypatch.setattr(
        eyes, "_fit", lambda *args, **options: (drawn.append("fitted"), fit(*args, **options))
    )
    train_eyes(world, tmp_path, portraits=67, epochs=1)
    learned_from = drawn[: drawn.index("fitted")]
    held_out = set(combinations(world.seed, unseen=True))
    assert len(learned_from) == 67
    assert not any(one.combination in held_out for scene in learned_from for one in scene.objects)
    assert all(len(scene.objects) == 1 for scene in learned_from)
