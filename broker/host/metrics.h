// SPDX-License-Identifier: Apache-2.0
// Counters and gauges, from tables: one row names, describes and places a number; the same rows
// give the Prometheus text, `/v1/stats` and the table in docs/operations.md.
//
// Names follow Prometheus: mora_, then words, then _total (counters), _seconds, _bytes (units).
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"

struct bk_metric {
  const char *name;   // "mora_http_requests_total"; NULL ends a table
  const char *help;
  enum { BK_COUNTER, BK_GAUGE } kind;
  size_t offset;   // of a uint64_t in the struct that the table describes
  double scale;    // what is stored x scale = what is shown; 0 means 1
};

// Appends the table in Prometheus' text format.
void bk_metrics_write(struct bx_buffer *, const struct bk_metric *table, const void *values);

// What the host itself counts; one per process.
#define BK_HOST_COUNTERS(X)                                                                                            \
  X(accepted, BK_COUNTER, "mora_connections_accepted_total", "Connections accepted.")                                  \
  X(accept_failures, BK_COUNTER, "mora_accept_failures_total", "Connections not accepted: out of descriptors.")        \
  X(tls_handshakes, BK_COUNTER, "mora_tls_handshakes_total", "TLS handshakes done.")                                   \
  X(tls_failures, BK_COUNTER, "mora_tls_failures_total",                                                               \
    "Connections that ended before their TLS handshake was done.")                                                     \
  X(tls_floods, BK_COUNTER, "mora_tls_floods_total",                                                                   \
    "Connections ended because TLS spoke of itself only: new keys, or other handshakes, again and again.")             \
  X(bad_proxy_headers, BK_COUNTER, "mora_proxy_bad_headers_total",                                                     \
    "Connections of proxies closed for their PROXY header.")                                                           \
  X(accept_refused, BK_COUNTER, "mora_accept_refused_total", "Connections reset at once, for limits.accept_rate.")     \
  X(accept_pauses, BK_COUNTER, "mora_accept_pauses_total", "Pauses in accepting, for limits.accept_rate.")             \
  X(open, BK_GAUGE, "mora_connections", "Connections open now.")                                                       \
  X(requests, BK_COUNTER, "mora_http_requests_total", "HTTP requests that reached a route.")                           \
  X(bad_requests, BK_COUNTER, "mora_http_bad_requests_total", "HTTP requests refused by the host.")                    \
  X(bad_hosts, BK_COUNTER, "mora_http_bad_hosts_total", "HTTP requests refused for the name in their Host.")           \
  X(too_large, BK_COUNTER, "mora_http_too_large_total", "Bodies and headers over their limit.")                        \
  X(gathered, BK_GAUGE, "mora_gathered_bytes", "Bytes of bodies and websocket messages that are not complete.")        \
  X(gathered_refused, BK_COUNTER, "mora_gathered_refused_total", "Requests and websockets ended for limits.gathered.") \
  X(silent_timeouts, BK_COUNTER, "mora_connections_silent_total", "Connections closed that never sent a byte.")        \
  X(header_timeouts, BK_COUNTER, "mora_http_header_timeouts_total", "Requests whose headers came too slowly.")         \
  X(body_timeouts, BK_COUNTER, "mora_http_body_timeouts_total", "Requests whose body came too slowly.")                \
  X(idle_timeouts, BK_COUNTER, "mora_connections_idle_total", "Connections closed that sent no further request.")      \
  X(answer_timeouts, BK_COUNTER, "mora_http_answer_timeouts_total",                                                    \
    "Connections closed whose peer did not read its answer.")                                                          \
  X(websockets, BK_GAUGE, "mora_websockets", "Websockets open now.")                                                   \
  X(websocket_upgrades, BK_COUNTER, "mora_websocket_upgrades_total", "Websockets opened.")                             \
  X(websocket_pauses, BK_COUNTER, "mora_websocket_pauses_total",                                                       \
    "Pauses in reading a websocket of which too much waited to be done.")                                              \
  X(websocket_partials, BK_COUNTER, "mora_websocket_partial_writes_total", "Writes the kernel took only a part of.")   \
  X(websocket_bad_frames, BK_COUNTER, "mora_websocket_bad_frames_total",                                               \
    "Websockets closed for what no client may send.")                                                                  \
  X(websocket_too_large, BK_COUNTER, "mora_websocket_too_large_total", "Websocket messages over their limit.")         \
  X(websocket_floods, BK_COUNTER, "mora_websocket_floods_total",                                                       \
    "Websockets closed with 1008 for too many tiny fragments or control frames.")                                      \
  X(websocket_deflated, BK_COUNTER, "mora_websocket_deflated_total", "Websocket messages sent compressed.")            \
  X(websocket_inflated, BK_COUNTER, "mora_websocket_inflated_total", "Websocket messages that came compressed.")       \
  X(websocket_bombs, BK_COUNTER, "mora_websocket_bombs_total",                                                         \
    "Compressed websocket messages over the limit once inflated.")                                                     \
  X(stream_overflows, BK_COUNTER, "mora_http_stream_overflows_total", "Pieces of a stream dropped for a slow reader.") \
  X(client_unasked, BK_COUNTER, "mora_http_client_unasked_total",                                                      \
    "Kept connections to HTTP services that were closed because something came that nobody had asked for.")            \
  X(turns, BK_COUNTER, "mora_loop_turns_total", "Turns of the event loop.")

struct bk_host_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_HOST_COUNTERS(X)
#undef X
};
extern struct bk_host_counters bk_host_counters;
extern const struct bk_metric bk_host_metrics[];
