#!/usr/bin/env bash
# Installs the Debian packages of some groups of launch/packages.txt, as far as they are missing.
# Usage: launch/setup.sh GROUP...         (groups: build python text tests fuzz pages cluster bundle bare-root arm64)
# With TRIREME_NO_INSTALL=1 it does nothing: the packages, or what stands for them, are there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${TRIREME_NO_INSTALL:-0} == 1 ]]; then exit 0; fi

wanted=()
for group in "$@"; do
  while read -r -a names; do wanted+=("${names[@]}"); done < <(sed -n "s/^$group: *//p" launch/packages.txt)
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  cat >&2 <<END
setup: this is no Debian or Ubuntu (no apt-get). Install what these Debian 12 packages hold:
  ${wanted[*]}
and run the command again with TRIREME_NO_INSTALL=1.
END
  exit 1
fi

# A package of another architecture is known by its name with that.
own=$(dpkg --print-architecture)
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}:${Architecture}\n' "${wanted[@]}" 2>/dev/null |
  sed -n "s/^installed //p" | sed -E "s/:($own|all)\$//" || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup: packages are missing, and there is no sudo to install them. As root:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }
echo "setup: installing ${missing[*]}"
for package in "${missing[@]}"; do
  other=${package#*:}
  if [[ $other == "$package" ]] || dpkg --print-foreign-architectures | grep -qx "$other"; then continue; fi
  "${as_root[@]}" dpkg --add-architecture "$other"
done
apt update
apt install -y --no-install-recommends "${missing[@]}"
