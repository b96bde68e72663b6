import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gnnpot.data.unwrapping import unwrap
from gnnpot.errors import DataError


def test_a_wrapped_walk_in_a_skewed_cell_that_breathes():
    rng = np.random.default_rng(0)
    atoms = bulk("MgO", "rocksalt", a=4.2) * (2, 2, 1)
    whole, wrapped = [], []
    for k in range(30):
        atoms.positions += rng.normal(scale=0.3, size=atoms.positions.shape)
        atoms.set_cell(atoms.cell.array * (1.0 + 0.002 * np.sin(k)), scale_atoms=True)
        whole.append(atoms.copy())
        wrapped.append(atoms.copy())
        wrapped[-1].wrap()
    found = unwrap(wrapped)
    for one, other in zip(found, whole, strict=True):
        away = one.cell.scaled_positions(one.positions - other.positions)
        np.testing.assert_allclose(
            away, np.round(found[0].cell.scaled_positions(found[0].positions - whole[0].positions)), atol=1e-9
        )
    assert not np.allclose(wrapped[-1].positions, found[-1].positions)


def test_other_atoms_are_refused():
    with pytest.raises(DataError, match="no trajectory"):
        unwrap([Atoms("H2"), Atoms("HO")])
