"""Frozen stays frozen, resumed is bit-identical, a checkpoint rebuilds itself."""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from vlm.cli.trainer import run
from vlm.data import CaptionData, FeatureStore, RandAugment
from vlm.data.folders import list_images
from vlm.decoding import BeamSearch, Greedy
from vlm.errors import InputError
from vlm.extract import Extraction
from vlm.formats.image_list import listed
from vlm.models import FrozenBackbone, RegionEncoder, TextDecoder
from vlm.text.tokenizer import WordVocabulary
from vlm.training import checkpoint as checkpoints
from vlm.training.captioning import CaptioningModule
from vlm.training.objectives import CrossEntropy, Objective
from vlm.training.recipe import rebuild
from vlm.training.self_critical import SelfCritical

SPLITS = {"train": "captions_train.json", "val": "captions_val.json"}


class KilledError(Exception):
    """What a test stops a training with."""


def make_data(world: Path, **options) -> CaptionData:
    return CaptionData(
        SPLITS, "images", root=str(world), batch_size=5, vocabulary=WordVocabulary(2), **options
    )


def make_store(world: Path, folder: Path) -> FeatureStore:
    """Three views of every scene, as the module's own backbone sees them."""
    images = listed(list_images(world / "images"), world / "images")
    backbone = make_module(make_data(world)).backbone
    return Extraction(images, backbone, folder, views=3).run()


def make_module(data: CaptionData, **options) -> CaptioningModule:
    torch.manual_seed(11)
    backbone = FrozenBackbone("test_resnet", pretrained=False, image_size=(64, 96))
    return CaptioningModule(
        data.tokenizer(),
        backbone,
        encoder=partial(RegionEncoder, width=16, layers=1, heads=2),
        decoder=partial(TextDecoder, width=16, layers=1, heads=2, max_length=40, dropout=0.2),
        decoding=Greedy(max_length=6),
        **options,
    )


def make_trainer(folder: Path, *callbacks: L.Callback, **options) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **options,
    )


def weights(module: CaptioningModule) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def frozen(module: CaptioningModule) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.backbone.travelling()["state"].items()}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


def test_training_with_the_backbone_in_the_loop_leaves_it_bit_identical(
    tiny_world: Path, tmp_path: Path
):
    data = make_data(tiny_world, augmentation=RandAugment())
    module = make_module(data)
    before, eyes, identity = weights(module), frozen(module), module.backbone.hash
    assert any("running_mean" in name for name in eyes)
    mean, std = module.backbone.mean.clone(), module.backbone.std.clone()
    trainer = make_trainer(tmp_path, EMAWeightAveraging(decay=0.7), max_epochs=1)
    trainer.fit(module, data)
    assert not equal(before, weights(module)), "the captioner learned nothing"
    assert torch.equal(mean, module.backbone.mean), "an average must not make them drift"
    assert torch.equal(std, module.backbone.std)
    assert equal(eyes, frozen(module))
    module.backbone.__dict__.pop("hash")
    assert module.backbone.hash == identity
    hidden = {id(p) for p in module.backbone._model.parameters()}
    groups = trainer.optimizers[0].param_groups
    optimised = {id(parameter) for group in groups for parameter in group["params"]}
    assert optimised == {id(parameter) for parameter in module.network.parameters()}
    assert not hidden & optimised


def test_features_from_a_store_and_from_the_loop_train_the_same(tiny_world: Path, tmp_path: Path):
    losses = []
    for store in (None, make_store(tiny_world, tmp_path / "store")):
        data = make_data(tiny_world, store=store)
        trainer = make_trainer(tmp_path, max_epochs=1)
        trainer.fit(make_module(data), data)
        losses.append(trainer.callback_metrics["val/loss"].item())
    assert losses[0] == pytest.approx(losses[1], abs=2e-3), "equal up to 16-bit features"


