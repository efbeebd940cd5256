#!/usr/bin/env bash
# What the images start.
#
#   DIR [OPTION …]          the whole job on the clips in DIR; options are those of `facesearch run`
#   COMMAND [ARGUMENT …]    any command of facesearch: doctor, serve, search, index, people …
#
# FACESEARCH_HOME          where engines and prepared networks are kept; by default /cache if a volume is mounted there, else DIR/.facesearch
# FACESEARCH_USER=UID[:GID]  go on as this user; by default as the owner of DIR, or as `facesearch` where that is root
set -euo pipefail

say() { printf 'facesearch: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
[ $# -gt 0 ] || set -- /data

# The directory of clips: the first argument that is one. Others may be the values of options.
root=/data
for word in "$@"; do
  case "$word" in --*=*) word=${word#*=} ;; esac
  if [ -d "$word" ]; then root=$word; break; fi
  if [ -f "$word" ]; then root=$(dirname "$word"); break; fi
done

# Root only to find out who to be.
if [ "$(id -u)" = 0 ] && [ "${FACESEARCH_USER:-}" != 0 ] && [ "${FACESEARCH_USER:-}" != 0:0 ]; then
  user=${FACESEARCH_USER:-}
  [ -n "$user" ] || { [ -d "$root" ] && user=$(stat -c %u:%g "$root"); } || user=0:0
  case "$user" in 0:*) user=$(id -u facesearch):$(id -g facesearch) ;; *:*) ;; *) user=$user:$user ;; esac
  # A volume that is new belongs to root.
  if mountpoint -q /cache && [ "$(stat -c %u /cache)" = 0 ]; then chown "$user" /cache; fi
  # The groups that own the GPU's devices: `video` and `render` on Jetson.
  groups=$(stat -c %g /dev/nvidia* /dev/nvhost* /dev/nvmap /dev/dri/render* 2>/dev/null | grep -vx 0 | sort -u | paste -sd, || true)
  export FACESEARCH_USER=$user
  exec setpriv --reuid "${user%:*}" --regid "${user#*:}" --groups "${user#*:}${groups:+,$groups}" --no-new-privs "${BASH_SOURCE[0]}" "$@"
fi

if [ -z "${FACESEARCH_HOME:-}" ]; then
  FACESEARCH_HOME=$root/.facesearch
  if mountpoint -q /cache; then FACESEARCH_HOME=/cache; fi
  export FACESEARCH_HOME
fi
# Libraries keep things there; a user without an entry in /etc/passwd has no home.
export HOME=$FACESEARCH_HOME XDG_CACHE_HOME=$FACESEARCH_HOME/cache
mkdir -p "$HOME" 2>/dev/null || true

# A command of facesearch, and no directory that happens to have its name.
case "$1" in
  /* | ./* | ../*) ;;
  -*) die "the first argument is the directory of clips, or a command: docker run … facesearch /data [OPTION …]" ;;
  serve)
    shift
    # Inside a container 127.0.0.1 reaches nobody.
    exec facesearch serve --host 0.0.0.0 --port 8000 "$@"
    ;;
  *) exec facesearch "$@" ;;
esac

[ -e "$1" ] || die "$1: there is no such directory in the container; mount one: docker run -v /videos:$1 …"
[ -w "$FACESEARCH_HOME" ] ||
  die "$FACESEARCH_HOME cannot be written by uid $(id -u). Give the directory to this user (chown), or the container another: -e FACESEARCH_USER=UID:GID"

if [ "${FACESEARCH_IMAGE:-cpu}" = gpu ]; then
  # The options that decide what an engine is made from and for.
  build=() on_cpu='' graph=auto
  arguments=("${@:2}")
  for ((index = 0; index < ${#arguments[@]}; index++)); do
    word=${arguments[index]}
    case "$word" in
      --graph) graph=${arguments[index + 1]:-} ;;
      --graph=*) graph=${word#*=} ;;
      --pack | --detector | --embedder | --models-file | --backend | --precision | --engines | --detector-size | --detect-batch | --embed-batch | --config)
        build+=("$word" "${arguments[index + 1]:-}")
        if [ "$word ${arguments[index + 1]:-}" = '--backend onnxruntime' ]; then on_cpu=1; fi
        ;;
      --pack=* | --detector=* | --embedder=* | --models-file=* | --backend=* | --precision=* | --engines=* | --detector-size=* | --detect-batch=* | --embed-batch=* | --config=*)
        build+=("$word")
        if [ "$word" = '--backend=onnxruntime' ]; then on_cpu=1; fi
        ;;
    esac
  done
  if [ -z "$on_cpu" ]; then
    # Never on the CPU without a word.
    compgen -G '/dev/nvidia[0-9]*' >/dev/null || compgen -G '/dev/nvhost*' >/dev/null || [ -e /dev/nvmap ] ||
      die "this container has no NVIDIA GPU. Start it with --gpus all (on Jetson: --runtime nvidia), or add --backend onnxruntime to work on the CPU"
    mkdir -p "$FACESEARCH_HOME/engines"
    for kernels in /opt/facesearch/kernels/*; do
      if [ -e "$kernels" ]; then cp -n "$kernels" "$FACESEARCH_HOME/engines/"; fi
    done
    # What is there and fits is taken: after the first start this is a matter of seconds.
    # The DeepStream graph looks at each size of picture with an engine of its own.
    case "$graph" in auto | deepstream) build+=(--clips "$1") ;; esac
    facesearch build "${build[@]}"
  fi
fi
exec facesearch run --input_directory "$@"
