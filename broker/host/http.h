// SPDX-License-Identifier: Apache-2.0
// Listeners, HTTP requests and their answers, for all three daemons.
//
// An *exchange* is one request and its answer. When the request's body is complete it is handed to
// the route's handler, which
//   - answers before it returns (bk_exchange_respond), or
//   - holds it (bk_exchange_hold): answers later, or streams.
// `ended` comes exactly once for an exchange that set ops, afterwards the pointer is dead: when the
// connection closed, or when the next request of the connection arrived. It says what is known of
// the answer's way (enum bk_arrival). So an answered exchange on a connection that is kept open
// lives on, and bk_exchange_arrival() can be asked about it. Its body goes with the answer.
// An exchange without ops is gone when its answer is given.
//
// None of these functions calls `writable`, `ended` or a handler from inside; nothing is closed
// before the callback that is running has returned.
//
// The host answers by itself, with {"error": "..."}, and handlers never see: a path or method no
// route has (404, 405), a body over max_body (413), a request line or headers over max_head (414, 431),
// a method or version it does not know (501, 505), what comes too slowly (408), and everything that two readers could
// read differently (400): see head.h.
//
// A peer that closes its sending side while its request is held is taken for gone. One whose answer
// was given already gets it. Bytes behind a held request stay unread; requests that were sent ahead
// (pipelining) are answered in their order.
#pragma once

#include "bayeux/base.h"
#include "broker/host/loop.h"
#include "broker/host/peer.h"
#include "broker/host/tls.h"
#include "config/config.h"

struct bk_exchange;
struct bk_listener;
struct bk_websocket;

enum bk_method {
  BK_GET = 1 << 0,
  BK_POST = 1 << 1,
  BK_PUT = 1 << 2,
  BK_DELETE = 1 << 3,
  BK_PATCH = 1 << 4,
  BK_HEAD = 1 << 5,
  BK_OPTIONS = 1 << 6,
  BK_ANY_METHOD = (1 << 7) - 1,
};

// -- requests ----------------------------------------------------------------------------------

enum bk_method bk_exchange_method(const struct bk_exchange *);
// Without the query. Percent-decoded; no control characters, no "." and ".." segments.
struct bx_slice bk_exchange_path(const struct bk_exchange *);
// Behind '?', as it was sent, may be empty.
struct bx_slice bk_exchange_query(const struct bk_exchange *);
struct bx_slice bk_exchange_body(const struct bk_exchange *);
// Frees path, query, parameters and body, which else stay with the exchange: of a peer that waits
// for long nothing is kept that it could size.
void bk_exchange_forget_request(struct bk_exchange *);
// Who asks: the peer of the socket, or whom a trusted proxy names (bk_listener_options.proxies).
// "127.0.0.1:4711"; without a port when the proxy tells none; "unix". Good until the connection's next
// request.
struct bx_slice bk_exchange_peer(const struct bk_exchange *);
// A trusted proxy is in front: the listener's own address says nothing about where the client is.
bool bk_exchange_forwarded(const struct bk_exchange *);
// The client's side is TLS: ours, or by the proxy's X-Forwarded-Proto.
bool bk_exchange_secure(const struct bk_exchange *);

// A header by its name; false when absent or empty; several are joined with ", ". Only inside the
// handler: a held exchange keeps no headers. Copied into `out` (cut to a terminated string of `size`).
bool bk_exchange_header(const struct bk_exchange *, const char *name, char *out, size_t size);

// What a ":name" of the route's path stands for, percent-decoded; empty when there is none.
struct bx_slice bk_exchange_parameter(const struct bk_exchange *, const char *name);

// A query parameter, percent-decoded ('+' is a space), appended to `out`; false when absent. The
// first one wins. Bad percent escapes stay as they are.
struct bx_buffer;
bool bk_query_get(struct bx_slice query, const char *name, struct bx_buffer *out);

