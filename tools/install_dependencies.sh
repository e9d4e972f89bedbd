#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_dependencies.sh [--check] GROUP... : installs the Debian packages of these groups of packages.txt that are missing.
# Installs nothing and asks no server when all are there. Without root, or with --check, it names what is missing and how
# to get it, and fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
check=no
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi

# Any Python will do, pyenv's too, as long as it has pip and can make a virtual environment.
python_is_usable() {
  python3 -c 'import ensurepip, pip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

wanted=()
for group in "$@"; do
  if [ "$group" = python ] && python_is_usable; then continue; fi
  mapfile -t packages < <(awk -v group="$group" '$1 == group { print $2 }' "$here/packages.txt")
  if [ ${#packages[@]} -eq 0 ]; then
    echo "install_dependencies.sh: no group '$group' in tools/packages.txt" >&2
    exit 2
  fi
  wanted+=("${packages[@]}")
done

if ! command -v dpkg-query >/dev/null; then
  echo "note: this is no Debian system; qwin needs what Debian calls: ${wanted[*]:-}" >&2
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  case $(dpkg-query -W -f='${db:Status-Abbrev}\n' "$package" 2>/dev/null) in
    *ii*) ;;
    *) missing+=("$package") ;;
  esac
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if [ $check = yes ] || [ "$(id -u)" -ne 0 ]; then
  sudo=$([ "$(id -u)" -eq 0 ] || echo "sudo ")
  {
    echo "error: these packages are missing: ${missing[*]}"
    echo "Install them as root with this command, then try again:"
    echo "  ${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends ${missing[*]}"
  } >&2
  exit 1
fi

echo "Installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    echo "error: apt-get $1 failed; without it these packages are missing: ${missing[*]}" >&2
    exit 1
  }
}
apt update
apt install -y --no-install-recommends "${missing[@]}"
