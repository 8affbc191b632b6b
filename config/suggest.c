// SPDX-License-Identifier: Apache-2.0
// "Did you mean": the known word with the fewest typing errors between it and the one given.
#include "config/set.h"

#define LONGEST 64   // longer words get no suggestion

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static size_t least(size_t a, size_t b, size_t c) {
  size_t ab = a < b ? a : b;
  return ab < c ? ab : c;
}

// Insertions, deletions, substitutions, and swaps of neighbours (optimal string alignment).
static size_t distance(struct bx_slice a, struct bx_slice b) {
  size_t rows[3][LONGEST + 1] = {{0}};
  size_t *before = rows[0], *last = rows[1], *now = rows[2];
  for (size_t j = 0; j <= b.len; j++) last[j] = before[j] = j;
  for (size_t i = 1; i <= a.len; i++) {
    now[0] = i;
    for (size_t j = 1; j <= b.len; j++) {
      char x = lower(a.at[i - 1]), y = lower(b.at[j - 1]);
      now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
      bool swapped = i > 1 && j > 1 && x == lower(b.at[j - 2]) && y == lower(a.at[i - 2]);
      if (swapped && before[j - 2] + 1 < now[j]) now[j] = before[j - 2] + 1;
    }
    size_t *free_row = before;
    before = last;
    last = now;
    now = free_row;
  }
  return last[b.len];
}

void cf_guess_init(struct cf_guess *g, struct bx_slice word) {
  size_t allowed = word.len / 3;
  *g = (struct cf_guess){.word = word, .distance = allowed < 1 ? 2 : allowed > 3 ? 4 : allowed + 1};
}

void cf_guess_try(struct cf_guess *g, struct bx_slice candidate) {
  if (g->word.len > LONGEST || candidate.len > LONGEST) return;
  size_t d = distance(g->word, candidate);
  if (d >= g->distance) return;
  g->distance = d;
  g->best = candidate;
}

static struct bx_slice last_word(struct bx_slice key) {
  const char *dot = key.len > 0 ? memrchr(key.at, '.', key.len) : NULL;
  return dot ? (struct bx_slice){dot + 1, key.len - (size_t)(dot + 1 - key.at)} : key;
}

// The only key that ends in the same word: "timeout" is broker.timeout.
static struct bx_slice only_namesake(const struct cf_set *s, struct bx_slice key) {
  struct bx_slice found = {0}, word = last_word(key);
  for (size_t i = 0; i < s->count; i++) {
    struct bx_slice candidate = bx_slice_of(s->rows[i].option->key);
    if (!bx_slice_equal(last_word(candidate), word)) continue;
    if (found.len > 0) return (struct bx_slice){0};
    found = candidate;
  }
  return found;
}

struct bx_slice cf_guess_key(const struct cf_set *s, struct bx_slice key) {
  struct cf_guess guess;
  cf_guess_init(&guess, key);
  for (size_t i = 0; i < s->count; i++) {
    struct bx_slice k = bx_slice_of(s->rows[i].option->key);
    cf_guess_try(&guess, k);
    for (size_t j = 0; j < k.len; j++) {
      if (k.at[j] == '.') cf_guess_try(&guess, (struct bx_slice){k.at, j});
    }
  }
  for (const char *const *f = s->foreign; f && *f; f++) {
    struct bx_slice k = bx_slice_of(*f);
    if (k.len > 1) cf_guess_try(&guess, (struct bx_slice){k.at, k.len - (k.at[k.len - 1] == '.')});
  }
  return guess.best.len > 0 ? guess.best : only_namesake(s, key);
}
