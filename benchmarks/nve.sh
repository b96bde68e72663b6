#!/usr/bin/env bash
# Energy conservation of the silicon models of benchmarks/first_light.sh: NVE at 600 K, 1 fs. Structures are relaxed
# with the model first; velocities start at 1200 K, half of which goes into potential energy.
#
#   GNNPOT_DATA=/path/to/data benchmarks/nve.sh [OUTPUT_FOLDER]
#
# HDNNP and SchNet: the first training structure, 63 atoms, repeated 2x2x2 (504 atoms), 10 ps; both GNNFF: a crystal of
# 216 atoms, 5 ps. The drift printed by `gnnpot md` is the slope of a straight line through the total energy per atom
# after the first tenth, meV/atom/ps; of the direct model, which has no energy, that of the kinetic energy.
set -euo pipefail
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
output=${1:-runs/first_light}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
mkdir -p "$output"
crystal="$output/Si216.extxyz"
[ -f "$crystal" ] || python -c "
import sys
from ase.build import bulk
bulk('Si', cubic=True, a=5.469).repeat(3).write(sys.argv[1])" "$crystal"

nve() {  # nve RUN STRUCTURE REPEAT STEPS
    local run="$output/mlearn-Si-$1"
    [ -f "$run/nve/md.json" ] && return
    rm -f "$run/relaxed.extxyz"
    gnnpot relax "checkpoint=$run" "structure=$2" "repeat=$3" fmax=0.02 steps=500 dtype=float32 \
        "output=$run/relaxed.extxyz" || [ -f "$run/relaxed.extxyz" ]  # not quite relaxed is good enough for a start
    gnnpot md "checkpoint=$run" "structure=$run/relaxed.extxyz" ensemble=nve temperature=1200 timestep=1 "steps=$4" \
        "output=$run/nve" trajectory=null overwrite=true
}

for model in ${MODELS:-hdnnp schnet gnnff_conservative gnnff gnnff-angles}; do
    case $model in
        gnnff*) nve "$model" "$crystal" 1 5000 ;;
        *) nve "$model" "$GNNPOT_DATA/mlearn/Si_train.xyz@0" 2 10000 ;;
    esac
done
