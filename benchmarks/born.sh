#!/usr/bin/env bash
# Born charges: the figures of issue "Electric response". One seed, splits of born_data.py, one core.
#
#   GNNPOT_DATA=/path/to/data benchmarks/born.sh tune   # validation errors alone: the test files are not read
#   GNNPOT_DATA=/path/to/data benchmarks/born.sh final  # the settings below, test looked at once
#
# A cell that is finished is not run again; one that was interrupted goes on.
set -euo pipefail
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
stage=${1:?tune or final}
output=${2:-benchmarks/results/born}
files=$output/data
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
[ -f "$files/MgO_test.xyz" ] || python benchmarks/born_data.py "$GNNPOT_DATA" "$files"

cell() {  # cell NAME DATA TIME [OVERRIDES...]
    local run="$output/$stage/$1" data=$2 time=$3
    [ -f "$run/metrics.json" ] && return
    if [ -f "$run/last.ckpt" ]; then gnnpot fit "resume=$run"; return; fi
    local test=()
    [ "$stage" = final ] && test=("data.test_path=$files/${data%%_*}_test.xyz")
    shift 3
    gnnpot fit "data.train_path=$files/${data}_train.xyz" "data.val_path=$files/${data%%_*}_val.xyz" "${test[@]}" \
        "trainer.max_time=$time" "run_dir=$run" "$@"
}

# Accuracy: Born charges, and forces of the same backbone.
for head in polarization born_tensor; do
    cell "SiO2-schnet-$head" SiO2 00:02:00:00 "head=$head" batch_size=2
    cell "BaTiO3-schnet-$head" BaTiO3 00:02:00:00 "head=$head" batch_size=1
    cell "Li2O-schnet-$head" Li2O 00:00:15:00 "head=$head"
    cell "MgO-schnet-$head" MgO 00:00:15:00 "head=$head"
    cell "dielectrics-schnet-$head" dielectrics 00:04:00:00 "head=$head"
done

# Other backbones.
for model in hdnnp gnnff gnnff_conservative; do
    cell "SiO2-$model-polarization" SiO2 00:02:00:00 "model=$model" head=polarization batch_size=2
done

# Label efficiency on SiO2: energies and forces of all training frames, Born charges of n; joint, and on a frozen potential.
cell SiO2-schnet SiO2 00:01:00:00 batch_size=2
for n in 10 20 40 80; do
    for head in polarization born_tensor; do
        cell "SiO2-joint-$head-$n" "SiO2_$n" 00:01:00:00 "head=$head" batch_size=2
        cell "SiO2-frozen-$head-$n" "SiO2_$n" 00:00:15:00 "head=$head" "checkpoint=$output/$stage/SiO2-schnet" batch_size=2
    done
done
