#!/usr/bin/env bash
# Born charges: how well both heads predict them, and from how few labels. One seed, splits of born_data.py, one core.
#
#   GNNPOT_DATA=/path/to/data benchmarks/born.sh [OUTPUT_FOLDER [PATTERN]]
#   python benchmarks/born_table.py OUTPUT_FOLDER    # the table
#
# Budgets are epochs. The test part is looked at once, at the end. A cell that is finished is not run again; one that was
# interrupted goes on. With a pattern, as 'SiO2-joint*', only the cells whose names match.
set -euo pipefail
output=${1:-runs/born}
only=${2:-*}
. "$(dirname "$0")/cells.sh"
files=$output/data
[ -f "$files/MgO_test.xyz" ] || python "$(dirname "$0")/born_data.py" "$GNNPOT_DATA" "$files"

born_cell() {  # born_cell NAME DATA EPOCHS [OVERRIDES...]
    local data=$2 system=${2%%_*}
    cell "$1" "data.train_path=$files/${data}_train.xyz" "data.val_path=$files/${system}_val.xyz" \
        "data.test_path=$files/${system}_test.xyz" "trainer.max_epochs=$3" "${@:4}"
}

# Accuracy: Born charges, and forces of the same backbone where there are any.
for head in polarization born_tensor; do
    born_cell "SiO2-schnet-$head" SiO2 40 "head=$head" batch_size=2
    born_cell "BaTiO3-schnet-$head" BaTiO3 60 "head=$head" batch_size=1
    born_cell "Li2O-schnet-$head" Li2O 200 "head=$head"
    born_cell "MgO-schnet-$head" MgO 200 "head=$head"
    born_cell "dielectrics-schnet-$head" dielectrics 25 "head=$head"
done

# The polarization head with vectors alone, as all of them were before tensors were among the moments, and as far as the
# backbone looks: SchNet 6.5 Å, the HDNNP 5.5 Å.
far=head.cutoff=6.5
vectors=(head=polarization head.l_max=1)
born_cell SiO2-schnet-polarization-vectors SiO2 40 "${vectors[@]}" $far batch_size=2
born_cell SiO2-gnnff_conservative-polarization-vectors SiO2 24 model=gnnff_conservative "${vectors[@]}"
born_cell BaTiO3-schnet-polarization-vectors BaTiO3 60 "${vectors[@]}" $far batch_size=1
born_cell dielectrics-schnet-polarization-vectors dielectrics 25 "${vectors[@]}" $far

# Other backbones.
born_cell SiO2-hdnnp-polarization-vectors SiO2 40 model=hdnnp "${vectors[@]}" head.cutoff=5.5 batch_size=2
born_cell SiO2-hdnnp-polarization SiO2 40 model=hdnnp head=polarization batch_size=2
born_cell SiO2-gnnff_conservative-polarization SiO2 24 model=gnnff_conservative head=polarization
born_cell BaTiO3-gnnff_conservative-polarization BaTiO3 100 model=gnnff_conservative head=polarization

# Label efficiency on SiO2: energies and forces of all training frames, Born charges of n; joint, and on a frozen potential.
# Polarization heads with vectors alone, both heads as far as SchNet looks.
of_head() {
    if [ "$1" = polarization ]; then echo head=polarization head.l_max=1 $far; else echo "head=$1" $far; fi
}
born_cell SiO2-schnet SiO2 40 batch_size=2
for n in 10 20 40 80; do
    for head in polarization born_tensor; do
        born_cell "SiO2-joint-$head-$n" "SiO2_$n" 20 $(of_head "$head") batch_size=2
        born_cell "SiO2-frozen-$head-$n" "SiO2_$n" 20 $(of_head "$head") "checkpoint=$output/SiO2-schnet" "freeze=[backbone]" \
            batch_size=2
    done
done
