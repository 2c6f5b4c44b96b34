#!/usr/bin/env bash
# Hosts of a cluster on one machine: network namespaces joined by a bridge, each with a host name, a /dev/shm and an /etc/hosts of
# its own. What docs/testbed.md says of it holds for tests and for trying things by hand.
set -euo pipefail

usage() {
  cat <<'END_OF_USAGE'
Usage: hosts.sh up N [DIR]                   hosts h1 to hN; prints "export TRIREME_TESTBED=DIR" for eval (DIR: a new folder)
       hosts.sh exec HOST COMMAND [ARG]...   a command on a host, in this folder, as this user
       hosts.sh link HOST down|up            cuts a host off at its switch, and joins it again
       hosts.sh down                         ends all processes of the hosts, and removes the hosts and DIR

All but `up` find the hosts by the variable TRIREME_TESTBED. DIR/hostfile lists the hosts with the slots of each
(TRIREME_TESTBED_SLOTS, 2 unless set). On a host mpirun knows both, and reaches the others over TCP without ssh:

  eval "$(cluster/testbed/hosts.sh up 2)"
  cluster/testbed/hosts.sh exec h1 mpirun -n 4 build/trireme bench collectives
  cluster/testbed/hosts.sh down

Needs root, or a kernel that lets users make namespaces. Several clusters may be up at the same time.
END_OF_USAGE
}

fail() {
  echo "hosts.sh: $*" >&2
  exit 7
}
misused() {
  echo "hosts.sh: $* (hosts.sh --help)" >&2
  exit 2
}

# A process holds the namespaces of each host, and one those of the switch; DIR/NAME.pid has its number. Where the user is not
# root the switch has a user namespace too, in which all else happens.
pid_of() {
  local pid
  pid=$(cat "$TRIREME_TESTBED/$1.pid" 2>/dev/null) || fail "there is no host $1 in $TRIREME_TESTBED"
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == sleep ]] || fail "host $1 of $TRIREME_TESTBED is down"
  echo "$pid"
}
# into NAME: sets `into` to a command that enters the namespaces of a user, if need be, and the network of a holder.
into() {
  local pid
  pid=$(pid_of "$1")
  into=(nsenter --target "$pid" --net)
  if [[ ! /proc/self/ns/user -ef /proc/$pid/ns/user ]]; then into+=(--user --preserve-credentials); fi
}
# network NAME COMMAND...: with the network of a holder; within HOST COMMAND...: with all that makes a host.
network() {
  into "$1"
  "${into[@]}" "${@:2}"
}
within() {
  into "$1"
  "${into[@]}" --uts --mount --ipc "${@:2}"
}

# hold NAME COMMAND...: starts a holder by a command that ends in "unshare OPTION...".
hold() {
  local name=$1 pid started i
  # Nothing of the caller's is kept open, or who reads its output would wait.
  # shellcheck disable=SC2016 # the holder's shell expands it
  "${@:2}" setsid sh -c 'echo $$ >"$1.part" && mv "$1.part" "$1" && exec sleep infinity' sh "$TRIREME_TESTBED/$name.pid" \
    </dev/null >/dev/null 2>"$TRIREME_TESTBED/$name.errors" 3>&- 4>&- &
  started=$!
  disown
  for ((i = 0; i < 500; i++)); do
    if [[ -f $TRIREME_TESTBED/$name.pid ]]; then
      pid=$(cat "$TRIREME_TESTBED/$name.pid")
      if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == sleep ]]; then return 0; fi
    fi
    if ! kill -0 $started 2>/dev/null && [[ ! -f $TRIREME_TESTBED/$name.pid ]]; then break; fi
    sleep 0.02
  done
  fail "no namespaces for $name: $(cat "$TRIREME_TESTBED/$name.errors"); it takes root, or kernel.unprivileged_userns_clone=1"
}

add_host() {
  local name=h$1
  into switch
  hold "$name" "${into[@]}" unshare --net --uts --mount --ipc
  network switch ip link add "port$1" type veth peer name eth0 netns "$(pid_of "$name")"
  network switch ip link set "port$1" master bridge up
  # shellcheck disable=SC2016 # the host's shell expands it
  within "$name" sh -ec '
    hostname "$1"
    ip address add "10.77.0.$2/16" dev eth0 && ip link set eth0 up && ip link set lo up
    mount --bind "$3/etc-hosts" /etc/hosts
    mount -t tmpfs -o size=50% tmpfs /dev/shm' sh "$name" "$1" "$TRIREME_TESTBED"
}

# What lets mpirun start daemons on another host: mpirun calls it as it would ssh, with options, a host and words for a shell.
write_agent() {
  local quoted
  printf -v quoted '%q' "$(realpath "${BASH_SOURCE[0]}")"
  cat >"$TRIREME_TESTBED/agent" <<END_OF_AGENT
#!/usr/bin/env bash
while [[ \${1:-} == -* ]]; do shift; done
exec $quoted exec "\$1" sh -c "\${*:2}"
END_OF_AGENT
  chmod +x "$TRIREME_TESTBED/agent"
}

