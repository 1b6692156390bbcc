"""The frozen eyes: frozen, looking at the right place, and made from every kind of source."""

import copy
import json
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from vlm.errors import InputError
from vlm.models.backbone import FrozenBackbone
from vlm.models.encoder import RegionEncoder
from vlm.regions import grid_boxes

VIT, RESNET = "test_vit", "test_resnet"


def images(count: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def random_weights(architecture: str, *, classes: int = 0) -> dict[str, Tensor]:
    """The same on every call; batch-norm statistics included."""
    state = timm.create_model(architecture, num_classes=classes).state_dict()
    for seed, (name, tensor) in enumerate(state.items()):
        if tensor.is_floating_point():
            noise = tiny.random(*tensor.shape, seed=seed)
            state[name] = noise.abs() + 0.5 if name.endswith("var") else 0.2 * noise
    return state


def local_dir(folder: Path, architecture: str, **config: object) -> str:
    folder.mkdir(exist_ok=True)
    save_file(random_weights(architecture), folder / "model.safetensors")
    content = {"architecture": architecture, "num_classes": 0, **config}
    (folder / "config.json").write_text(json.dumps(content))
    return f"local-dir:{folder}"


def test_training_around_it_changes_nothing_of_it():
    backbone = FrozenBackbone(RESNET, pretrained=False, image_size=64)
    encoder = RegionEncoder(backbone.width, width=15, layers=1, heads=3)
    model = nn.ModuleDict({"backbone": backbone, "encoder": encoder})
    hidden = backbone._model
    before = {name: tensor.clone() for name, tensor in hidden.state_dict().items()}
    first = encoder.project.weight.detach().clone()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(3):
        model.train()
        regions = backbone(images(2, 64, 64, seed=step))
        assert not regions.features.requires_grad
        encoder(regions).features.square().sum().backward()
        optimiser.step()
    after = hidden.state_dict()
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in hidden.modules())
    assert not torch.equal(encoder.project.weight, first)


def test_it_is_no_part_of_what_is_trained_or_saved():
    backbone = FrozenBackbone(RESNET, pretrained=False)
    assert list(backbone.parameters()) == []
    assert backbone.state_dict() == {}
    copied = copy.deepcopy(nn.Sequential(backbone))[0]
    assert copied is backbone


def test_moves_and_casts_reach_the_hidden_model():
    backbone = FrozenBackbone(RESNET, pretrained=False).double()
    regions = backbone(images(1, *backbone.image_size).double())
    assert regions.features.dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "size", "prefix"),
    [
        (VIT, (96, 160), 1),
        ("vit_small_patch14_reg4_dinov2", (70, 42), 5),
        ("vit_tiny_patch16_dinov3_qkvb", (48, 80), 5),
        ("vit_little_patch16_reg4_gap_256", (32, 48), 4),
        ("vit_tiny_r_s16_p8_224", (64, 96), 1),
    ],
)
def test_prefix_tokens_are_not_regions(name, size, prefix):
    backbone = FrozenBackbone(name, pretrained=False, image_size=size)
    pictures = images(2, *size)
    tokens = backbone._model.forward_features((pictures - backbone.mean) / backbone.std)
    assert backbone._model.num_prefix_tokens == prefix
    regions = backbone(pictures)
    assert regions.features.shape[1] == backbone.grid[0] * backbone.grid[1]
    assert_close(regions.features, tokens[:, prefix:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "patch"), [(VIT, 16), (RESNET, 32)])
def test_a_region_is_where_its_box_says(name, patch):
    rows, columns = 3, 5
    backbone = FrozenBackbone(name, pretrained=False, image_size=(rows * patch, columns * patch))
    assert backbone.grid == (rows, columns)
    dark = torch.full((1, 3, rows * patch, columns * patch), 0.2)
    reference = backbone(dark)
    assert_close(reference.boxes[0], grid_boxes(rows, columns))
    assert reference.mask.all()
    for corner in (0, columns - 1, (rows - 1) * columns, rows * columns - 1):
        x0, y0, x1, y1 = (reference.boxes[0, corner] * torch.tensor([columns, rows] * 2)).tolist()
        lit = dark.clone()
        spot = [slice(round(a * patch), round(b * patch)) for a, b in ((y0, y1), (x0, x1))]
        lit[..., spot[0], spot[1]] = 1.0
        change = (backbone(lit).features - reference.features).norm(dim=-1)
        assert change.argmax().item() == corner


