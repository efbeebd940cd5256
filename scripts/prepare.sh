# Sourced by pipeline.sh and test.sh: makes sure that GStreamer, a Python and a virtual environment with this package are there.
# Sets $PYTHON. Changes nothing that is already right, so that a second run takes a moment.
#
#   prepare [EXTRA,…]        extras of setup.cfg to install besides the package itself
#
# FACESEARCH_NO_APT=1        install no system packages: only say what is missing
# FACESEARCH_VENV=DIR        the virtual environment; .venv in the checkout by default

say() { printf 'facesearch: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

# package → why it is needed
system_packages() {
  cat <<'LIST'
gstreamer1.0-plugins-base|reads and converts video
gstreamer1.0-plugins-good|opens MP4, MOV, MKV, AVI and WebM, decodes VP8 and VP9
gstreamer1.0-plugins-bad|parses H.264, H.265 and AV1 and opens MPEG-TS
gstreamer1.0-libav|decodes H.264, H.265, MPEG-4 and more
gir1.2-gstreamer-1.0|lets Python use GStreamer
gir1.2-gst-plugins-base-1.0|lets Python use GStreamer's app elements
libgirepository1.0-dev|builds Python's bindings to it
libcairo2-dev|builds Python's bindings to it
pkg-config|builds Python's bindings to it
gcc|builds Python's bindings to it
LIST
  # With extras it is the tests that are prepared.
  [ -z "${extras:-}" ] || echo 'gir1.2-gst-rtsp-server-1.0|plays the camera in the tests'
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

find_python() {
  local name
  for name in python3 python3.12 python3.11 python3.10; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

missing_system_packages() {
  local package
  system_packages | while IFS='|' read -r package _; do installed "$package" || echo "$package"; done
  find_python >/dev/null || printf '%s\n' python3 python3-venv python3-dev
  # A distribution's own Python keeps its headers in a package of their own.
  case "$(find_python)" in /usr/bin/*) installed python3-dev || echo python3-dev ;; esac
}

prepare_system() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian or Ubuntu machine: GStreamer 1.20 or newer with its base, good, bad and libav plugins, its typelibs and the" \
      "development files of gobject-introspection and cairo are taken to be there"
    return
  fi
  local missing
  missing=$(missing_system_packages | sort -u | tr '\n' ' ')
  missing=${missing% }
  [ -n "$missing" ] || return 0
  say "these system packages are missing:"
  local package why
  for package in $missing; do
    why=$(system_packages | sed -n "s/^$package|//p")
    say "  $package: ${why:-runs this program}"
  done
  if [ "${FACESEARCH_NO_APT:-}" = 1 ]; then
    die "FACESEARCH_NO_APT=1 is set, so nothing was installed. Install them with: apt-get install $missing"
  fi
  local root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "not root, and no sudo. Install them with: apt-get install $missing"
    root=(sudo)
  fi
  say "installing them with apt-get"
  "${root[@]}" apt-get update -qq || say "apt-get update failed; going on with the package lists there are"
  # shellcheck disable=SC2086
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 ||
    die "apt-get could not install: $missing. Install them by hand, then run this again."
}

prepare() {
  local extras=${1:-} python venv stamp wanted
  prepare_system
  python=$(find_python) || die "no Python 3.10, 3.11 or 3.12 with venv was found. Install one, then run this again."
  venv=${FACESEARCH_VENV:-$REPOSITORY/.venv}
  stamp=$venv/.facesearch-$(printf '%s' "${extras:-run}" | tr ',' '-')
  wanted=$(cat "$REPOSITORY/setup.cfg" "$REPOSITORY/pyproject.toml" "$REPOSITORY/tests/requirements-peers.txt" | sha256sum)
  # Two starts at once: the second waits and finds the work done.
  # In a checkout that cannot be written there is nothing to prepare, and so nothing to wait for.
  if { exec 9>"$REPOSITORY/.prepare.lock"; } 2>/dev/null; then flock 9; fi
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    [ -x "$venv/bin/python" ] || {
      say "making a virtual environment in $venv with $("$python" --version)"
      "$python" -m venv "$venv" || die "cannot make a virtual environment in $venv"
    }
    say "installing the Python packages of setup.cfg (a few minutes the first time)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$REPOSITORY${extras:+[$extras]}" >&2 ||
      die "pip could not install the packages of setup.cfg. Its own words are above; check the network or the package index, then run this again."
    if [ -n "$extras" ]; then
      # InsightFace asks for a second OpenCV and more; what the tests compare with needs none of it.
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$REPOSITORY/tests/requirements-peers.txt" >&2 ||
        die "pip could not install tests/requirements-peers.txt. Its own words are above."
    fi
    printf '%s' "$wanted" >"$stamp"
  fi
  { exec 9>&-; } 2>/dev/null
  PYTHON=$venv/bin/python
}
