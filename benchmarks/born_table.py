"""Errors of the Born charges of the trainings of born.sh, as Markdown.

    python benchmarks/born_table.py OUTPUT_FOLDER [DATA_FOLDER]

DATA_FOLDER (OUTPUT_FOLDER/data where none is given) has the files of born_data.py: from them the error of the plainest
model, the mean tensor that each element has in the training part.
"""

import json
import sys
from pathlib import Path

import ase
import numpy as np

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read

BORN = "born_effective_charges"
HEADER = (
    "| training | Born charges: RMSE of components (e) | of rows | of tensors | MAE | RMSE of the elements' means "
    "| RMSE F (meV/Å) | RMSE E (meV/atom) | epochs | processor minutes |\n|---|---|---|---|---|---|---|---|---|---|"
)


def labelled(file: Path) -> list[tuple[ase.Atoms, np.ndarray]]:
    """Frames with Born charges, and these."""
    found = [(atoms, labels_of(atoms)) for atoms in read(file)]
    return [(atoms, labels[BORN]) for atoms, labels in found if BORN in labels]


def error_of_means(training: Path, test: Path) -> float:
    """Component RMSE, e, of the mean tensor of each element."""
    tensors: dict[int, list[np.ndarray]] = {}
    for atoms, born in labelled(training):
        for z, tensor in zip(atoms.numbers.tolist(), born, strict=True):
            tensors.setdefault(z, []).append(tensor)
    means = {z: np.mean(of_element, axis=0) for z, of_element in tensors.items()}
    unknown = np.zeros((3, 3))
    pairs = [(born, [means.get(z, unknown) for z in atoms.numbers.tolist()]) for atoms, born in labelled(test)]
    errors = np.concatenate([born - np.array(of_frame) for born, of_frame in pairs])
    return float(np.sqrt((errors**2).mean()))


def main(output: str, data: str | None = None) -> None:
    """Print a row for each finished run."""
    folder = Path(output)
    files = folder / "data" if data is None else Path(data)
    print(HEADER)
    means: dict[str, float] = {}
    for file in sorted(folder.glob("*/metrics.json")):
        metrics = json.loads(file.read_text(encoding="utf-8"))
        test, timing, system = metrics["test"], metrics["timing"], file.parent.name.split("-")[0]
        if system not in means:
            means[system] = error_of_means(files / f"{system}_train.xyz", files / f"{system}_test.xyz")
        norms = ("born_rmse_e", "born_row_rmse_e", "born_tensor_rmse_e", "born_mae_e")
        cells = [f"{test[name]:.4f}" if name in test else "–" for name in norms]
        others = ("forces_rmse_mev_per_ang", "energy_rmse_mev_per_atom")
        more = [f"{test[name]:.{2 - k}f}" if name in test else "–" for k, name in zip((1, 0), others, strict=True)]
        minutes = f"{timing['training_cpu_s'] / 60:.1f}"
        row = [file.parent.name, *cells, f"{means[system]:.3f}", *more, str(timing["epochs"]), minutes]
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
