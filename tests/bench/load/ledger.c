// SPDX-License-Identifier: Apache-2.0
// Stamps, tracks and the histogram of latencies.
#include "tests/bench/load/ledger.h"

// "@@<10 digits>@<19 digits>@<6 digits>", then dots.
enum { SEQUENCE = 2, TIME = SEQUENCE + 11, CHANNEL = TIME + 20, STAMP = CHANNEL + 6 };

static void put_digits(char *at, unsigned count, uint64_t value) {
  for (char *to = at + count; to > at; value /= 10) *--to = (char)('0' + value % 10);
}

static bool get_digits(const char *at, unsigned count, uint64_t *value) {
  *value = 0;
  for (unsigned i = 0; i < count; i++) {
    if (at[i] < '0' || at[i] > '9') return false;
    *value = *value * 10 + (uint64_t)(at[i] - '0');
  }
  return true;
}

void bn_stamp_write(char data[BN_DATA], const struct bn_stamp *s) {
  memset(data, '.', BN_DATA);
  data[0] = data[BN_DATA - 1] = '"';
  char *at = data + 1;
  at[0] = at[1] = at[TIME - 1] = at[CHANNEL - 1] = '@';
  put_digits(at + SEQUENCE, 10, s->sequence);
  put_digits(at + TIME, 19, s->time);
  put_digits(at + CHANNEL, 6, s->channel);
}

bool bn_stamp_next(const char **at, const char *end, struct bn_stamp *s) {
  while (end - *at >= STAMP) {
    const char *mark = memmem(*at, (size_t)(end - *at), "@@", 2);
    if (!mark || end - mark < STAMP) return false;
    uint64_t sequence, channel;
    if (get_digits(mark + SEQUENCE, 10, &sequence) && get_digits(mark + TIME, 19, &s->time) &&
        get_digits(mark + CHANNEL, 6, &channel)) {
      s->sequence = (uint32_t)sequence;
      s->channel = (uint32_t)channel;
      *at = mark + STAMP;
      return true;
    }
    *at = mark + 2;
  }
  return false;
}

bool bn_track_take(struct bn_track *t, uint32_t sequence, struct bn_tally *tally) {
  if (sequence >= t->next) {
    uint32_t jumped = sequence - t->next;
    tally->lost += jumped;
    t->seen = (jumped >= 63 ? 0 : t->seen << (jumped + 1)) | 1;
    t->next = sequence + 1;
    return jumped == 0;
  }
  uint32_t back = t->next - 1 - sequence;
  if (back < 64 && !(t->seen & 1ull << back)) {
    t->seen |= 1ull << back;
    tally->lost--;
    tally->disordered++;
  } else {
    tally->doubled++;
  }
  return false;
}

void bn_track_finish(struct bn_track *t, uint32_t published, struct bn_tally *tally) {
  if (published > t->next) tally->lost += published - t->next;
}

static unsigned bucket_of(uint64_t value) {
  unsigned shift = value < 2 * BN_STEPS ? 0 : 56 - (unsigned)__builtin_clzll(value);
  unsigned bucket = shift * BN_STEPS + (unsigned)(value >> shift);
  return bucket < BN_BUCKETS ? bucket : BN_BUCKETS - 1;
}

// The largest value of a bucket.
static uint64_t value_of(unsigned bucket) {
  if (bucket < 2 * BN_STEPS) return bucket;
  unsigned shift = bucket / BN_STEPS - 1;
  return ((uint64_t)(bucket - shift * BN_STEPS + 1) << shift) - 1;
}

void bn_latency_add(struct bn_tally *tally, uint64_t ns) {
  tally->latency[bucket_of(ns)]++;
  if (ns > tally->slowest) tally->slowest = ns;
}

uint64_t bn_latency_at(const struct bn_tally *tally, double share) {
  unsigned long all = 0, below = 0;
  for (unsigned i = 0; i < BN_BUCKETS; i++) all += tally->latency[i];
  unsigned long wanted = (unsigned long)((double)all * share);
  for (unsigned i = 0; i < BN_BUCKETS; i++) {
    below += tally->latency[i];
    if (below > wanted || (below == all && all > 0)) return value_of(i) < tally->slowest ? value_of(i) : tally->slowest;
  }
  return 0;
}

void bn_tally_add(struct bn_tally *to, const struct bn_tally *from) {
  to->delivered += from->delivered;
  to->ready += from->ready;
  to->open += from->open;
  to->acks += from->acks;
  to->frames += from->frames;
  to->reads += from->reads;
  to->bytes += from->bytes;
  to->doubled += from->doubled;
  to->disordered += from->disordered;
  to->stray += from->stray;
  to->broken += from->broken;
  to->lost += from->lost;
  if (from->slowest > to->slowest) to->slowest = from->slowest;
  for (unsigned i = 0; i < BN_BUCKETS; i++) to->latency[i] += from->latency[i];
}
