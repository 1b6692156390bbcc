"""What an answerer learns from, what is told of a set, and how two tasks share a step."""

from collections.abc import Sequence

import torch
from tiny_fit import fit

from vlm.cli.trainer import run
from vlm.files import read_json
from vlm.formats.question_layouts import AskedQuestion
from vlm.formats.question_sets import QuestionSample
from vlm.metrics.calibration import TEMPERATURES
from vlm.metrics.vqa import accuracy_interval
from vlm.text.tokenizer import WordVocabulary
from vlm.training.answer_notes import answer_notes
from vlm.training.module import VisionLanguageModule


def asked(key: int, answers: Sequence[str], text: str = "is it?") -> AskedQuestion:
    return AskedQuestion(key, text, tuple(answers), answers[0], "other", "is")


def test_targets_are_the_published_scores_of_answers_in_the_vocabulary(answerer):
    task = VisionLanguageModule.load(answerer).answering
    yes, no, two = (task.answers.index(answer) for answer in ("yes", "no", "2"))
    people = [["yes"] * 9 + ["no"], ["yes", "yes", "no", "no", "no", "2", "zyzzyva"]]
    targets = task.targets([[asked(1, people[0]), asked(2, people[1])], [asked(3, ["2"] * 4)]])
    assert targets.shape == (2, 2, len(task.answers))
    expected = torch.zeros_like(targets)
    expected[0, 0, [yes, no]] = torch.tensor([1.0, 0.3])
    expected[0, 1, [yes, no, two]] = torch.tensor([0.6, 0.9, 0.3])
    expected[1, 0, two] = 1
    torch.testing.assert_close(targets, expected)


def test_notes_count_what_teaches_nothing_as_it_is_written(tmp_path):
    tokenizer = WordVocabulary(1).train(["is it red"])
    questions = [
        asked(1, ["red"] * 10),
        asked(2, ["Red"] * 10, "is it blue"),
        asked(3, ["green"] * 10, "???"),
        asked(4, ["red"] * 10, "is it is it is it"),
    ]
    sample = QuestionSample(1, tmp_path / "a.jpg", tuple(questions))
    notes = answer_notes([sample], ["red", "blue"], tokenizer, longest=6)
    assert notes[0].startswith("1 questions have answers that are known only in lower case")
    assert notes[1] == "2 answers cover 50.0% of 4 questions; the most they can earn is 50.00 %"
    assert notes[2].startswith("1 questions have words that this model does not know")
    assert notes[3].startswith("1 questions are longer than 4 words")
    assert notes[4:] == ["1 questions have no word"]


def test_the_fitted_temperature_outlives_an_old_config(answerer, tiny_world, tmp_path):
    trained = VisionLanguageModule.load(answerer).answering.temperature
    assert trained in TEMPERATURES
    assert trained != 1
    config = ["--config", str(answerer.parents[1] / "config.yaml")]
    options = ["--ckpt_path", str(answerer), "--output", str(tmp_path / "one")]
    run("test", [*config, *options])
    record = read_json(tmp_path / "one" / "metrics.json")
    assert record["calibration"]["temperature"] == trained
    options[-1] = str(tmp_path / "other")
    run("test", [*options, *config])
    assert read_json(tmp_path / "other" / "metrics.json") == record, "options beat configs"


def test_a_warm_start_takes_encoder_and_decoder(joint, tiny_world, tiny_eyes, tmp_path):
    frozen = ["--start", str(joint), "--model.learning_rate", "0", "--model.weight_decay", "0"]
    started = fit("demo_vqa.yaml", tiny_world, tiny_eyes, tmp_path / "warm", *frozen)
    old, new = (VisionLanguageModule.load(path).state_dict() for path in (joint, started))
    taken = [
        name
        for name in old
        if name.startswith(("network.encoder.", "network.decoder.")) and "token_emb" not in name
    ]
    assert len(taken) > 20
    for name in taken:
        torch.testing.assert_close(new[name], old[name], msg=name)


def test_a_joint_step_is_each_task_by_its_share(joint):
    module = VisionLanguageModule.load(joint)
    assert module.tasks == {module.captioning: 0.5, module.answering: 0.5}
    network = module.network
    other = type(module)(
        module.tokenizer,
        module.answering.answers,
        module.backbone,
        encoder=lambda _: network.encoder,
        decoder=lambda _: network.decoder,
        answer_share=0.3,
    )
    assert other.tasks == {other.captioning: 0.7, other.answering: 0.3}


def test_the_interval_is_over_images_whose_questions_come_together(tmp_path):
    samples = [
        QuestionSample(n, tmp_path / f"{n}.jpg", (asked(2 * n, ["a"]), asked(2 * n + 1, ["a"])))
        for n in range(50)
    ]
    together = {q.question_id: 100.0 * (s.image_id % 2) for s in samples for q in s.questions}
    apart = {key: 100.0 * (key % 2) for key in together}
    low, high = accuracy_interval(samples, together)
    assert 30 < low < 40 < 60 < high < 70, "50 images: 50 % give or take 1.96 * 50 / sqrt(50)"
    assert accuracy_interval(samples, apart) == (50, 50), "every image has one of two right"
