#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts a Redis of its own, and the broker, the API bridge and the web gateway of build/bin on it, and
# stops them together: at Ctrl-C or SIGTERM, or when one of them ends. Exit 0 only when it was asked to
# stop and all ended well. Redis listens on a Unix socket in build/run and keeps its data there.
#
# ENGINE=memory: without Redis; what the broker knows is gone with it.
# BROKER_PORT, ADMIN_PORT, API_PORT, WEB_PORT: other ports than the standard ones. BIN: other binaries.
# DATA: another folder than build/run.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-$here/build/bin}
broker=127.0.0.1:${BROKER_PORT:-8000}
admin=127.0.0.1:${ADMIN_PORT:-8001}
api=127.0.0.1:${API_PORT:-8002}
web=127.0.0.1:${WEB_PORT:-8080}
engine=${ENGINE:-redis}
data=${DATA:-$here/build/run}

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
  case $name in redis-server) ;; *) name=$bin/$name ;; esac
  setsid "$name" "$@" </dev/null &
  names+=("${name##*/}")
  pids+=($!)
}

# Ends those with these numbers, waits for them, and tells of each that ended badly.
halt() {
  local i code
  for i; do kill -TERM "${pids[i]}" 2>/dev/null; done
  for i; do
    wait "${pids[i]}"
    code=$?
    [ $code = 0 ] && continue
    say "${names[i]} ended with status $code."
    all_well=1
  done
}

# Ends what runs; the status is 1 when one of them ended badly. Redis is last: the others take leave
# of each other through it.
stop_all() {
  trap '' INT TERM HUP
  local i redis=() others=()
  all_well=0
  for i in "${!pids[@]}"; do
    if [ "${names[i]}" = redis-server ]; then redis+=("$i"); else others+=("$i"); fi
  done
  halt "${others[@]}"
  halt "${redis[@]}"
  return $all_well
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

# Waits until the command succeeds, as long as everything that was started is alive.
await() {
  local pid
  until "$@"; do
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || one_ended; done
    sleep 0.05
  done
}

# A daemon that listens may still wait for its Redis.
is_ready() {
  local line=
  exec 3<>"/dev/tcp/${1%:*}/${1##*:}" || return
  printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
  read -r -t 2 line <&3
  exec 3>&-
  [[ $line == *" 200 "* ]]
}

socket=$data/redis.sock
redis_answers() { [ "$(redis-cli -s "$socket" ping 2>/dev/null)" = PONG ]; }
start_redis() {
  mkdir -p "$data" || exit 1
  if redis_answers; then
    say "A Redis already runs in $data. Stop it, or choose another folder: DATA=... make run"
    exit 1
  fi
  rm -f "$socket"
  start redis-server --port 0 --unixsocket "$socket" --unixsocketperm 700 --dir "$data" --appendonly yes \
    --appendfsync everysec --save '' --maxmemory-policy noeviction --logfile "$data/redis.log" --daemonize no
  await redis_answers
  # What a path in a URL may not hold is written as %XX.
  local url=${socket//%/%25}
  url=${url// /%20}
  url=${url//\?/%3F}
  store=(--set engine.type=redis --set "engine.url=redis+unix://$url")
  publish=redis
}

case $engine in
redis)
  if ! command -v redis-server >/dev/null 2>&1; then
    say "redis-server is missing: install it (cmake/deps.sh run), or start without it: make run ENGINE=memory"
    exit 1
  fi
  start_redis
  ;;
memory)
  store=()
  publish=http://$admin
  ;;
*)
  say "ENGINE is redis or memory, not $engine."
  exit 1
  ;;
esac

start mora-broker "${store[@]}" --set "broker.listen=$broker" --set "admin.listen=$admin"
await answers "$broker"
await answers "$admin"
start mora-api "${store[@]}" --set "api.listen=$api" --set "api.publish=$publish"
await answers "$api"
start mora-web --set "web.listen=$web" --set "web.api=http://$api" --set "web.broker=http://$broker/bayeux"
await answers "$web"
[ "$engine" = memory ] || await is_ready "$broker"
[ "$engine" = memory ] || await is_ready "$api"

place=
[ "$engine" = memory ] || place=", its data is in ${data#"$PWD"/}"
cat <<END

Mora is running${place}. Ctrl-C stops it.

  a room        http://$web/rooms/lobby
  say something curl -H 'Content-Type: application/json' -d '{"text": "Hello"}' http://$api/v1/rooms/lobby/chatMessages
  listen        ${bin#"$PWD"/}/mora tail '/api/v1/rooms/**'

END

# Not `wait -n`: it waits for the next one, and would miss one that has ended before it is called.
while :; do
  for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || one_ended; done
  sleep 0.2 &
  wait $!
done
