// SPDX-License-Identifier: Apache-2.0
// The journal ring against a naive list: what is held after random appends and trims by messages, bytes
// and age, and what hangs on the chain of every key.
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/journal.h"

#define BASE 1000000

static uint64_t seed;

static uint32_t roll(uint32_t sides) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed >> 32) % sides;
}

// -- the model -------------------------------------------------------------------------------------

#define CHANNELS 9
#define APPENDS 600   // and one more

static char deep[1024];   // 64 segments
static const char *const channels[CHANNELS] = {"/a",         "/a/b", "/a/b/c",     "/a/b/d", "/b",
                                               "/service/x", deep,   "/a/c/d/e/f", "/c"};
// Keys that are looked at. The journal has a chain for each key of an entry, subscribed or not.
static const char *const keys[] = {
    "/**",  "/*",    "/a",         "/a/*",       "/a/**",       "/a/b",    "/a/b/*",   "/a/b/**", "/a/b/c",     "/b",
    "/b/*", "/b/**", "/service/x", "/service/*", "/service/**", "/a/c/**", "/a/c/d/*", "/c",      "/a/c/d/e/*", deep};
#define KEYS (sizeof keys / sizeof *keys)

struct model {
  struct bx_topics topics;
  struct bx_journal j;
  struct bx_journal_limits limits;
  uint64_t frames;
  bx_millis now;
  // Of all entries there ever were; [first, next) are held.
  bx_position position[APPENDS + 1];
  bx_millis at[APPENDS + 1];
  unsigned channel[APPENDS + 1];
  uint32_t size[APPENDS + 1];
  unsigned first, next;
  struct bx_topic *kept[KEYS];   // somebody subscribes: it stays, and knows what was trimmed
  struct bx_subscription subscription[KEYS];
};

static bool has_key(const struct model *m, unsigned n, unsigned key) {
  struct bx_slice channel = bx_slice_of(channels[m->channel[n]]), pattern = bx_slice_of(keys[key]);

  if (bx_channel_is_service(channel)) return bx_slice_equal(channel, pattern);
  return bx_channel_matches(pattern, channel);
}

static void model_trim(struct model *m) {
  uint64_t bytes = 0;

  for (unsigned n = m->first; n < m->next; n++) bytes += m->size[n];
  while (m->first < m->next) {
    unsigned count = m->next - m->first;
    bool many = count > 1 && (count > m->limits.messages || bytes > m->limits.bytes);

    if (!many && m->now - m->at[m->first] <= m->limits.age) break;
    bytes -= m->size[m->first++];
  }
  assert_int_equal(m->j.bytes, bytes);
}

static void append(struct model *m) {
  unsigned n = m->next++;
  struct bx_frame *f = bx_frame_create(m->size[n] = roll(100), &m->frames);
  const struct bx_entry *e;

  m->position[n] = bx_journal_head(&m->j) + 1 + (roll(20) == 0 ? roll(1000000) : 0);   // perhaps a new epoch
  m->at[n] = m->now;
  m->channel[n] = roll(CHANNELS);
  e = bx_journal_append(&m->j, m->position[n], bx_slice_of(channels[m->channel[n]]), f, m->now);
  assert_int_equal(e->position, m->position[n]);
  assert_ptr_equal(e->frame, f);
  assert_int_equal(f->position, e->position);
  assert_true(bx_slice_equal(bx_entry_channel(e), bx_slice_of(channels[m->channel[n]])));
  assert_int_equal(e->count,
                   bx_channel_is_service(bx_entry_channel(e)) ? 1 : bx_channel_depth(bx_entry_channel(e)) + 2);
  bx_frame_unref(f);
}

