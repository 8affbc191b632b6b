// SPDX-License-Identifier: Apache-2.0
// Between the host's sockets and the protocol's connections.
//
// Once a turn, in this order: the server's turn (events, deliveries, answers that are due), then
// everything it woke is drained, each connection into as few writes as it can; then the loop is told
// when the next turn is needed.
//
// Lifetime: init after the server, fini before it and after the listeners are closed (so no
// connection is left). Endpoints and their mounts outlive the listeners.
#pragma once

#include "bayeux/server.h"
#include "broker/host/http.h"
#include "broker/host/loop.h"
#include "broker/host/metrics.h"
#include "broker/host/websocket.h"
#include "config/config.h"

#define BK_TRANSPORT_COUNTERS(X)                                                                                       \
  X(sockets, BK_GAUGE, "mora_bayeux_websockets", "Websockets of Bayeux clients.")                                      \
  X(polls, BK_GAUGE, "mora_bayeux_polls", "Requests of polling clients that wait for their answer.")                   \
  X(polled, BK_COUNTER, "mora_bayeux_requests_total", "Requests of polling clients.")                                  \
  X(json_requests, BK_COUNTER, "mora_bayeux_long_polling_requests_total", "Of these: JSON that was posted.")           \
  X(form_requests, BK_COUNTER, "mora_bayeux_cross_origin_requests_total", "Of these: forms that were posted.")         \
  X(callback_requests, BK_COUNTER, "mora_bayeux_callback_requests_total", "Of these: GETs answered as JavaScript.")    \
  X(streams, BK_GAUGE, "mora_bayeux_event_streams", "Streams of events.")                                              \
  X(streams_opened, BK_COUNTER, "mora_bayeux_event_streams_opened_total", "Streams of events that were asked for.")    \
  X(streams_refused, BK_COUNTER, "mora_bayeux_event_streams_refused_total", "Of these: for unknown clients.")          \
  X(streams_unresponsive, BK_COUNTER, "mora_bayeux_event_streams_unresponsive_total",                                  \
    "Streams of events closed because two pings were not taken.")                                                      \
  X(sockets_opened, BK_COUNTER, "mora_bayeux_websockets_opened_total", "Websockets that Bayeux clients opened.")       \
  X(scripts, BK_COUNTER, "mora_bayeux_scripts_total", "Requests for the browser client.")                              \
  X(missing_scripts, BK_COUNTER, "mora_bayeux_scripts_missing_total", "Requests for scripts that there are not.")      \
  X(bad_requests, BK_COUNTER, "mora_bayeux_bad_requests_total", "Requests below a mount that were answered 400.")      \
  X(polls_gone, BK_COUNTER, "mora_bayeux_polls_gone_total", "Polls whose client had gone when the answer was ready.")  \
  X(unresponsive, BK_COUNTER, "mora_bayeux_websockets_unresponsive_total", "Websockets closed for missing two pings.") \
  X(silent, BK_COUNTER, "mora_bayeux_websockets_silent_total",                                                         \
    "Websockets closed with 1008: they did not shake hands within limits.handshake_time.")                             \
  X(late, BK_COUNTER, "mora_bayeux_late_requests_total",                                                               \
    "Requests refused because this broker leaves and has written down where its sessions stand.")                      \
  X(refused_origins, BK_COUNTER, "mora_bayeux_refused_origins_total",                                                  \
    "Requests and websockets refused for their Origin.")

struct bk_transport_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_TRANSPORT_COUNTERS(X)
#undef X
};
extern const struct bk_metric bk_transport_metrics[];

struct bk_scripts;

struct bk_transport_options {
  bx_millis ping;                     // between the pings of a websocket
  bx_millis handshake_time;           // that a websocket may be without a session
  size_t max_message;                 // bytes of a websocket message
  bool jsonp;                         // callback-polling is answered
  struct cf_strings origins;          // access.origins; borrowed
  const struct bk_scripts *scripts;   // of the browser client; outlive the transport
};

struct bk_transport {
  struct bk_loop *loop;
  struct bx_server *server;
  struct bk_transport_options options;
  struct bk_transport_counters counters;
  struct bk_websocket_ops websocket_ops;
  struct bk_turn_hook hook;
  struct bx_timer deadline;   // of the server
  struct bx_list woken;       // struct bk_link
  struct bx_buffer out;       // what is being written; shared by all connections
  size_t links;               // connections of any kind, those of answered polls included
  bool draining, left;
  bx_millis origin_logged;   // a flood of refused origins is a line a second
};

void bk_transport_init(struct bk_transport *, struct bk_loop *, struct bx_server *,
                       const struct bk_transport_options *);
void bk_transport_fini(struct bk_transport *);

// From now on held connects are answered, websockets closed (1001), and the connections of polls that
// are answered from now on with them. It is over when bk_transport_connections() is 0.
void bk_transport_drain(struct bk_transport *);
size_t bk_transport_connections(const struct bk_transport *);

// It is over, and others may go on with the sessions: what still comes on connections that are open is
// answered 503. An answer with messages would be one more than has been written down.
void bk_transport_leave(struct bk_transport *);

// A mount as one listener offers it.
struct bk_endpoint {
  struct bk_transport *transport;
  const struct bx_mount *mount;
  bool loopback;   // only this machine reaches the listener
};

// The row for the listener's routes.
struct bk_route bk_endpoint_route(struct bk_endpoint *);

// Whether `path` belongs to a mount: itself, anything below it, or itself with a suffix that holds no
// other dot (/bayeux, /bayeux/, /bayeux/a/b.c, /bayeux.json; not /bayeuxes, /Bayeux, /bayeux.a.b).
bool bk_mount_matches(struct bx_slice mount, struct bx_slice path);
