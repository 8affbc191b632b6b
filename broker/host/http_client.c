// SPDX-License-Identifier: Apache-2.0
// libcurl's multi handle on the loop: curl says which sockets and which time to watch, libuv says
// what happened, the end of the turn reports what is over.
//
// A connection that is kept for later stays watched. What comes on it then answers nothing, and curl
// would take it for the answer to the next request: such a connection is shut down and emptied, so that
// curl finds it dead.
#include "broker/host/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "bayeux/buffer.h"
#include "broker/host/metrics.h"

// Of a connection, until close_socket(); of what else curl waits for (names being looked up), for as long as
// it wants: such a descriptor it closes by itself.
struct watch {
  struct bx_list link;
  struct bk_http_client *client;
  uv_poll_t poll;
  curl_socket_t fd;
  bool connection;
  bool idle;   // a connection kept for later: curl does not watch it
  bool tls;    // speaks of itself at times
};

struct request {
  struct bx_list link;   // in client.open or client.over
  struct bk_http_client *client;
  CURL *easy;
  struct curl_slist *headers;
  struct bx_buffer body, answer;
  size_t max_answer;
  bool too_large, tls;
  int status;
  char error[CURL_ERROR_SIZE];
  void (*done)(void *context, int status, struct bx_slice body, const char *error);
  void *context;
};

struct bk_http_client {
  struct bk_loop *loop;
  CURLM *multi;
  uv_timer_t *timer;
  struct bx_list open, over, watches;
  struct bk_turn_hook hook;
  bool destroying;
};

// -- connections that are kept ------------------------------------------------------------------

static void drain(curl_socket_t fd) {
  char bytes[4096];
  shutdown(fd, SHUT_RDWR);
  while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) continue;
}

// False: the connection is of no use any more, and curl will see it.
static bool is_quiet(const struct watch *w) {
  char byte;
  ssize_t got = recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got <= 0) return false;
  if (!w->tls) bk_host_counters.client_unasked++;
  drain(w->fd);
  return false;
}

static void look_at(struct watch *w) {
  if (!is_quiet(w)) uv_poll_stop(&w->poll);
}

// What has come in this turn, too, before curl chooses one of them.
static void look_at_kept(struct bk_http_client *c) {
  bx_list_each (link, &c->watches) {
    struct watch *w = bx_container_of(link, struct watch, link);
    if (w->idle && uv_is_active((uv_handle_t *)&w->poll)) look_at(w);
  }
}

// -- what curl wants watched -------------------------------------------------------------------

static void collect(struct bk_http_client *c);

static void on_socket(uv_poll_t *poll, int status, int events) {
  struct watch *w = poll->data;
  struct bk_http_client *c = w->client;
  int running, what = status < 0 ? CURL_CSELECT_ERR : 0;
  if (w->idle) {
    look_at(w);
    return;
  }
  if (events & UV_READABLE) what |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) what |= CURL_CSELECT_OUT;
  curl_multi_socket_action(c->multi, w->fd, what, &running);   // may end the watch
  collect(c);
}

static void on_timer(uv_timer_t *timer) {
  struct bk_http_client *c = timer->data;
  int running;
  look_at_kept(c);
  curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  collect(c);
}

static void free_watch(uv_handle_t *handle) { bx_free(handle->data); }
static void free_handle(uv_handle_t *handle) { bx_free(handle); }

static struct watch *watch_of(const struct bk_http_client *c, curl_socket_t fd) {
  bx_list_each (link, &c->watches) {
    struct watch *w = bx_container_of(link, struct watch, link);
    if (w->fd == fd) return w;
  }
  return NULL;
}

static struct watch *watch_open(struct bk_http_client *c, curl_socket_t fd, bool connection) {
  struct watch *w = bx_alloc(sizeof *w);
  w->client = c;
  w->fd = fd;
  w->connection = connection;
  w->poll.data = w;
  BX_BUG_ON(uv_poll_init_socket(bk_loop_uv(c->loop), &w->poll, fd) != 0);
  bx_list_append(&c->watches, &w->link);
  return w;
}

