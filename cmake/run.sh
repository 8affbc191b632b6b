#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts the broker, the API bridge and the web gateway of build/bin on the memory engine, and stops
# them together: at Ctrl-C or SIGTERM, or when one of them ends. Exit 0 only when it was asked to
# stop and all three ended well.
#
# BROKER_PORT, ADMIN_PORT, API_PORT, WEB_PORT: other ports than the standard ones. BIN: other binaries.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-$here/build/bin}
broker=127.0.0.1:${BROKER_PORT:-8000}
admin=127.0.0.1:${ADMIN_PORT:-8001}
api=127.0.0.1:${API_PORT:-8002}
web=127.0.0.1:${WEB_PORT:-8080}

# The daemons refuse variables with their prefix that they do not know.
unset MORA_NO_INSTALL

answers() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

say() { printf '%s\n' "$*" >&2; }

taken=0
for each in "BROKER_PORT $broker" "ADMIN_PORT $admin" "API_PORT $api" "WEB_PORT $web"; do
  read -r variable address <<<"$each"
  answers "$address" || continue
  say "Something already listens on $address. Stop it, or choose another port: $variable=... make run"
  taken=1
done
[ $taken = 0 ] || exit 1

names=() pids=()

start() {
  local name=$1
  shift
  # In a session of its own: Ctrl-C reaches this script alone, which then asks once.
  setsid "$bin/$name" "$@" </dev/null &
  names+=("$name")
  pids+=($!)
}

# Ends what runs, waits for it; the status is 1 when one of them ended badly.
stop_all() {
  trap '' INT TERM HUP
  local i status=0 code
  for i in "${!pids[@]}"; do kill -TERM "${pids[i]}" 2>/dev/null; done
  for i in "${!pids[@]}"; do
    wait "${pids[i]}"
    code=$?
    [ $code = 0 ] && continue
    say "${names[i]} ended with status $code."
    status=1
  done
  return $status
}

asked_to_stop() {
  say
  say "Stopping."
  stop_all
  exit $?
}
trap asked_to_stop INT TERM HUP

one_ended() {
  say "A daemon ended by itself; stopping the others."
  stop_all
  exit 1
}

# Waits until the address answers, as long as everything that was started is alive.
await() {
  local pid
  until answers "$1"; do
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || one_ended; done
    sleep 0.05
  done
}

start mora-broker --set "broker.listen=$broker" --set "admin.listen=$admin"
await "$broker"
await "$admin"
start mora-api --set "api.listen=$api" --set "api.publish=http://$admin"
await "$api"
start mora-web --set "web.listen=$web" --set "web.api=http://$api" --set "web.broker=http://$broker/bayeux"
await "$web"

cat <<END

Mora is running. Ctrl-C stops it.

  a room        http://$web/rooms/lobby
  say something curl -H 'Content-Type: application/json' -d '{"text": "Hello"}' http://$api/v1/rooms/lobby/chatMessages
  listen        ${bin#"$PWD"/}/mora tail '/api/v1/rooms/**'

END

wait -n
one_ended
