# Makes .venv from the pinned requirements where it is missing or was made from others, and
# activates it. To be sourced, from the repository's root folder, by any POSIX shell:
#
#     . envs/venv.sh && snakemake --cores 8 all
#
# JKO_EXTRA=slurm adds the Slurm executor (requirements-slurm.lock); an environment that has it
# also serves without. Nothing outside of .venv is written, apart from the caches of uv or pip.

_jko_say() {
    printf 'jko: %s\n' "$*" >&2
}

# Prints what .venv/made-from holds once .venv is complete: the sha256 of the requirements and
# the folder, because a virtual environment that was moved no longer runs.
_jko_mark() {
    .venv/bin/python -c '
import hashlib, os, sys
with open(sys.argv[1], "rb") as requirements:
    print(hashlib.sha256(requirements.read()).hexdigest(), os.path.realpath(".venv"))
' "$1" 2>/dev/null
}

_jko_is_made_from() {
    [ -f .venv/made-from ] && [ -f .venv/bin/activate ] && [ -x .venv/bin/python ] &&
        [ "$(cat .venv/made-from)" = "$(_jko_mark "$1")" ]
}

# Succeeds if .venv holds all that JKO_EXTRA asks for.
_jko_is_ready() {
    _jko_is_made_from requirements-slurm.lock ||
        { [ -z "${JKO_EXTRA:-}" ] && _jko_is_made_from requirements.lock; }
}

# Prints the first Python >= 3.11. Inside of a virtual environment that is the Python beneath
# it: the active environment may be the .venv that is about to be removed.
_jko_python() {
    for _jko_name in python3 python3.14 python3.13 python3.12 python3.11; do
        "$_jko_name" -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(getattr(sys, "_base_executable", None) or sys.executable)
' 2>/dev/null && return 0
    done
    return 1
}

# _jko_install REQUIREMENTS PYTHON
_jko_install() {
    if uv --version >/dev/null 2>&1; then
        rm -rf .venv
        uv venv --quiet --python "$2" .venv &&
            uv pip sync --quiet --require-hashes --compile-bytecode \
                --python .venv/bin/python "$1" && return 0
        _jko_say "uv could not make .venv (its reason is above); now with pip"
    fi
    rm -rf .venv
    # Debian keeps ensurepip, by which a new environment gets its pip, in a package of its own;
    # without it the pip of the Python beneath (>= 22.3) installs into the environment.
    if "$2" -c 'from ensurepip import bootstrap' 2>/dev/null; then
        "$2" -m venv .venv && .venv/bin/python -m pip install --quiet --quiet --no-input \
            --disable-pip-version-check --require-hashes -r "$1"
    elif ! "$2" -m pip --python "$2" --version >/dev/null 2>&1; then
        _jko_say "$2 has neither the ensurepip module nor pip >= 22.3; install one of them or uv"
        return 1
    else
        "$2" -m venv --without-pip .venv && "$2" -m pip --python .venv/bin/python install \
            --quiet --quiet --no-input --disable-pip-version-check --require-hashes -r "$1"
    fi
}

# _jko_make REQUIREMENTS, in a subshell: what it sets and opens ends with it.
_jko_make() (
    # Without this an installer that ends in its own way on Ctrl-C would be taken for a failed one.
    trap 'exit 130' HUP INT TERM
    # Settings by which pip would write elsewhere, or would count foreign packages as installed.
    unset PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONPATH PYTHONHOME
    PIP_USER=0
    export PIP_USER
    if ! python=$(_jko_python); then
        _jko_say "Python 3.11 or newer is needed, and neither python3 nor python3.11 to 3.14 is one"
        exit 1
    fi
    # One shell at a time, by a lock on the requirements file: the system frees it when the last
    # process that has it open ends, however it ends, and no file stays behind.
    exec 9>>requirements.lock || exit 1
    "$python" -c '
import fcntl
import sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("jko: another shell is making .venv: waiting for it", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
' || {
        _jko_say "could not lock requirements.lock, by which one shell at a time makes .venv"
        exit 1
    }
    if _jko_is_ready; then
        exit 0
    fi
    _jko_say "making .venv from $1: once, a few minutes"
    if ! _jko_install "$1" "$python" || ! _jko_mark "$1" >.venv/made-from; then
        _jko_say "could not make .venv (the reason is above); the same command tries again"
        exit 1
    fi
    _jko_say ".venv is ready ($(.venv/bin/python --version))"
)

_jko_venv() {
    if [ ! -f requirements.lock ] || [ ! -f envs/venv.sh ]; then
        _jko_say "no requirements.lock in $PWD: source envs/venv.sh from the root of the repository"
        return 1
    fi
    case "${JKO_EXTRA:-}" in
        '') _jko_requirements=requirements.lock ;;
        slurm) _jko_requirements=requirements-slurm.lock ;;
        *)
            _jko_say "JKO_EXTRA is '$JKO_EXTRA'; allowed: slurm, or nothing"
            return 1
            ;;
    esac
    _jko_is_ready || _jko_make "$_jko_requirements"
}

: "${OSTYPE:=}" # uv's activate reads it, and not every shell sets it: an error under set -u
if _jko_venv && . .venv/bin/activate; then
    _jko_status=0
else
    _jko_status=1
fi
unset -f _jko_say _jko_mark _jko_is_made_from _jko_is_ready _jko_python
unset -f _jko_install _jko_make _jko_venv
unset _jko_name _jko_requirements
# `return` ends this file and not the shell of the user; where the file is run and not sourced,
# only `exit` is allowed.
return "$_jko_status" 2>/dev/null || exit "$_jko_status"
