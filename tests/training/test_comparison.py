"""Which model is kept, and what the user is told."""

import pytest

from gnnpot.training.comparison import judge


@pytest.mark.parametrize(
    ("losses", "kept", "words"),
    [
        ({"base_refitted": 2.0, "finetuned": 1.0, "scratch": 1.5}, "finetuned", "0.667 times that of training from"),
        ({"base_refitted": 2.0, "finetuned": 1.0, "scratch": 0.5}, "scratch", "The model from scratch is kept"),
        ({"base_refitted": 1.0, "finetuned": 1.0, "scratch": 2.0}, "base_refitted", "that base is kept"),
        ({"base_refitted": 1.0, "finetuned": 1.0, "scratch": 0.5}, "scratch", "0.5 times"),
        ({"base_refitted": 2.0, "finetuned": 1.0}, "finetuned", "0.5 times that of the base"),
        ({"base_refitted": None, "finetuned": None}, "finetuned", "No label of a validation structure"),
    ],
)
def test_the_lowest_validation_loss_is_kept(losses: dict[str, float | None], kept: str, words: str) -> None:
    verdict = judge(losses, n_val=20, failure=None, has_new_head=False)
    assert verdict.kept == kept
    assert words in verdict.text
    assert bool(verdict.advice) == (kept != "finetuned" or None in losses.values())


def test_few_structures_and_failures_are_told() -> None:
    verdict = judge({"base_refitted": 1.0, "finetuned": 1.0}, 1, "the loss became nan", has_new_head=False)
    assert "broke off: the loss became nan" in verdict.text
    assert "Only 1 validation structure decides this" in verdict.text


def test_a_new_head_is_not_thrown_away() -> None:
    verdict = judge({"base_refitted": 1.0, "finetuned": 1.2, "scratch": 0.1}, 20, None, has_new_head=True)
    assert verdict.kept == "finetuned"
    assert "1.2 times that of the base" in verdict.text and "12 times that of training from scratch" in verdict.text
    assert "freeze=null" in verdict.advice[0]
    assert not judge({"base_refitted": 1.0, "finetuned": 1.0}, 20, None, has_new_head=True).advice
    assert "Only 2 validation" in judge({"base_refitted": 1.0, "finetuned": 1.0}, 2, None, has_new_head=True).text
    alone = judge({"base_refitted": None, "finetuned": None}, 20, None, has_new_head=True)
    assert "no validation structure has labels of what the base gives too" in alone.text
