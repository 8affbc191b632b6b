// SPDX-License-Identifier: Apache-2.0
// What the files of broker/host share; nobody outside includes it.
//
//   loop        uv loop, turns, hooks, wheel; owns listeners
//   listener    a listening socket; accepts, makes connections
//   connection  one accepted socket from accept to close: what it waits for, who watches it
//   exchange    one request and its answer, at most one per connection
//   wire        the bytes of a connection's socket, in plain text or TLS
//   watch       who is called when a socket is ready
//
// What a connection watches its socket for follows from its state, see bk_connection_settle(). While a
// request is being answered, a connection is being closed, or the socket did not take all bytes, it is
// not read: a peer that does not read is not listened to. That it has gone is seen all the same.
//
// Nothing is closed from inside a call of ours: bk_connection_doom() enlists, the end of the turn
// closes. What is closed is freed at the end of the turn.
#pragma once

#include <sys/epoll.h>
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

struct ssl_st;

// A terminated text of one's own; bx_free.
static inline char *bk_copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(bx_alloc(size), text, size);
}

// -- loop --------------------------------------------------------------------------------------

struct bk_loop {
  uv_loop_t uv;
  uv_prepare_t alive;   // without an active handle libuv does not run, whatever its descriptor has
  struct bx_wheel wheel;
  bx_millis now;    // of the turn, or of the last one
  uint64_t began;   // the turn, ns
  uint64_t turn;
  bool running, stopping;
  bool again;   // the next turn does not wait
  struct bx_list hooks;
  struct bx_list signals;
  struct bx_list listeners;
  struct bx_list doomed;        // connections to close at the end of the turn
  struct bx_list flushing;      // exchanges with something to write at the end of the turn
  struct bx_list gone;          // connections to free at the end of the turn
  int epoll;                    // of the watches, and of libuv
  struct bk_deflate *deflate;   // NULL: nobody has asked for it yet
  int max_fds;                  // descriptors from here on are not for connections
  struct bx_buffer scratch;     // answers are put together here
  char *input;                  // BK_INPUT bytes that every connection reads into
};

#define BK_INPUT 65536   // more than a TLS record, so that none is left over in OpenSSL

// The turn begins now: reads the clock.
void bk_loop_begin(struct bk_loop *);
// Closes what is doomed, frees listeners that have no connection left.
void bk_loop_reap(struct bk_loop *);

// -- watching (watch.c) --------------------------------------------------------------------------

struct bk_watch {
  int fd;            // -1: closed
  uint32_t events;   // EPOLLIN, EPOLLOUT, EPOLLRDHUP; errors and the end of both sides are always told
  void (*ready)(struct bk_watch *, uint32_t events);
};

void bk_watches_init(struct bk_loop *);
// Waits (-1: for ever), begins the turn, and calls `ready` of all that are. True: libuv has something, too.
bool bk_watches_wait(struct bk_loop *, int ms);
void bk_watches_fini(struct bk_loop *);
// False: the kernel has no room for one more. `fd` is then as it was.
bool bk_watch_open(struct bk_loop *, struct bk_watch *, int fd, uint32_t events,
                   void (*ready)(struct bk_watch *, uint32_t events)) BX_MUST_CHECK;
void bk_watch_set(struct bk_loop *, struct bk_watch *, uint32_t events);
// Closes the descriptor. `ready` is not called any more; the memory has to stay until the end of the turn.
void bk_watch_close(struct bk_loop *, struct bk_watch *);

// -- a socket's bytes (wire.c) -------------------------------------------------------------------

struct bk_unsent {
  struct bx_buffer bytes;
  size_t from;   // those before it are sent
};

struct bk_wire {
  struct bk_watch watch;
  struct ssl_st *ssl;         // NULL: plain text
  struct bk_unsent *unsent;   // what the socket did not take; NULL: nothing
  bool blocked;               // reading waits for the socket to take bytes: of a TLS handshake
  unsigned char asides;       // steps of new keys and refused handshakes since the last byte that came
};

enum { BK_WIRE_LATER = -1, BK_WIRE_BROKEN = -2 };
// How many bytes came; 0: no more will; or one of the above. In TLS `size` is BK_INPUT, else a rest of a
// record would wait inside, unseen.
long bk_wire_read(struct bk_wire *, char *at, size_t size);
// Keeps what the socket does not take. False: the socket is broken.
bool bk_wire_write(struct bk_wire *, const char *at, size_t len) BX_MUST_CHECK;
bool bk_wire_flush(struct bk_wire *) BX_MUST_CHECK;
static inline bool bk_wire_unsent(const struct bk_wire *w) { return w->unsent != NULL; }
// Closing will be with a reset.
void bk_wire_reset(struct bk_wire *);
void bk_wire_close(struct bk_loop *, struct bk_wire *);

// -- TLS (tls.c) ---------------------------------------------------------------------------------

