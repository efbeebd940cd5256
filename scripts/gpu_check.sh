#!/usr/bin/env bash
# Shows on a machine with an NVIDIA GPU what cannot be shown without: builds the engines, runs the tests marked gpu, compares every
# backend with ONNX Runtime, measures, and prints a section for docs/verification.md.
#
#   scripts/gpu_check.sh [--folder DIR] [--calibrate ROOT] [--quick] [--output FILE.md]     on the machine with the GPU
#   scripts/gpu_check.sh --collect DIR                                                      on a machine with a network, beforehand
#
# TensorRT is the one of the interpreter: in NVIDIA's TensorRT and DeepStream images it is there, elsewhere
#   .venv/bin/python -m pip install tensorrt-cu12 pycuda      (needs CUDA's headers; --collect does not bring it)
#
# --folder DIR      works without a network: DIR holds wheels (*.whl), weights and kernels-*.fatbin. It may also hold a TensorRT that was packed
#                   with its Python elsewhere, in pieces c00, c01, … with their checksums in SHA; nothing here packs one
# --calibrate ROOT  a directory of processed clips with faces; builds int8 engines too
# --quick           two batch sizes and half a second per figure
# --collect DIR     fills DIR with the wheels for Python 3.10 on x86-64, the open pack's weights and the compiled kernels (needs nvcc)
#
# Exit status 0 if every step passed. PYTHON names the interpreter to use; by default the checkout's .venv, else python3.
set -uo pipefail
REPOSITORY=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
folder='' calibrate='' output='' collect='' quick=''

die() { echo "gpu_check: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    --folder) folder=$(cd "${2:?--folder takes a directory}" && pwd) || die "no such directory: $2"; shift 2 ;;
    --calibrate) calibrate=${2:?--calibrate takes a directory}; shift 2 ;;
    --output) output=${2:?--output takes a file}; shift 2 ;;
    --collect) collect=${2:?--collect takes a directory}; shift 2 ;;
    --quick) quick=1; shift ;;
    *) sed -n '2,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
python=("${PYTHON:-python3}")
if [ -z "${PYTHON:-}" ] && [ -x "$REPOSITORY/.venv/bin/python" ]; then python=("$REPOSITORY/.venv/bin/python"); fi