@pytest.mark.parametrize(
    ("objective", "ema"),
    [(CrossEntropy, False), (CrossEntropy, True), (partial(SelfCritical, max_length=9), False)],
)
def test_resuming_in_the_middle_of_an_epoch_is_bit_identical(
    tiny_world: Path, tmp_path: Path, objective: Callable[[], Objective], ema: bool
):
    """24 images in batches of 5: five steps an epoch; step 7 is the second of epoch two."""

    class Killer(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.global_step == 8:
                raise KilledError

    store = make_store(tiny_world, tmp_path / "store")

    def fit(folder: str, *callbacks: L.Callback, resume: Path | None = None) -> CaptioningModule:
        data = make_data(tiny_world, store=FeatureStore(store.path, views=3), seed=3)
        module = make_module(data, seed=3, objective=objective())
        saver = ModelCheckpoint(
            tmp_path / folder, filename="{step}", every_n_train_steps=7, save_top_k=-1
        )
        averaging = [EMAWeightAveraging(decay=0.9)] if ema else []
        trainer = make_trainer(tmp_path, saver, *averaging, *callbacks, max_epochs=3)
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        return module

    whole = fit("whole")
    with pytest.raises(KilledError):
        fit("stopped", Killer())
    resumed = fit("resumed", resume=tmp_path / "stopped" / "step=7.ckpt")
    assert resumed.global_step == whole.global_step == 15
    assert equal(weights(whole), weights(resumed))


def test_a_checkpoint_rebuilds_the_module_it_came_from(tiny_world: Path, tmp_path: Path):
    data = make_data(tiny_world)
    module = make_module(data, learning_rate=3e-3)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = CaptioningModule.load(tmp_path / "a.ckpt")
    assert equal(weights(module), weights(again))
    assert again.backbone.hash == module.backbone.hash
    assert again.decoding == module.decoding
    assert again.learning_rate == 3e-3
    images = torch.arange(2 * 3 * 64 * 96, dtype=torch.uint8).view(2, 3, 64, 96)
    new, old = (
        m.captioning.write(m.network.encode(m.look(images))) for m in (again, module.eval())
    )
    assert torch.equal(new.tokens, old.tokens)


def test_the_recipe_is_the_same_from_yaml_and_from_python(tiny_checkpoint: Path):
    section = checkpoints.read(tiny_checkpoint)[checkpoints.SECTION]
    module = CaptioningModule.load(tiny_checkpoint)
    data = rebuild(section["data"], CaptionData)
    assert checkpoints.section(module, data).keys() == section.keys()
    for key in section.keys() - {"backbone", "backbone_weights"}:
        assert checkpoints.section(module, data)[key] == section[key]


def change(checkpoint: Path, target: Path, **entries) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    content[checkpoints.SECTION] |= entries
    torch.save(content, target)
    return target


def test_a_newer_format_is_refused(tiny_checkpoint: Path, tmp_path: Path):
    newer = change(tiny_checkpoint, tmp_path / "newer.ckpt", format=99)
    with pytest.raises(InputError, match="has format 99, this vlm reads 4"):
        CaptioningModule.load(newer)


FOREIGN = ["os.path", "this.s", "torch.nn.Linear", "vlm.files.write_json", "vlm.cli.sys", "vlmx.Y"]


@pytest.mark.parametrize("path", FOREIGN)
@pytest.mark.parametrize("entry", ["encoder", "data", "backbone", "settings", "task"])
def test_nothing_foreign_is_made_from_a_file(
    tiny_checkpoint: Path, tmp_path: Path, path: str, entry: str
):
    foreign = {"class_path": path, "init_args": {}}
    value = {"settings": {"decoding": foreign}, "task": path}.get(entry, foreign)
    changed = change(tiny_checkpoint, tmp_path / "foreign.ckpt", **{entry: value})
    with pytest.raises(InputError, match="which is no class of vlm"):
        CaptioningModule.load(changed)
    with pytest.raises(InputError, match="which is no class of vlm"):
        run("test", ["--ckpt_path", str(changed), "--output", str(tmp_path / "out")])
    assert "this" not in sys.modules


def test_lightnings_hyperparameters_in_a_file_are_refused(tiny_checkpoint: Path, tmp_path: Path):
    content = torch.load(tiny_checkpoint, weights_only=True)
    torch.save(content | {"hyper_parameters": {"_class_path": "os.system"}}, tmp_path / "h.ckpt")
    with pytest.raises(InputError, match="holds hyperparameters, which no vlm writes"):
        CaptioningModule.load(tmp_path / "h.ckpt")


def test_weights_are_unpacked_nowhere_but_in_the_cache(tiny_checkpoint: Path, tmp_path: Path):
    section = checkpoints.read(tiny_checkpoint)[checkpoints.SECTION]
    odd = section["backbone"] | {"hash": str(tmp_path / "escaped")}
    changed = change(tiny_checkpoint, tmp_path / "escaping.ckpt", backbone=odd)
    with pytest.raises(InputError, match="which is none"):
        CaptioningModule.load(changed)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_other_files_are_no_checkpoints(tmp_path: Path, content: bytes):
    file = tmp_path / "odd.ckpt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.ckpt is not a checkpoint that can be read"):
        CaptioningModule.load(file)


