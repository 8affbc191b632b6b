#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing:  cmake/deps.sh build|run|test|bench
# A machine that has them all is not touched and uses no network. MORA_NO_INSTALL=1 prints the
# command and stops. Node comes from wherever it is; Debian's only where there is none.
set -eu

build="build-essential cmake ninja-build pkg-config libuv1-dev libhiredis-dev libjansson-dev uuid-dev libssl-dev
  libcurl4-openssl-dev zlib1g-dev libcjose-dev libcmocka-dev ca-certificates"
run="redis-server"
tests="chromium clang clang-format clang-tidy libclang-rt-14-dev llvm universal-ctags valgrind curl libc6-dbg liblua5.1-0-dev openssl nginx-light haproxy iproute2 python3"
# The peers of the bench that Debian has or that need its tools, and the library to compare with: Nchan, CometD.
bench="libwebsockets-dev libwebsockets-evlib-uv nginx-light libnginx-mod-nchan maven default-jdk-headless"

case "${1:-build}" in
build) wanted=$build ;;
run) wanted="$build $run" ;;
test) wanted="$build $run $tests" ;;
bench) wanted="$build $run $bench" ;;
*) echo "usage: cmake/deps.sh build|run|test|bench" >&2; exit 2 ;;
esac
command -v node >/dev/null 2>&1 || wanted="$wanted nodejs npm"

if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "No dpkg here, so packages are not looked after. Needed, by their Debian names:" $wanted >&2
  exit 0
fi

missing=
for package in $wanted; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null 2>&1; then as_root=sudo; fi
fi
install="${as_root:+$as_root }apt-get install -y --no-install-recommends$missing"

if [ "${MORA_NO_INSTALL:-}" = 1 ]; then
  echo "Packages are missing, and MORA_NO_INSTALL=1 is set. To install them:" >&2
  echo "  $install" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ] && [ -z "$as_root" ]; then
  echo "Packages are missing, and installing needs root. As root:" >&2
  echo "  $install" >&2
  exit 1
fi
echo "Installing missing packages:"
echo "  $install"
quiet="$as_root /usr/bin/env DEBIAN_FRONTEND=noninteractive apt-get -q"
$quiet update
$quiet install -y --no-install-recommends$missing
