"""Frames with a teacher's labels: `python teacher.py TRAIN.xyz [CRYSTALS.xyz ...] OUTPUT.xyz --crystals 5000`.

Needs CHGNet (`pip install chgnet`, BSD-3; its model has trained on most of the MPtrj frames). Crystals of the training
part, crystals of other sources whose formula is in no other part, those of the elements, whole and with a vacancy, and
packings of molecules are strained, their atoms moved, most of the time their elements replaced by similar ones, and
relaxed a little: some frames each. Energy, forces and stress are the teacher's. Goes on after an interruption: frames
are a function of the seed, and are appended in order.
"""

import argparse
import dataclasses
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states
from ase.neighborlist import neighbor_list
from ase.units import GPa
from chgnet.model import CHGNet
from data import part_of, reduced_formula
from molecules import packed
from pymatgen.core import Element
from pymatgen.io.ase import AseAtomsAdaptor

CHUNK = 64
LARGEST_FORCE = 15.0
RESPONSE, LONGEST_MOVE, LARGEST_STRAIN = 0.04, 0.1, 0.05
"""Of a step of the relaxation: Å²/eV, Å, and of the lengths of the cell."""
BULK_MODULUS, BULK_MODULUS_SLOPE = 100.0 * GPa, 4.0
FARTHEST = 6.0
"""Radius of the teacher's atom graph, Å: it refuses structures with an atom that has no neighbor within."""
MOST_NEIGHBORS = 200
"""Within that radius, on average: diamond has 160; what is much denser takes all memory."""
SUBSTITUTED = 0.75
"""Share of the frames whose elements are replaced."""
ELEMENTAL = 0.1
"""Share of the frames that are crystals of one element."""
SIMPLE = ("bcc", "fcc", "hcp", "diamond")
"""Ground states whose crystal ASE builds from the element's name."""
CHAINS = ("Se", "Te")
"""Elements whose hexagonal crystal is not a close packing."""
HYDROGEN_BOND, HYDROGEN_SPREAD = 1.3, 0.1
"""Longest bond to hydrogen, Å, and the standard deviation of the factor that such bonds are changed by: crystal
structures from X-rays have them a tenth to a fifth too short."""
LEAST_RATIO = 0.75
"""Of the covalent radii of two elements that stand for each other."""

TEACHER = {
    "label_calculator": "CHGNet 0.3.0",
    "label_version": importlib.metadata.version("chgnet"),
    "label_licence": "BSD-3-Clause",
}
"""Model, version of its package and licence, as `gnnpot data kind=label` writes them into each frame."""


@dataclass(frozen=True)
class Manner:
    """How crystals are drawn and changed."""

    displacement: float = 0.05
    """Mean over the frames of the standard deviation of displacements, Å."""
    strain: float = 0.03
    hydrogen: float = 0.0
    """Share with changed bonds to hydrogen."""
    power: float = 1.0
    """A crystal of n atoms is drawn n to this power as often as one of one atom."""
    molecules: float = 0.0
    """Share of packed molecules (`molecules.py`)."""


class Teacher(CHGNet):
    """CHGNet whose forces and stress come from one derivative that is not differentiated again: half of the time."""

    def _compute(
        self, g: Any, *, compute_force: bool = False, compute_stress: bool = False, **others: Any
    ) -> dict[str, Any]:
        found: dict[str, Any] = super()._compute(g, **others)
        energy = (found["e"] * torch.bincount(g.atom_owners)).sum()
        gradients = torch.autograd.grad(energy, [*g.atom_positions, *g.strains])
        by_positions, by_strains = gradients[: len(g.atom_positions)], gradients[len(g.atom_positions) :]
        found["f"] = [-x for x in by_positions]
        found["s"] = [x / volume / GPa for x, volume in zip(by_strains, g.volumes, strict=True)]
        return found


def siblings(elements: list[str]) -> dict[str, list[str]]:
    """Elements of similar size of the same family, or in neighboring groups of the transition metals, for each."""

    def are_related(a: Element, b: Element) -> bool:
        if (a.is_lanthanoid, a.is_actinoid) != (b.is_lanthanoid, b.is_actinoid):
            return False
        return abs(a.group - b.group) <= int(a.is_transition_metal and b.is_transition_metal)

    def are_similar(a: str, b: str) -> bool:
        radii = [covalent_radii[atomic_numbers[x]] for x in (a, b)]
        return a != b and are_related(Element(a), Element(b)) and min(radii) >= LEAST_RATIO * max(radii)

    return {a: [b for b in elements if are_similar(a, b)] for a in elements}