// -- answers -----------------------------------------------------------------------------------

struct bk_header {
  const char *name;   // lower case
  struct bx_slice value;
};

struct bk_response {
  int status;
  const char *content_type;          // NULL: no body is described
  const struct bk_header *headers;   // beyond date, content-type, content-length, connection
  size_t header_count;
  struct bx_slice body;
};

// What is known of an answer when its exchange ends.
enum bk_arrival {
  BK_ARRIVAL_NONE,      // there was no answer: the connection ended first
  BK_ARRIVAL_YES,       // the peer's TCP has all of it, and there was no reset
  BK_ARRIVAL_RESET,     // the peer's TCP had all of it when the connection was reset
  BK_ARRIVAL_LOST,      // the connection ended with part of it not acknowledged
  BK_ARRIVAL_PENDING,   // open, not yet all acknowledged. `ended` says it only to a peer that sends
                        // its next request before it has the answer: nothing is known
};

struct bk_exchange_ops {
  // The socket takes bytes, after bk_exchange_want_writable(). The place to answer a held request:
  // bk_exchange_respond() here writes at once.
  void (*writable)(struct bk_exchange *);
  void (*ended)(struct bk_exchange *, enum bk_arrival);
};

// Keeps the exchange: from now on `ops` are called with it. `user` is the owner's. Before the
// handler returns.
void bk_exchange_hold(struct bk_exchange *, const struct bk_exchange_ops *ops, void *user);
void *bk_exchange_user(const struct bk_exchange *);

void bk_exchange_want_writable(struct bk_exchange *);

// The one answer. Copies what it needs. From the handler and from `writable` it is written at once,
// from elsewhere when the socket next takes bytes. HEAD: headers only. A `connection` header is the
// host's business.
void bk_exchange_respond(struct bk_exchange *, const struct bk_response *);

// {"error": "..."} with a status; the text is printf-like.
void bk_exchange_refuse(struct bk_exchange *, int status, const char *format, ...) BX_PRINTF(3, 4);

// A body that grows (chunked), of a held exchange. Headers leave with this turn, and so does what is
// written in a turn, together. `writable` may be asked for as often as wanted. write: false when the peer reads too slowly
// (more than 1 MB waits): nothing was queued. end: finishes the body.
void bk_exchange_stream(struct bk_exchange *, const struct bk_response *);
bool bk_exchange_stream_write(struct bk_exchange *, struct bx_slice);
void bk_exchange_stream_end(struct bk_exchange *);
// For one that would rather wait than have bytes queued: nothing of earlier turns waits for the socket, and little
// of this one. Else ask for `writable`.
bool bk_exchange_stream_ready(const struct bk_exchange *);
// How much of a stream the peer's TCP has taken: it changes as long as the peer is there and something
// is written (one system call).
uint64_t bk_exchange_stream_taken(const struct bk_exchange *);

// The peer has closed its side or is gone (looks into the socket: one system call).
bool bk_exchange_peer_gone(const struct bk_exchange *);

// What is known now of an answer that was written, while the connection is open.
enum bk_arrival bk_exchange_arrival(const struct bk_exchange *);

// Closes the connection at the end of the turn, whatever still waits.
void bk_exchange_abort(struct bk_exchange *);

// The connection is closed as soon as the answer is out.
void bk_exchange_close_after(struct bk_exchange *);

// -- routes ------------------------------------------------------------------------------------

// A row of a table that ends with {0}. The first row that matches path and method is taken; a path
// known only with other methods is 405, an unknown one 404 (both {"error"}).
struct bk_route {
  unsigned methods;   // enum bk_method, or'ed
  const char *path;   // "/v1/rooms/:roomId/chatMessages"; NULL when `match` decides
  bool (*match)(void *context, struct bx_slice path);
  void (*handle)(void *context, struct bk_exchange *);
  // An upgrade to websocket on this path. NULL: such a request is 400. Returns the operations and
  // sets *user, or answers the exchange and returns NULL. See websocket.h.
  const struct bk_websocket_ops *(*upgrade)(void *context, struct bk_exchange *, void **user);
  void *context;   // for match, handle and upgrade
};

