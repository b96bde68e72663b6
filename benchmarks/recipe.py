"""Validation errors of the trainings of recipe.sh, as Markdown.

python benchmarks/recipe.py benchmarks/results/recipe
"""

import json
import sys
from pathlib import Path

print("| training | validation MAE E (meV/atom) | F (meV/Å) | RMSE E / F | epochs | processor minutes |")
print("|---|---|---|---|---|---|")
for file in sorted(Path(sys.argv[1]).glob("*/metrics.json")):
    metrics = json.loads(file.read_text(encoding="utf-8"))
    val, timing = metrics["val"], metrics["timing"]
    energy, forces = (
        [val[f"{name}_{kind}_{unit}"] for kind in ("mae", "rmse")]
        for name, unit in (("energy", "mev_per_atom"), ("forces", "mev_per_ang"))
    )
    print(
        f"| {file.parent.name} | {energy[0]:.2f} | {forces[0]:.1f} | {energy[1]:.2f} / {forces[1]:.1f} "
        f"| {timing['epochs']} | {timing['training_cpu_s'] / 60:.1f} |"
    )
