// SPDX-License-Identifier: Apache-2.0
// What has to be said before a connection is of use: a table, and the driver that walks it.
//
// A row's `send` returns how many replies it waits for; 0: nothing to do, the next row. `on_reply`
// looks at one. Both end the attempt with er_link_fault(). An error reply always does, but in a row that
// judges errors itself.
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine-redis/link/internal.h"

enum { OLDEST_MAJOR = 6, OLDEST_MINOR = 2 };

struct step {
  const char *name;
  unsigned (*send)(struct er_link *);
  void (*on_reply)(struct er_link *, const struct er_reply *);
  bool dialing;   // not connected yet
  bool judges_errors;
};

static bool asks_sentinel(const struct er_link *link) { return link->url.primary != NULL; }

static void ask(struct er_link *link, const struct bx_slice *words, size_t count) {
  er_socket_send(link->socket, words, count, NULL, 0);
}

static unsigned resolve(struct er_link *link) {
  if (link->url.path) return 0;
  er_resolve_start(link);
  return 1;
}

// Dials the next address that can be dialled at all. `why` is what was wrong with the last.
static bool dial(struct er_link *link, char *why) {
  while (link->next_address && !link->socket) {
    struct addrinfo *a = link->next_address;
    char address[INET6_ADDRSTRLEN + 20];
    link->next_address = a->ai_next;
    int error = getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
    if (error)
      snprintf(why, 128, "%s", gai_strerror(error));
    else
      link->socket = er_socket_open_tcp(link, address, link->place->port, why);
  }
  return link->socket != NULL;
}

static unsigned dial_first(struct er_link *link) {
  char why[128] = "no address";
  if (link->url.path)
    link->socket = er_socket_open_unix(link, link->url.path, why);
  else
    dial(link, why);
  if (!link->socket) er_link_fault(link, "connect: %s", why);
  return 1;
}

static unsigned resolve_sentinel(struct er_link *link) { return asks_sentinel(link) ? resolve(link) : 0; }
static unsigned dial_sentinel(struct er_link *link) { return asks_sentinel(link) ? dial_first(link) : 0; }
static unsigned ask_sentinel(struct er_link *link) { return asks_sentinel(link) ? er_sentinel_ask(link) : 0; }

static unsigned leave_sentinel(struct er_link *link) {
  if (asks_sentinel(link)) er_sentinel_leave(link);
  return 0;
}

static unsigned auth(struct er_link *link) {
  if (!link->url.password) return 0;
  struct bx_slice words[3] = {BX_LIT("AUTH")};
  size_t n = 1;
  if (link->url.user) words[n++] = bx_slice_of(link->url.user);
  words[n++] = bx_slice_of(link->url.password);
  ask(link, words, n);
  return 1;
}

static unsigned select_db(struct er_link *link) {
  if (link->url.db == 0) return 0;
  char db[16];
  snprintf(db, sizeof db, "%u", link->url.db);
  ask(link, (struct bx_slice[]){BX_LIT("SELECT"), bx_slice_of(db)}, 2);
  return 1;
}

static unsigned set_name(struct er_link *link) {
  ask(link, (struct bx_slice[]){BX_LIT("CLIENT"), BX_LIT("SETNAME"), bx_slice_of(link->options.name)}, 3);
  return 1;
}

// All default sections at once: the version, the role and the eviction policy are in three of them,
// and CONFIG GET may be forbidden where INFO is not.
static unsigned info(struct er_link *link) {
  ask(link, (struct bx_slice[]){BX_LIT("INFO")}, 1);
  return 1;
}

// The value of "field:value" on a line of its own, cut to fit; empty when there is none.
static const char *field(struct bx_slice text, const char *name, char *out, size_t size) {
  size_t len = strlen(name);
  out[0] = 0;
  for (const char *at = text.at, *end = text.at + text.len; at < end;) {
    const char *stop = memchr(at, '\n', (size_t)(end - at)), *next = stop ? stop + 1 : end;
    if (!stop) stop = end;
    if (stop > at && stop[-1] == '\r') stop--;
    if ((size_t)(stop - at) > len && memcmp(at, name, len) == 0 && at[len] == ':') {
      at += len + 1;
      snprintf(out, size, "%.*s", (int)(stop - at), at);
      return out;
    }
    at = next;
  }
  return out;
}

static bool old(const char *version) {
  char *dot;
  unsigned long major = strtoul(version, &dot, 10);
  if (dot == version || *dot != '.') return true;
  unsigned long minor = strtoul(dot + 1, NULL, 10);
  return major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR);
}

static bool says(struct bx_slice text, const char *name, const char *expected) {
  char value[32];
  return strcmp(field(text, name, value, sizeof value), expected) == 0;
}

static void notice(struct er_link *link, const char *id, const char *text) {
  link->options.events->notice(link->options.context, id, text);
}

// What works, and promises less than it could.
static void advise(struct er_link *link, struct bx_slice info) {
  char replicas[16], good[16];
  bool replicated =
      link->url.primary || strtoul(field(info, "connected_slaves", replicas, sizeof replicas), NULL, 10) > 0;
  if (says(info, "aof_enabled", "0"))
    notice(link, "redis.not_durable",
           "appendonly is no: when this Redis restarts, what came since its last snapshot is lost");
  if (replicated && says(info, "role", "master") && !*field(info, "min_slaves_good_slaves", good, sizeof good))
    notice(link, "redis.not_fenced",
           "min-replicas-to-write is 0: a primary that is cut off from its replicas goes on taking what will be lost");
  if (strtoul(field(info, "connected_slaves", replicas, sizeof replicas), NULL, 10) < link->options.replicas) {
    char text[128];
    snprintf(text, sizeof text, "connected_slaves is %s, engine.wait %u: publishes are answered unknown",
             *replicas ? replicas : "not told", link->options.replicas);
    notice(link, "redis.few_replicas", text);
  }
}

