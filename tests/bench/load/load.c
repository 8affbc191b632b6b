// SPDX-License-Identifier: Apache-2.0
// Clients and publishers of one process, and the phases they go through.
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/load/load.h"

static struct bn_load *load_of(struct bn_conn *c) { return c->net->user; }

// -- what comes in ---------------------------------------------------------------------------------

static void deliver(struct bn_load *load, struct bn_conn *c, const struct bn_stamp *s, uint64_t now) {
  if (s->channel != c->channel) {
    load->tally->stray++;
    return;
  }
  if (bn_track_take(&c->track, s->sequence, load->tally)) {
    const struct bn_options *o = load->options;
    load->arrived[((uint64_t)s->sequence * o->channels + s->channel - o->base) % BN_WINDOW]++;
  }
  if (!c->slow && s->time >= load->shared->from && s->time < load->shared->to && now >= s->time)
    bn_latency_add(load->tally, now - s->time);
}

// Only this process writes its tally: no need for an atomic addition.
static void add(atomic_ulong *counter, unsigned long more) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_release);
}

static size_t taken(struct bn_conn *c, struct bx_slice text) {
  struct bn_load *load = load_of(c);
  struct bn_stamp stamp;
  const char *at = text.at;
  uint64_t now = bn_now();
  size_t count = 0;
  for (; bn_stamp_next(&at, text.at + text.len, &stamp); count++) deliver(load, c, &stamp, now);
  if (count == 0) return 0;
  load->tally->frames++;
  if (load->net.reads != load->last_read) load->tally->reads++;
  load->last_read = load->net.reads;
  load->tally->bytes += text.len;
  add(&load->tally->delivered, count);
  return count;
}

_Noreturn void bn_load_give_up(const char *why) {
  fprintf(stderr, "bench_load: %s\n", why);
  exit(1);
}

static void failed(struct bn_conn *c, const char *why) {
  struct bn_load *load = load_of(c);
  char text[256];
  if (load->shared->phase == BN_END) return;
  snprintf(text, sizeof text, "%s %u: %s (%lu were ready)", c->role->publish ? "publisher" : "client", c->index, why,
           bn_load_are_ready(load));
  bn_load_give_up(text);
}

void bn_load_ready(struct bn_conn *c) {
  struct bn_load *load = load_of(c);
  if (c->ready) return;
  c->ready = true;
  bool publishes = c >= load->publishers && c < load->publishers + load->publisher_count;
  if (publishes) {
    load->publishers_ready++;
  } else {
    load->opening--;
    add(&load->tally->ready, 1);
  }
}

void bn_load_acked(struct bn_conn *c, unsigned long count) { add(&load_of(c)->tally->acks, count); }

unsigned long bn_load_delivered(const struct bn_load *load) {
  unsigned long all = 0;
  for (unsigned i = 0; i < load->options->processes; i++) all += load->shared->tallies[i].delivered;
  return all;
}

unsigned long bn_load_are_ready(const struct bn_load *load) {
  unsigned long all = 0;
  for (unsigned i = 0; i < load->options->processes; i++) all += load->shared->tallies[i].ready;
  return all;
}

// -- life ------------------------------------------------------------------------------------------

