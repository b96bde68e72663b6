#!/usr/bin/env bash
# What each part of the default recipe brings, on validation frames alone: no test part is cut, so none is looked at.
#
#   GNNPOT_DATA=/path/to/data benchmarks/recipe.sh [OUTPUT_FOLDER [PATTERN]]
#   python benchmarks/recipe.py OUTPUT_FOLDER    # the table
#
# Short trainings of one core. A cell that is finished is not run again; one that was interrupted goes on.
set -euo pipefail
output=${1:-runs/recipe}
only=${2:-*}
. "$(dirname "$0")/cells.sh"

random=(data.split.kind=random "data.split.fractions=[0.9,0.1,0]")
gan=("data.path=$GNNPOT_DATA/gan_charged/pristine-64atom-121.xyz.gz" "${random[@]}")
li=("data.path=$GNNPOT_DATA/mlearn/Li_train.xyz" "${random[@]}")

cell GaN-hdnnp model=hdnnp "${gan[@]}" trainer.max_epochs=20
cell GaN-hdnnp-adam model=hdnnp "${gan[@]}" trainer.max_epochs=20 optimizer=adam optimizer.lr=0.005
cell GaN-hdnnp-narrow model=hdnnp "${gan[@]}" trainer.max_epochs=20 "model.hidden=[30,30]"
cell GaN-hdnnp-batch_1 model=hdnnp "${gan[@]}" trainer.max_epochs=20 batch_size=1
cell GaN-hdnnp-zbl_wide model=hdnnp "data.path=$GNNPOT_DATA/gan_charged/pristine-64atom-121.xyz.gz" data.split.kind=random \
    "data.split.fractions=[0.85,0.05,0.1]" trainer.max_epochs=100 model.short_range=zbl_wide
cell Li-hdnnp model=hdnnp "${li[@]}" trainer.max_epochs=40
cell Li-hdnnp-5.5 model=hdnnp "${li[@]}" trainer.max_epochs=40 model.cutoff=5.5

cell Cu-hdnnp model=hdnnp "data.path=$GNNPOT_DATA/mlearn/Cu_train.xyz*" "${random[@]}" trainer.max_epochs=60
cell Cu-hdnnp-200_epochs model=hdnnp "data.path=$GNNPOT_DATA/mlearn/Cu_train.xyz*" "${random[@]}" trainer.max_epochs=200
# A fifth validates: more neighbors, wider and narrower networks.
fifth=("data.train_path=[$GNNPOT_DATA/mlearn/Cu_train.xyz.gz]" data.split.kind=random "data.split.fractions=[0.8,0.2,0]" trainer.max_epochs=60)
cell Cu_fifth-hdnnp model=hdnnp "${fifth[@]}"
cell Cu_fifth-hdnnp-7 model=hdnnp "${fifth[@]}" model.cutoff=7
cell Cu_fifth-hdnnp-wide model=hdnnp "${fifth[@]}" "model.hidden=[100,100]"
cell Cu_fifth-hdnnp-narrow model=hdnnp "${fifth[@]}" "model.hidden=[20,20]"

# Narrower networks than the data ask for. Test part as in head_to_head.sh.
auli=("$GNNPOT_DATA"/auli/bulk_*.xyz.gz)
cell AuLi-hdnnp-60_nodes model=hdnnp "data.path=[$(IFS=,; echo "${auli[*]}")]" data.split.kind=random \
    "data.split.fractions=[0.85,0.05,0.1]" trainer.max_epochs=40 data.cache_limit=20e9 "model.hidden=[60,60]"

# Chebyshev functions with more epochs, and more of the angles. Test part as in head_to_head.sh.
lgps=("$GNNPOT_DATA"/lgps/LGPS*.xyz.gz)
chebyshev=(model=hdnnp model.descriptors=chebyshev "data.path=[$(IFS=,; echo "${lgps[*]}")]" data.split.kind=random
    "data.split.fractions=[0.85,0.05,0.1]")
cell LGPS-hdnnp-chebyshev-16_epochs "${chebyshev[@]}" trainer.max_epochs=16
cell LGPS-hdnnp-chebyshev-8_8 "${chebyshev[@]}" trainer.max_epochs=8 model.n_radial=8 model.n_angular=8

# Radii of a graph network: 42 neighbors, as gallium nitride has within 5 Å, ask for 5.8 Å in lithium and 6 Å in silicon.
near=(model.cutoff=5 model.triplet_cutoff=4)
si=("data.path=$GNNPOT_DATA/mlearn/Si_train.xyz" "${random[@]}")
cell Li-gnnff_conservative-6.2 model=gnnff_conservative "${li[@]}" trainer.max_epochs=10 model.cutoff=6.2 model.triplet_cutoff=5
cell Li-gnnff_conservative-5 model=gnnff_conservative "${li[@]}" trainer.max_epochs=10 "${near[@]}"
cell Si-gnnff_conservative model=gnnff_conservative "${si[@]}" trainer.max_epochs=15
cell Si-gnnff_conservative-5 model=gnnff_conservative "${si[@]}" trainer.max_epochs=15 "${near[@]}"

# Gaussians of one spacing, as before, in the other trainings of SchNet and GNNFF, so that they differ in one setting.
narrow=model.gaussian_width=1
cell GaN-schnet model=schnet "${gan[@]}" trainer.max_epochs=15
cell GaN-schnet-narrow model=schnet "${gan[@]}" trainer.max_epochs=15 $narrow
cell GaN-schnet-narrow-adam model=schnet "${gan[@]}" trainer.max_epochs=15 $narrow optimizer=adam
cell GaN-schnet-narrow-16 model=schnet "${gan[@]}" trainer.max_epochs=15 $narrow model.n_radial=16

conservative=(model=gnnff_conservative "${gan[@]}" trainer.max_epochs=4)
cell GaN-gnnff_conservative "${conservative[@]}"
cell GaN-gnnff_conservative-width_3 "${conservative[@]}" model.gaussian_width=3
cell GaN-gnnff_conservative-narrow "${conservative[@]}" $narrow
cell GaN-gnnff_conservative-narrow-adam "${conservative[@]}" $narrow optimizer=adam optimizer.lr=0.001
cell GaN-gnnff_conservative-narrow-batch_4 "${conservative[@]}" $narrow batch_size=4

# Validation frames are those with a Ga and an N at 2.32 to 2.8 Å, training frames those without.
[ -f "$output/gap/val.xyz" ] || python "$(dirname "$0")/gap_frames.py" "$GNNPOT_DATA/gan_charged/pristine-64atom-121.xyz.gz" "$output/gap" Ga N 2.32 2.8
gap=("data.train_path=$output/gap/train.xyz" "data.val_path=$output/gap/val.xyz")
cell GaN_gap-schnet model=schnet "${gap[@]}" trainer.max_epochs=20
cell GaN_gap-schnet-narrow model=schnet "${gap[@]}" trainer.max_epochs=20 $narrow
cell GaN_gap-gnnff_conservative model=gnnff_conservative "${gap[@]}" trainer.max_epochs=6
cell GaN_gap-gnnff_conservative-width_3 model=gnnff_conservative "${gap[@]}" trainer.max_epochs=6 model.gaussian_width=3
cell GaN_gap-gnnff_conservative-narrow model=gnnff_conservative "${gap[@]}" trainer.max_epochs=6 $narrow
cell GaN_gap-gnnff_conservative-narrow-16 model=gnnff_conservative "${gap[@]}" trainer.max_epochs=6 $narrow \
    model.n_edge_features=16
cell GaN_gap-hdnnp model=hdnnp "${gap[@]}" trainer.max_epochs=40