static void watch_close(struct watch *w) {
  uv_poll_stop(&w->poll);
  bx_list_remove(&w->link);
  uv_close((uv_handle_t *)&w->poll, free_watch);
}

static void rest(struct watch *w) {
  w->idle = true;
  uv_poll_start(&w->poll, UV_READABLE, on_socket);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *attached) {
  struct bk_http_client *c = user;
  struct watch *w = attached ? attached : watch_of(c, fd);
  struct request *r = NULL;
  if (what == CURL_POLL_REMOVE) {   // it is kept, or closed next
    if (w && w->connection)
      rest(w);
    else if (w)
      watch_close(w);
    return 0;
  }
  if (!w) w = watch_open(c, fd, false);
  if (!attached) curl_multi_assign(c->multi, fd, w);
  if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r) == CURLE_OK && r) w->tls = r->tls;
  w->idle = false;
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  uv_poll_start(&w->poll, events, on_socket);
  return 0;
}

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  watch_open(user, fd, true);
  return fd;
}

static int close_socket(void *user, curl_socket_t fd) {
  struct watch *w = watch_of(user, fd);
  if (w && w->idle && uv_is_active((uv_handle_t *)&w->poll)) (void)is_quiet(w);
  if (w) watch_close(w);
  return close(fd);
}

static int want_time(CURLM *multi, long ms, void *user) {
  struct bk_http_client *c = user;
  (void)multi;
  if (ms < 0)
    uv_timer_stop(c->timer);
  else
    uv_timer_start(c->timer, on_timer, (uint64_t)ms, 0);
  return 0;
}

// -- requests ----------------------------------------------------------------------------------

static size_t on_answer(char *at, size_t size, size_t count, void *user) {
  struct request *r = user;
  size_t len = size * count;
  if (len > r->max_answer - r->answer.len) {
    r->too_large = true;
    return 0;
  }
  bx_buffer_add(&r->answer, at, len);
  return len;
}

static void add_header(struct request *r, const char *name, const char *value) {
  struct bx_buffer line = {0};
  bx_buffer_printf(&line, "%s: %s", name, value);
  bx_buffer_char(&line, '\0');
  r->headers = curl_slist_append(r->headers, line.at);
  bx_buffer_fini(&line);
}

static void set_options(struct request *r, const struct bk_http_client_request *q) {
  CURL *e = r->easy;
  curl_easy_setopt(e, CURLOPT_PRIVATE, r);
  curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
  curl_easy_setopt(e, CURLOPT_URL, q->url);
  curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(e, CURLOPT_PROXY, "");   // the environment has no say
  curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)q->timeout);
  curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)q->timeout);
  curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_answer);
  curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
  curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, r->client);
  curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
  curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, r->client);
  if (q->unix_path) curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, q->unix_path);
  if (r->body.len > 0 || q->content_type) {
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body.at ? r->body.at : "");
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
  }
  if (strcmp(q->method, "HEAD") == 0)
    curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
  else
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method);
  if (q->content_type) add_header(r, "content-type", q->content_type);
  if (q->bearer) {
    struct bx_buffer token = {0};
    bx_buffer_printf(&token, "Bearer %s", q->bearer);
    bx_buffer_char(&token, '\0');
    add_header(r, "authorization", token.at);
    bx_buffer_fini(&token);
  }
  if (q->signature) add_header(r, "mora-signature", q->signature);
  r->headers = curl_slist_append(r->headers, "expect:");   // no waiting for 100 Continue
  curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
}

