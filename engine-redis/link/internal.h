// SPDX-License-Identifier: Apache-2.0
// The parts of a link, and how they speak to each other.
//
//   link.c     the attempt, the commands, the one way out
//   steps.c    the table of set-up steps
//   sentinel.c which Redis is the primary
//   resolve.c  a name becomes addresses, off the loop
//   socket.c   hiredis on libuv: bytes
//   reader.c   bytes become a tree
//
// Nothing is torn down under a running callback: whatever the loop calls is between er_link_enter()
// and er_link_leave(); a fault in between is only noted, and the outermost leave acts on it.
#pragma once

#include <uv.h>

#include "bayeux/wheel.h"
#include "engine-redis/link/link.h"
#include "engine-redis/scripts/scripts.h"

enum { ER_SHA = 40, ER_RUN_ID_MAX = 64 };

enum er_link_state { ER_WAITING, ER_SETTING_UP, ER_UP };

struct er_socket;
struct er_resolve;

// When each unanswered command is overdue, oldest first.
struct er_deadlines {
  bx_millis *at;
  size_t head, count, cap;   // a ring; cap is a power of two or 0
};

struct er_link {
  uv_loop_t *loop;
  struct bx_wheel *wheel;
  struct er_link_options options;   // url is &url, name is own
  struct er_url url;
  char (*shas)[ER_SHA + 1];   // of options.scripts

  enum er_link_state state;
  unsigned step, awaited;         // row of the table, replies it still waits for
  const struct er_place *place;   // what this attempt resolves and dials: a Sentinel, then the Redis
  size_t sentinel;                // the one to ask, modulo their number
  struct er_place primary;        // as a Sentinel said it last
  struct bx_timer timer;          // the next attempt, the step's end, the oldest command's end
  unsigned attempts;              // since a link was steady
  bx_millis up_at;
  char run_id[ER_RUN_ID_MAX + 1];
  char fault[256];   // not empty: to be closed, for this reason

  struct er_resolve *resolve;   // under way, perhaps for an attempt that is over
  struct addrinfo *addresses, *next_address;
  struct er_socket *socket;
  struct er_deadlines deadlines;

  unsigned depth;   // of callbacks
  bool doomed;      // to be freed when the outermost returns
};

// --- link.c
void er_link_enter(struct er_link *);
void er_link_leave(struct er_link *);   // may free the link
// The first reason counts. Bytes of a peer in it are made printable.
void er_link_fault(struct er_link *, const char *format, ...) BX_PRINTF(2, 3);
static inline bool er_link_is_over(const struct er_link *l) { return l->doomed || l->fault[0] != 0; }
void er_link_is_up(struct er_link *);                             // from steps.c: the last step is done
void er_link_lost(struct er_link *, const char *why);             // from socket.c: the socket is gone
void er_link_answer(struct er_link *, const struct er_reply *);   // from socket.c

// --- steps.c
void er_steps_begin(struct er_link *);
void er_steps_answer(struct er_link *, const struct er_reply *);   // NULL: of a step without a reply
void er_steps_overdue(struct er_link *);
bool er_steps_next_address(struct er_link *);   // false: not connecting, or none left

// --- sentinel.c: the rows that find the primary, empty for an URL that names its Redis
unsigned er_sentinel_ask(struct er_link *);
void er_sentinel_answer(struct er_link *, const struct er_reply *);
void er_sentinel_leave(struct er_link *);   // its connection; from now on `place` is the primary

// --- resolve.c
void er_resolve_start(struct er_link *);     // goes on with one that is under way
void er_resolve_abandon(struct er_link *);   // no answer wanted now
void er_resolve_detach(struct er_link *);    // nor ever: the link is being freed
void er_resolve_forget(struct er_link *);    // the addresses

// --- socket.c
// NULL: it could not be begun, `why` (128 bytes) says why. Else er_steps_answer() or er_link_lost().
struct er_socket *er_socket_open_tcp(struct er_link *, const char *address, uint16_t port, char *why);
struct er_socket *er_socket_open_unix(struct er_link *, const char *path, char *why);
void er_socket_close(struct er_socket *);   // silent; NULL is allowed
// One command of `first` and then `rest`.
void er_socket_send(struct er_socket *, const struct bx_slice *first, size_t firsts, const struct bx_slice *rest,
                    size_t rests);
void er_socket_read(struct er_socket *);   // what there is, up to a bound; may end in er_link_lost()
size_t er_socket_unread(const struct er_socket *);
