#!/usr/bin/env bash
# The whole job: every video and image folder in ROOT becomes a <name>.pipeline directory beside it.
#
#   ./pipeline.sh ROOT [OPTION …]     options are those of run_pipeline.py (--help lists them)
#   ./pipeline.sh --demo [DIR]        make a small clip with three people in DIR (facesearch-demo by default) and run on it
#   ./pipeline.sh --serve ROOT [OPTION …]    look at the results in a browser; options are those of facesearch serve
#
# On first use it prepares what is missing: system packages, a virtual environment, the networks' weights.
set -euo pipefail
REPOSITORY=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
. "$REPOSITORY/scripts/prepare.sh"

case "${1:-}" in
  '' | -h)
    sed -n '2,8s/^# \{0,1\}//p' "$REPOSITORY/pipeline.sh" >&2
    exit 2
    ;;
  --demo)
    prepare
    exec "$PYTHON" -m facesearch_trt demo "${@:2}"
    ;;
  --serve)
    prepare web
    exec "$PYTHON" -m facesearch_trt serve "${@:2}"
    ;;
  --help)
    prepare
    exec "$PYTHON" "$REPOSITORY/run_pipeline.py" --help
    ;;
  -*) die "the first argument is the directory of clips: ./pipeline.sh ROOT [OPTION …]" ;;
esac
prepare
exec "$PYTHON" "$REPOSITORY/run_pipeline.py" --input_directory "$@"