struct bk_gathered;

// Who may connect at all, asked before anything is allocated. Neither may change the listener.
struct bk_gate {
  bx_millis (*wait)(void *context);                       // ms in which nothing is to be accepted; 0: go on
  bool (*admit)(void *context, const struct bk_peer *);   // false: the connection is reset
  void *context;
};

#define BK_MAX_HEAD 16384

struct bk_listener_options {
  const char *name;      // "broker", "admin", "api", "web": the field `listener` of the log
  const char *address;   // "127.0.0.1:8000", "[::1]:8000", "unix:/path"; port 0 = any
  int fd;                // a socket that listens there already, made by bk_sockets_open(); 0: it is made
  const struct bk_route *routes;
  const struct bk_gate *gate;   // NULL: everybody
  size_t max_body;              // bytes; more is 413
  size_t max_head;              // bytes of request line and headers; more is 414 or 431. 0: BK_MAX_HEAD
  bx_millis header_time;        // from accept, or a request's first byte, to complete headers; for 64 KB of body
  bx_millis idle_time;          // between requests. 0: header_time
  bx_millis answer_time;        // without a byte of an answer acknowledged. 0: 30 s
  // On a TCP address of loopback: names besides this machine's own that a Host header may have, the
  // hosts of these origins, and the option they are from. NULL: any name.
  const struct cf_strings *names;
  const char *names_key;
  unsigned unix_mode;   // of a unix socket's file; 0: as the umask has it
  struct bk_tls *tls;   // NULL, and on unix sockets: plain. All listeners of a loop have the same
  // Whose X-Forwarded-For and X-Forwarded-Proto are believed; NULL: nobody's. Borrowed.
  const struct bk_proxies *proxies;
  // A connection of one of `proxies` begins with a PROXY header, or is closed. Others have none: what
  // looks like one is no request.
  bool proxy_protocol;
  bool deflate;   // permessage-deflate for websockets that offer it
  // What its connections may hold of bodies and websocket messages that are not complete: more is 503, or
  // 1013. May be shared by listeners. NULL: any amount. Borrowed.
  struct bk_gathered *gathered;
};

// Listening sockets at one address for `count` processes: by TCP each has its own, between which the
// kernel spreads connections (SO_REUSEPORT); a unix socket is one. Without SO_REUSEPORT nobody else may
// be there. `real`: the address with its port. False: the reason is in `error`.
struct bk_socket_file {
  uint64_t device, inode;
};
struct bk_sockets {
  const char *name;   // of the listener, for the log: `listening`
  const char *address;
  unsigned unix_mode;
  int *fds;
  size_t count;
  struct bk_socket_file file;   // its own: of a unix socket, removed by close if it is still there
};
bool bk_sockets_open(struct bk_sockets *, char *error, size_t size) BX_MUST_CHECK;
// Closes them; nobody can connect any more once no process has them.
void bk_sockets_close(const struct bk_sockets *);

// Opens, listens, logs `listening` (when it makes the socket). NULL: the reason is in `error`, ready to print.
struct bk_listener *bk_listener_open(struct bk_loop *, const struct bk_listener_options *, char *error, size_t size);
const char *bk_listener_name(const struct bk_listener *);
const char *bk_listener_address(const struct bk_listener *);   // with the real port

// No more connections are accepted; those that exist go on.
void bk_listener_stop(struct bk_listener *);
// Connections of this listener that are open (any state).
size_t bk_listener_connections(const struct bk_listener *);
// Stops, closes every connection, frees. While the loop runs that is done at the end of the turn,
// with the `ended` and `closed` of what was open; else before this returns.
void bk_listener_close(struct bk_listener *);
