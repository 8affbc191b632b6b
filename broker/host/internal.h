// SPDX-License-Identifier: Apache-2.0
// What the files of broker/host share; nobody outside includes it.
//
//   loop        uv loop, turns, hooks, wheel; owns listeners and the libwebsockets context
//   listener    a listening socket; accepts, makes connections
//   connection  one accepted socket from accept to close: what it waits for, who watches it
//   exchange    one request and its answer, at most one per connection
//
// libwebsockets reads and writes the sockets (its raw role, with TLS where there is some); what the
// bytes mean is ours: heads (head.h), chunks, websocket frames (frames.h).
//
// A connection's socket is registered with libuv by libwebsockets. While a request is being answered,
// a connection is being closed, or libwebsockets has bytes that the socket did not take, nothing is to
// be read (libwebsockets would spin on it), so the connection *parks*: the same uv_poll_t, our
// callback, our events. Handing an event over to libwebsockets unparks. So a peer that does not read
// is not listened to.
//
// Nothing is closed from inside a call of ours: bk_connection_doom() enlists, the end of the turn
// closes. A connection is freed when libwebsockets has freed its side.
#pragma once

#include <uv.h>

#include "bayeux/buffer.h"
#include "broker/host/deflate.h"
#include "broker/host/frames.h"
#include "broker/host/gathered.h"
#include "broker/host/head.h"
#include "broker/host/http.h"
#include "broker/host/log.h"
#include "broker/host/loop.h"
#include "broker/host/metrics.h"
#include "broker/host/peer.h"
#include "broker/host/tls.h"
#include "broker/host/websocket.h"

struct lws;
struct lws_context;
struct lws_vhost;
struct ssl_st;
struct ssl_ctx_st;

// A terminated text of one's own; bx_free.
static inline char *bk_copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(bx_alloc(size), text, size);
}

// -- loop --------------------------------------------------------------------------------------

struct bk_loop {
  uv_loop_t uv;
  uv_prepare_t prepare;
  uv_timer_t timer;
  uv_idle_t again;
  struct bx_wheel wheel;
  bx_millis now;
  bool now_known;   // `now` was read in this turn
  bool running;
  uint64_t turn;
  struct bx_list hooks;
  struct bx_list signals;
  struct bx_list listeners;
  struct bx_list doomed;     // connections to close at the end of the turn
  struct bx_list flushing;   // streams with bytes to write at the end of the turn
  struct lws_context *lws;
  struct lws_vhost *vhost;
  struct lws_vhost *tls_vhost;   // NULL: no listener speaks TLS
  struct bk_tls *tls;            // whose it is
  struct bk_deflate *deflate;    // NULL: nobody has asked for it yet
  int max_fds;                   // descriptors from here on do not fit into libwebsockets' tables
  uv_poll_cb lws_poll;           // libwebsockets' own callback, learned from the first connection
  struct bx_buffer scratch;      // answers are put together here
};

// Closes what is doomed, frees listeners that have no connection left.
void bk_loop_reap(struct bk_loop *);

// -- libwebsockets (lws_glue.c) ----------------------------------------------------------------

bool bk_lws_open(struct bk_loop *);
void bk_lws_close(struct bk_loop *);   // begins; again when the loop has run until its handles are closed

struct bk_connection;
// Before the first connection of a listener with TLS. A loop has one set of certificates.
bool bk_lws_open_tls(struct bk_loop *, struct bk_tls *) BX_MUST_CHECK;
// Takes `fd`, which is below loop->max_fds. False: it is closed already, for what came first is no
// TLS.
bool bk_lws_adopt(struct bk_loop *, int fd, struct bk_connection *) BX_MUST_CHECK;
struct bk_connection *bk_lws_connection(uv_poll_t *);
bool bk_lws_unsent(struct lws *);
bool bk_lws_write(struct lws *, const char *at, size_t len);
void bk_lws_want_writable(struct lws *);
// The answer to a Sec-WebSocket-Key, terminated.
void bk_lws_accept_key(struct bx_slice key, char out[32]);

// -- TLS (tls.c) ---------------------------------------------------------------------------------