if [ -n "$collect" ]; then
  mkdir -p "$collect" || die "cannot make $collect"
  collect=$(cd "$collect" && pwd)
  # What the program needs, less what decodes clips and tracks faces, which is not run here (and has no wheels); and pytest's own needs.
  mapfile -t wanted < <("${python[@]}" - "$REPOSITORY/setup.cfg" <<'PY'
import configparser, re, sys
config = configparser.ConfigParser()
config.read(sys.argv[1])
for line in config["options"]["install_requires"].split("\n"):
    if line and re.split(r"[<>=\[]", line)[0].lower() not in ("pygobject", "norfair", "scenedetect-headless"):
        print(line)
PY
  )
  "${python[@]}" -m pip download -q -d "$collect" --only-binary :all: --python-version 3.10 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "${wanted[@]}" pytest exceptiongroup tomli || die "pip failed"
  cd "$REPOSITORY" || die "no $REPOSITORY"
  "${python[@]}" -m facesearch_trt build --backend onnxruntime --engines "$collect/engines" || die "the weights could not be fetched"
  home=${FACESEARCH_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/facesearch}
  # The cache puts a part of the checksum before the name under which a local copy is looked for.
  for file in "$home"/weights/*; do cp "$file" "$collect/$(basename "$file" | sed 's/^[0-9a-f]\{12\}-//')"; done
  PYTHONPATH="$REPOSITORY" "${python[@]}" scripts/compile_kernels.py "$collect" 75 80 86 87 89 90 || die "nvcc did not compile the kernels"
  rm -rf "$collect/engines"
  du -sh "$collect"
  exit 0
fi

command -v nvidia-smi >/dev/null || die "no nvidia-smi: this machine has no NVIDIA driver, so nothing can be shown here"
smi=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader) || die "nvidia-smi: $smi"
work=${TMPDIR:-/tmp}/facesearch-gpu-check
mkdir -p "$work/engines"
export FACESEARCH_REQUIRE_GPU=1 PYTHONPATH="$REPOSITORY${PYTHONPATH:+:$PYTHONPATH}"

if [ -n "$folder" ]; then
  export FACESEARCH_MODELS="$folder${FACESEARCH_MODELS:+:$FACESEARCH_MODELS}"
  cp -n "$folder"/kernels-*.fatbin "$work/engines/" 2>/dev/null
  if [ -e "$folder/c00" ]; then
    if [ ! -e "$work/trt/env.sh" ]; then
      (cd "$folder" && sha256sum -c --quiet SHA) || die "the pieces of TensorRT in $folder are damaged"
      mkdir -p "$work/pack"
      cat "$folder"/c[0-9][0-9] | tar x -C "$work/pack" || die "the pieces do not make an archive"
      bash "$work/pack/unpack.sh" "$work/trt" || die "unpacking failed"
    fi
    # shellcheck disable=SC1091
    . "$work/trt/env.sh"
    PYTHONPATH="$REPOSITORY:$PYTHONPATH:$work/site"
    python=(python3.10 -S)
  else
    PYTHONPATH="$PYTHONPATH:$work/site"
  fi
  mkdir -p "$work/site"
  for wheel in "$folder"/*.whl; do [ -e "$wheel" ] && "${python[@]}" -m zipfile -e "$wheel" "$work/site"; done
fi

"${python[@]}" -c 'import tensorrt, pycuda' || die "no TensorRT or no pycuda for ${python[*]}. Install them: ${python[*]} -m pip install tensorrt-cu12 pycuda; or use an image of NVIDIA's that has them; PYTHON names another interpreter"

log=$work/log.txt
: >"$log"
failed=0
rows=()
step() { # step NAME COMMAND…: run, show, remember how it ended
  local name=$1 begun=$SECONDS
  shift
  echo "== $name: $*" | tee -a "$log"
  if "$@" 2>&1 | tee -a "$log"; [ "${PIPESTATUS[0]}" -eq 0 ]; then rows+=("| $name | passed | $((SECONDS - begun)) s |"); else
    rows+=("| $name | FAILED | $((SECONDS - begun)) s |")
    failed=1
  fi
}

cd "$REPOSITORY" || die "no $REPOSITORY"
engines=(--engines "$work/engines")
precisions=(fp32 fp16)
for precision in "${precisions[@]}"; do step "engines, $precision" "${python[@]}" build_engines.py "${engines[@]}" --precision "$precision"; done
[ -n "$calibrate" ] && step "engines, int8" "${python[@]}" build_engines.py "${engines[@]}" --precision int8 --calibrate "$calibrate"
# What decodes clips is not needed for any of this, and need not be on the machine.
step "agreement with ONNX Runtime" "${python[@]}" -m facesearch_trt doctor --networks --verify "${engines[@]}" --backend tensorrt --precision fp16
step "tests on the GPU" env FACESEARCH_ENGINES="$work/engines" "${python[@]}" -m pytest -p no:cacheprovider -q -m gpu tests/inference
bench=(benchmarks/bench_gpu.py "${engines[@]}" --output "$work/bench.md")
[ -n "$quick" ] && bench+=(--batches 1 8 --seconds 0.5)
rm -f "$work/bench.md"
step "benchmark" "${python[@]}" "${bench[@]}"

section() {
  echo "### $(date -u +%Y-%m-%d): $smi"
  echo
  "${python[@]}" - <<'PY'
import platform
lines = [f"Python {platform.python_version()} on {platform.machine()}"]
for name in ("tensorrt", "pycuda", "onnxruntime", "onnx", "numpy"):
    try:
        module = __import__(name)
        lines.append(f"{name} {getattr(module, '__version__', None) or getattr(module, 'VERSION_TEXT', '?')}")
    except ImportError:
        lines.append(f"{name} not installed")
print(", ".join(lines) + ".")
PY
  echo
  echo "Command: \`scripts/gpu_check.sh${folder:+ --folder …}${calibrate:+ --calibrate …}${quick:+ --quick}\` at $(git -C "$REPOSITORY" rev-parse --short HEAD 2>/dev/null || echo "no git")."
  echo
  echo "| step | result | time |"
  echo "|-|-|-|"
  printf '%s\n' "${rows[@]}"
  echo
  grep -hE '^(TensorRT|ONNX Runtime) .*cosine|int8 against fp32' "$log" | sed 's/^/- /' | sort -u
  echo
  [ -e "$work/bench.md" ] && cat "$work/bench.md"
}
echo
section | tee "${output:-$work/section.md}"
exit "$failed"
