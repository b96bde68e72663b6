"""Write an `HDNNP` as a folder of n2p2, which LAMMPS' ``pair_style hdnnp`` runs.

With E = Σ_i [E0 + s (y(x_i) - y(x_0))] and x = (G - m)/d, the files say::

    scale_symmetry_functions_sigma, S_min = 0, S_max = 1, mean = m, sigma = d
    atom_energy = E0,  last weights = s w,  last constant = -s y(x_0)          (bohr, hartree)
"""

import copy
import shutil
import tempfile
from pathlib import Path

import torch
from ase.data import chemical_symbols

from gnnpot._version import __version__
from gnnpot.errors import CheckpointError, ConfigError
from gnnpot.keys import ANGSTROM_PER_BOHR, EV_PER_HARTREE
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.n2p2 import (
    ACTIVATIONS,
    SCALING,
    SETTINGS,
    WEIGHTS,
    dense_layers,
    functions_of_elements,
    networks_of_elements,
)
from gnnpot.models.potential import Potential
from gnnpot.models.store import load
from gnnpot.nn.symmetry_functions import N2P2_ENVELOPES, sort_as_n2p2, to_n2p2_line

LETTERS = {"tanh": "t", "shifted_softplus": "p"}
"""n2p2's letter for each activation that it has."""
WITHOUT = {
    "charge": "this model cannot be exported; train one of a single charge state with model.charge=false",
    "short_range": "train it with model.short_range=null (to the same weights: the repulsion ends where the training "
    "structures begin)",
}
"""What to do instead about arguments that n2p2 does not have."""
KNOWN_ARGUMENTS = frozenset(
    ("elements", "cutoff", "functions", "n_radial", "n_angular", "hidden", "activation", "envelope", "descriptors",
     "n_functions", "select", "network")
)  # fmt: skip
"""Arguments of the model that the files express, or that only generated its functions."""


