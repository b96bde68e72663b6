#!/usr/bin/env bash
# The figures of the table "First light" in benchmarks/README.md: official training and test files of mlearn, one seed.
#
#   GNNPOT_DATA=/path/to/data benchmarks/first_light.sh [OUTPUT_FOLDER]
#
# Every training uses one core (OMP_NUM_THREADS=1); most budgets are epochs, so that a busy machine changes nothing but the
# time. Validation frames are cut off the training file; the test file is looked at once, at the end. A cell that is
# finished is not run again; one that was interrupted goes on.
set -euo pipefail
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
output=${1:-runs/first_light}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

cell() {  # cell MODEL VARIANT ELEMENT [OVERRIDES...]: a run named mlearn-ELEMENT-MODEL[-VARIANT]
    local model=$1 variant=$2 element=$3
    shift 3
    local run="$output/mlearn-$element-$model${variant:+-$variant}"
    [ -f "$run/metrics.json" ] && return
    local go_on=()
    [ -f "$run/last.ckpt" ] && go_on=("resume=$run")
    gnnpot fit "model=$model" "data.train_path=$GNNPOT_DATA/mlearn/${element}_train.xyz" \
        "data.test_path=$GNNPOT_DATA/mlearn/${element}_test.xyz" "run_dir=$run" "$@" "${go_on[@]}"
}

cell hdnnp "" Si trainer.max_time=00:00:04:00
cell hdnnp "" Li trainer.max_time=00:00:04:00
cell schnet "" Si trainer.max_epochs=220
cell schnet "" Li trainer.max_epochs=250 loss.energy.final_weight=3
cell gnnff_conservative "" Si trainer.max_epochs=120 batch_size=2
cell gnnff angles Si trainer.max_epochs=100 batch_size=2 model.l_max=2 model.n_interactions=2
cell gnnff "" Si trainer.max_epochs=150 batch_size=2  # as published
