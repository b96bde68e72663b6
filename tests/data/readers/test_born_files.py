"""Born charges out of every format, their orientation proven with tensors that are not symmetric."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.data.readers.phonopy_born import write_phonopy_born
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import DataError

BORN = np.array([[1.90, 0.12, 0.13], [0.21, 1.95, 0.23], [0.31, 0.32, 2.00]])
DIELECTRIC = np.array([[3.1, 0.01, 0.02], [0.01, 3.2, 0.03], [0.02, 0.03, 3.3]])


def crystal():
    """MgO without any symmetry, labelled with tensors that add up to zero."""
    cell = [[4.0, 0.1, 0.0], [0.0, 4.3, 0.2], [0.6, 0.0, 4.7]]
    atoms = Atoms(
        "MgOO", scaled_positions=[[0.03, 0.0, 0.0], [0.51, 0.44, 0.46], [0.2, 0.7, 0.31]], cell=cell, pbc=True
    )
    born = np.stack([BORN, -0.4 * BORN.T, -BORN + 0.4 * BORN.T])
    atoms.calc = SinglePointCalculator(atoms, born_effective_charges=born, dielectric_tensor=DIELECTRIC)
    return atoms


def test_ph_x(resources):
    (atoms,) = read(resources / "ph.x.out")
    labels = labels_of(atoms)
    assert atoms.get_chemical_formula() == "MgO"
    np.testing.assert_allclose(labels["born_effective_charges"][0], BORN)
    np.testing.assert_allclose(labels["born_effective_charges"][1][1], [-0.21, -1.93, -0.23])
    np.testing.assert_allclose(labels["dielectric_tensor"], DIELECTRIC)
    np.testing.assert_allclose(atoms.cell.lengths()[0], 8.0 * 0.529177, rtol=1e-6)
    np.testing.assert_allclose(atoms.get_scaled_positions()[1], [0.42, 0.5, 0.4], atol=1e-6)


def test_ph_x_that_holds_derivatives_of_the_polarization(resources, tmp_path):
    text = (resources / "ph.x.out").read_text().replace("(d Force / dE)", "(d P / du)")
    text = text.split("          Effective charges (d P / du) in cartesian axis with asr")[0]
    for axis in "xyz":
        text = text.replace(f"E{axis}  (", f"P{axis}  (")
    path = tmp_path / "ph.out"
    path.write_text(text)
    np.testing.assert_allclose(labels_of(read(path)[0])["born_effective_charges"][0], BORN)


def test_ph_x_without_born_charges_says_what_to_ask_for(resources, tmp_path):
    path = tmp_path / "ph.out"
    path.write_text((resources / "ph.x.out").read_text().replace("Effective charges", "Nothing"))
    with pytest.raises(DataError, match=r"epsil=.true. and zeu=.true."):
        read(path)


def test_a_born_file_of_phonopy(tmp_path):
    """Row by row as written in the file: field first (phonopy contracts q with the first index)."""
    atoms = crystal()
    atoms.write(tmp_path / "POSCAR", format="vasp", direct=True)
    tensors = atoms.calc.results["born_effective_charges"]
    rows = [" ".join(f"{x:.8f}" for x in np.ravel(tensor)) for tensor in (DIELECTRIC, *tensors)]
    (tmp_path / "BORN").write_text("\n".join(["14.400", *rows]) + "\n")
    (found,) = read(tmp_path / "BORN")
    np.testing.assert_allclose(labels_of(found)["born_effective_charges"], tensors, atol=1e-7)
    np.testing.assert_allclose(labels_of(found)["dielectric_tensor"], DIELECTRIC, atol=1e-7)
    np.testing.assert_allclose(found.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-7)


def test_born_files_there_and_back(tmp_path):
    atoms = crystal()
    atoms.write(tmp_path / "POSCAR", format="vasp", direct=True)
    tensors = atoms.calc.results["born_effective_charges"]
    write_phonopy_born(tmp_path / "BORN", atoms, tensors, DIELECTRIC)
    np.testing.assert_allclose(labels_of(read(tmp_path / "BORN")[0])["born_effective_charges"], tensors, atol=1e-7)


def test_equivalent_atoms_of_a_born_file_are_filled_in(tmp_path):
    atoms = Atoms("Mg4O4", cell=[4.2] * 3, pbc=True, scaled_positions=[
        [0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5],
        [0.5, 0.5, 0.5], [0, 0, 0.5], [0, 0.5, 0], [0.5, 0, 0],
    ])  # fmt: skip
    atoms.write(tmp_path / "POSCAR", format="vasp", direct=True)
    (tmp_path / "BORN").write_text(
        "14.4\n3 0 0 0 3 0 0 0 3\n1.98 0 0 0 1.98 0 0 0 1.98\n-1.98 0 0 0 -1.98 0 0 0 -1.98\n"
    )
    born = labels_of(read(tmp_path / "BORN")[0])["born_effective_charges"]
    np.testing.assert_allclose(born, np.array([1.98] * 4 + [-1.98] * 4)[:, None, None] * np.eye(3), atol=1e-7)


def test_a_born_file_needs_a_cell_that_fits(tmp_path):
    (tmp_path / "BORN").write_text("14.4\n3 0 0 0 3 0 0 0 3\n1 0 0 0 1 0 0 0 1\n")
    with pytest.raises(DataError, match="put the cell that it belongs to beside it"):
        read(tmp_path / "BORN")
    crystal().write(tmp_path / "POSCAR", format="vasp", direct=True)
    with pytest.raises(DataError, match="does not fit to the 3 atoms of POSCAR"):
        read(tmp_path / "BORN")


@pytest.mark.parametrize("name", ["born_effective_charges", "born_charge", "REF_becs", "becs", "BEC", "bec"])
def test_names_of_extended_xyz(tmp_path, name):
    atoms = crystal()
    path = write_extxyz(tmp_path / "x.xyz", [atoms])
    path.write_text(path.read_text().replace("born_effective_charges:R:9", f"{name}:R:9"))
    expected = atoms.calc.results["born_effective_charges"]
    np.testing.assert_allclose(labels_of(read(path)[0])["born_effective_charges"], expected, atol=1e-7)


def test_results_of_an_ase_calculator(tmp_path):
    atoms = crystal()
    np.testing.assert_array_equal(labels_of(atoms)["born_effective_charges"][1], -0.4 * BORN.T)
    with connect(tmp_path / "x.db") as database:
        database.write(atoms, data={"born_effective_charges": atoms.calc.results["born_effective_charges"]})
    (found,) = read(tmp_path / "x.db")
    np.testing.assert_allclose(labels_of(found)["born_effective_charges"][1], -0.4 * BORN.T)


def test_every_atom_twice_is_refused():
    doubled = Atoms("MgO", [[0, 0, 0], [0, 0, 2]])
    doubled.calc = SinglePointCalculator(doubled, born_effective_charges=np.zeros((4, 3, 3)))
    with pytest.raises(DataError, match="every atom stands there twice, take the first 2 rows"):
        labels_of(doubled)