def test_foreign_checkpoints_and_missing_ones_are_told_apart(tmp_path: Path):
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(InputError, match="not a checkpoint of vlm"):
        CaptioningModule.load(tmp_path / "foreign.ckpt")
    with pytest.raises(InputError, match="does not exist"):
        CaptioningModule.load(tmp_path / "missing.ckpt")


def public_checkpoint(world: Path, eyes: Path, folder: Path) -> Path:
    """A checkpoint that refers to eyes in a local-dir and does not carry them."""
    import json

    from safetensors.torch import save_file

    torch.manual_seed(2)
    travelling = FrozenBackbone("test_resnet", pretrained=False).travelling()
    eyes.mkdir()
    (eyes / "config.json").write_text(json.dumps(travelling["config"]))
    save_file(travelling["state"], eyes / "model.safetensors")
    data = make_data(world)
    module = CaptioningModule(
        data.tokenizer(),
        FrozenBackbone(f"local-dir:{eyes}", image_size=(64, 96)),
        encoder=partial(RegionEncoder, width=16, layers=0, heads=2),
        decoder=partial(TextDecoder, width=16, layers=1, heads=2, max_length=40),
        decoding=BeamSearch(beams=2, max_length=6),
    )
    trainer = make_trainer(folder, max_epochs=1, limit_train_batches=1, limit_val_batches=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "public.ckpt")
    return folder / "public.ckpt"


def test_public_weights_stay_out_and_are_held_to_their_hash(tiny_world: Path, tmp_path: Path):
    eyes = tmp_path / "eyes"
    file = public_checkpoint(tiny_world, eyes, tmp_path)
    section = checkpoints.read(file)[checkpoints.SECTION]
    assert section["backbone_weights"] is None
    assert not any("backbone" in name for name in torch.load(file, weights_only=True)["state_dict"])
    identity = CaptioningModule.load(file).backbone.hash

    moved = tmp_path / "moved"
    shutil.move(eyes, moved)
    with pytest.raises(InputError, match=f"weights {identity} cannot be had .* --backbone PATH"):
        CaptioningModule.load(file)
    assert CaptioningModule.load(file, backbone=str(moved)).backbone.hash == identity

    file_alone = str(moved / "model.safetensors")
    assert CaptioningModule.load(file, backbone=file_alone).backbone.hash == identity
    with pytest.raises(InputError, match=f"weights {identity} cannot be had .* --backbone PATH"):
        run("test", ["--ckpt_path", str(file), "--output", str(tmp_path / "out")])

    other = FrozenBackbone("test_resnet", pretrained=False).travelling()["state"]
    from safetensors.torch import save_file

    save_file(other, moved / "model.safetensors")
    with pytest.raises(InputError, match=f"has weights .* of weights {identity}"):
        CaptioningModule.load(file, backbone=str(moved))


def test_decoding_beyond_the_decoders_positions_is_refused(tiny_world: Path):
    data = make_data(tiny_world)
    with pytest.raises(InputError, match=r"max_length=41 is more than the decoder's max_length=40"):
        CaptioningModule(
            data.tokenizer(),
            FrozenBackbone("test_resnet", pretrained=False, image_size=64),
            encoder=partial(RegionEncoder, width=16, layers=0, heads=2),
            decoder=partial(TextDecoder, width=16, layers=1, heads=2, max_length=40),
            decoding=Greedy(max_length=41),
        )


def test_a_training_without_an_end_is_refused(tiny_world: Path, tmp_path: Path):
    data = make_data(tiny_world)
    with pytest.raises(InputError, match=r"give trainer\.max_epochs or trainer\.max_steps"):
        make_trainer(tmp_path, max_epochs=-1).fit(make_module(data), data)
