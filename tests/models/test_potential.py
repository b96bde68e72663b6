import pytest
from ase.build import bulk

from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.potential import EnergyPotential
from gnnpot.nn.elements import parse_elements


def test_elements():
    assert parse_elements(["O", 3, "Li"]) == (3, 8)
    for wrong, message in ((["Q"], "no element"), ([], "empty"), (None, "empty"), ([0], "no atomic number")):
        with pytest.raises(ConfigError, match=message):
            parse_elements(wrong)


def test_cutoff_must_be_positive():
    with pytest.raises(ConfigError, match=r"model\.cutoff=-1"):
        EnergyPotential(["Cu"], cutoff=-1.0)


def test_elements_are_resolved_from_data():
    resolved = EnergyPotential.resolve({"elements": None, "cutoff": 3.5}, [graph_from_atoms(bulk("Cu"), 3.5)])
    assert resolved == {"elements": [29], "cutoff": 3.5}
