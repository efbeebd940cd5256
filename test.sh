#!/usr/bin/env bash
# Prepares what is missing, then runs the checks and the tests.
#
#   ./test.sh [PYTEST ARGUMENT …]     with arguments only pytest runs, with them
set -euo pipefail
REPOSITORY=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
. "$REPOSITORY/scripts/prepare.sh"
prepare test,lint
cd "$REPOSITORY"
if [ $# -gt 0 ]; then
  exec "$PYTHON" -m pytest "$@"
fi
"$PYTHON" -m ruff check
"$PYTHON" -m ruff format --check
"$PYTHON" -m mypy
"$PYTHON" -m pytest -n "$(nproc)" --dist loadfile