static struct ssl_ctx_st *tls_context(const struct bn_options *o) {
  for (unsigned i = 0; i < o->target_count; i++) {
    if (!o->targets[i].tls) continue;
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(tls,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
  }
  return NULL;
}

static void prepare_publishers(struct bn_load *load) {
  const struct bn_options *o = load->options;
  bool self = o->dialect->subscriber->publish != NULL;
  bool quiet = strcmp(o->scenario, "idle") == 0 || strcmp(o->scenario, "connect") == 0;   // nothing is published
  if (self || quiet || load->self != 0) return;
  load->publisher_count = o->dialect->publisher_each ? o->channels : 1;
  load->publishers = bx_alloc(load->publisher_count * sizeof *load->publishers);
  for (unsigned i = 0; i < load->publisher_count; i++) {
    load->publishers[i] = (struct bn_conn){
        .net = &load->net, .role = o->dialect->publisher, .target = &o->publish, .index = i, .channel = o->base + i};
    bx_list_init(&load->publishers[i].unsent);
  }
}

void bn_load_init(struct bn_load *load, const struct bn_options *o, struct bn_shared *shared, unsigned self) {
  *load = (struct bn_load){.options = o, .shared = shared, .tally = &shared->tallies[self], .self = self};
  bn_net_init(&load->net);
  load->net.taken = taken;
  load->net.failed = failed;
  load->net.user = load;
  load->net.sources = o->sources;
  load->net.tls = tls_context(o);
  load->count = o->clients / o->processes + (self < o->clients % o->processes);
  load->next = load->count;
  load->conns = bx_alloc((load->count + 1) * sizeof *load->conns);
  for (unsigned i = 0; i < load->count; i++) {
    unsigned index = self + i * o->processes;
    load->conns[i] = (struct bn_conn){.net = &load->net,
                                      .role = o->dialect->subscriber,
                                      .target = &o->targets[index % o->target_count],
                                      .index = index,
                                      .channel = o->base + index % o->channels};
    bx_list_init(&load->conns[i].unsent);
  }
  prepare_publishers(load);
}

static void open_more(struct bn_load *load) {
  while (load->next < load->count && load->opening < load->options->concurrency) {
    load->opening++;
    bn_conn_open(&load->conns[load->next++]);
  }
}

static void cut_all(struct bn_load *load) {
  for (unsigned i = 0; i < load->count; i++) bn_conn_close(&load->conns[i]);
  atomic_store(&load->tally->ready, 0);
}

// The first `slow` percent of each process's clients.
static void deafen(struct bn_load *load, bool deaf) {
  unsigned count = load->count * load->options->slow / 100;
  for (unsigned i = 0; i < count; i++) {
    load->conns[i].slow = true;
    bn_conn_listen(&load->conns[i], !deaf);
  }
}

void bn_load_enter(struct bn_load *load, enum bn_phase phase) {
  load->phase = phase;
  if (load->self == 0) atomic_store(&load->shared->phase, (int)phase);
  if (phase == BN_CONNECT || phase == BN_RESUME) load->next = 0;
  if (phase == BN_CUT) cut_all(load);
  if (phase == BN_DEAF || phase == BN_HEAR) deafen(load, phase == BN_DEAF);
}

void bn_load_turn(struct bn_load *load, uint64_t wait) {
  open_more(load);
  if (load->options->processes > 1 && wait > 1000000) wait = 1000000;
  bn_net_turn(&load->net, load->options->spin && !load->resting ? 0 : wait);
}

void bn_load_follow(struct bn_load *load) {
  while (load->phase != BN_END) {
    enum bn_phase phase = (enum bn_phase)atomic_load(&load->shared->phase);
    if (getppid() == 1) exit(1);
    if (phase != load->phase) bn_load_enter(load, phase);
    bn_load_turn(load, 1000000);
  }
  bn_load_finish(load);
}

void bn_load_finish(struct bn_load *load) {
  for (unsigned i = 0; i < load->count; i++) {
    struct bn_conn *c = &load->conns[i];
    bn_track_finish(&c->track, load->shared->published[c->channel - load->options->base], load->tally);
    bn_conn_close(c);
  }
  for (unsigned i = 0; i < load->publisher_count; i++) bn_conn_close(&load->publishers[i]);
  bx_free(load->conns);
  bx_free(load->publishers);
  bx_free(load->net.bytes);
  close(load->net.epoll);
  SSL_CTX_free(load->net.tls);
}

// -- publishing ------------------------------------------------------------------------------------

static void publish(struct bn_load *load, const struct bn_stamp *s) {
  const struct bn_dialect *d = load->options->dialect;
  char data[BN_DATA];
  bn_stamp_write(data, s);
  struct bn_conn *c =
      load->publishers ? &load->publishers[d->publisher_each ? s->channel - load->options->base : 0] : &load->conns[0];
  c->role->publish(c, s->channel, (struct bx_slice){data, sizeof data});
}

void bn_load_publish(struct bn_load *load, uint32_t channel, uint64_t due) {
  struct bn_stamp stamp = {load->shared->published[channel]++, load->options->base + channel, due};
  publish(load, &stamp);
  load->published++;
}

uint64_t bn_load_in_flight(struct bn_load *load) {
  unsigned fan = load->options->clients / load->options->channels;
  for (uint32_t *count; load->completed < load->published; load->completed++) {
    count = &load->arrived[load->completed % BN_WINDOW];
    if (*count < fan) break;
    *count -= fan;
  }
  return load->published - load->completed;
}

void bn_load_publish_aside(struct bn_load *load, uint32_t channel) {
  struct bn_stamp stamp = {0, load->options->base + load->options->channels + channel, bn_now()};
  publish(load, &stamp);
}
