"""Answers are learnt, scored as the evaluation does, kept in one file; joint serves both tasks."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_fit import CONFIGS, fit, photo

from vlm.cli import main
from vlm.files import read_json
from vlm.training.module import VisionLanguageModule


def test_a_test_scores_as_the_evaluation_does(answerer: Path, tiny_world: Path, tmp_path: Path):
    files = [tiny_world / "questions_test.json", tiny_world / "annotations_test.json"]
    options = ["--data.questions", str(files[0]), "--data.annotations", str(files[1])]
    options += ["--data.images", str(tiny_world / "images"), "--output", str(tmp_path)]
    assert main(["test", "--ckpt_path", str(answerer), *options]) == 0
    ours = read_json(tmp_path / "metrics.json")
    asked = {row["question_id"] for row in read_json(files[0])["questions"]}
    assert {row["question_id"] for row in read_json(tmp_path / "answers.json")} == asked
    again = [str(tmp_path / "answers.json"), "--questions", str(files[0])]
    again += ["--annotations", str(files[1]), "--output", str(tmp_path / "again.json")]
    assert main(["evaluate", *again]) == 0
    theirs = read_json(tmp_path / "again.json")
    assert {name: ours[name] for name in theirs} == theirs
    assert 0 < ours["calibration"]["expected calibration error"] < 1
    withheld = ours["abstention"]
    assert withheld[0]["accuracy"] * 100 == pytest.approx(ours["scores"]["overall"])
    coverages = [row["coverage"] for row in withheld]
    assert coverages == sorted(coverages, reverse=True)
    assert coverages[0] == 1
    assert ours["scores"]["overall"] <= ours["ceiling"] <= 100
    assert (tmp_path / "report.html").read_text().count("<section>") > 2
    assert (tmp_path / "reliability.png").is_file()


def test_predict_needs_no_answers(answerer: Path, tiny_world: Path, tmp_path: Path):
    questions = str(tiny_world / "questions_test.json")
    options = ["--data.questions", questions, "--output", str(tmp_path)]
    assert main(["predict", "--ckpt_path", str(answerer), *options]) == 0
    rows = read_json(tmp_path / "answers.json")
    assert len(rows) == len(read_json(Path(questions))["questions"])
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("kind", ["answerer", "joint"])
def test_answers_come_with_probabilities(kind: str, tiny_world: Path, request, capsys):
    checkpoint = str(request.getfixturevalue(kind))
    asked = ["is there a circle?", "what color is the zyzzyva?"]
    command = ["answer", checkpoint, photo(tiny_world), *asked, "--json", "--top", "3"]
    capsys.readouterr()
    assert main([*command, "--abstain", "1"]) == 0
    said, warned = capsys.readouterr()
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [row["question"] for row in rows] == asked
    for row in rows:
        likely = [answer["probability"] for answer in row["answers"]]
        assert len(likely) == 3
        assert likely == sorted(likely, reverse=True)
        assert 0 < sum(likely) <= 1 + 1e-6
        assert row["abstained"]
    assert "1 word of 'what color is the zyzzyva?' the model does not know" in warned


def test_a_joint_checkpoint_serves_both(joint: Path, tiny_world: Path, tmp_path: Path, capsys):
    assert main(["caption", str(joint), photo(tiny_world)]) == 0
    assert main(["attend", str(joint), photo(tiny_world), "--output", str(tmp_path)]) == 0
    question = ["--question", "what color is the star?", "--output", str(tmp_path)]
    assert main(["attend", str(joint), photo(tiny_world), *question]) == 0
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert "what color is the star" in capsys.readouterr().out
    assert set(read_json(joint.parents[1] / "metrics.json")) >= {"captions", "answers"}


def test_a_joint_test_ranks_maps_of_captions_and_of_answers(
    joint: Path, tiny_world: Path, tmp_path: Path
):
    wanted = ["--trainer.callbacks+=vlm.training.Faithfulness", "--trainer.callbacks.images=2"]
    wanted += ["--trainer.callbacks.reductions=[last,relevance]"]
    options = ["--ckpt_path", str(joint), "--output", str(tmp_path), *wanted]
    assert main(["test", *options]) == 0
    record = read_json(tmp_path / "faithfulness.json")
    assert record["images"] == 2
    for task in ("captions", "answers"):
        assert set(record[task]) == {"last", "relevance", "by chance"}


def test_a_model_of_one_task_refuses_the_other(
    answerer: Path, tiny_checkpoint: Path, tiny_world: Path, capsys
):
    assert main(["caption", str(answerer), photo(tiny_world)]) == 2
    assert "answers questions and writes no captions; use vlm answer" in capsys.readouterr().err
    assert main(["answer", str(tiny_checkpoint), photo(tiny_world), "is it?"]) == 2
    assert "writes captions and answers no questions; use vlm caption" in capsys.readouterr().err


def test_a_warm_start_takes_words_by_their_text(
    joint: Path, answerer: Path, tiny_world: Path, tiny_eyes: str, tmp_path: Path
):
    frozen = ["--start", str(joint), "--model.learning_rate", "0"]
    started = fit("demo_vqa.yaml", tiny_world, tiny_eyes, tmp_path / "warm", *frozen)
    old, new = VisionLanguageModule.load(joint), VisionLanguageModule.load(started)
    for word in ("circle", "what", "<start>"):
        rows = [m.tokenizer.vocabulary[word] for m in (old, new)]
        embeddings = [m.network.decoder.token_embedding.weight for m in (old, new)]
        assert (embeddings[0][rows[0]] == embeddings[1][rows[1]]).all()


def test_another_answer_vocabulary_is_refused(answerer: Path, tiny_world: Path, tmp_path, capsys):
    (tmp_path / "list.json").write_text(json.dumps(["yes", "no"]))
    listed = yaml.safe_dump(
        {
            "class_path": "vlm.text.answer_vocabulary.ListedAnswers",
            "init_args": {"file": str(tmp_path / "list.json")},
        },
        default_flow_style=True,
        width=1000,
    ).strip()
    assert main(["test", "--ckpt_path", str(answerer), "--data.answers", listed]) == 2
    assert "cannot change on a loaded model" in capsys.readouterr().err


def test_ranked_writing_and_free_writing_both_answer(
    tiny_world: Path, tiny_eyes: str, tmp_path: Path
):
    head = ["--model.head", "vlm.models.AnswerWriter"]
    ranked = fit("demo_vqa.yaml", tiny_world, tiny_eyes, tmp_path / "ranked", *head)
    module = VisionLanguageModule.load(ranked)
    answers = module.answer(photo(tiny_world), "what color is the star?")
    assert all(answer in module.answering.answers for answer, _ in answers)
    free = ["--model.decoding", "vlm.decoding.BeamSearch", "--model.decoding.max_length", "4"]
    options = ["--ckpt_path", str(ranked), *free, "--output", str(tmp_path / "free")]
    assert main(["test", *options]) == 0
    assert len(read_json(tmp_path / "free" / "answers.json")) > 7


def test_answers_need_data_with_questions(
    tiny_world: Path, tiny_eyes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    captions = (CONFIGS / "demo.yaml").read_text().partition("\ndata:")[2]
    (tmp_path / "data.yaml").write_text(f"data:{captions}")
    options = ["--config", str(CONFIGS / "demo_vqa.yaml"), "--config", str(tmp_path / "data.yaml")]
    options += ["--model.backbone.name", tiny_eyes, "--data.root", str(tiny_world)]
    options += ["--start", "null", "--data.store", "null", "--output", str(tmp_path / "run")]
    assert main(["fit", *options]) == 2
    assert "there are no answers to choose from; give data with q" in capsys.readouterr().err
