"""The shell scripts of the recipes, run whole: every line of them, on a COCO of ten photos.

``vlm`` is a door back into this process, so that nothing is imported anew and the table of data
sets can be the small one; everything else is the machine's own.
"""

import hashlib
import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from machine import ROOT, Machine, write
from ten_photos import (
    ARCHIVES,
    COUNTS,
    TRAIN,
    VAL,
    name_of,
    official,
    photo,
    small,
    zipped,
)

from vlm.data import FeatureStore
from vlm.data.sets.entries import QuestionFiles, Source
from vlm.data.sets.sources import SETS
from vlm.files import read_json

SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
TEST = (2, 3, 5)
INSTANCES = json.dumps(
    {
        "images": [{"id": n, "file_name": name_of(n)} for n in VAL],
        "annotations": [{"id": 1, "image_id": VAL[0], "category_id": 18}],
        "categories": [{"id": 18, "name": "dog"}],
    }
).encode()
TEST2014 = {
    "zips/test2014.zip": zipped({f"test2014/{n}.jpg": photo(n) for n in TEST}),
    "annotations/image_info_test2014.zip": zipped(
        {
            "annotations/image_info_test2014.json": json.dumps(
                {"images": [{"id": n, "file_name": f"{n}.jpg"} for n in TEST]}
            ).encode()
        }
    ),
}


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    annotations = zipped(
        {
            "annotations/captions_train2014.json": official(TRAIN),
            "annotations/captions_val2014.json": official(VAL),
            "annotations/instances_train2014.json": INSTANCES,
            "annotations/instances_val2014.json": INSTANCES,
        }
    )
    monkeypatch.setitem(ARCHIVES, "annotations_trainval2014.zip", annotations)
    sources = tuple(map(small, SETS["coco"].sources))
    monkeypatch.setitem(SETS, "coco", SETS["coco"]._replace(sources=sources, counts=COUNTS))
    monkeypatch.chdir(tmp_path)
    for name, content in ARCHIVES.items():
        write(tmp_path / "mirror" / name, content)
    return Machine(tmp_path)