void bk_http_client_send(struct bk_http_client *c, const struct bk_http_client_request *q) {
  BX_BUG_ON(c->destroying);
  struct request *r = bx_alloc(sizeof *r);
  r->client = c;
  r->max_answer = q->max_answer;
  r->done = q->done;
  r->context = q->context;
  r->tls = strncasecmp(q->url, "https:", 6) == 0;
  bx_buffer_slice(&r->body, q->body);
  r->easy = curl_easy_init();
  BX_BUG_ON(!r->easy);
  set_options(r, q);
  bx_list_append(&c->open, &r->link);
  BX_BUG_ON(curl_multi_add_handle(c->multi, r->easy) != CURLM_OK);   // begins from want_time()
}

// -- what is over ------------------------------------------------------------------------------

static void collect(struct bk_http_client *c) {
  int left;
  for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
    struct request *r;
    long status = 0, sent = 0;   // bytes of requests: 0 when no connection was made
    if (m->msg != CURLMSG_DONE) continue;
    CURLcode result = m->data.result;
    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
    curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(m->easy_handle, CURLINFO_REQUEST_SIZE, &sent);
    if (r->too_large)
      snprintf(r->error, sizeof r->error, "the answer is larger than %zu bytes", r->max_answer);
    else if (result != CURLE_OK && !r->error[0])
      snprintf(r->error, sizeof r->error, "%s", curl_easy_strerror(result));
    r->status = result == CURLE_OK ? (int)status : sent == 0 ? BK_HTTP_UNSENT : 0;
    curl_multi_remove_handle(c->multi, r->easy);
    bx_list_remove(&r->link);
    bx_list_append(&c->over, &r->link);
  }
}

static void report(struct request *r) {
  curl_easy_cleanup(r->easy);
  curl_slist_free_all(r->headers);
  bx_buffer_fini(&r->body);
  bool answered = r->status > 0;
  r->done(r->context, r->status, answered ? bx_buffer_view(&r->answer) : (struct bx_slice){0},
          answered ? NULL : r->error);
  bx_buffer_fini(&r->answer);
  bx_free(r);
}

static void on_turn(struct bk_turn_hook *hook) {
  struct bk_http_client *c = bx_container_of(hook, struct bk_http_client, hook);
  struct bx_list over;
  bx_list_init(&over);
  bx_list_splice(&over, &c->over);
  for (struct bx_list *l; (l = bx_list_take(&over));) report(bx_container_of(l, struct request, link));
}

// -- life --------------------------------------------------------------------------------------

struct bk_http_client *bk_http_client_create(struct bk_loop *loop) {
  static bool started;
  if (!started) curl_global_init(CURL_GLOBAL_DEFAULT);
  started = true;
  struct bk_http_client *c = bx_alloc(sizeof *c);
  c->loop = loop;
  c->multi = curl_multi_init();
  BX_BUG_ON(!c->multi);
  c->timer = bx_alloc(sizeof *c->timer);
  c->timer->data = c;
  uv_timer_init(bk_loop_uv(loop), c->timer);
  bx_list_init(&c->open);
  bx_list_init(&c->over);
  bx_list_init(&c->watches);
  curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
  curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
  curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_time);
  curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
  curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 64L);
  c->hook.turn = on_turn;
  bk_loop_add_hook(loop, &c->hook);
  return c;
}

void bk_http_client_destroy(struct bk_http_client *c) {
  if (!c) return;
  c->destroying = true;
  for (struct bx_list *l; (l = bx_list_take(&c->open));) {
    struct request *r = bx_container_of(l, struct request, link);
    curl_multi_remove_handle(c->multi, r->easy);
    snprintf(r->error, sizeof r->error, "cancelled");
    bx_list_append(&c->over, &r->link);
  }
  on_turn(&c->hook);
  bk_loop_remove_hook(c->loop, &c->hook);
  curl_multi_cleanup(c->multi);   // closes its sockets, ends their watches
  while (!bx_list_empty(&c->watches)) watch_close(bx_container_of(c->watches.next, struct watch, link));
  uv_close((uv_handle_t *)c->timer, free_handle);
  bx_free(c);
}
