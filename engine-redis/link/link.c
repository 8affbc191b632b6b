// SPDX-License-Identifier: Apache-2.0
// A link's life: an attempt, commands and their replies, and the one way out.
#include <ctype.h>
#include <stdio.h>

#include "engine-redis/link/internal.h"

enum { REPLY_LIMIT = 256 * 1024 * 1024 };

// --- the unanswered

static void deadlines_push(struct er_deadlines *d, bx_millis at) {
  if (d->count == d->cap) {
    size_t cap = d->cap ? d->cap * 2 : 64;
    bx_millis *grown = bx_alloc(cap * sizeof *grown);
    for (size_t i = 0; i < d->count; i++) grown[i] = d->at[(d->head + i) & (d->cap - 1)];
    bx_free(d->at);
    *d = (struct er_deadlines){grown, 0, d->count, cap};
  }
  d->at[(d->head + d->count++) & (d->cap - 1)] = at;
}

static void deadlines_pop(struct er_deadlines *d) {
  d->head = (d->head + 1) & (d->cap - 1);
  d->count--;
}

static bool overdue(const struct er_link *link) {
  const struct er_deadlines *d = &link->deadlines;
  return d->count > 0 && d->at[d->head] <= uv_now(link->loop);
}

static void watch_oldest(struct er_link *link) {
  const struct er_deadlines *d = &link->deadlines;
  if (d->count > 0) bx_wheel_set(link->wheel, &link->timer, d->at[d->head]);
}

// --- the way out

// From 0 up to a limit that doubles: many nodes that lost one Redis come back at different times.
static bx_millis backoff(struct er_link *link) {
  bx_millis limit = ER_LINK_BACKOFF_MIN;
  for (unsigned i = 0; i < link->attempts && limit < ER_LINK_BACKOFF_MAX; i++) limit *= 2;
  if (limit > ER_LINK_BACKOFF_MAX) limit = ER_LINK_BACKOFF_MAX;
  uint32_t random = 0;
  uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
  return random % (limit + 1);
}

// Everything of this attempt is gone afterwards, and the timer is free.
static void detach(struct er_link *link) {
  struct er_socket *socket = link->socket;
  link->socket = NULL;
  er_socket_close(socket);
  er_resolve_abandon(link);
  er_resolve_forget(link);
  link->deadlines.head = link->deadlines.count = 0;
  bx_wheel_cancel(link->wheel, &link->timer);
}

// The only place where an attempt ends.
static void end_attempt(struct er_link *link) {
  bx_millis now = uv_now(link->loop);
  char reason[sizeof link->fault];
  memcpy(reason, link->fault, sizeof reason);
  detach(link);
  if (link->state == ER_UP && now - link->up_at >= ER_LINK_STEADY) link->attempts = 0;
  if (link->state != ER_UP) link->sentinel++;
  bx_wheel_set(link->wheel, &link->timer, now + backoff(link));
  link->attempts++;
  link->state = ER_WAITING;
  link->fault[0] = 0;
  link->options.events->down(link->options.context, reason);
}

static void free_link(struct er_link *link) {
  detach(link);
  er_resolve_detach(link);
  er_url_fini(&link->url);
  bx_free(link->primary.host);
  bx_free((char *)link->options.name);
  bx_free(link->shas);
  bx_free(link->deadlines.at);
  bx_free(link);
}

void er_link_enter(struct er_link *link) { link->depth++; }

void er_link_leave(struct er_link *link) {
  if (link->depth == 1 && link->fault[0] && !link->doomed) end_attempt(link);
  if (--link->depth == 0 && link->doomed) free_link(link);
}

void er_link_fault(struct er_link *link, const char *format, ...) {
  if (link->fault[0]) return;
  va_list args;
  va_start(args, format);
  vsnprintf(link->fault, sizeof link->fault, format, args);
  va_end(args);
  for (char *c = link->fault; *c; c++)
    if (!isprint((unsigned char)*c)) *c = '?';
  if (link->depth == 0) bx_wheel_set(link->wheel, &link->timer, uv_now(link->loop));
}

// --- what the other parts report

void er_link_lost(struct er_link *link, const char *why) {
  link->socket = NULL;
  if (er_link_is_over(link) || er_steps_next_address(link)) return;
  er_link_fault(link, link->state == ER_UP ? "connection lost: %s" : "connect: %s", why);
}

void er_link_is_up(struct er_link *link) {
  link->state = ER_UP;
  link->up_at = uv_now(link->loop);
  bx_wheel_cancel(link->wheel, &link->timer);
  er_resolve_forget(link);
  link->options.events->up(link->options.context, link->run_id);
}