void bk_tls_configure(struct bk_tls *, struct ssl_ctx_st *);
void bk_tls_attach(struct ssl_st *, struct bk_connection *);
// Logs what each certificate is good for.
void bk_tls_report(const struct bk_tls *);

// -- sockets that listen (sockets.c) -------------------------------------------------------------

struct bk_address;
// -1: the reason is in `error`, with what to do about it. `asked`: the address as it was written.
int bk_socket_open(const struct bk_address *, const char *asked, unsigned unix_mode, bool share, char *error,
                   size_t size) BX_MUST_CHECK;
// Which file was made, so that the one of a successor is left alone.
bool bk_socket_find_file(const char *path, struct bk_socket_file *);
void bk_socket_remove_file(const char *path, const struct bk_socket_file *);
char *bk_socket_address(int fd, const struct bk_address *, const char *asked);   // with the real port; bx_free

// -- listeners ---------------------------------------------------------------------------------

struct bk_listener {
  struct bx_list link;
  struct bk_loop *loop;
  char *name, *address;
  char *unix_path;   // removed when the listener closes, if it is still the file that was made
  struct bk_socket_file unix_file;
  const struct bk_proxies *proxies;   // NULL: none is trusted
  bool proxy_protocol;
  bx_millis complain_from;   // of bad PROXY headers
  bool tls, deflate;
  const struct bk_route *routes;
  const struct bk_gate *gate;
  const struct cf_strings *names;   // NULL: it may be called by any name
  const char *names_key;
  bx_millis name_logged;
  size_t max_body, max_head;
  struct bk_gathered *gathered;
  bx_millis header_time, idle_time, answer_time;
  int fd;   // -1: stopped
  uv_poll_t *poll;
  bx_millis failure_logged;
  struct bx_timer resume;   // accepts again after the process ran out of descriptors
  struct bx_list connections;
  size_t count;
  bool closing;
};

void bk_listener_begin_close(struct bk_listener *);   // what is left is done by bk_loop_reap()
void bk_listener_free(struct bk_listener *);

// -- connections -------------------------------------------------------------------------------

enum bk_connection_state {
  BK_CONNECTION_GREETING,    // its PROXY header is coming in; libwebsockets knows nothing of it
  BK_CONNECTION_IDLE,        // waits for a request, or its headers are coming in
  BK_CONNECTION_BODY,        // the request's body is coming in
  BK_CONNECTION_BUSY,        // its exchange is with a handler
  BK_CONNECTION_DRAINING,    // the answer is given, not all of it is with the kernel
  BK_CONNECTION_LINGERING,   // answered and half closed: waits for the peer to close
  BK_CONNECTION_WEBSOCKET,
  BK_CONNECTION_CLOSED,   // libwebsockets has closed it; the memory goes in this turn
};

struct bk_websocket {
  const struct bk_websocket_ops *ops;   // NULL: never became one
  void *user;
  struct bk_frames frames;
  struct bk_utf8 utf8;         // of the text that is coming in
  struct bx_buffer gathered;   // fragments of a message that is not complete
  size_t fragments;            // of it, so far
  struct bx_buffer control;    // a control frame that is not complete
  struct bx_buffer ping;       // a ping that waits for its turn
  struct bx_buffer pong;       // the answer to the peer's last ping, likewise
  unsigned controls;           // control frames that came lately, as of `controls_at`
  bx_millis controls_at;
  bool opened, want;
  bool binary;    // the message that came in last
  bool deflate;   // agreed on
  bool has_ping, has_pong;
  bool closing;   // a close frame of ours has to go out, or is out
  bool final;     // and nothing that the peer says matters any more: it began the close, or is at fault
  bool close_sent, echoed;
  uint16_t close_code;
  char *close_reason;
};

#define BK_CONNECTION_MAGIC 0x626b636eu