def export_n2p2(model: Potential | str | Path, folder: str | Path) -> Path:
    """Write ``input.nn``, ``scaling.data`` and ``weights.*.data`` for a trained HDNNP.

    In LAMMPS: ``pair_style hdnnp CUTOFF dir "FOLDER" cflength 1.8897261 cfenergy 0.0367493`` (units metal), then
    ``pair_coeff * * Li O``; both lines stand in the head of ``input.nn``. The weights go out in full precision:
    what `gnnpot.load` reads back gives the same energies to 1e-10 eV.

    Args:
        model: an HDNNP, or the path or name of one.
        folder: where the files go; it must be new or empty.

    Returns:
        The folder.

    Raises:
        CheckpointError: the model has something that n2p2 lacks (named in the message), or has never been trained,
            or the folder holds other files.
    """
    folder = Path(folder).expanduser()
    potential = model if isinstance(model, Potential) else load(model)
    if not isinstance(potential, HDNNP):
        raise CheckpointError(f"n2p2 has no {type(potential).__name__}: only an HDNNP can be exported to it")
    _refuse_what_n2p2_lacks(potential)
    potential = copy.deepcopy(potential).cpu().double()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder}: holds other files already; export to a new folder")
    texts = {SETTINGS: _settings(potential), SCALING: _scaling(potential)}
    texts |= {WEIGHTS.format(z): _weights(potential, t) for t, z in enumerate(potential.elements)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, text in texts.items():
                (fresh / name).write_text(text, encoding="utf-8")
            fresh.chmod(0o755)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: could not be written ({error})") from error
    return folder


def _refuse_what_n2p2_lacks(model: HDNNP) -> None:
    for name, without in WITHOUT.items():
        if getattr(model, name):
            value = str(getattr(model, name)).lower()
            raise CheckpointError(f"n2p2 has no {name}={value}: {without}")
    networks_of_elements(model)
    functions = functions_of_elements(model).functions
    strange = [f"{name}={v}" for name, v in model.arguments().items() if name not in KNOWN_ARGUMENTS and v]
    if strange:
        raise CheckpointError(f"n2p2 has no {', '.join(strange)}: this model cannot be exported to it")
    if model.activation not in LETTERS:
        known = " and ".join(LETTERS)
        raise CheckpointError(f"n2p2 has no activation={model.activation}; {known} can be exported")
    if not model.hidden:
        raise CheckpointError("n2p2 has no networks without hidden layers (hidden=[])")
    envelopes = sorted({function.envelope for function in functions})
    if len(envelopes) > 1:
        raise CheckpointError(f"n2p2 has one cutoff_type for all functions; this model has {' and '.join(envelopes)}")
    if not bool(torch.isfinite(model.descriptor_scale.lowest).all()):
        raise CheckpointError("the ranges of the symmetry functions are unknown: the model has never been trained")


def _columns(model: HDNNP, t: int) -> list[int]:
    """Columns of one element's functions, in the order of n2p2."""
    described = functions_of_elements(model)
    column_of = dict(zip(described.functions, described.columns, strict=True))
    return [column_of[f] for f in sort_as_n2p2(list(described.functions)) if f.center == model.elements[t]]


def _settings(model: HDNNP) -> str:
    symbols = [chemical_symbols[z] for z in model.elements]
    functions = sort_as_n2p2(list(functions_of_elements(model).functions))
    cutoff_type = next(n for n, name in N2P2_ENVELOPES.items() if name == functions[0].envelope)
    try:
        lines = [to_n2p2_line(function) for function in functions]
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    energies = (model.energy_scale.reference_energies / EV_PER_HARTREE).tolist()
    letter = LETTERS[model.activation]
    reach = model.descriptor_set.cutoff + 1e-6
    units = f"cflength {1.0 / ANGSTROM_PER_BOHR:.10f} cfenergy {1.0 / EV_PER_HARTREE:.12f}"
    return "\n".join(
        [
            f"# HDNNP written by gnnpot {__version__}; lengths in bohr, energies in hartree. LAMMPS (units metal):",
            f'# pair_style hdnnp {reach:.6f} dir "." {units}',
            f"# pair_coeff * * {' '.join(symbols)}",
            f"number_of_elements {len(symbols)}",
            f"elements {' '.join(symbols)}",
            *(f"atom_energy {s} {energy!r}" for s, energy in zip(symbols, energies, strict=True)),
            f"cutoff_type {cutoff_type}",
            "scale_symmetry_functions_sigma",
            "scale_min_short 0.0",
            "scale_max_short 1.0",
            f"global_hidden_layers_short {len(model.hidden)}",
            f"global_nodes_short {' '.join(map(str, model.hidden))}",
            f"global_activation_short {' '.join([letter] * len(model.hidden))} l",
            *lines,
            "",
        ]
    )


def _scaling(model: HDNNP) -> str:
    scale = model.descriptor_scale
    lines = ["# element, function, min, max, mean, sigma (here the numbers by which gnnpot shifts and divides)"]
    for t in range(len(model.elements)):
        for k, column in enumerate(_columns(model, t)):
            row = [float(table[t, column]) for table in (scale.lowest, scale.highest, scale.mean, scale.spread)]
            lines.append(f"{t + 1:4d} {k + 1:4d} " + " ".join(f"{value:24.16E}" for value in row))
    return "\n".join([*lines, ""])


def _weights(model: HDNNP, t: int) -> str:
    """Weights of one network: those that leave one node after the other, then the constants, layer by layer."""
    unit = model.energy_scale.scale / EV_PER_HARTREE
    activation = ACTIVATIONS[LETTERS[model.activation]]
    layers = dense_layers(model, t)
    network = networks_of_elements(model)[chemical_symbols[model.elements[t]]]
    isolated = network(model.descriptor_scale.of_isolated_atoms()[t])
    lines = ["# value, a = weight or b = constant, index, from layer, node, to layer, node"]
    for k, layer in enumerate(layers):
        weight = layer.weight.detach().double()
        bias = -isolated.detach().double() if k == len(layers) - 1 else layer.bias.detach().double()
        if k == 0:
            weight = weight[:, _columns(model, t)]
        if k > 0:
            bias = bias - activation.offset * weight.sum(1)
        if k == len(layers) - 1:
            weight, bias = weight * unit, bias * unit
        for n in range(weight.shape[1]):
            for m in range(len(weight)):
                value = float(weight[m, n])
                lines.append(f"{value:24.16E} a {len(lines):9d} {k:5d} {n + 1:5d} {k + 1:5d} {m + 1:5d}")
        lines += [f"{float(b):24.16E} b {len(lines) + m:9d} {k + 1:5d} {m + 1:5d}" for m, b in enumerate(bias)]
    return "\n".join([*lines, ""])
