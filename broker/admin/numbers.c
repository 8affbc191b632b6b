// SPDX-License-Identifier: Apache-2.0
#include "broker/admin/numbers.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/engine/engine.h"

static const struct bk_metric server_metrics[] = {
#define X(field, kind, name, help) {name, help, BK_##kind, offsetof(struct bx_counters, field), 0},
    BX_COUNTERS(X)
#undef X
        {0}};

static const struct bk_metric admin_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_admin_counters, field), 0},
    BK_ADMIN_COUNTERS(X)
#undef X
        {0}};

const struct bk_number_table bk_number_tables[] = {{server_metrics, offsetof(struct bk_numbers, server)},
                                                   {bk_engine_metrics, offsetof(struct bk_numbers, engine)},
                                                   {bk_relay_metrics, offsetof(struct bk_numbers, relay)},
                                                   {bk_transport_metrics, offsetof(struct bk_numbers, transport)},
                                                   {bk_publish_metrics, offsetof(struct bk_numbers, publish)},
                                                   {admin_metrics, offsetof(struct bk_numbers, admin)},
                                                   {bk_access_metrics, offsetof(struct bk_numbers, access)},
                                                   {bk_authority_metrics, offsetof(struct bk_numbers, authority)},
                                                   {bk_webhook_metrics, offsetof(struct bk_numbers, webhook)},
                                                   {bk_host_metrics, offsetof(struct bk_numbers, host)},
                                                   {0}};

void bk_numbers_add(struct bk_numbers *to, const struct bk_numbers *more, bool gauges) {
  bk_lag_add(&to->lag, &more->lag);
  for (const struct bk_number_table *t = bk_number_tables; t->metrics; t++) {
    for (const struct bk_metric *m = t->metrics; m->name; m++) {
      uint64_t sum, number;
      if (m->kind == BK_GAUGE && !gauges) continue;
      memcpy(&sum, (char *)to + t->offset + m->offset, sizeof sum);
      memcpy(&number, (const char *)more + t->offset + m->offset, sizeof number);
      sum += number;
      memcpy((char *)to + t->offset + m->offset, &sum, sizeof sum);
    }
  }
}

// -- the board -------------------------------------------------------------------------------------

static size_t size_of(size_t count) { return sizeof(struct bk_board) + count * sizeof(struct bk_slot); }

struct bk_board *bk_board_create(size_t count, int *fd) {
  *fd = memfd_create("mora-board", MFD_CLOEXEC);
  if (*fd < 0) return NULL;
  struct bk_board *b = MAP_FAILED;
  if (ftruncate(*fd, (off_t)size_of(count)) == 0)
    b = mmap(NULL, size_of(count), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  if (b == MAP_FAILED) {
    close(*fd);
    return NULL;
  }
  b->count = count;
  return b;
}

struct bk_board *bk_board_open(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return NULL;
  struct bk_board *b = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return b == MAP_FAILED ? NULL : b;
}

void bk_board_close(struct bk_board *b) {
  if (b) munmap(b, size_of(b->count));
}

void bk_board_retire(struct bk_board *b, size_t slot) {
  struct bk_slot *s = &b->slots[slot];
  atomic_store(&s->begun, false);
  atomic_fetch_add(&s->past_changes, 1);
  bk_numbers_add(&s->past, &s->now, false);
  memset(&s->now, 0, sizeof s->now);
  atomic_fetch_add(&s->past_changes, 1);
}

void bk_board_sum(const struct bk_board *b, struct bk_numbers *total) {
  memset(total, 0, sizeof *total);
  for (size_t i = 0; i < b->count; i++) {
    const struct bk_slot *s = &b->slots[i];
    struct bk_numbers past, now;
    // A supervisor adds for microseconds; one that died while it did leaves an odd number behind.
    for (int tries = 0; tries < 10000; tries++) {
      uint64_t changes = atomic_load(&s->past_changes);
      past = s->past;
      now = s->now;
      atomic_thread_fence(memory_order_acquire);
      if ((changes & 1) == 0 && changes == atomic_load(&s->past_changes)) break;
    }
    bk_numbers_add(total, &past, false);
    bk_numbers_add(total, &now, true);
  }
}