def test_boxes_cover_the_image_row_by_row():
    boxes = FrozenBackbone(VIT, pretrained=False, image_size=(48, 80))(images(1, 48, 80)).boxes[0]
    assert boxes[0].tolist() == pytest.approx([0, 0, 1 / 5, 1 / 3])
    assert boxes[1].tolist() == pytest.approx([1 / 5, 0, 2 / 5, 1 / 3])
    assert boxes[-1].tolist() == pytest.approx([4 / 5, 2 / 3, 1, 1])
    assert ((boxes[:, 2:] - boxes[:, :2]).prod(-1).sum()).item() == pytest.approx(1)


def test_mean_and_deviation_are_its_own(tmp_path):
    odd = {"mean": [0.1, 0.2, 0.3], "std": [0.7, 0.8, 0.9], "input_size": [3, 64, 64]}
    backbone = FrozenBackbone(local_dir(tmp_path, RESNET, pretrained_cfg=odd))
    assert backbone.mean.flatten().tolist() == pytest.approx(odd["mean"])
    assert backbone.std.flatten().tolist() == pytest.approx(odd["std"])
    pictures = images(2, 64, 64)
    normalised = (pictures - backbone.mean) / backbone.std
    expected = backbone._model.forward_features(normalised).flatten(2).transpose(1, 2)
    assert_close(backbone(pictures).features, expected)


def test_integers_are_not_taken_for_unit_range():
    backbone = FrozenBackbone(RESNET, pretrained=False)
    with pytest.raises(ValueError, match=r"\[0, 1\], got torch.uint8; divide it by 255"):
        backbone(torch.zeros(1, 3, *backbone.image_size, dtype=torch.uint8))


def test_a_folder_and_a_file_hold_the_same_eyes(tmp_path, monkeypatch):
    own = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 160, 160]}
    own["interpolation"] = timm.get_pretrained_cfg(RESNET).interpolation
    folder = FrozenBackbone(local_dir(tmp_path / "eyes", RESNET, pretrained_cfg=own))
    files = {"a.safetensors": save_file, "a.pth": torch.save}
    for name, save in files.items():
        save(random_weights(RESNET, classes=1000), tmp_path / name)
        loaded = FrozenBackbone(RESNET, weights=str(tmp_path / name))
        pictures = images(1, *loaded.image_size)
        assert_close(loaded(pictures).features, folder(pictures).features)
        assert loaded.hash == folder.hash
    monkeypatch.chdir(tmp_path)
    relative = FrozenBackbone("local-dir:eyes")
    assert relative.name == f"local-dir:{(tmp_path / 'eyes').resolve()}"


def test_the_hash_is_of_every_weight(tmp_path):
    state = random_weights(RESNET)
    hashes = []
    for changed in (None, "bn1.running_mean", "conv1.0.weight"):
        if changed:
            state[changed].view(-1)[-1] += 1e-3
        save_file(state, tmp_path / f"{changed}.safetensors")
        path = str(tmp_path / f"{changed}.safetensors")
        hashes += [FrozenBackbone(RESNET, weights=path).hash for _ in range(2)]
    assert hashes[::2] == hashes[1::2]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"model_args": {"output_stride": 16}},
        {"pretrained_cfg": {"mean": [0.2, 0.2, 0.2]}},
        {"pretrained_cfg": {"interpolation": "lanczos"}},
    ],
)
def test_the_hash_is_of_the_geometry_too(tmp_path: Path, change: dict):
    travelling = FrozenBackbone(RESNET, pretrained=False).travelling()
    identities = []
    for name, changes in (("as_is", {}), ("changed", change)):
        config = json.loads(json.dumps(travelling["config"]))
        for key, values in changes.items():
            config[key] |= values
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        save_file(travelling["state"], tmp_path / name / "model.safetensors")
        identities.append(FrozenBackbone(f"local-dir:{tmp_path / name}").hash)
    assert identities[0] != identities[1]


@pytest.mark.parametrize(("name", "size"), [(RESNET, None), (VIT, None), (VIT, (48, 80))])
def test_what_travels_is_the_same_elsewhere(tmp_path, name, size):
    source = FrozenBackbone(local_dir(tmp_path / "source", name), image_size=size)
    content = source.travelling()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "config.json").write_text(json.dumps(content["config"]))
    save_file(
        {key: tensor.contiguous() for key, tensor in content["state"].items()},
        tmp_path / "copy" / "model.safetensors",
    )
    copied = FrozenBackbone(f"local-dir:{tmp_path / 'copy'}", image_size=size)
    assert copied.hash == source.hash
    assert copied.image_size == source.image_size
    assert copied.interpolation == source.interpolation
    pictures = images(1, *source.image_size)
    assert_close(copied(pictures), source(pictures), rtol=0, atol=0)
    assert json.dumps(copied.travelling()["config"]) == json.dumps(content["config"])


