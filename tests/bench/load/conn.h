// SPDX-License-Identifier: Apache-2.0
// Client connections: websockets and HTTP/1.1, plain or TLS, many of them on one epoll.
//
// A connection is opened, calls its role's `opened` when it can carry messages, then `message` for each
// websocket message or HTTP answer. What is to be sent is gathered in `out` and written at the end of the
// turn, in one write. Everything received is scanned for stamps first (`taken` of the net): `message` is
// called only for roles that talk, or when there were no stamps.
//
// Lifetime: the owner of the struct keeps it; bn_conn_close() may be called at any time, also from a
// callback, and the connection may be opened again.
#pragma once

#include <netinet/in.h>

#include "bayeux/buffer.h"
#include "tests/bench/load/ledger.h"

enum bn_kind { BN_WEBSOCKET, BN_HTTP };
enum bn_state { BN_CLOSED, BN_CONNECTING, BN_SECURING, BN_UPGRADING, BN_OPEN };

struct bn_conn;
struct ssl_st;
struct ssl_ctx_st;

// What a connection says in one protocol: as a subscriber, or as the publisher.
struct bn_role {
  enum bn_kind kind;
  bool talks;    // a text with stamps may hold replies as well
  bool places;   // an answer's headers say what the next GET has to ask for
  void (*opened)(struct bn_conn *);
  void (*message)(struct bn_conn *, struct bx_slice text);
  void (*publish)(struct bn_conn *, uint32_t channel, struct bx_slice data);   // publishers only
};

// "ws://127.0.0.1:8000/bayeux"; `{channel}` in the path stands for the channel's six digits.
struct bn_target {
  bool tls;
  struct sockaddr_in address;
  char authority[64], path[256];
};

struct bn_net {
  int epoll;
  unsigned sources;      // addresses 127.0.0.2 and so on that connections come from; 0: any
  unsigned long reads;   // that brought something
  unsigned long pings;   // that came
  struct bx_list unsent;
  struct ssl_ctx_st *tls;
  char *bytes;   // what was read last
  size_t taken_stamps;
  // Called for every text; returns how many stamps it held.
  size_t (*taken)(struct bn_conn *, struct bx_slice text);
  void (*failed)(struct bn_conn *, const char *why);   // it ended by itself; it is closed already
  void *user;
};

struct bn_conn {
  struct bn_net *net;
  const struct bn_role *role;
  const struct bn_target *target;
  struct ssl_st *ssl;
  struct bx_list unsent;
  struct bx_buffer in, out, fragments;
  int fd;
  uint32_t index, channel;
  enum bn_state state;
  bool wants_out, ready, resuming, slow, again;
  unsigned status;   // of the HTTP answer
  uint32_t message_id, asked;
  struct bn_track track;
  char id[128];   // the server's name for this client; for plain polls the headers of the next GET
};

bool bn_target_parse(struct bn_target *, const char *url);

void bn_net_init(struct bn_net *);
// One turn: waits up to `wait` ns for events, hands them out, writes what is to be sent.
void bn_net_turn(struct bn_net *, uint64_t wait);
void bn_net_flush(struct bn_net *);

void bn_conn_open(struct bn_conn *);
void bn_conn_close(struct bn_conn *);                  // with a reset: the kernel keeps nothing of it
void bn_conn_listen(struct bn_conn *, bool listens);   // stops or resumes reading

void bn_conn_send_text(struct bn_conn *, struct bx_slice text);   // one websocket frame
void bn_conn_send_pong(struct bn_conn *);                         // that nobody asked for
void bn_conn_post(struct bn_conn *, const char *path, const char *type, struct bx_slice body);
// With the ETag and Last-Modified of the last answer, if there were any.
void bn_conn_get(struct bn_conn *, const char *path);
void bn_conn_printf(struct bn_conn *, const char *format, ...) BX_PRINTF(2, 3);   // as send_text

// -- frames.c --------------------------------------------------------------------------------------

void bn_frame_put(struct bx_buffer *, unsigned opcode, struct bx_slice payload);   // masked
void bn_upgrade_put(struct bx_buffer *, const struct bn_conn *);
// Hands out the whole messages at the front; returns how many bytes they were. Stops when the
// connection is closed by a callback.
size_t bn_conn_parse(struct bn_conn *, char *at, size_t len);
void bn_conn_fail(struct bn_conn *, const char *why);
// A path with `{channel}` replaced.
void bn_path(char out[256], const char *path, uint32_t channel);