up() {
  local num=$1 i
  if [[ ! $num =~ ^[1-9][0-9]?$ ]]; then misused "up $num: a number of hosts from 1 to 99"; fi
  for tool in unshare nsenter ip setsid; do
    command -v "$tool" >/dev/null || fail "no program $tool (Debian: util-linux, iproute2)"
  done
  TRIREME_TESTBED=${2:-$(mktemp -d "${TMPDIR:-/tmp}/trireme-hosts-XXXXXX")}
  mkdir -p "$TRIREME_TESTBED/tmp"
  TRIREME_TESTBED=$(realpath "$TRIREME_TESTBED")
  export TRIREME_TESTBED
  if [[ -f $TRIREME_TESTBED/switch.pid ]]; then fail "$TRIREME_TESTBED has hosts already: hosts.sh down"; fi
  trap down EXIT
  local user=()
  if ((EUID != 0)); then user=(--user --map-root-user); fi
  hold switch unshare "${user[@]}" --net
  network switch ip link add bridge type bridge
  network switch ip link set bridge up
  echo "127.0.0.1 localhost" >"$TRIREME_TESTBED/etc-hosts"
  : >"$TRIREME_TESTBED/hostfile"
  for ((i = 1; i <= num; i++)); do
    echo "10.77.0.$i h$i" >>"$TRIREME_TESTBED/etc-hosts"
    echo "h$i slots=${TRIREME_TESTBED_SLOTS:-2}" >>"$TRIREME_TESTBED/hostfile"
  done
  write_agent
  for ((i = 1; i <= num; i++)); do add_host "$i"; done
  trap - EXIT
  printf 'export TRIREME_TESTBED=%q\n' "$TRIREME_TESTBED"
}

on_host() {
  local host=$1
  pid_of "$host" >/dev/null
  export OMPI_MCA_plm_rsh_agent=$TRIREME_TESTBED/agent OMPI_MCA_orte_default_hostfile=$TRIREME_TESTBED/hostfile
  export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 OMPI_MCA_orte_tmpdir_base=$TRIREME_TESTBED/tmp
  export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}  # the hosts share this machine's cores
  into "$host"
  # Entering a mount namespace leads to its root folder.
  # shellcheck disable=SC2016 # the host's shell expands it
  exec "${into[@]}" --uts --mount --ipc sh -c 'cd "$0" && exec "$@"' "$PWD" "${@:2}"
}

link() {
  local host=$1 state=$2
  pid_of "$host" >/dev/null
  case $state in
    down | up) network switch ip link set "port${host#h}" "$state" ;;
    *) misused "link $host $state: down or up" ;;
  esac
}

# The processes whose network is that of one of the holders.
processes() {
  local file folder pid
  for file in "$TRIREME_TESTBED"/*.pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    if [[ ! -e /proc/$pid/ns/net || /proc/$pid/ns/net -ef /proc/self/ns/net ]]; then continue; fi
    for folder in /proc/[0-9]*; do
      if [[ $folder/ns/net -ef /proc/$pid/ns/net ]]; then echo "${folder#/proc/}"; fi
    done
  done
}

# The holders are the last to go: by them the others are found.
down() {
  local holders=() others=() pid i
  mapfile -t holders < <(cat "$TRIREME_TESTBED"/*.pid 2>/dev/null)
  for ((i = 0; i < 100; i++)); do
    mapfile -t others < <(processes | grep -vxF -f <(printf '%s\n' "${holders[@]:-none}"))
    if ((${#others[@]} == 0)); then break; fi
    kill -KILL "${others[@]}" 2>/dev/null || true
    sleep 0.05
  done
  for pid in "${holders[@]}"; do
    if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == sleep ]]; then kill -KILL "$pid" 2>/dev/null || true; fi
  done
  rm -rf "$TRIREME_TESTBED"
}

case ${1:-} in
  up)
    if (($# < 2 || $# > 3)); then misused "up wants a number of hosts"; fi
    up "${@:2}" ;;
  exec | link | down)
    if [[ ! -d ${TRIREME_TESTBED:-} ]]; then misused "TRIREME_TESTBED names no hosts: eval \"\$(hosts.sh up N)\""; fi
    case $1 in
      exec)
        if (($# < 3)); then misused "exec wants a host and a command"; fi
        on_host "${@:2}" ;;
      link)
        if (($# != 3)); then misused "link wants a host, and down or up"; fi
        link "$2" "$3" ;;
      down) down ;;
    esac ;;
  -h | --help) usage ;;
  *) misused "${1:-nothing}: no such command" ;;
esac
