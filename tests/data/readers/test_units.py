import numpy as np
import pytest

from gnnpot.data.readers.units import units_from
from gnnpot.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "ev"),
    [
        ("eV", 1.0), ("meV", 1e-3), ("hartree", 27.211386245988), ("Ha", 27.211386245988), ("Ry", 13.605693122994),
        ("kcal/mol", 0.0433641042), ("kJ/mol", 0.0103642697),
    ],
)  # fmt: skip
def test_energy_units(name, ev):
    assert units_from({"energy": name}).energy == pytest.approx(ev, rel=1e-8)


@pytest.mark.parametrize(("name", "angstrom"), [("angstrom", 1), ("Ang", 1), ("bohr", 0.529177210903), ("nm", 10)])
def test_length_units(name, angstrom):
    assert units_from({"length": name}).length == pytest.approx(angstrom)


def test_forces_and_stress_follow():
    units = units_from({"energy": "hartree", "length": "bohr"})
    assert units.forces == pytest.approx(51.422067, rel=1e-7)
    # One atomic unit of pressure is 29421.015697 GPa.
    assert units.stress * 160.2176634 == pytest.approx(29421.0157, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("GPa", 1 / 160.2176634), ("kbar", 1 / 1602.176634), ("MPa", 1e-3 / 160.2176634), ("eV/Å³", 1.0),
     ("eV/angstrom^3", 1.0), ("hartree/bohr**3", 183.63154)],
)  # fmt: skip
def test_stress_units(name, factor):
    assert units_from({"stress": name}).stress == pytest.approx(factor, rel=1e-6)
    assert units_from({"stress": name, "stress_sign": "vasp"}).stress == pytest.approx(-factor, rel=1e-6)


def test_forces_of_their_own():
    assert units_from({"energy": "hartree", "forces": "eV/angstrom"}).forces == 1.0


def test_six_numbers_in_the_order_of_vasp():
    tensor = units_from({"stress_order": "vasp"}).tensor([1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(tensor, [[1, 4, 6], [4, 2, 5], [6, 5, 3]])


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"energy": "hartre"}, "data.units.energy=hartre is no unit known here: did you mean 'hartree'"),
        ({"length": "inch"}, "data.units.length=inch"),
        ({"stress": "bar/m"}, "data.units.stress=bar/m"),
        ({"forces": "eV/angstrom^3"}, "data.units.forces"),
        ({"stress_sign": "vsap"}, "did you mean 'vasp'"),
        ({"stress_order": "xyz"}, "data.units.stress_order=xyz"),
        ({"distance": "bohr"}, "data.units has no 'distance'"),
    ],
)
def test_unknown_units(stated, message):
    with pytest.raises(ConfigError, match=message):
        units_from(stated)
