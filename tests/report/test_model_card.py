"""The card of a pretrained model: its figures against numbers taken by hand, and all of it in the text."""

from collections import Counter

import numpy as np
import pytest

from gnnpot.report.model_card import ELEMENT_GROUPS, card_markdown, element_group_errors, source_errors
from gnnpot.report.parity import ParityData, parity_data

CARD = {
    "name": "mp-tiny",
    "model": {"_target_": "gnnpot.models.schnet.SchNet", "cutoff": 5.0},
    "elements": ["Li", "O"],
    "level_of_theory": "PBE",
    "provenance": {"n_parameters": 1234},
    "good_for": ["a start"],
    "not_for": ["surfaces"],
    "held_out": {
        "per_source": {"all": {"forces_mae_mev_per_ang": 91.0, "n_structures": 2, "n_atoms": 5}},
        "per_element_group": {"O": {"forces_mae_mev_per_ang": 92.0, "n_structures": 1, "n_atoms": 1}},
        "without_teacher": {
            "minutes_with": 48,
            "minutes": 20,
            "per_source": {"all": {"forces_mae_mev_per_ang": 93.0, "n_structures": 2, "n_atoms": 5}},
        },
    },
    "split_by": "Split by formula.",
    "functional": "unknown",
    "data": {"mptrj": {"train": {"frames": 1234, "atoms": 5678, "materials": 9}}},
    "teacher": {"calculator": "CHGNet 0.3.0", "version": "0.4.2", "licence": "BSD-3-Clause", "frames": 8000},
    "reproduce": "pretrain.sh mp-tiny",
    "licence": "MIT",
}


@pytest.fixture
def part() -> ParityData:
    """Li2O, whose O is 0.3 eV/Å wrong in all components, and Li, whose energy is 10 meV wrong; |F| = 2 eV/Å."""
    oxide = {"energy": -3.0, "forces": np.array([[2.0, 0, 0]] * 3)}
    metal = {"energy": -1.0, "forces": np.array([[0, 2.0, 0]])}
    off = np.zeros((3, 3))
    off[2] = 0.3
    found = [{"energy": -3.0, "forces": oxide["forces"] + off}, {"energy": -0.99, "forces": metal["forces"]}]
    return parity_data([oxide, metal], found, [np.array([3, 3, 8]), np.array([3])], ["a", "b"])


def test_every_element_is_in_one_group() -> None:
    counts = Counter(z for numbers in ELEMENT_GROUPS.values() for z in numbers)
    assert counts == Counter(range(1, 104))


def test_errors_by_group_of_elements(part: ParityData) -> None:
    found = element_group_errors(part)
    assert list(found) == ["alkali metals", "O"]
    assert found["O"]["forces_mae_mev_per_ang"] == pytest.approx(300.0)
    assert found["alkali metals"]["forces_mae_mev_per_ang"] == pytest.approx(0.0)
    assert found["O"]["energy_mae_mev_per_atom"] == pytest.approx(0.0)
    assert found["alkali metals"]["energy_mae_mev_per_atom"] == pytest.approx(5.0)
    assert (found["alkali metals"]["n_structures"], found["alkali metals"]["n_atoms"]) == (2, 3)


def test_errors_by_source_beside_the_mean_force(part: ParityData) -> None:
    found = source_errors(part)
    assert list(found) == ["a", "b", "all"]
    assert found["b"]["energy_mae_mev_per_atom"] == pytest.approx(10.0)
    assert found["all"]["mean_force_mev_per_ang"] == pytest.approx(2000.0 / 3.0)
    assert found["a"]["forces_mae_mev_per_ang"] == pytest.approx(100.0)


def test_the_text_has_all_that_the_card_says() -> None:
    text = card_markdown(CARD)
    for words in ("1,234 parameters", "2 elements", "cutoff 5 Å", "a start", "surfaces", "91.0", "92.0", "93.0"):
        assert words in text
    for words in ("1,234 | 5,678 | 9", "CHGNet 0.3.0", "BSD-3-Clause", "8,000 frames", "```bash\npretrain.sh mp-tiny"):
        assert words in text
    assert "| 48 minutes with, 20 without |" in text
    assert "Teacher" not in card_markdown({**CARD, "teacher": None})
