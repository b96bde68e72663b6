# Sourced by the scripts of trainings here, which set `output` and `only`: one cell of a table is one run.
# A cell that is finished is not run again; one that was interrupted goes on.
: "${GNNPOT_DATA:?name the folder with the data sets, see benchmarks/DATA.md}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

cell() {  # cell NAME [OVERRIDES...], where the name matches the pattern $only
    local run="$output/$1"
    # shellcheck disable=SC2053
    [[ "$1" != $only ]] && return
    [ -f "$run/metrics.json" ] && return
    local go_on=()
    [ -f "$run/last.ckpt" ] && go_on=("resume=$run")
    gnnpot fit "run_dir=$run" "${@:2}" "${go_on[@]}"
}
