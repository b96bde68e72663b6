#!/usr/bin/env bash
# The figures of the table "Head to head" in benchmarks/README.md: the systems of the publications, on their own data.
#
#   GNNPOT_DATA=/path/to/data benchmarks/head_to_head.sh [OUTPUT_FOLDER]
#
# One recipe for all systems; budgets differ with the size of the data and are epochs, so that a busy machine changes
# nothing but the time. Validation frames are cut off the training part, the test part is looked at once, at the end.
# A cell that is finished is not run again; one that was interrupted goes on.
set -euo pipefail
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
output=${1:-runs/head_to_head}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

cell() {  # cell NAME [OVERRIDES...]
    local run="$output/$1"
    [ -f "$run/metrics.json" ] && return
    local go_on=()
    [ -f "$run/last.ckpt" ] && go_on=("resume=$run")
    gnnpot fit "run_dir=$run" "${@:2}" "${go_on[@]}"
}

files() {  # files FOLDER PATTERN: a list for data.path
    local found=("$GNNPOT_DATA/$1"/$2)
    (IFS=,; echo "[${found[*]}]")
}

random=(data.split.kind=random "data.split.fractions=[0.85,0.05,0.1]")
wide=(loss.forces.delta=0.1 loss.energy.delta=0.01)  # errors count squared ten times as far as by default

# Au-Li: all given structures; random as published, and by trajectory.
auli=("data.path=$(files auli 'bulk_*.xyz.gz')")
cell AuLi-hdnnp model=hdnnp "${auli[@]}" "${random[@]}" trainer.max_epochs=50 data.cache_limit=20e9
cell AuLi-hdnnp-wide_delta model=hdnnp "${auli[@]}" "${random[@]}" "${wide[@]}" trainer.max_epochs=50 data.cache_limit=20e9
cell AuLi-gnnff_conservative model=gnnff_conservative "${auli[@]}" "${random[@]}" trainer.max_epochs=14

# GaN with a nitrogen vacancy in four charges: one model, split by geometry.
charged=("data.path=$(files gan_charged 'vn*.xyz.gz')" data.split.kind=grouped data.split.group_by=tag
    "data.split.fractions=[0.85,0.05,0.1]")
cell GaN_VN-hdnnp model=hdnnp model.charge=true "${charged[@]}" trainer.max_epochs=100
cell GaN_VN-hdnnp-without_charge model=hdnnp "${charged[@]}" trainer.max_epochs=30
cell GaN_VN-gnnff_conservative-wide_delta model=gnnff_conservative model.charge=true "${charged[@]}" "${wide[@]}" \
    trainer.max_epochs=14

# GaN without defects.
pristine=("data.path=$GNNPOT_DATA/gan_charged/pristine-64atom-121.xyz.gz")
cell GaN-hdnnp model=hdnnp "${pristine[@]}" "${random[@]}" trainer.max_epochs=150
cell GaN-hdnnp-wide_delta model=hdnnp "${pristine[@]}" "${random[@]}" "${wide[@]}" trainer.max_epochs=150
cell GaN-gnnff_conservative model=gnnff_conservative "${pristine[@]}" "${random[@]}" trainer.max_epochs=60

# Li10GeP2S12.
lgps=("data.path=$(files lgps 'LGPS*.xyz.gz')")
for kind in pairwise weighted chebyshev; do
    cell "LGPS-hdnnp-$kind" model=hdnnp "model.descriptors=$kind" "${lgps[@]}" "${random[@]}" trainer.max_epochs=40
done
cell LGPS-gnnff_conservative model=gnnff_conservative "${lgps[@]}" "${random[@]}" trainer.max_epochs=12

# mlearn: official training and test files.
for element in Cu Li Si; do
    official=("data.train_path=$(files mlearn "${element}_train.xyz*")" "data.test_path=$GNNPOT_DATA/mlearn/${element}_test.xyz")
    cell "$element-hdnnp" model=hdnnp "${official[@]}" trainer.max_epochs=220
    cell "$element-gnnff_conservative" model=gnnff_conservative "${official[@]}" trainer.max_epochs=100 batch_size=2
done