// Before the first listener that has it. False: OpenSSL has no memory, or a configuration that it refuses.
bool bk_tls_open(struct bk_tls *) BX_MUST_CHECK;
struct bk_connection;
// For a connection of a listener with TLS: its wire speaks TLS from now on.
void bk_tls_attach(struct bk_tls *, struct bk_connection *);

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
  struct bk_tls *tls;        // NULL: plain text
  bool deflate;
  const struct bk_route *routes;
  const struct bk_gate *gate;
  const struct cf_strings *names;   // NULL: it may be called by any name
  const char *names_key;
  bx_millis name_logged;
  size_t max_body, max_head;
  struct bk_gathered *gathered;
  bx_millis header_time, idle_time, answer_time;
  struct bk_watch watch;   // closed: stopped
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
  BK_CONNECTION_GREETING,    // its PROXY header is coming in
  BK_CONNECTION_IDLE,        // waits for a request, or its headers are coming in
  BK_CONNECTION_BODY,        // the request's body is coming in
  BK_CONNECTION_BUSY,        // its exchange is with a handler
  BK_CONNECTION_DRAINING,    // the answer is given, not all of it is with the kernel
  BK_CONNECTION_LINGERING,   // answered and half closed: waits for the peer to close
  BK_CONNECTION_WEBSOCKET,
  BK_CONNECTION_CLOSED,   // the memory goes at the end of the turn
};

struct bk_websocket {
  const struct bk_websocket_ops *ops;   // NULL: never became one
  void *user;
  bool opened, want, paused;
  bool rest;      // frames wait in the connection's `in`
  bool binary;    // the message that came in last
  bool deflate;   // agreed on
  bool has_ping, has_pong;
  bool closing;   // a close frame of ours has to go out, or is out
  bool final;     // and nothing that the peer says matters any more: it began the close, or is at fault
  bool close_sent, echoed;
  uint16_t close_code;
  struct bk_frames frames;
  struct bk_utf8 utf8;         // of the text that is coming in
  struct bx_buffer gathered;   // fragments of a message that is not complete
  size_t fragments;            // of it, so far
  struct bx_buffer control;    // a control frame that is not complete
  struct bx_buffer ping;       // a ping that waits for its turn
  struct bx_buffer pong;       // the answer to the peer's last ping, likewise
  unsigned controls;           // control frames that came lately, as of `controls_at`
  bx_millis controls_at;
  char *close_reason;
};

struct bk_connection {
  // What each write of a websocket touches stands together, up to the first members of `ws`.
  enum bk_connection_state state;
  struct bx_list doomed;   // in the loop; when closed, on its list `gone`
  struct bk_loop *loop;
  struct bk_wire wire;
  struct bk_websocket ws;
  struct bx_list link;   // in the listener
  struct bk_listener *listener;
  bool can_write;   // it is the connection's own turn: what happened to its socket is handed out
  bool failed;      // it is to be closed behind that
  bool between;     // has had an answer; nothing of a next request has come
  bool fin_sent;
  bool half_closed;   // the peer sends no more, but waits for its answer
  bool reset;         // the peer reset the connection
  uint64_t answered_turn;
  struct bx_timer timer;
  struct bx_buffer in;   // bytes that came in and have to wait: a head that is not complete, a next request, frames
  size_t scanned;        // of `in`, by bk_head_end()
  size_t blank_lines;    // in front of a head
  int unsent;            // what SIOCOUTQ said when the timer was last set, while draining
  size_t discarded;
  size_t body_credit;   // bytes of body that extend the time once more
  size_t gathered;      // its part of the listener's `gathered`
  struct bk_exchange *exchange;
  struct bk_greeting *greeting;
  struct bk_peer hop;   // of the socket, or whom its PROXY header names
  struct bk_peer who;   // whom the last request came from
  bool forwarded;       // a trusted proxy is in front, by the socket's address or a PROXY header
  bool named;           // and it named the client: this is no client's own connection
  bool tls, tls_ready;
  bool secure;               // TLS, or https on the other side of the proxy
  char peer[BK_PEER_TEXT];   // `who`, as text
};

void bk_connection_create(struct bk_listener *, int fd, const struct bk_peer *);
// `hop` is known.
void bk_connection_begin(struct bk_connection *);
void bk_connection_free(struct bk_connection *);
void bk_connection_doom(struct bk_connection *);
void bk_connection_close_now(struct bk_connection *);   // only when no callback of it is running
void bk_connection_timer(struct bk_connection *, bx_millis after);
void bk_connection_no_timer(struct bk_connection *);
void bk_connection_idle(struct bk_connection *);
// An answer waits for the peer: it is closed when it takes nothing for long.
void bk_connection_drain(struct bk_connection *);
// Watches for what the state asks for. Behind everything that may have changed it.
void bk_connection_settle(struct bk_connection *);
// The end of the turn: its exchange has something to write.
void bk_connection_flush(struct bk_connection *);
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
void bk_greeting_ready(struct bk_connection *);   // bytes of it came
void bk_greeting_end(struct bk_connection *);
// The headers of a request are there: who asks?
void bk_connection_identify(struct bk_connection *);

// Bytes that the peer's TCP has not acknowledged; -1: not known.
int bk_socket_unsent(int fd);
enum bk_arrival bk_connection_evidence(struct bk_connection *);

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
void bk_exchange_on_writable(struct bk_exchange *);
void bk_exchange_drained(struct bk_exchange *);   // what the wire had kept of its answer is sent

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
// Nothing of it is taken. When it is being closed, all is: the peer's close frame has to come.
static inline bool bk_websocket_waits(const struct bk_websocket *w) { return w->paused && !w->closing; }
// Takes bytes, which may be changed, behind those that waited. Sets c->failed.
void bk_websocket_take(struct bk_connection *, char *at, size_t len);
void bk_websocket_on_writable(struct bk_connection *);
void bk_websocket_over(struct bk_connection *);
