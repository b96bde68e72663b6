from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import duration, significant


def test_facts_are_said_as_people_say_them():
    facts = {
        "training_s": 3900,
        "s_per_step": 0.0042,
        "n_epochs": 12,
        "peak_memory_mb": 512.34567,
        "resumed": False,
        "git_commit": None,
        "fractions": [0.8, 0.1, 0.1],
        "many": list(range(100)),
        "none": [],
        "loss": float("nan"),
        "fmax_ev_per_ang": 0.02,
        "width_ang": 5,
        "versions": {"torch": "2.13"},
    }
    assert facts_table(facts).rows == (
        ("training", "1 h 05 min"),
        ("time per step", "4.20 ms"),
        ("epochs", "12"),
        ("peak memory", "512.35 MB"),
        ("resumed", "no"),
        ("git commit", "–"),
        ("fractions", "0.8, 0.1, 0.1"),
        ("many", "100 entries"),
        ("none", "none"),
        ("loss", "–"),
        ("fmax", "0.02 eV/Å"),
        ("width", "5 Å"),
        ("versions: torch", "2.13"),
    )


def test_numbers_that_are_not_finite_are_dashes():
    assert significant(float("inf")) == significant(None) == duration(float("nan")) == "–"
    assert significant(-0.0) == "0" and significant(-12.345) == "−12.3" and significant(2.5e9) == "2.50e+09"