@pytest.mark.parametrize(("name", "grid"), [(VIT, (6, 8)), (RESNET, (3, 4))])
def test_another_image_size_is_another_grid(name, grid):
    backbone = FrozenBackbone(name, pretrained=False, image_size=(96, 128))
    assert backbone.grid == grid
    assert backbone.image_size == (96, 128)
    assert FrozenBackbone(name, pretrained=False, image_size=96).image_size == (96, 96)
    assert FrozenBackbone(name, pretrained=False).image_size == (160, 160)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vit_tiny_patch16_224", (250, 224), "250x224.*patch of 16x16.*give 256x224"),
        ("swin_tiny_patch4_window7_224", 250, "250x250.*patch of 4x4.*give 248x248"),
        (VIT, 100, "100x100.*patch of 16x16.*give 96x96"),
        (VIT, 7, "give 16x16"),
        (RESNET, 0, "0x0 pixels.*own size is 160x160"),
    ],
)
def test_sizes_that_leave_a_border_unseen_are_refused(name, size, message):
    with pytest.raises(InputError, match=f"backbone '{name}'.*{message}"):
        FrozenBackbone(name, pretrained=False, image_size=size)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(InputError, match=r"no backbone 'resnet18x'; did you mean 'resnet18'\?"):
        FrozenBackbone("resnet18x")
    with pytest.raises(InputError, match=r"no backbone 'zzzz'; see timm.list_models\(\)"):
        FrozenBackbone("zzzz")
    with pytest.raises(InputError, match="could not be made: Invalid pretrained tag"):
        FrozenBackbone("test_resnet.nowhere", pretrained=False)


def test_weights_that_are_missing_broken_or_of_another_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(InputError, match=r"other.safetensors of backbone .* do not exist"):
        FrozenBackbone(RESNET, weights=str(path))
    save_file(random_weights(VIT), path)
    with pytest.raises(InputError, match=r"do not fit it: \d+ of its tensors are missing"):
        FrozenBackbone(RESNET, weights=str(path))
    partial = random_weights(RESNET)
    del partial["layer1.0.bn1.weight"]
    save_file(partial, path)
    with pytest.raises(InputError, match=r"1 of its tensors are missing.*layer1.0.bn1.weight"):
        FrozenBackbone(RESNET, weights=str(path))
    path.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="could not be made"):
        FrozenBackbone(RESNET, weights=str(path))


@pytest.mark.parametrize("config", [None, "{", "[]", '{"num_classes": 0}'])
def test_folders_must_name_their_architecture(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=r"no config.json|names no architecture"):
        FrozenBackbone(f"local-dir:{tmp_path}")


def test_offline_it_names_the_backbone_and_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(
        InputError, match=r"'resnet10t.*internet.*local-dir:PATH.*pretrained: false"
    ):
        FrozenBackbone("resnet10t.c3_in1k")
    assert time.monotonic() - started < 5


def test_public_is_what_can_be_had_again(tmp_path):
    assert not FrozenBackbone(RESNET, pretrained=False).public
    name = local_dir(tmp_path, RESNET)
    assert FrozenBackbone(name).public
    assert not FrozenBackbone(name, public=False).public


def test_regions_of_real_weights_are_the_last_blocks_of_their_own_network(shared):
    folder = shared / "weights" / "tf_efficientnet_lite0"
    backbone = FrozenBackbone(f"local-dir:{folder}")
    assert (backbone.width, backbone.grid, backbone.image_size) == (320, (7, 7), (224, 224))
    pictures = images(2, 224, 224)
    regions = backbone(pictures)
    whole = timm.create_model(
        "tf_efficientnet_lite0",
        pretrained_cfg_overlay={"file": str(folder / "model.safetensors")},
        pretrained=True,
    ).eval()
    with torch.no_grad():
        blocks = whole.blocks(whole.bn1(whole.conv_stem((pictures - 0.5) / 0.5)))
    assert_close(regions.features, blocks.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-4)