struct bk_connection {
  uint32_t magic;
  enum bk_connection_state state;
  struct bx_list link;     // in the listener
  struct bx_list doomed;   // in the loop
  struct bk_loop *loop;
  struct bk_listener *listener;
  struct lws *wsi;
  uv_poll_t *poll;
  int fd;
  int parked;       // events we watch for; 0: libwebsockets watches
  bool can_write;   // a callback of libwebsockets in which writing is right is running
  bool failed;      // that callback has to say: close
  bool between;     // has had an answer; nothing of a next request has come
  bool fin_sent;
  bool half_closed;   // the peer sends no more, but waits for its answer
  bool reset;         // the peer reset the connection
  uint64_t answered_turn;
  struct bx_timer timer;
  struct bx_buffer in;   // bytes that came in and have to wait: a head that is not complete, a next request
  size_t scanned;        // of `in`, by bk_head_end()
  size_t blank_lines;    // in front of a head
  int unsent;            // what SIOCOUTQ said when the timer was last set, while draining
  size_t discarded;
  size_t body_credit;   // bytes of body that extend the time once more
  size_t gathered;      // its part of the listener's `gathered`
  struct bk_exchange *exchange;
  struct bk_websocket ws;
  struct bk_greeting *greeting;
  struct bk_peer hop;   // of the socket, or whom its PROXY header names
  struct bk_peer who;   // whom the last request came from
  bool forwarded;       // a trusted proxy is in front, by the socket's address or a PROXY header
  bool tls, tls_ready;
  bool secure;               // TLS, or https on the other side of the proxy
  char peer[BK_PEER_TEXT];   // `who`, as text
};

void bk_connection_create(struct bk_listener *, int fd, const struct bk_peer *);
// `hop` is known: libwebsockets gets the socket.
void bk_connection_begin(struct bk_connection *);
void bk_connection_free(struct bk_connection *);
void bk_connection_doom(struct bk_connection *);
void bk_connection_close_now(struct bk_connection *);   // only when no callback of it is running
void bk_connection_timer(struct bk_connection *, bx_millis after);
void bk_connection_no_timer(struct bk_connection *);
// Our callback watches for hang-up and `events` besides.
void bk_connection_park(struct bk_connection *, int events);
void bk_connection_idle(struct bk_connection *);
// An answer waits for the peer: it is closed when it takes nothing for long.
void bk_connection_drain(struct bk_connection *);
// Parks when nothing more is to be read for now. Behind everything that wrote.
void bk_connection_settle(struct bk_connection *);
// Half closes and waits for the peer's end, so that the answer arrives.
void bk_connection_linger(struct bk_connection *);

// Before it holds `bytes` in all of a body, or of a message in fragments. False: there are too many already.
bool bk_connection_gather(struct bk_connection *, size_t bytes) BX_MUST_CHECK;
// They are freed.
void bk_connection_gathered(struct bk_connection *);

// What comes in belongs to a request.
static inline bool bk_connection_takes_bytes(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_IDLE || c->state == BK_CONNECTION_BODY;
}

static inline struct bk_connection *bk_connection_of_websocket(const struct bk_websocket *w) {
  return bx_container_of(w, struct bk_connection, ws);
}

// proxy.c
void bk_greeting_await(struct bk_connection *);
void bk_greeting_close(struct bk_connection *);
// The headers of a request are there: who asks?
void bk_connection_identify(struct bk_connection *);

// Bytes that the peer's TCP has not acknowledged; -1: not known.
int bk_socket_unsent(int fd);
enum bk_arrival bk_connection_evidence(struct bk_connection *);

// Called by the glue; an int is what libwebsockets gets back: nonzero closes.
int bk_connection_on_bytes(struct bk_connection *, char *at, size_t len);   // bytes may be changed
int bk_connection_on_writable(struct bk_connection *);
void bk_connection_on_unbind(struct bk_connection *);
void bk_connection_on_closed(struct bk_connection *);

// -- exchanges ---------------------------------------------------------------------------------

// Reads "size CRLF bytes CRLF ... 0 CRLF trailers CRLF".
struct bk_chunks {
  enum { BK_CHUNK_SIZE, BK_CHUNK_EXTENSION, BK_CHUNK_DATA, BK_CHUNK_END, BK_CHUNK_TRAILER, BK_CHUNKS_OVER } state;
  uint64_t left;
  unsigned digits, line, overhead;
  bool cr;      // a line feed has to come
  bool colon;   // the trailer's line has had one
};

