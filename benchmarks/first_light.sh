#!/usr/bin/env bash
# The figures of the table "First light" in benchmarks/README.md: official training and test files of mlearn, one seed.
#
#   GNNPOT_DATA=/path/to/data benchmarks/first_light.sh [OUTPUT_FOLDER]
#
# Every training uses one core (OMP_NUM_THREADS=1). Validation frames are cut off the training file; the test file is
# looked at once, at the end. A cell that is finished is not run again.
set -euo pipefail
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
output=${1:-benchmarks/results}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

cell() {  # cell MODEL ELEMENT TIME [OVERRIDES...]
    local run="$output/mlearn-$2-$1"
    [ -f "$run/metrics.json" ] && return
    local go_on=()
    [ -f "$run/last.ckpt" ] && go_on=("resume=$run")
    local model=$1 element=$2 time=$3
    shift 3
    gnnpot fit "model=$model" "data.train_path=$GNNPOT_DATA/mlearn/${element}_train.xyz" \
        "data.test_path=$GNNPOT_DATA/mlearn/${element}_test.xyz" "trainer.max_time=$time" "run_dir=$run" "$@" "${go_on[@]}"
}

cell hdnnp Si 00:00:04:00
cell hdnnp Li 00:00:04:00
cell schnet Si 00:00:15:00
cell schnet Li 00:00:15:00
cell gnnff_conservative Si 00:00:30:00 batch_size=2
cell gnnff Si 00:00:20:00 batch_size=2