// Errors after which no command on this connection has a chance.
static bool useless(const struct er_reply *reply) {
  static const char *const words[] = {"NOSCRIPT ", "LOADING ", "READONLY ", "MASTERDOWN ", "NOAUTH ", "UNBLOCKED "};
  if (!er_reply_is_error(reply)) return false;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (bx_slice_starts(reply->text, bx_slice_of(words[i]))) return true;
  return false;
}

// A primary without enough replicas takes no writes. With Sentinels another one may have its place.
static bool fenced_off(const struct er_link *link, const struct er_reply *reply) {
  return link->url.primary && er_reply_is_error(reply) && bx_slice_starts(reply->text, BX_LIT("NOREPLICAS "));
}

void er_link_answer(struct er_link *link, const struct er_reply *reply) {
  if (link->state != ER_UP) {
    er_steps_answer(link, reply);
  } else if (useless(reply)) {
    er_link_fault(link, "%.*s", (int)(reply->text.len < 200 ? reply->text.len : 200), reply->text.at);
  } else {
    deadlines_pop(&link->deadlines);
    link->options.events->reply(link->options.context, reply);
    if (fenced_off(link, reply) && !er_link_is_over(link))
      er_link_fault(link, "too few replicas: asking Sentinel again");
  }
}

// --- time

// A process that was stopped itself finds its timers over and the replies waiting: it reads first.
static void judge(struct er_link *link) {
  if (overdue(link)) er_socket_read(link->socket);
  if (er_link_is_over(link)) return;
  if (!overdue(link))
    watch_oldest(link);
  else if (er_socket_unread(link->socket) > 0)
    bx_wheel_set(link->wheel, &link->timer, uv_now(link->loop) + 1);
  else
    er_link_fault(link, "no answer in %llu ms", (unsigned long long)link->options.answer_timeout);
}

static void on_timer(struct bx_timer *timer) {
  struct er_link *link = bx_container_of(timer, struct er_link, timer);
  er_link_enter(link);
  if (er_link_is_over(link)) {
    // Noted outside of a callback: leave acts on it.
  } else if (link->state == ER_UP) {
    judge(link);
  } else if (link->state == ER_SETTING_UP) {
    er_steps_overdue(link);
  } else {
    link->state = ER_SETTING_UP;
    er_steps_begin(link);
  }
  er_link_leave(link);
}

// --- the owner's side

struct er_link *er_link_create(struct uv_loop_s *loop, struct bx_wheel *wheel, const struct er_link_options *o) {
  struct er_link *link = bx_alloc(sizeof *link);
  size_t size = strlen(o->name) + 1;
  link->loop = loop;
  link->wheel = wheel;
  link->options = *o;
  link->options.url = &link->url;
  link->options.name = memcpy(bx_alloc(size), o->name, size);
  if (o->reply_limit == 0) link->options.reply_limit = REPLY_LIMIT;
  er_url_copy(&link->url, o->url);
  link->shas = bx_alloc((o->script_count + 1) * sizeof *link->shas);
  bx_timer_init(&link->timer, on_timer);
  bx_wheel_set(wheel, &link->timer, uv_now(loop));
  return link;
}

void er_link_destroy(struct er_link *link) {
  if (!link) return;
  link->doomed = true;
  if (link->depth == 0) free_link(link);
}

bool er_link_send(struct er_link *link, const char *name, const struct bx_slice *args, size_t count) {
  if (link->state != ER_UP || er_link_is_over(link)) return false;
  if (link->deadlines.count >= ER_LINK_COMMANDS_MAX) {
    er_link_fault(link, "%d commands without an answer", ER_LINK_COMMANDS_MAX);
    return false;
  }
  struct bx_slice first[3] = {bx_slice_of(name)};
  size_t firsts = 1;
  for (size_t i = 0; i < link->options.script_count && firsts == 1; i++) {
    if (strcmp(link->options.scripts[i].name, name) != 0) continue;
    first[0] = BX_LIT("EVALSHA");
    first[1] = (struct bx_slice){link->shas[i], ER_SHA};
    first[2] = BX_LIT("0");
    firsts = 3;
  }
  deadlines_push(&link->deadlines, uv_now(link->loop) + link->options.answer_timeout);
  if (!link->timer.armed) watch_oldest(link);
  er_socket_send(link->socket, first, firsts, args, count);
  return !er_link_is_over(link);
}

void er_link_close(struct er_link *link, const char *reason) {
  if (link->state != ER_WAITING && !link->doomed) er_link_fault(link, "%s", reason);
}

void er_outage_end(struct er_outage *o) {
  o->up = true;
  o->reason[0] = 0;
}

bool er_outage_goes_on(struct er_outage *o, const char *why) {
  bool news = o->up || strncmp(o->reason, why, sizeof o->reason - 1) != 0;
  o->up = false;
  snprintf(o->reason, sizeof o->reason, "%s", why);
  return news;
}
