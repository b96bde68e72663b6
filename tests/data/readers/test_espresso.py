import gzip

import numpy as np
import pytest

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import DataError, DataWarning

EV_PER_RYDBERG = 13.605693
ANGSTROM_PER_BOHR = 0.52917721


def test_every_ionic_step_in_ev_and_angstrom(resources):
    first, second = read(resources / "relax.two_steps.pwo")
    labels = labels_of(first)
    assert labels["energy"] == pytest.approx(-140.5 * EV_PER_RYDBERG, rel=1e-7)
    assert labels_of(second)["energy"] == pytest.approx(-140.75 * EV_PER_RYDBERG, rel=1e-7)
    np.testing.assert_allclose(
        labels["forces"][0], np.array([0.01, -0.02, 0.03]) * EV_PER_RYDBERG / ANGSTROM_PER_BOHR, rtol=1e-6
    )
    np.testing.assert_allclose(first.positions[0], [0.1 * ANGSTROM_PER_BOHR, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(second.positions[1], [2.1, 2.2, 2.3])
    np.testing.assert_allclose(second.cell[2], [0, 2 * ANGSTROM_PER_BOHR, 8 * ANGSTROM_PER_BOHR], rtol=1e-6)


def test_stress_has_ase_sign(resources):
    expected = -np.array([[0.001, 0.0002, 0.0003], [0.0002, -0.002, 0.0004], [0.0003, 0.0004, 0.003]])
    stress = labels_of(read(resources / "relax.two_steps.pwo")[0])["stress"]
    np.testing.assert_allclose(stress, expected * EV_PER_RYDBERG / ANGSTROM_PER_BOHR**3, rtol=1e-6)


def test_compressed(resources, tmp_path):
    path = tmp_path / "scf.out.gz"
    with gzip.open(path, "wb") as file:
        file.write((resources / "relax.two_steps.pwo").read_bytes())
    assert len(read(path)) == 2


def test_a_stopped_run_is_reported(resources, tmp_path):
    path = tmp_path / "scf.out"
    text = (resources / "relax.two_steps.pwo").read_text()
    path.write_text(text[: text.index("ATOMIC_POSITIONS")])
    with pytest.warns(DataWarning, match="ends before 'JOB DONE'.*1 steps are read"):
        assert len(read(path)) == 1


def test_forces_cut_in_the_middle_name_the_frame(resources, tmp_path):
    path = tmp_path / "scf.out"
    text = (resources / "relax.two_steps.pwo").read_text()
    path.write_text(text[: text.rindex("type  2   force =") + 20])
    with pytest.raises(DataError, match=r"scf.out, frame 1 is broken or cut off"):
        read(path)


def test_unconverged_steps_are_reported(resources, tmp_path):
    path = tmp_path / "scf.out"
    text = (resources / "relax.two_steps.pwo").read_text()
    text = text.replace("convergence has been achieved in   9", "convergence NOT achieved after 100", 1)
    path.write_text(text.replace("!    total energy", "     total energy", 1))
    with pytest.warns(DataWarning, match="1 steps are not converged electronically, 1 have no energy"):
        assert len(read(path)) == 1
