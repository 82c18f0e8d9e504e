#!/usr/bin/env bash
# All tests in all four languages. Needs cargo, python3 (3.11+), node (20+), npm and a C compiler; what
# else it needs it takes from the package registries, into target/. Ends with what ran, by language.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
logs=$target/test-logs
mkdir -p "$logs"
declare -a lines=()
passed=0 failed=0 skipped=0

# run NAME COMMAND…: shows the output, keeps it for counting
run() {
    local name=$1
    shift
    printf '\n== %s ==\n' "$name"
    local start=$SECONDS status=0
    "$@" 2>&1 | tee "$logs/$name.log" || status=$?
    printf -- '-- %s: %s after %s s\n' "$name" "$([ $status -eq 0 ] && echo done || echo FAILED)" $((SECONDS - start))
    if [ $status -ne 0 ]; then
        failed=$((failed + 1))
        lines+=("$(printf '%-8s %5s failed: see %s' "$name" "" "$logs/$name.log")")
    fi
    return 0
}

# count NAME PASSED FAILED SKIPPED [NOTE]
count() {
    lines+=("$(printf '%-8s %5d passed, %d failed, %d skipped%s' "$1" "$2" "$3" "$4" "${5:+ ($5)}")")
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + $4))
}

# sum FILE REGEX: adds up the numbers that the group of the regex takes
sum() { { grep -oE "$2" "$1" || true; } | grep -oE '[0-9]+' | awk '{s += $1} END {print s + 0}'; }

rust_tests() {
    cargo test -q -p podway --features cli,capi --no-fail-fast \
        && cargo test -q -p podway-tests --no-fail-fast --test vectors --test props --test header_names --test alloc --test layering \
            --test controller --test forwarder --test header --test fuzz_seeds --test lossless --test diagnostics \
            --test annotations --test simulation --test targets -- --nocapture \
        && RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=$target/loom cargo test -q -p podway --lib loom
}

c_tests() { cargo test -q -p podway-tests --test c --test c_install -- --nocapture; }

venv() {
    [ -x "$target/venv/bin/python" ] || python3 -m venv "$target/venv"
    "$target/venv/bin/python" -m pip install -q --disable-pip-version-check "$@"
}

command_tests() {
    cargo build -q -p podway --features cli,capi \
        && venv pytest dnspython botocore grpcio websockets hypercorn trustme \
        && PODWAY=$target/debug/podway "$target/venv/bin/python" -m pytest -q tests/cli
}

python_tests() {
    # Unoptimised, as the rest of the tests: what `pip install` builds takes minutes more.
    CARGO_TARGET_DIR=$target venv pytest mypy httpx h2 \
        && CARGO_TARGET_DIR=$target venv -C build-args='--profile dev' ./ffi-python \
        && "$target/venv/bin/python" -m pytest -q -s ffi-python/tests \
        && "$target/venv/bin/python" ffi-python/tests/soak.py --seconds 5
}

node_tests() {
    local app=$target/node-app
    mkdir -p "$app"
    [ -f "$app/package.json" ] || echo '{"name":"app","private":true}' > "$app/package.json"
    (cd "$app" && PODWAY_PROFILE=dev CARGO_TARGET_DIR=$target \
        npm install --no-audit --no-fund --loglevel=error "$root/ffi-node" undici@7) \
        && PODWAY_NODE_MODULES=$app node --test --test-reporter=spec ffi-node/test/*.test.mjs \
        && node --expose-gc ffi-node/test/soak.mjs 5
}

run rust rust_tests
count rust "$(sum "$logs/rust.log" '[0-9]+ passed; ')" 0 "$(sum "$logs/rust.log" '[0-9]+ ignored')"
run c c_tests
count c "$(sum "$logs/c.log" '[0-9]+ passed; ')" 0 "$(sum "$logs/c.log" '[0-9]+ ignored')"
run command command_tests
count command "$(sum "$logs/command.log" '[0-9]+ passed')" 0 "$(sum "$logs/command.log" '[0-9]+ skipped')"
run python python_tests
count python "$(sum "$logs/python.log" '[0-9]+ passed in')" 0 "$(sum "$logs/python.log" '[0-9]+ skipped')"
run node node_tests
count node "$(sum "$logs/node.log" 'ℹ pass [0-9]+')" 0 "$(sum "$logs/node.log" 'ℹ skipped [0-9]+')"

printf '\n== what ran ==\n'
printf '%s\n' "${lines[@]}"
grep -hoE 'vectors (rust|c|python|node): .*|allocations( c)?: [0-9].*|soak (python|node): .*|fuzz [a-z0-9_]+: .*|lossless: .*' "$logs"/*.log | sort -u || true
# Every language has to have run every vector there is.
cases=$(python3 -c 'import glob, json
print(sum(len(json.load(open(f, encoding="utf-8"))["cases"]) for f in glob.glob("tests/vectors/routing/*.json")))')
for language in rust c python node; do
    if ! grep -qE "vectors $language: $cases passed, 0 failed" "$logs/$language.log"; then
        printf 'vectors %s: not all of %d passed\n' "$language" "$cases"
        failed=$((failed + 1))
    fi
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