// Sequences count from 1, as the model's indices do from 0.
static void check_chain(const struct model *m, unsigned key) {
  struct bx_topic *t = bx_topics_find(&m->topics, bx_slice_of(keys[key]));
  uint64_t sequence = t == NULL ? 0 : t->newest, behind = 0;
  unsigned count = 0;

  for (unsigned n = m->next; n-- > m->first;) {
    const struct bx_chain_link *link;

    if (!has_key(m, n, key)) continue;
    count++;
    assert_int_equal(sequence, n + 1);
    link = bx_entry_link(bx_journal_at(&m->j, sequence), t);
    assert_non_null(link);
    assert_int_equal(link->behind, behind);
    behind = sequence;
    sequence = link->before;
  }
  assert_null(bx_journal_at(&m->j, sequence));   // the rest is trimmed, or there was none
  assert_int_equal(t == NULL ? 0 : t->entries, count);
  assert_int_equal(t != NULL, count > 0 || m->kept[key] != NULL);
}

// Never lower than the last of its own that was trimmed; of a topic that always was there, exactly that.
static void check_trimmed(const struct model *m, unsigned key) {
  const struct bx_topic *t = bx_topics_find(&m->topics, bx_slice_of(keys[key]));
  bx_position last = 0;

  if (t == NULL) return;
  for (unsigned n = 0; n < m->first; n++)
    if (has_key(m, n, key)) last = m->position[n];
  assert_true(t->trimmed >= last);
  if (m->kept[key] == NULL) return;
  assert_int_equal(t->trimmed, last > 0 ? last : BASE);
}

static void check(const struct model *m) {
  assert_int_equal(m->j.next - m->j.first, m->next - m->first);
  assert_int_equal(m->frames, m->next - m->first);
  assert_int_equal(bx_journal_head(&m->j), m->next > 0 ? m->position[m->next - 1] : BASE);
  assert_int_equal(bx_journal_first(&m->j), m->first < m->next ? m->position[m->first] : bx_journal_head(&m->j) + 1);
  assert_int_equal(m->j.trimmed, m->first > 0 ? m->position[m->first - 1] : BASE);
  assert_null(bx_journal_at(&m->j, 0));
  assert_null(bx_journal_at(&m->j, m->first));
  assert_null(bx_journal_at(&m->j, m->next + 1));
  for (unsigned n = m->first; n < m->next; n++) assert_int_equal(bx_journal_at(&m->j, n + 1)->position, m->position[n]);
  for (unsigned key = 0; key < KEYS; key++) {
    check_chain(m, key);
    check_trimmed(m, key);
  }
}

static void begin(struct model *m, const struct bx_journal_limits *limits) {
  *m = (struct model){.limits = *limits, .now = 5000};
  bx_topics_init(&m->topics, (struct bx_table_key){1, 2});
  bx_journal_init(&m->j, &m->topics, limits, BASE);
}

static void end(struct model *m) {
  for (unsigned key = 0; key < KEYS; key++)
    if (m->kept[key] != NULL) bx_topic_remove(m->kept[key], &m->subscription[key]);
  bx_journal_fini(&m->j);
  for (unsigned key = 0; key < KEYS; key++)
    if (m->kept[key] != NULL && bx_topics_find(&m->topics, bx_slice_of(keys[key])) != NULL)
      bx_topics_drop_if_unused(&m->topics, m->kept[key]);
  assert_int_equal(m->frames, 0);
  bx_topics_fini(&m->topics);   // asserts that none is left
}