static void on_info(struct er_link *link, const struct er_reply *reply) {
  struct bx_slice text = er_reply_bytes(reply);
  char version[32], policy[32];
  field(text, "redis_version", version, sizeof version);
  field(text, "maxmemory_policy", policy, sizeof policy);
  field(text, "run_id", link->run_id, sizeof link->run_id);
  if (says(text, "redis_mode", "sentinel"))
    er_link_fault(link, "check: this is a Sentinel, not a Redis");
  else if (says(text, "cluster_enabled", "1"))
    er_link_fault(link, "check: Redis Cluster is refused; use a single Redis");
  else if (old(version))
    er_link_fault(link, "check: Redis %s: 6.2 or later is needed", *version ? version : "of unknown version");
  else if (says(text, "role", "slave"))
    er_link_fault(link, "check: this is a replica, which cannot be written");
  else if (says(text, "loading", "1"))
    er_link_fault(link, "check: Redis is loading its data");
  else if (*policy && strcmp(policy, "noeviction") != 0)
    er_link_fault(link, "check: maxmemory-policy is %s; it must be noeviction", policy);
  else if (!*link->run_id)
    er_link_fault(link, "check: INFO has no run_id");
  else if (!*policy)
    notice(link, "redis.policy_unknown", "INFO does not say maxmemory-policy; it must be noeviction");
  if (!er_link_is_over(link)) advise(link, text);
}

static unsigned load_scripts(struct er_link *link) {
  const struct er_script *s = link->options.scripts;
  for (size_t i = 0; i < link->options.script_count; i++) {
    struct bx_slice text = {s[i].text, s[i].length};
    ask(link, (struct bx_slice[]){BX_LIT("SCRIPT"), BX_LIT("LOAD"), text}, 3);
  }
  return (unsigned)link->options.script_count;
}

static void on_script(struct er_link *link, const struct er_reply *reply) {
  size_t i = link->options.script_count - link->awaited;
  struct bx_slice sha = er_reply_bytes(reply);
  if (sha.len != ER_SHA)
    er_link_fault(link, "scripts: no sha1 of %s", link->options.scripts[i].name);
  else
    memcpy(link->shas[i], sha.at, ER_SHA);
}

static const struct step steps[] = {
    {.name = "resolve", .send = resolve_sentinel, .dialing = true},
    {.name = "connect", .send = dial_sentinel, .dialing = true},
    {.name = "sentinel", .send = ask_sentinel, .on_reply = er_sentinel_answer, .judges_errors = true},
    {.name = "sentinel", .send = leave_sentinel},
    {.name = "resolve", .send = resolve, .dialing = true},
    {.name = "connect", .send = dial_first, .dialing = true},
    {.name = "auth", .send = auth},
    {.name = "select", .send = select_db},
    {.name = "name", .send = set_name},
    {.name = "check", .send = info, .on_reply = on_info},
    {.name = "scripts", .send = load_scripts, .on_reply = on_script},
    {0},
};

static bool connects(const struct step *s) { return s->send == dial_first || s->send == dial_sentinel; }

static bx_millis limit_of(const struct er_link *link) {
  return steps[link->step].dialing ? ER_LINK_CONNECT_TIMEOUT : link->options.step_timeout;
}

static void set_timer(struct er_link *link) {
  bx_wheel_set(link->wheel, &link->timer, uv_now(link->loop) + limit_of(link));
}

static void walk(struct er_link *link) {
  for (; steps[link->step].name; link->step++) {
    link->awaited = steps[link->step].send(link);
    if (er_link_is_over(link)) return;
    if (link->awaited > 0) {
      set_timer(link);
      return;
    }
  }
  er_link_is_up(link);
}

void er_steps_begin(struct er_link *link) {
  link->step = 0;
  link->place =
      asks_sentinel(link) ? &link->url.sentinels[link->sentinel % link->url.sentinel_count] : &link->url.place;
  walk(link);
}

// Redis repeats the words of a command it does not know; those of AUTH are nobody's business.
static void refused(struct er_link *link, struct bx_slice text) {
  const char *words = memmem(text.at, text.len, ", with args", 11);
  if (words) text.len = (size_t)(words - text.at);
  er_link_fault(link, "%s: %.*s", steps[link->step].name, (int)(text.len < 200 ? text.len : 200), text.at);
}

void er_steps_answer(struct er_link *link, const struct er_reply *reply) {
  const struct step *step = &steps[link->step];
  if (er_reply_is_error(reply) && !step->judges_errors)
    refused(link, reply->text);
  else if (step->on_reply)
    step->on_reply(link, reply);
  if (er_link_is_over(link) || --link->awaited > 0) return;
  link->step++;
  walk(link);
}

bool er_steps_next_address(struct er_link *link) {
  char why[128];
  if (link->state != ER_SETTING_UP || !connects(&steps[link->step]) || !dial(link, why)) return false;
  set_timer(link);
  return true;
}

void er_steps_overdue(struct er_link *link) {
  const struct step *step = &steps[link->step];
  unsigned awaited = link->awaited;
  if (connects(step) && link->next_address) {
    er_socket_close(link->socket);
    link->socket = NULL;
    if (er_steps_next_address(link)) return;
  } else if (!step->dialing) {
    er_socket_read(link->socket);   // the late one may have been this process
    if (er_link_is_over(link) || link->state == ER_UP || step != &steps[link->step]) return;
    if (awaited != link->awaited) {
      set_timer(link);
      return;
    }
  }
  er_link_fault(link, "%s: no answer in %llu ms", step->name, (unsigned long long)limit_of(link));
}
