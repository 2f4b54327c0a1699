#!/usr/bin/env bash
# Everything that wants an NVIDIA card, for a machine that can be had for half an hour only.
#
#     bash benchmarks/on_a_card.sh OUT_DIR
#
# In this order: the tests of `make test-gpu`; the table of `make bench-gpu`; where the time of a training step goes; the
# styles of the gallery, trained again with the recipe `default`; the networks of `benchmarks.against`. Each part has a
# time limit, and all together LIMIT_S. Give the same command again to go on: parts that ended by themselves are skipped, and
# a training continues. Remove OUT_DIR/done/PART to repeat one that failed. OUT_DIR/results.tar.gz holds all that is worth
# keeping except the networks in OUT_DIR/against: logs, tables, styles, and what it takes to go on in an empty OUT_DIR.
#
# Environment:
#   PYTHON         with rtstyle's extra `train`, torch for CUDA and pytest; by default that of `make setup`
#   RTSTYLE_DATA   content/, styles/ and features/, 58 MB; without them nothing is trained
#   LIMIT_S        seconds for one call, by default 1740
#   STYLE_MINUTES  of training for each style, by default those of the recipe, 8: three styles in one call
#
# It has not run on a card yet.
set -u

[ $# -eq 1 ] || { echo "usage: bash benchmarks/on_a_card.sh OUT_DIR" >&2; exit 2; }
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-.venv-dev/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
data=${RTSTYLE_DATA:-../shared/data}
export RTSTYLE_DATA=$data PYTHONUNBUFFERED=1
end=$((SECONDS + ${LIMIT_S:-1740}))
least=${LEAST_S:-30} # seconds; a part is not begun with less
[ -d "$out/done" ] || [ ! -e "$out/results.tar.gz" ] || tar -xzf "$out/results.tar.gz" -C "$out" || exit 1
mkdir -p "$out/done"

if ! problem=$("$python" -W ignore -c '
import sys
from engines.errors import StylerError
try:
    from engines.cuda.engine import require
    require()
except StylerError as error:
    sys.exit(str(error))
' 2>&1); then
    echo "on_a_card.sh: ${problem##*$'\n'}" >&2
    exit 1
fi

# part NAME SECONDS COMMAND …: run it once, within its own limit and what is left of the whole. Its output is NAME.log.
part() {
    local name=$1 limit=$2 left=$((end - SECONDS)) code
    shift 2
    if [ -e "$out/done/$name" ]; then
        echo "$name: done before, $(cat "$out/done/$name")"
        [ "$(cat "$out/done/$name")" = finished ]
        return
    fi
    if [ "$left" -lt "$least" ]; then
        echo "$name: no time is left"
        return 1
    fi
    [ "$limit" -lt "$left" ] || limit=$left
    echo "$name: at most $limit s"
    # A training saves a checkpoint when it is told to end.
    timeout --signal=TERM --kill-after=20 "$limit" "$@" >>"$out/$name.log" 2>&1
    code=$?
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
        echo "$name: stopped after $limit s, see $name.log"
    else
        [ $code -eq 0 ] && echo finished >"$out/done/$name" || echo "failed with code $code, see $name.log" >"$out/done/$name"
        echo "$name: $(cat "$out/done/$name")"
    fi
    return $code
}

style() {
    local name=$1 painting=$2 run=$out/runs/$1 options=()
    [ ! -e "$run/checkpoint.pt" ] || options+=(--resume)
    [ -z "${STYLE_MINUTES:-}" ] || options+=(--minutes "$STYLE_MINUTES")
    part "style-$name" 600 "$python" -m rtstyle train --recipe default --name "$name" --out "$run" \
        --style-picture "$data/styles/$painting" --content "$data/content" --features "$data/features" \
        ${options[@]+"${options[@]}"} || return
    [ -d "$run/style" ] || return
    mkdir -p "$out/styles"
    [ -e "$out/styles/$name" ] || cp -r "$run/style" "$out/styles/$name"
}

part tests 420 "$python" -m pytest -q -p no:cacheprovider -m gpu tests/engines tests/rtstyle tests/train tests/benchmarks
part bench 480 "$python" -m benchmarks.gpu && [ ! -e "$out/RESULTS-GPU.md" ] && cp benchmarks/RESULTS-GPU.md "$out/"
part step 180 "$python" -m benchmarks.step --recipe default
if [ -d "$data/content" ] && [ -d "$data/styles" ] && [ -d "$data/features" ]; then
    for record in rtstyle/gallery/*/style.json; do
        name=$(basename "$(dirname "$record")")
        painting=$("$python" -c 'import json, sys
print(json.load(open(sys.argv[1]))["training"]["settings"]["data"]["style_picture"])' "$record")
        style "$name" "$painting"
    done
    part against 900 "$python" -m benchmarks.against --device cuda --data "$data" --out "$out/against"
else
    echo "styles: $data does not hold content/, styles/ and features/; set RTSTYLE_DATA"
fi

cd "$out" || exit 1
kept=(done)
for path in *.log RESULTS-GPU.md styles against/*.json; do
    [ ! -e "$path" ] || kept+=("$path")
done
for run in runs/*; do
    [ ! -e "$run/checkpoint.pt" ] || [ -e "done/style-${run#runs/}" ] || kept+=("$run/checkpoint.pt")
done
tar -czf results.tar.gz "${kept[@]}"
echo "$(grep -lx finished done/* 2>/dev/null | wc -l) parts are finished; the results are in $out/results.tar.gz ($(($(wc -c <results.tar.gz) >> 10)) KiB)"
