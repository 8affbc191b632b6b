// SPDX-License-Identifier: Apache-2.0
#include "broker/host/lag.h"

struct bk_lag bk_host_lag;

static size_t bucket_of(uint64_t us) {
  if (us < 1u << BK_LAG_FIRST) return 0;
  unsigned octave = 63 - (unsigned)__builtin_clzll(us);
  if (octave >= BK_LAG_LAST) return BK_LAG_BUCKETS - 1;
  return 1 + 4 * (octave - BK_LAG_FIRST) + ((us >> (octave - 2)) & 3);
}

// Where a bucket begins, in us; of the last one also where it ends.
static double edge(size_t bucket) {
  if (bucket == 0) return 0;
  uint64_t octave = BK_LAG_FIRST + (bucket - 1) / 4;
  return (double)((4 + (bucket - 1) % 4) << octave) / 4;
}

void bk_lag_note(struct bk_lag *lag, uint64_t ns) {
  lag->turns[bucket_of(ns / 1000)]++;
  lag->busy += ns;
}

void bk_lag_add(struct bk_lag *to, const struct bk_lag *more) {
  for (size_t i = 0; i < BK_LAG_BUCKETS; i++) to->turns[i] += more->turns[i];
  to->busy += more->busy;
}

uint64_t bk_lag_turns(const struct bk_lag *lag) {
  uint64_t sum = 0;
  for (size_t i = 0; i < BK_LAG_BUCKETS; i++) sum += lag->turns[i];
  return sum;
}

double bk_lag_quantile(const struct bk_lag *lag, double share) {
  double left = share * (double)bk_lag_turns(lag);
  size_t last = 0;
  for (size_t i = 0; i < BK_LAG_BUCKETS; i++) {
    double count = (double)lag->turns[i];
    if (lag->turns[i] == 0) continue;
    double top = i + 1 < BK_LAG_BUCKETS ? edge(i + 1) : edge(i);
    if (left <= count) return edge(i) + (top - edge(i)) * left / count;
    left -= count;
    last = i + 1 < BK_LAG_BUCKETS ? i + 1 : i;
  }
  return edge(last);   // what rounding left over
}

// Every second octave is enough for a graph.
void bk_lag_write(struct bx_buffer *out, const struct bk_lag *lag) {
  const char *name = "mora_loop_turn_seconds";
  uint64_t sum = 0;
  bx_buffer_printf(out, "# HELP %s How long turns of the event loop took.\n# TYPE %s histogram\n", name, name);
  for (size_t i = 0; i < BK_LAG_BUCKETS - 1; i++) {
    sum += lag->turns[i];
    if (i % 8 == 0) bx_buffer_printf(out, "%s_bucket{le=\"%.6f\"} %lu\n", name, edge(i + 1) / 1e6, (unsigned long)sum);
  }
  sum = bk_lag_turns(lag);
  bx_buffer_printf(out, "%s_bucket{le=\"+Inf\"} %lu\n%s_sum %.6f\n%s_count %lu\n", name, (unsigned long)sum, name,
                   (double)lag->busy / 1e9, name, (unsigned long)sum);
}