@pytest.fixture
def variables(tiny_eyes) -> dict[str, str]:
    """What shrinks the recipes."""
    fit = {
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": "1",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "model.encoder.layers": "1",
        "model.decoder.layers": "1",
        "model.decoding.max_length": "6",
        "data.batch_size": "3",
    }
    return {
        "BACKBONE": tiny_eyes,
        "FROM": "mirror",
        "VIEWS": "2",
        "WORKERS": "0",
        "VERIFY": "2",
        "EXTRACT": "--accelerator cpu --batch-size 2",
        "FIT": " ".join(f"--{name} {value}" for name, value in fit.items()),
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_bash_and_says_what_it_was_not_run_on(script: Path):
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert "not been run" in text.lower().replace("\n# ", " ")


def serve_test2014(machine: Machine) -> dict[str, str]:
    """Puts the archives of COCO's server into a folder, and their checksums into the script."""
    recipe = machine.folder / "scripts" / "coco_captioning.sh"
    text = recipe.read_text()
    for name, content in TEST2014.items():
        write(machine.folder / "server" / name, content)
        digest = hashlib.sha256(content).hexdigest()
        text, found = re.subn(rf"(bring {name} \\\n\s+)[0-9a-f]{{64}}", rf"\g<1>{digest}", text)
        assert found == 1
    recipe.write_text(text)
    return {"SUBMIT": "1", "ALGORITHM": "tiny", "COCO": f"file://{machine.folder / 'server'}"}


def test_coco_from_nothing_to_the_submission_and_again_without_work(machine, variables, capsys):
    variables |= serve_test2014(machine)
    status, told = machine.run("coco_captioning.sh", **variables)
    assert status == 0, told
    verbs = ["prepare", "extract", "doctor", "fit", "test", "evaluate", "predict", "predict"]
    assert machine.verbs == verbs
    assert len(FeatureStore("data/coco/features_clip", views=2)) == len(TRAIN) + len(VAL)
    run = Path("runs/coco_clip")
    assert read_json(run / "test" / "metrics.json")["images"] == COUNTS["test"]
    assert read_json(run / "test" / "evaluation.json")["images"] == COUNTS["test"]
    with zipfile.ZipFile(run / "submission" / "results.zip") as archive:
        names = [f"captions_{split}_tiny_results.json" for split in ("val2014", "test2014")]
        ids = [[row["image_id"] for row in json.loads(archive.read(name))] for name in names]
    assert ids == [list(VAL), list(TEST)]

    capsys.readouterr()
    status, told = machine.run("coco_captioning.sh", **variables)
    assert status == 0, told
    assert machine.verbs == ["prepare", "extract", "doctor"]
    told = capsys.readouterr().out
    assert "nothing was fetched or written" in told
    assert "all there already" in told
    assert "2 images looked at again" in told

    (run / "trained").unlink()  # as if it had been stopped
    fit = variables["FIT"].replace("max_epochs 1", "max_epochs 2")
    status, told = machine.run("coco_captioning.sh", **variables | {"FIT": fit, "SUBMIT": "0"})
    assert status == 0, told
    assert machine.verbs == ["prepare", "extract", "doctor", "fit"]
    assert "--ckpt_path" in machine.calls[-1]


def test_what_is_not_the_official_archive_is_not_kept(machine, variables):
    variables |= serve_test2014(machine)
    write(machine.folder / "server" / "zips" / "test2014.zip", b"something else")
    for file in ("trained", "test/metrics.json", "test/evaluation.json"):
        write(machine.folder / "runs" / "coco_clip" / file, "")
    status, told = machine.run("coco_captioning.sh", **variables)
    assert status == 2
    assert told.endswith("zips/test2014.zip is not the official archive; run the same line again\n")
    assert not list((machine.folder / "data" / "coco" / ".test2014").glob("test2014*"))


def test_a_failed_step_ends_the_recipe(machine, variables, capsys):
    status, _ = machine.run("coco_captioning.sh", **variables | {"FROM": "nowhere"})
    assert status == 2
    assert machine.verbs == ["prepare"]
    assert "vlm: error: --from nowhere is no folder" in capsys.readouterr().err


def test_vqav2_from_nothing_to_its_features_and_answers_to_the_submission(
    machine, variables, monkeypatch
):
    names = {f"v2_OpenEnded_mscoco_{split}_questions.json" for split in ("val2014", "test2015")}
    questions = [{"question_id": 10 * n, "image_id": n, "question": f"What is {n}?"} for n in VAL]
    tree = {"data_subtype": "test2015", "questions": questions}
    write(
        machine.folder / "mirror" / "q.zip", zipped(dict.fromkeys(names, json.dumps(tree).encode()))
    )
    sources = (
        Source("q.zip", ("http://127.0.0.1:9/",), None, None, dict.fromkeys(names, 0)),
        *SETS["coco"].sources[2:],
    )
    rows = tuple(QuestionFiles(f"annotations/{name}", None, len(VAL)) for name in sorted(names))
    entry = SETS["vqav2"]._replace(sources=sources, questions=rows)
    monkeypatch.setitem(SETS, "vqav2", entry)
    answers = [{"question_id": 10 * n, "answer": "yes"} for n in VAL]
    write(machine.folder / "answers.json", json.dumps(answers))
    variables |= {"ANSWERS": "answers.json", "ALGORITHM": "tiny"}
    status, told = machine.run("vqav2.sh", **variables)
    assert status == 0, told
    assert machine.verbs == ["prepare", "extract", "doctor"]
    assert len(FeatureStore("data/vqav2/features", views=2)) == len(TRAIN) + len(VAL)
    name = "vqa_OpenEnded_mscoco_test2015_tiny_results.json"
    assert read_json(Path("data/vqav2/submission") / name) == answers
