# Sourced by the commands beside it: brings this checkout to where they can run, and says what it does.
#
#   need_root COMMAND       end with a word on sudo unless root
#   setup_packages          Debian packages, by what they bring; only what is missing
#   setup_python            .venv from requirements.lock; a copy of the lock inside it is the stamp
#
# Both setup functions cost a few milliseconds when there is nothing to do.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
PATH=$PATH:/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK=1

if [[ -t 2 ]]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' RED='' PLAIN=''; fi

say() { printf '%s\n' "${BOLD}==>${PLAIN} $*" >&2; }
fail() {
    printf '%s\n' "${RED}error:${PLAIN} $1" >&2
    shift
    printf '       %s\n' "$@" >&2
    exit 1
}

need_root() {
    [[ $EUID -eq 0 ]] || fail "$1 makes network namespaces, which takes root" "sudo $1"
}

# A command that proves the package, and the package.
PACKAGES=(
    ovs-vsctl:openvswitch-switch
    ovs-vswitchd:openvswitch-switch
    ovsdb-server:openvswitch-switch
    iptables-restore:iptables
    ipset:ipset
    brctl:bridge-utils
    arp:net-tools
    conntrack:conntrack
    ip:iproute2
    ping:iputils-ping
    arping:iputils-arping
    tcpdump:tcpdump
    ethtool:ethtool
    sysctl:procps
    nc.openbsd:netcat-openbsd
    modprobe:kmod
    etcd:etcd-server
)

# A file that proves a package without commands (a pattern: libraries are in a directory of their architecture), and the package.
FILES=(
    # iptables-save prints a protocol's name where this file has one, and a plan compares what it prints
    /etc/protocols:netbase
    # ovs-vswitchd's userspace datapath spends a third of its time in glibc's malloc (src/floatway/lab/ovs.py)
    '/usr/lib/*/libjemalloc.so.2:libjemalloc2'
    # runs the units of packaging/ in namespaces of a test's own (tests/lab/boot.sh)
    /lib/systemd/systemd:systemd
)

missing_packages() {
    local pair
    {
        for pair in "${PACKAGES[@]}"; do
            command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
        done
        for pair in "${FILES[@]}"; do
            compgen -G "${pair%%:*}" >/dev/null || echo "${pair#*:}"
        done
    } | sort -u
}

# Debian starts a daemon when its package is installed, unless policy-rc.d says no (invoke-rc.d(8)). The lab runs daemons of
# its own and must not wake one in the machine's own network.
apt_install() {
    local policy=/usr/sbin/policy-rc.d ours='' status=0 log
    command -v apt-get >/dev/null || fail "missing: $*" "this is no Debian or Ubuntu; install these packages with its own tool"
    log=$(mktemp)
    if [[ ! -e $policy ]]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    local options=(-y -q -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 --no-install-recommends)
    if ! apt-get install "${options[@]}" "$@" >"$log" 2>&1 </dev/null; then
        say "package lists are old or absent: apt-get update"
        { apt-get update -q && apt-get install "${options[@]}" "$@"; } >>"$log" 2>&1 </dev/null || status=$?
    fi
    [[ -z $ours ]] || rm -f $policy
    if [[ $status -ne 0 ]]; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install: $*" "the lines above are its last words, all of them are in $log"
    fi
    rm -f "$log"
}

setup_packages() {
    local wanted
    mapfile -t wanted < <(missing_packages)
    [[ ${#wanted[@]} -gt 0 ]] || return 0
    need_root "$0"
    say "installing Debian packages: ${wanted[*]}"
    apt_install "${wanted[@]}"
    if [[ " ${wanted[*]} " == *" openvswitch-switch "* && -d /run/systemd/system ]]; then
        say "openvswitch-switch: not started, and disabled at boot (systemctl enable it to use this machine as a compute host)"
        systemctl disable --quiet openvswitch-switch.service 2>/dev/null || true
    fi
    if [[ " ${wanted[*]} " == *" etcd-server "* && -d /run/systemd/system ]]; then
        say "etcd: not started, and disabled at boot (the suite runs members of its own)"
        systemctl disable --quiet etcd.service 2>/dev/null || true
    fi
    mapfile -t wanted < <(missing_packages)
    [[ ${#wanted[@]} -eq 0 ]] || fail "installed, yet what they bring is not there: ${wanted[*]}"
}

# The first Python that is new enough. Debian's own comes first: it is there tomorrow too.
find_python() {
    local python
    for python in ${FLOATWAY_PYTHON:-} /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

python_ready() { cmp -s "$ROOT/requirements.lock" "$VENV/requirements.lock" && [[ -x $VENV/bin/python ]]; }

setup_python() {
    python_ready || (
        flock 9 # two first runs at once: the second one waits and finds it done
        python_ready || make_venv
    ) 9>"$ROOT/.venv.lock"
    python_ready || exit 1
}

make_venv() {
    local python started=$SECONDS
    if ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
        python=$(find_python) || fail "no Python 3.11 or newer" "apt-get install python3 python3-venv   (or FLOATWAY_PYTHON=/path/to/python3)"
        if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
            need_root "$0"
            say "installing Debian package: python3-venv"
            apt_install python3-venv
        fi
        say "making the virtual environment .venv with $("$python" --version)"
        "$python" -m venv --clear "$VENV" || fail "$python -m venv $VENV did not work"
    fi
    say "installing the locked Python packages (requirements.lock)"
    "$VENV/bin/python" -m pip install -qq --no-compile --require-hashes --no-deps --only-binary :all: -r "$ROOT/requirements.lock" >&2 ||
        fail "pip could not install requirements.lock" "without network: pip download it elsewhere and set PIP_FIND_LINKS to that directory"
    # A path file, not an editable install: needs no build backend, and follows the checkout.
    echo "$ROOT/src" >"$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/floatway-checkout.pth"
    cp "$ROOT/requirements.lock" "$VENV/requirements.lock"
    say "Python is ready ($((SECONDS - started)) s)"
}