// Feeds bytes, appends what the chunks hold. Returns how many were used (fewer than `len` only when
// over), or -1 when they make no sense.
long bk_chunks_feed(struct bk_chunks *, const char *at, size_t len, struct bx_buffer *out);

#define BK_MAX_PARAMETERS 8

struct bk_exchange {
  struct bk_connection *connection;
  const struct bk_route *route;
  enum bk_method method;
  enum bk_body framing;
  bool in_handler;   // headers may be read
  bool held;
  bool answered;   // an answer or a stream's headers were given
  bool streaming, stream_over;
  bool chunked_answer;
  bool close_after;
  bool body_complete;
  bool want;   // `writable` was asked for
  bool keep_alive_1_0;
  bool arrival_known;
  enum bk_arrival arrival;
  const struct bk_exchange_ops *ops;
  void *user;
  struct bx_buffer head;    // as sent; until the handler has returned
  struct bx_slice fields;   // of it
  struct bx_buffer text;    // path, '?', query
  size_t path_len;
  struct bx_slice parameters[BK_MAX_PARAMETERS];   // of the route's path, in order
  struct bx_buffer body;
  struct bk_chunks chunks;
  uint64_t content_length;
  struct bx_buffer out;   // an answer, or the part of a stream, that waits for the socket
  uint64_t written;       // bytes of a stream
  struct bx_list flush;   // in the loop
};

// request.c: from bytes to a handler.
// Works through what has come in, up to a request that is not answered at once. Sets c->failed.
void bk_request_take(struct bk_connection *, char *at, size_t len);
// The time for the rest of a request is over.
void bk_request_too_slow(struct bk_connection *);
// Refuses what the host does not accept: {"error": text}, counted; `why` is for the log.
void bk_request_refuse(struct bk_exchange *, int status, const char *text, const char *why);

// exchange.c
struct bk_exchange *bk_exchange_create(struct bk_connection *);
void bk_exchange_finish(struct bk_exchange *, enum bk_arrival);   // calls `ended`, frees
void bk_exchange_forget_body(struct bk_exchange *);
int bk_exchange_on_writable(struct bk_exchange *);
int bk_exchange_drained(struct bk_exchange *);
void bk_exchange_flush(struct bk_exchange *);

// response.c: appends an answer as it goes over the wire.
void bk_response_write(struct bx_buffer *, const struct bk_exchange *, const struct bk_response *);
const char *bk_status_text(int status);
// "Sun, 06 Nov 1994 08:49:37 GMT"; of a second, made once.
const char *bk_http_date(uint64_t wall_clock);

// router.c: the first row that matches. NULL: *status says 404 or 405.
const struct bk_route *bk_router_find(const struct bk_route *, enum bk_method, struct bx_slice path,
                                      struct bx_slice *parameters, int *status);
// The methods that rows of this path have.
unsigned bk_router_methods(const struct bk_route *, struct bx_slice path);
// A row for an upgrade: path only. NULL: 404, or 400 when the path has no upgrade.
const struct bk_route *bk_router_find_upgrade(const struct bk_route *, struct bx_slice path,
                                              struct bx_slice *parameters, int *status);

// address.c
struct sockaddr_storage;
struct bk_address {
  union {
    struct sockaddr generic;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
  } socket;
  socklen_t len;
  const char *unix_path;   // borrowed from the text
};
bool bk_address_parse(struct bk_address *, const char *text);
void bk_address_text(const struct sockaddr *, char *out, size_t size);

// websocket.c
// The request asks for an upgrade: answers it, or makes the connection a websocket.
void bk_websocket_upgrade(struct bk_exchange *);
// One frame, with BK_WEBSOCKET_HEADROOM bytes in front of `at`. False: the socket is broken.
bool bk_websocket_frame(struct bk_connection *, char *at, size_t len, unsigned opcode);
// Nonzero: close. Takes bytes while the connection is a websocket.
int bk_websocket_take(struct bk_connection *, char *at, size_t len);
int bk_websocket_on_writable(struct bk_connection *);
void bk_websocket_over(struct bk_connection *);
