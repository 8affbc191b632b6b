// SPDX-License-Identifier: Apache-2.0
// hiredis' asynchronous context on a uv_poll_t. Everything that belongs to one connection is here and
// goes with it; the handle's memory follows when libuv has closed it.
//
// hiredis frees its context by itself after an error. Its `cleanup` hook is called on every way there,
// so that is the one place where a link learns that its socket is gone.
#include <fcntl.h>
#include <hiredis/async.h>
#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "engine-redis/link/internal.h"
#include "engine-redis/link/reader.h"

enum { READS = 16, WHY = 128 };   // hiredis reads 16 KB at a time

struct er_socket {
  uv_poll_t poll;
  struct er_link *link;              // NULL: given up, nobody listens
  struct redisAsyncContext *redis;   // NULL: freed by hiredis
  int events;
  struct er_reader reader;
  const char **words;   // scratch of er_socket_send
  size_t *lengths, room;
};

static void free_socket(uv_handle_t *handle) {
  struct er_socket *s = handle->data;
  bx_free(s->words);
  bx_free(s->lengths);
  bx_free(s);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct er_socket *s = poll->data;
  struct er_link *link = s->link;
  if (!s->redis) return;
  er_link_enter(link);
  if (!er_link_is_over(link)) {
    // A refused connect and a reset come as a status without events; hiredis finds the error by reading.
    if (status < 0 || (events & UV_READABLE)) er_socket_read(s);
    // What replies have asked for goes out before what they brought is delivered: else Redis goes to sleep, and has to be
    // woken for it.
    if (s->redis && (s->events & UV_WRITABLE) && !er_link_is_over(link)) redisAsyncHandleWrite(s->redis);
    if (s->redis && status < 0) er_link_fault(link, "the socket failed: %s", uv_strerror(status));
  }
  er_link_leave(link);
}

// libuv leaves and joins epoll anew whenever it is told what to watch.
static void watch(struct er_socket *s, int events) {
  if (events == s->events) return;
  s->events = events;
  if (events)
    uv_poll_start(&s->poll, events, on_poll);
  else
    uv_poll_stop(&s->poll);
}

static void add_read(void *data) { watch(data, ((struct er_socket *)data)->events | UV_READABLE); }
static void del_read(void *data) { watch(data, ((struct er_socket *)data)->events & ~UV_READABLE); }
static void add_write(void *data) { watch(data, ((struct er_socket *)data)->events | UV_WRITABLE); }
static void del_write(void *data) { watch(data, ((struct er_socket *)data)->events & ~UV_WRITABLE); }

static void cleanup(void *data) {
  struct er_socket *s = data;
  struct er_link *link = s->link;
  const char *why = s->reader.wrong ? s->reader.wrong : s->redis->c.errstr;
  s->redis->ev.data = NULL;
  er_reader_fini(&s->reader);
  uv_close((uv_handle_t *)&s->poll, free_socket);
  if (link) er_link_lost(link, *why ? why : "closed");
  s->link = NULL;
  s->redis = NULL;
}

static void on_connect(const struct redisAsyncContext *redis, int status) {
  struct er_socket *s = redis->data;
  if (s->link && status == REDIS_OK) er_steps_answer(s->link, NULL);
}

static void on_reply(struct redisAsyncContext *redis, void *reply, void *unused) {
  (void)unused;
  struct er_socket *s = redis->data;
  if (!reply) return;   // the context is being freed
  if (s->link && !er_link_is_over(s->link)) er_link_answer(s->link, reply);
  er_reader_clear(&s->reader);
}

static struct er_socket *open_socket(struct er_link *link, struct redisAsyncContext *redis, char *why) {
  if (!redis || redis->err) {
    snprintf(why, WHY, "%s", redis ? redis->errstr : "out of memory");
    if (redis) redisAsyncFree(redis);
    return NULL;
  }
  struct er_socket *s = bx_alloc(sizeof *s);
  int error = uv_poll_init(link->loop, &s->poll, redis->c.fd);
  if (error) {
    snprintf(why, WHY, "%s", uv_strerror(error));
    redisAsyncFree(redis);
    bx_free(s);
    return NULL;
  }
  fcntl(redis->c.fd, F_SETFD, FD_CLOEXEC);
  s->poll.data = s;
  s->link = link;
  s->redis = redis;
  er_reader_init(&s->reader, redis, link->options.reply_limit);
  redis->data = redis->ev.data = s;
  redis->ev.addRead = add_read;
  redis->ev.delRead = del_read;
  redis->ev.addWrite = add_write;
  redis->ev.delWrite = del_write;
  redis->ev.cleanup = cleanup;
  redisAsyncSetConnectCallback(redis, on_connect);
  return s;
}

struct er_socket *er_socket_open_tcp(struct er_link *link, const char *address, uint16_t port, char *why) {
  return open_socket(link, redisAsyncConnect(address, port), why);
}

struct er_socket *er_socket_open_unix(struct er_link *link, const char *path, char *why) {
  return open_socket(link, redisAsyncConnectUnix(path), why);
}

void er_socket_close(struct er_socket *s) {
  if (!s) return;
  s->link = NULL;
  redisAsyncFree(s->redis);
}

void er_socket_send(struct er_socket *s, const struct bx_slice *first, size_t firsts, const struct bx_slice *rest,
                    size_t rests) {
  size_t count = firsts + rests;
  BX_BUG_ON(count > INT_MAX);
  if (count > s->room) {
    s->room = count * 2;
    s->words = bx_realloc(s->words, s->room * sizeof *s->words);
    s->lengths = bx_realloc(s->lengths, s->room * sizeof *s->lengths);
  }
  for (size_t i = 0; i < count; i++) {
    struct bx_slice word = i < firsts ? first[i] : rest[i - firsts];
    s->words[i] = word.len ? word.at : "";
    s->lengths[i] = word.len;
  }
  if (redisAsyncCommandArgv(s->redis, on_reply, NULL, (int)count, s->words, s->lengths) != REDIS_OK)
    er_link_fault(s->link, "a command could not be sent");
}

size_t er_socket_unread(const struct er_socket *s) {
  int bytes = 0;
  return ioctl(s->redis->c.fd, FIONREAD, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

void er_socket_read(struct er_socket *s) {
  for (int i = 0; i < READS; i++) {
    redisAsyncHandleRead(s->redis);
    if (!s->redis || er_link_is_over(s->link)) return;
    if (s->redis->c.reader->len > s->reader.limit) {
      er_link_fault(s->link, "a reply is larger than the limit");
      return;
    }
    if (er_socket_unread(s) == 0) return;
  }
}
