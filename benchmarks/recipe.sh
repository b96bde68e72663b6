#!/usr/bin/env bash
# What each part of the default recipe brings, on validation frames alone: no test part is cut, so none is looked at.
#
#   GNNPOT_DATA=/path/to/data benchmarks/recipe.sh [OUTPUT_FOLDER [hdnnp|schnet|gnnff]]
#   python benchmarks/recipe.py OUTPUT_FOLDER    # the table
#
# Short trainings of one core. A cell that is finished is not run again; one that was interrupted goes on.
set -euo pipefail
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
output=${1:-runs/recipe}
only=${2:-}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

cell() {  # cell NAME [OVERRIDES...]
    local run="$output/$1"
    [[ "$1" != *"-$only"* ]] && return
    [ -f "$run/metrics.json" ] && return
    local go_on=()
    [ -f "$run/last.ckpt" ] && go_on=("resume=$run")
    gnnpot fit "run_dir=$run" data.split.kind=random "data.split.fractions=[0.9,0.1,0]" "${@:2}" "${go_on[@]}"
}

gan=("data.path=$GNNPOT_DATA/gan_charged/pristine-64atom-121.xyz.gz")
li=("data.path=$GNNPOT_DATA/mlearn/Li_train.xyz")

cell GaN-hdnnp model=hdnnp "${gan[@]}" trainer.max_epochs=20
cell GaN-hdnnp-adam model=hdnnp "${gan[@]}" trainer.max_epochs=20 optimizer=adam optimizer.lr=0.005
cell GaN-hdnnp-narrow model=hdnnp "${gan[@]}" trainer.max_epochs=20 "model.hidden=[30,30]"
cell GaN-hdnnp-batch_1 model=hdnnp "${gan[@]}" trainer.max_epochs=20 batch_size=1
cell Li-hdnnp model=hdnnp "${li[@]}" trainer.max_epochs=40
cell Li-hdnnp-5.5 model=hdnnp "${li[@]}" trainer.max_epochs=40 model.cutoff=5.5

cell GaN-schnet model=schnet "${gan[@]}" trainer.max_epochs=15
cell GaN-schnet-adam model=schnet "${gan[@]}" trainer.max_epochs=15 optimizer=adam
cell GaN-schnet-16 model=schnet "${gan[@]}" trainer.max_epochs=15 model.n_radial=16

cell GaN-gnnff_conservative model=gnnff_conservative "${gan[@]}" trainer.max_epochs=4
cell GaN-gnnff_conservative-adam model=gnnff_conservative "${gan[@]}" trainer.max_epochs=4 optimizer=adam \
    optimizer.lr=0.001
cell GaN-gnnff_conservative-batch_4 model=gnnff_conservative "${gan[@]}" trainer.max_epochs=4 batch_size=4