def scale_to_no_pressure(atoms: ase.Atoms) -> float:
    """Factor of the lengths: V0/V = (1 + B' P/B)^(1/B') (F. D. Murnaghan, Proc. Natl. Acad. Sci. 30, 244 (1944)).

    With a usual bulk modulus B; under tension, where the law ends, as for small pressures.
    """
    pressure = -float(np.mean(atoms.get_stress()[:3]))
    base = max(1.0 + BULK_MODULUS_SLOPE * pressure / BULK_MODULUS, 0.5)
    return float(base ** (1.0 / (3.0 * BULK_MODULUS_SLOPE)))


def bare(atoms: ase.Atoms) -> ase.Atoms:
    """The crystal, at about no pressure where it is compressed, without what belongs to its elements and places."""
    found = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.calc is not None and "stress" in atoms.calc.results:
        found.set_cell(found.cell * max(scale_to_no_pressure(atoms), 1.0), scale_atoms=True)
    return found


def descended(atoms: ase.Atoms) -> ase.Atoms:
    """The next frame of a relaxation: atoms moved along their forces, the volume towards no pressure."""
    found = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info)
    moves = RESPONSE * atoms.get_forces()
    found.positions += moves * min(1.0, LONGEST_MOVE / max(np.linalg.norm(moves, axis=1).max(), 1e-9))
    scale = np.clip(scale_to_no_pressure(atoms), 1.0 - LARGEST_STRAIN, 1.0 + LARGEST_STRAIN)
    found.set_cell(found.cell * scale, scale_atoms=True)
    return found


def elemental(symbols: list[str]) -> list[ase.Atoms]:
    """Crystals of those elements whose ground state is a simple one, eight atoms and more, whole and with a vacancy."""
    found = []
    for symbol in symbols:
        state = reference_states[atomic_numbers[symbol]] or {}
        if state.get("symmetry") in SIMPLE and symbol not in CHAINS:
            crystal = bulk(symbol).repeat((2, 2, 2))
            found += [crystal, crystal[1:]]
    return found


def substituted(atoms: ase.Atoms, families: dict[str, list[str]], random: np.random.Generator) -> ase.Atoms:
    """A copy with each element replaced by one of its family, or by itself, scaled by the mean covalent radius."""
    found = atoms.copy()
    for symbol in sorted(set(atoms.symbols)):
        choices = [*families.get(symbol, []), symbol]
        new = choices[random.integers(len(choices))]
        found.numbers[atoms.numbers == atomic_numbers[symbol]] = atomic_numbers[new]
    scale = covalent_radii[found.numbers].mean() / covalent_radii[atoms.numbers].mean()
    found.set_cell(found.cell * scale, scale_atoms=True)
    return found


def with_changed_hydrogen_bonds(atoms: ase.Atoms, random: np.random.Generator) -> ase.Atoms:
    """Hydrogen atoms moved along the bond to their nearest neighbor, all bonds of the crystal by one factor."""
    factor = 1.0 + HYDROGEN_SPREAD * random.normal()
    first, bonds, lengths = neighbor_list("iDd", atoms, HYDROGEN_BOND)
    for k in np.flatnonzero(atoms.numbers == 1):
        own = np.flatnonzero(first == k)
        if len(own) > 0:
            atoms.positions[k] += (1.0 - factor) * bonds[own[lengths[own].argmin()]]
    return atoms


