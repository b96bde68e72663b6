#!/usr/bin/env bash
# The figures of the table "Head to head" in benchmarks/README.md: the systems of the publications, on their own data.
#
#   GNNPOT_DATA=/path/to/data benchmarks/head_to_head.sh [OUTPUT_FOLDER [PATTERN]]
#
# One recipe for all systems; budgets differ with the size of the data and are epochs, so that a busy machine changes
# nothing but the time. Validation frames are cut off the training part, the test part is looked at once, at the end.
# A cell that is finished is not run again; one that was interrupted goes on. With a pattern, as '*-gnnff*', only the cells whose
# names match: two of them may run side by side.
set -euo pipefail
output=${1:-runs/head_to_head}
only=${2:-*}
. "$(dirname "$0")/cells.sh"

files() {  # files FOLDER PATTERN: a list for data.path
    local found=("$GNNPOT_DATA/$1"/$2)
    (IFS=,; echo "[${found[*]}]")
}

random=(data.split.kind=random "data.split.fractions=[0.85,0.05,0.1]")
grouped=(data.split.kind=grouped "data.split.fractions=[0.85,0.05,0.1]")

# GaN with a nitrogen vacancy in four charges: one model, split by geometry.
charged=("data.path=$(files gan_charged 'vn*.xyz.gz')" "${grouped[@]}" data.split.group_by=tag)
cell GaN_VN-hdnnp model=hdnnp model.charge=true "${charged[@]}" trainer.max_epochs=40
cell GaN_VN-hdnnp-without_charge model=hdnnp "${charged[@]}" trainer.max_epochs=15
cell GaN_VN-gnnff_conservative model=gnnff_conservative model.charge=true "${charged[@]}" trainer.max_epochs=20

# GaN without defects.
pristine=("data.path=$GNNPOT_DATA/gan_charged/pristine-64atom-121.xyz.gz")
cell GaN-hdnnp model=hdnnp "${pristine[@]}" "${random[@]}" trainer.max_epochs=100
cell GaN-schnet model=schnet "${pristine[@]}" "${random[@]}" trainer.max_epochs=40
cell GaN-gnnff_conservative model=gnnff_conservative "${pristine[@]}" "${random[@]}" trainer.max_epochs=24

# Au-Li: all given structures; random as published, and by trajectory.
auli=("data.path=$(files auli 'bulk_*.xyz.gz')")
[ -d "$output/auli" ] || python "$(dirname "$0")/auli_trajectories.py" "$GNNPOT_DATA/auli" "$output/auli"
trajectories=("data.path=$output/auli/bulk_*.xyz" "${grouped[@]}" data.split.group_by=trajectory)
cell AuLi-hdnnp model=hdnnp "${auli[@]}" "${random[@]}" trainer.max_epochs=40 data.cache_limit=20e9
cell AuLi-hdnnp-energy_only experiment=auli_energy_only "${auli[@]}" "${random[@]}" trainer.max_epochs=60
cell AuLi-gnnff_conservative model=gnnff_conservative "${auli[@]}" "${random[@]}" trainer.max_epochs=8
cell AuLi_grouped-hdnnp model=hdnnp "${trajectories[@]}" trainer.max_epochs=10 data.cache_limit=20e9

# mlearn: official training and test files; three seeds on silicon.
official() {  # official ELEMENT: arguments
    echo "data.train_path=$(files mlearn "$1_train.xyz*") data.test_path=$GNNPOT_DATA/mlearn/$1_test.xyz"
}
for seed in 0 1 2; do
    for model in hdnnp:60 schnet:50 gnnff_conservative:15; do
        cell "mlearn-Si-${model%:*}-seed$seed" "model=${model%:*}" $(official Si) "trainer.max_epochs=${model#*:}" \
            "seed=$seed" "data.split.seed=$seed"
    done
done
cell mlearn-Li-hdnnp model=hdnnp $(official Li) trainer.max_epochs=60
cell mlearn-Cu-hdnnp model=hdnnp $(official Cu) trainer.max_epochs=200
cell mlearn-Li-gnnff_conservative model=gnnff_conservative $(official Li) trainer.max_epochs=20
cell mlearn-Cu-gnnff_conservative model=gnnff_conservative $(official Cu) trainer.max_epochs=10

# Li10GeP2S12: kinds of functions; random, and by the kind of structure.
lgps=("data.path=$(files lgps 'LGPS*.xyz.gz')")
kinds=("${grouped[@]}" data.split.group_by=config_type)
for kind in pairwise weighted chebyshev; do
    cell "LGPS-hdnnp-$kind" model=hdnnp "model.descriptors=$kind" "${lgps[@]}" "${random[@]}" trainer.max_epochs=8
done
for kind in pairwise weighted chebyshev; do
    cell "LGPS_kinds-hdnnp-$kind" model=hdnnp "model.descriptors=$kind" "${lgps[@]}" "${kinds[@]}" trainer.max_epochs=4
done
cell LGPS-gnnff_conservative model=gnnff_conservative "${lgps[@]}" "${random[@]}" trainer.max_epochs=4
cell LGPS_kinds-gnnff_conservative model=gnnff_conservative "${lgps[@]}" "${kinds[@]}" trainer.max_epochs=4
cell AuLi_grouped-gnnff_conservative model=gnnff_conservative "${trajectories[@]}" trainer.max_epochs=2
