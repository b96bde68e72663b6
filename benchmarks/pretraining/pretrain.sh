#!/usr/bin/env bash
# Pretraining of a shipped model: on a teacher's labels first, beside the forces of Materials Project, then on those of
# Materials Project with their energies.
#
#   benchmarks/pretraining/pretrain.sh NAME FOLDER [OVERRIDES...]     # NAME: mp-schnet | mp-gnnff | mp-hdnnp
#
# Results: FOLDER/runs/NAME-teacher and FOLDER/runs/NAME. TEACHER=none trains without a teacher, as long as both stages
# together, into FOLDER/runs/NAME-alone: whether the teacher helps is seen on the same held-out frames. TEACHER_MINUTES
# and MINUTES are the lengths of the stages. TEACHER_MINUTES="80 60" is two rounds on the teacher's labels: the second one,
# NAME-teacher-2, goes on from the first with a rate that rises anew, and is validated on the real forces. Overrides, as
# trainer.accelerator=gpu, go to all trainings, those of model.* and optimizer.* to the trainings that make a model. The
# same command goes on where it was stopped.
#
# FOLDER holds the frames: mp_train.xyz, mp_train_forces.xyz, mp_val.xyz, mp_val_forces.xyz, mp_test.xyz, mp_stress.xyz, made
# by data.py out of GNNPOT_DATA where they are missing, and teacher_KIND.xyz for each KIND=CRYSTALS of TEACHER_CRYSTALS, made by
# teacher.py of so many crystals: small ones, large ones, those of MPtrj nearer to equilibrium (mptrj), packed molecules. That
# takes TEACHER_PYTHON, the interpreter of an environment with CHGNet, and about three hours of one core.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=${1:?which model: mp-schnet, mp-gnnff or mp-hdnnp}
mkdir -p "${2:?the folder of the frames and the runs}" && cd "$2"
read -ra rounds <<< "${TEACHER_MINUTES:-40}"
minutes=${MINUTES:-80}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

case $name in
    mp-schnet) model=(model=schnet model.filters=by_element) ;;
    mp-gnnff) model=(model=gnnff_conservative model.edges=by_element) ;;
    mp-hdnnp) model=(model=hdnnp model.descriptors=moments_by_element model.network=shared "model.hidden=[256,128]") ;;
    *) echo "$name: there is no such model; type mp-schnet, mp-gnnff or mp-hdnnp" >&2 && exit 1 ;;
esac
common=()
for override in "${@:3}"; do
    if [[ $override == model.* || $override == optimizer.* ]]; then model+=("$override"); else common+=("$override"); fi
done
if [ ! -f mp_stress.xyz ]; then
    python "$here/data.py" "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}" .
fi
label() {  # label KIND CRYSTALS [OPTIONS...]: so many of the teacher's crystals, written to the end of KIND.part.xyz
    local data=${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}
    "${TEACHER_PYTHON:-python}" "$here/teacher.py" mp_train.xyz "$data/dielectrics_mp/mp_phonondb_bec_1520.xyz.gz" \
        "$data/mp_efs/mptrj-highest-stress-1k.xyz.gz" "$1.part.xyz" --crystals "$2" "${@:3}"
}
label_kind() {  # label_kind KIND CRYSTALS: some frames of each crystal's relaxation, of the first ones other than later
    local first
    case $1 in
        small) first=$(($2 < 4544 ? $2 : 4544)) && label small "$first" --frames 4 && label small "$2" --frames 2 ;;
        large) label large "$2" --frames 3 --atoms 41 170 --hydrogen 0.5 --seed 1 ;;
        mptrj)
            local near=(--atoms 2 170 --kinds mptrj --power 0.5 --displacement 0.03 --strain 0.02 --hydrogen 0.3 --seed 2)
            first=$(($2 < 1728 ? $2 : 1728))
            label mptrj "$first" --frames 3 "${near[@]}" && label mptrj "$2" --frames 5 "${near[@]}"
            ;;
        molecules) label molecules "$2" --frames 4 --displacement 0.03 --strain 0.04 --molecules 1 --seed 3 ;;
        *) echo "TEACHER_CRYSTALS: $1 is none of small, large, mptrj, molecules" >&2 && return 1 ;;
    esac
    mv "$1.part.xyz" "teacher_$1.xyz"
}
labelled=mp_train_forces.xyz
if [ "${TEACHER:-chgnet}" != none ]; then
    for asked in ${TEACHER_CRYSTALS:-small=8000 large=700 mptrj=4000 molecules=1000}; do
        kind=${asked%%=*}
        if [ ! -f "teacher_$kind.xyz" ]; then label_kind "$kind" "${asked#*=}"; fi
        labelled=teacher_$kind.xyz,$labelled
    done
fi
elements=$(python - mp_train.xyz mp_val.xyz mp_test.xyz mp_stress.xyz <<'PYTHON'
import sys
import ase.io
print(",".join(sorted({s for file in sys.argv[1:] for atoms in ase.io.iread(file, ":") for s in atoms.symbols})))
PYTHON
)
model+=("model.elements=[$elements]")
files=(data.train_path=mp_train.xyz data.val_path=mp_val.xyz data.test_path=mp_test.xyz)
of_files=(data.split.kind=null data.split.group_by=null)

stage() {  # stage VERB RUN MINUTES [OVERRIDES...]
    local run=runs/$2 go_on=() length
    length=$(printf '00:%02d:%02d:00' $(($3 / 60)) $(($3 % 60)))
    [ -f "$run/metrics.json" ] && return
    [ -f "$run/last.ckpt" ] && go_on=("resume=$run")
    gnnpot "$1" "run_dir=$run" "trainer.max_time=$length" "${@:4}" "${common[@]}" "${go_on[@]}"
}

if [ "${TEACHER:-chgnet}" = none ]; then
    total=$((${rounds[*]/%/ +} minutes))
    stage fit "$name-alone" "$total" experiment=mp_pretrain "${model[@]}" "${files[@]}" "${of_files[@]}"
    exit
fi
latest=$name-teacher
of_teacher=(loss.forces.delta=0.02 loss.energy.final_weight=3
    "data.level_of_theory='labels of a teacher, and forces of Materials Project'")
stage fit "$latest" "${rounds[0]}" experiment=mp_pretrain "${model[@]}" \
    "data.path=[$labelled]" "data.split.fractions=[0.97,0.03,0]" "${of_teacher[@]}"
for ((round = 2; round <= ${#rounds[@]}; round++)); do
    stage finetune "$name-teacher-$round" "${rounds[round - 1]}" "checkpoint=runs/$latest" compare.scratch=false \
        "data.train_path=[$labelled]" data.val_path=mp_val_forces.xyz "${of_files[@]}" optimizer.lr=0.001 "${of_teacher[@]}"
    latest=$name-teacher-$round
done
stage finetune "$name" "$minutes" "checkpoint=runs/$latest" "${files[@]}" compare.scratch=false \
    loss.forces.delta=0.01 loss.energy.delta=0.01 loss.energy.final_weight=0.5 optimizer.lr=0.001 \
    "data.level_of_theory='PBE or PBE+U as Materials Project computes them, total energies without corrections'"
