#!/usr/bin/env bash
# Pretraining of a shipped model: on a teacher's labels first, beside the forces of Materials Project, then on those of
# Materials Project with their energies.
#
#   benchmarks/pretraining/pretrain.sh NAME FOLDER [OVERRIDES...]     # NAME: mp-schnet | mp-gnnff | mp-hdnnp
#
# Results: FOLDER/runs/NAME-teacher and FOLDER/runs/NAME. TEACHER=none trains without a teacher, as long as both stages
# together, into FOLDER/runs/NAME-alone: whether the teacher helps is seen on the same held-out frames. TEACHER_MINUTES
# and MINUTES are the lengths of the stages. Overrides, as trainer.accelerator=gpu, go to all trainings, those of
# model.* and optimizer.* to the trainings that make a model. The same command goes on where it was stopped.
#
# FOLDER holds the frames: mp_train.xyz, mp_train_forces.xyz, mp_val.xyz, mp_test.xyz, mp_stress.xyz, teacher.xyz of small
# crystals, teacher_large.xyz, and teacher_mptrj.xyz of crystals of MPtrj, nearer to equilibrium. Where they are missing they
# are made by data.py out of GNNPOT_DATA, and by teacher.py with TEACHER_CRYSTALS, TEACHER_LARGE_CRYSTALS and
# TEACHER_MPTRJ_CRYSTALS tries (of the small ones the first 4,544 give four frames each, further ones two; of those of MPtrj
# the first 1,728 three, further ones five), by TEACHER_PYTHON, the interpreter of an environment with CHGNet: about two
# hours of one core.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=${1:?which model: mp-schnet, mp-gnnff or mp-hdnnp}
mkdir -p "${2:?the folder of the frames and the runs}" && cd "$2"
teacher_minutes=${TEACHER_MINUTES:-40}
minutes=${MINUTES:-80}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

case $name in
    mp-schnet) model=(model=schnet model.filters=by_element) ;;
    mp-gnnff) model=(model=gnnff_conservative model.edges=by_element optimizer.lr=0.01) ;;
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
label() {  # label FILE OPTIONS...: frames of the teacher, written to the end of FILE
    local data=${GNNPOT_DATA:?name the folder with the data sets}
    "${TEACHER_PYTHON:-python}" "$here/teacher.py" mp_train.xyz "$data/dielectrics_mp/mp_phonondb_bec_1520.xyz.gz" \
        "$data/mp_efs/mptrj-highest-stress-1k.xyz.gz" "$@"
}
crystals=${TEACHER_CRYSTALS:-8000}
if [ "${TEACHER:-chgnet}" != none ] && [ ! -f teacher_large.xyz ]; then
    label teacher.part.xyz --crystals $((crystals < 4544 ? crystals : 4544))
    label teacher.part.xyz --crystals "$crystals" --frames 2
    label large.part.xyz --crystals "${TEACHER_LARGE_CRYSTALS:-700}" --frames 3 --atoms 41 170 --hydrogen 0.5 --seed 1
    crystals=${TEACHER_MPTRJ_CRYSTALS:-4000}
    if [ "$crystals" -gt 0 ]; then
        near=(--atoms 2 170 --kinds mptrj --power 0.5 --displacement 0.03 --strain 0.02 --hydrogen 0.3 --seed 2)
        label mptrj.part.xyz "${near[@]}" --crystals $((crystals < 1728 ? crystals : 1728)) --frames 3
        label mptrj.part.xyz "${near[@]}" --crystals "$crystals" --frames 5
        mv mptrj.part.xyz teacher_mptrj.xyz
    fi
    mv teacher.part.xyz teacher.xyz
    mv large.part.xyz teacher_large.xyz
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
    stage fit "$name-alone" $((teacher_minutes + minutes)) experiment=mp_pretrain "${model[@]}" "${files[@]}" "${of_files[@]}"
    exit
fi
labelled=mp_train_forces.xyz
for file in teacher.xyz teacher_large.xyz teacher_mptrj.xyz; do
    if [ -f "$file" ]; then labelled=$file,$labelled; fi
done
stage fit "$name-teacher" "$teacher_minutes" experiment=mp_pretrain "${model[@]}" \
    "data.path=[$labelled]" "data.split.fractions=[0.97,0.03,0]" \
    loss.forces.delta=0.02 loss.energy.final_weight=3 \
    "data.level_of_theory='labels of a teacher, and forces of Materials Project'"
stage finetune "$name" "$minutes" "checkpoint=runs/$name-teacher" "${files[@]}" compare.scratch=false \
    loss.forces.delta=0.01 loss.energy.delta=0.01 loss.energy.final_weight=0.5 optimizer.lr=0.001 \
    "data.level_of_theory='PBE or PBE+U as Materials Project computes them, total energies without corrections'"