def variant(
    crystals: list[ase.Atoms],
    elements: list[ase.Atoms],
    families: dict[str, list[str]],
    seed: int,
    number: int,
    manner: Manner,
) -> ase.Atoms:
    """The frame of this number: a function of the seed alone."""
    random = np.random.default_rng([seed, number])
    bases = elements if random.random() < ELEMENTAL and elements else crystals
    shares = np.array([len(atoms) for atoms in bases], dtype=float) ** manner.power
    while True:
        if manner.molecules > 0.0 and random.random() < manner.molecules:
            atoms = packed(random)
        else:
            atoms = bases[random.choice(len(bases), p=shares / shares.sum())].copy()
        if random.random() < SUBSTITUTED:
            atoms = substituted(atoms, families, random)
        if part_of(reduced_formula(atoms)) == "train":
            break
    strain = np.eye(3) * (1.0 + manner.strain * random.normal())
    shear = 0.5 * manner.strain * random.normal(size=(3, 3))
    atoms.set_cell(atoms.cell @ (strain + 0.5 * (shear + shear.T)), scale_atoms=True)
    atoms.positions += random.exponential(manner.displacement) * random.normal(size=atoms.positions.shape)
    if random.random() < manner.hydrogen:
        atoms = with_changed_hydrogen_bonds(atoms, random)
    atoms.info = {"config_type": "chgnet", "variant": number, **TEACHER}
    return atoms


def can_be_labelled(atoms: ase.Atoms) -> bool:
    """Whether each atom has a neighbor, and none too many."""
    if len(atoms) / atoms.get_volume() * 4.0 / 3.0 * np.pi * FARTHEST**3 > MOST_NEIGHBORS:
        return False
    return len(set(neighbor_list("i", atoms, FARTHEST))) == len(atoms)


def labelled(model: Teacher, frames: list[ase.Atoms]) -> list[ase.Atoms]:
    """Those frames that can be labelled, and whose labels are moderate.

    With energy (eV), forces (eV/Å) and stress (eV/Å³) of the teacher.
    """
    frames = [atoms for atoms in frames if can_be_labelled(atoms)]
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames]
    kept = []
    for atoms, found in zip(frames, model.predict_structure(structures, task="efs", batch_size=4), strict=True):
        forces = np.asarray(found["f"], dtype=float)
        if not np.isfinite(forces).all() or np.abs(forces).max() > LARGEST_FORCE:
            continue
        stress = np.asarray(found["s"], dtype=float) * GPa
        energy = float(found["e"]) * len(atoms)
        voigt = stress.ravel()[[0, 4, 8, 5, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=voigt)
        kept.append(atoms)
    return kept


def main() -> None:
    """Append relaxations until as many are tried as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="files of crystals")
    parser.add_argument("output", type=Path)
    parser.add_argument("--crystals", type=int, default=5000)
    parser.add_argument(
        "--first", type=int, default=0, help="begin with this one, a multiple of 64; for a second process"
    )
    parser.add_argument("--frames", type=int, default=4, help="frames of each crystal's relaxation")
    parser.add_argument("--atoms", type=int, nargs=2, default=[1, 40], help="least and most of a crystal")
    parser.add_argument("--kinds", nargs="+", help="only crystals whose config_type is one of these")
    for field in dataclasses.fields(Manner):
        parser.add_argument(f"--{field.name}", type=float, default=field.default)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = [atoms for path in asked.sources for atoms in ase.io.read(path, ":")]
    least, most = asked.atoms
    if asked.kinds is not None:
        found = [atoms for atoms in found if atoms.info.get("config_type") in asked.kinds]
    bases = [bare(atoms) for atoms in found if least <= len(atoms) <= most and atoms.pbc.all()]
    manner = Manner(**{field.name: getattr(asked, field.name) for field in dataclasses.fields(Manner)})
    symbols = sorted({chemical_symbols[z] for atoms in bases for z in atoms.numbers})
    families = siblings(symbols)
    elements = elemental(symbols) if least <= 1 else []
    model = Teacher.load()
    start = (
        ase.io.read(asked.output, -1).info["variant"] // CHUNK * CHUNK + CHUNK if asked.output.exists() else asked.first
    )
    for first in range(start, asked.crystals, CHUNK):
        numbers = range(first, first + CHUNK)
        frames = labelled(model, [variant(bases, elements, families, asked.seed, k, manner) for k in numbers])
        relaxations = [frames]
        for _ in range(asked.frames - 1):
            relaxations.append(labelled(model, [descended(atoms) for atoms in relaxations[-1]]))
        ase.io.write(asked.output, [atoms for frames in relaxations for atoms in frames], format="extxyz", append=True)
        print(f"{first + CHUNK} of {asked.crystals}", flush=True)


if __name__ == "__main__":
    main()