static void chains_are_what_a_naive_list_says(void **state) {
  static const struct bx_journal_limits rows[] = {
      {.messages = 1000, .bytes = 100000, .age = 1000000},   // nothing is trimmed, the ring grows
      {.messages = 20, .bytes = 100000, .age = 1000000},
      {.messages = 1, .bytes = 100000, .age = 1000000},
      {.messages = 1000, .bytes = 500, .age = 1000000},
      {.messages = 1000, .bytes = 1, .age = 1000000},   // the newest stays, whatever its size
      {.messages = 1000, .bytes = 100000, .age = 100},
      {.messages = 30, .bytes = 1500, .age = 200},
  };
  static struct model m;

  (void)state;
  seed = 88172645463325252ull;
  for (unsigned row = 0; row < sizeof rows / sizeof *rows; row++) {
    begin(&m, &rows[row]);
    for (unsigned key = row % 3; key < KEYS; key += 3) {
      m.kept[key] = bx_journal_topic(&m.j, bx_slice_of(keys[key]));
      bx_topic_add(m.kept[key], &m.subscription[key]);
    }
    check(&m);
    while (m.next < APPENDS) {
      if (roll(4) == 0) {
        m.now += roll(50);
        bx_journal_trim(&m.j, m.now);
      } else {
        append(&m);
      }
      model_trim(&m);
      check(&m);
    }
    m.now += 10000000;
    bx_journal_trim(&m.j, m.now);
    model_trim(&m);
    assert_int_equal(m.first, m.next);   // by age, all of them
    check(&m);
    append(&m);
    check(&m);
    end(&m);
  }
}

// A topic that is made when entries have left the journal may have lost some.
static void a_new_topic_does_not_know_what_was_trimmed(void **state) {
  static const struct bx_journal_limits limits = {.messages = 2, .bytes = 1000, .age = 1000};
  static struct model m;

  (void)state;
  begin(&m, &limits);
  for (unsigned i = 0; i < 5; i++) {
    struct bx_frame *f = bx_frame_create(1, &m.frames);

    bx_journal_append(&m.j, BASE + 1 + i, i == 0 || i == 4 ? BX_LIT("/a") : BX_LIT("/b"), f, m.now);
    bx_frame_unref(f);
  }
  // /a was forgotten with its first entry and made anew for its second.
  assert_int_equal(bx_topics_find(&m.topics, BX_LIT("/a"))->trimmed, BASE + 2);
  assert_int_equal(bx_topics_find(&m.topics, BX_LIT("/b"))->trimmed, BASE + 3);
  assert_int_equal(bx_topics_find(&m.topics, BX_LIT("/**"))->trimmed, BASE + 3);
  assert_int_equal(bx_journal_topic(&m.j, BX_LIT("/c"))->trimmed, BASE + 3);
  bx_topics_drop_if_unused(&m.topics, bx_topics_find(&m.topics, BX_LIT("/c")));
  bx_journal_fini(&m.j);
  bx_topics_fini(&m.topics);
}

static void a_frame_outlives_its_entry(void **state) {
  static const struct bx_journal_limits limits = {.messages = 1, .bytes = 1000, .age = 1000};
  static struct model m;
  struct bx_frame *f;

  (void)state;
  begin(&m, &limits);
  f = bx_frame_create(3, &m.frames);
  memcpy(bx_frame_text(f), "abc", 3);
  bx_journal_append(&m.j, BASE + 1, BX_LIT("/a"), f, m.now);
  assert_int_equal(f->refs, 2);
  assert_int_equal(bx_frame_array_len(f), 5);
  assert_memory_equal(bx_frame_array(f), "[abc]", 5);
  memset(bx_frame_array(f) - BX_FRAME_HEADROOM, 'x', BX_FRAME_HEADROOM);
  append(&m);
  assert_int_equal(f->refs, 1);
  assert_int_equal(f->position, BASE + 1);
  assert_memory_equal(bx_frame_array(f), "[abc]", 5);
  bx_frame_unref(f);
  bx_frame_unref(NULL);
  bx_journal_fini(&m.j);
  assert_int_equal(m.frames, 0);
  bx_topics_fini(&m.topics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chains_are_what_a_naive_list_says),
      cmocka_unit_test(a_new_topic_does_not_know_what_was_trimmed),
      cmocka_unit_test(a_frame_outlives_its_entry),
  };
  size_t len = 0;

  for (unsigned i = 0; i < 64; i++) len += (size_t)snprintf(deep + len, sizeof deep - len, "/%u", i);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
