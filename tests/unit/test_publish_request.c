// SPDX-License-Identifier: Apache-2.0
// The schema of POST /v1/publish.
#include "broker/publish/handler.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

// A parsed body. The body is a copy of exactly its length: reading past its end is seen.
struct parsed {
  struct bk_publish_request r;
  enum bk_publish_parse outcome;
  struct bx_buffer error;
  char *copy;
};

static struct parsed parse_slice(struct bx_slice body) {
  struct parsed p = {0};
  p.copy = bx_alloc(body.len);
  memcpy(p.copy, body.at, body.len);
  p.outcome = bk_publish_request_parse(&p.r, (struct bx_slice){p.copy, body.len}, &p.error);
  return p;
}

static struct parsed parse(const char *body) { return parse_slice(bx_slice_of(body)); }

static void drop(struct parsed *p) {
  bk_publish_request_fini(&p->r);
  bx_buffer_fini(&p->error);
  bx_free(p->copy);
}

static void assert_slice(struct bx_slice s, const char *text) {
  assert_int_equal(s.len, strlen(text));
  assert_memory_equal(s.at, text, s.len);
}

static void assert_bad(const char *body, const char *expected) {
  struct parsed p = parse(body);
  struct bx_buffer text = {0};
  assert_int_equal(p.outcome, BK_PUBLISH_PARSED);
  assert_int_equal(p.r.count, 1);
  if (!p.r.entries[0].fault) fail_msg("taken as good: %s", body);
  bk_publish_entry_error(&p.r.entries[0], &text);
  assert_slice(bx_buffer_view(&text), expected);
  bx_buffer_fini(&text);
  drop(&p);
}

static void an_object(void **state) {
  (void)state;
  struct parsed p = parse("{\"channel\":\"/a/b\", \"data\": {\"x\" : 1.10} ,\"id\":\"k\",\"ext\":{\"e\":1}}");
  assert_int_equal(p.outcome, BK_PUBLISH_PARSED);
  assert_false(p.r.list);
  assert_int_equal(p.r.count, 1);
  assert_null(p.r.entries[0].fault);
  assert_slice(p.r.entries[0].item.channel, "/a/b");
  assert_slice(p.r.entries[0].item.data, "{\"x\" : 1.10}");
  assert_slice(p.r.entries[0].item.id, "k");
  assert_slice(p.r.entries[0].item.ext, "{\"e\":1}");
  drop(&p);
}

static void data_keeps_its_bytes(void **state) {
  (void)state;
  static const char *const values[] = {
      "1.10",     "12345678901234567890",     "1e999", "null", "false", "\"\\u00e9 \\/ \\ud800 é\"", "\"\\u0000\"",
      "[ 1 ,2 ]", "{\"b\":1,\"a\":2,\"b\":3}"};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char body[256];
    snprintf(body, sizeof body, "[{\"data\":%s,\"channel\":\"/a\"}]", values[i]);
    struct parsed p = parse(body);
    assert_int_equal(p.outcome, BK_PUBLISH_PARSED);
    assert_null(p.r.entries[0].fault);
    assert_slice(p.r.entries[0].item.data, values[i]);
    drop(&p);
  }
}

static void escaped_strings_are_decoded(void **state) {
  (void)state;
  struct parsed p = parse("[{\"ch\\u0061nnel\":\"\\/a\\/b\",\"data\":1,\"id\":\"\\u00e9\"},"
                          "{\"channel\":\"\\/c\",\"data\":2,\"id\":\"x\\ty\"}]");
  assert_int_equal(p.outcome, BK_PUBLISH_PARSED);
  assert_slice(p.r.entries[0].item.channel, "/a/b");
  assert_slice(p.r.entries[0].item.id, "é");
  assert_slice(p.r.entries[1].item.channel, "/c");
  assert_slice(p.r.entries[1].item.id, "x\ty");
  drop(&p);
}

static void the_last_duplicate_wins(void **state) {
  (void)state;
  struct parsed p = parse("{\"channel\":\"/a\",\"data\":1,\"data\":2,\"channel\":\"/b\"}");
  assert_slice(p.r.entries[0].item.channel, "/b");
  assert_slice(p.r.entries[0].item.data, "2");
  drop(&p);
}

static void bad_entries(void **state) {
  (void)state;
  assert_bad("{}", "channel: a string is required");
  assert_bad("{\"channel\":1,\"data\":1}", "channel: a string is required");
  assert_bad("{\"channel\":\"\",\"data\":1}", "channel: not a channel name");
  assert_bad("{\"channel\":\"/a.b\",\"data\":1}", "channel: not a channel name: /a.b");
  assert_bad("{\"channel\":\"/a/*\",\"data\":1}", "channel: a name is required, this is a pattern: /a/*");
  assert_bad("{\"channel\":\"/**\",\"data\":1}", "channel: a name is required, this is a pattern: /**");
  assert_bad("{\"channel\":\"/meta/x\",\"data\":1}", "channel: nobody publishes on /meta: /meta/x");
  assert_bad("{\"channel\":\"/meta\",\"data\":1}", "channel: nobody publishes on /meta: /meta");
  assert_bad("{\"channel\":\"/a\"}", "data: is required");
  assert_bad("{\"channel\":\"/a\",\"data\":1,\"clientId\":\"x\"}", "unknown member: clientId");
  assert_bad("{\"channel\":\"/a\",\"data\":1,\"ext\":[]}", "ext: an object was expected");
  assert_bad("{\"channel\":\"/a\",\"data\":1,\"id\":\"\"}", "id: a string of 1 to 64 bytes was expected");
  assert_bad("{\"channel\":\"/a\",\"data\":1,\"id\":7}", "id: a string of 1 to 64 bytes was expected");
  assert_bad("[7]", "an object with channel and data was expected");
  assert_bad("[[{\"channel\":\"/a\"}]]", "an object with channel and data was expected");
}

static void the_length_of_an_id(void **state) {
  (void)state;
  for (int len = 63; len <= 65; len++) {
    char body[200];
    snprintf(body, sizeof body, "{\"channel\":\"/a\",\"data\":1,\"id\":\"%0*d\"}", len, 0);
    struct parsed p = parse(body);
    assert_int_equal(p.r.entries[0].fault == NULL, len <= 64);
    drop(&p);
  }
}

static void a_bad_entry_spoils_its_slot_only(void **state) {
  (void)state;
  struct parsed p = parse("[{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/*\",\"data\":{\"deep\":[1,[2]]}},"
                          "{\"channel\":\"/b\",\"data\":2}]");
  assert_int_equal(p.outcome, BK_PUBLISH_PARSED);
  assert_true(p.r.list);
  assert_int_equal(p.r.count, 3);
  assert_null(p.r.entries[0].fault);
  assert_non_null(p.r.entries[1].fault);
  assert_null(p.r.entries[2].fault);
  assert_slice(p.r.entries[2].item.data, "2");
  drop(&p);
}

static void an_empty_list(void **state) {
  (void)state;
  struct parsed p = parse(" [ ] ");
  assert_int_equal(p.outcome, BK_PUBLISH_PARSED);
  assert_true(p.r.list);
  assert_int_equal(p.r.count, 0);
  drop(&p);
}

static void bodies_that_are_not_json(void **state) {
  (void)state;
  static const char *const bodies[] = {"",
                                       "7",
                                       "\"x\"",
                                       "null",
                                       "{",
                                       "[",
                                       "[{\"channel\":\"/a\",\"data\":1},]",
                                       "{\"channel\":\"/a\",\"data\":}",
                                       "{\"channel\":\"/a\",\"data\":01}",
                                       "{\"channel\":\"/a\",\"data\":1} x",
                                       "[{\"channel\":\"/a\",\"data\":1}]]",
                                       "{\"channel\":\"/\xff\",\"data\":1}",
                                       "\xef\xbb\xbf{\"channel\":\"/a\",\"data\":1}"};
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    struct parsed p = parse(bodies[i]);
    if (p.outcome != BK_PUBLISH_NOT_JSON) fail_msg("taken: %s", bodies[i]);
    assert_true(bx_slice_starts(bx_buffer_view(&p.error), BX_LIT("body, line 1, column ")));
    drop(&p);
  }
}

static void depth_counts_from_the_entry(void **state) {
  (void)state;
  for (int list = 0; list < 2; list++) {
    for (int depth = 59; depth <= 60; depth++) {   // of data; its entry is one more
      char body[300];
      int n = snprintf(body, sizeof body, "%s{\"channel\":\"/a\",\"data\":", list ? "[" : "");
      for (int i = 0; i < depth; i++) body[n++] = '[';
      for (int i = 0; i < depth; i++) body[n++] = ']';
      snprintf(body + n, sizeof body - (size_t)n, "}%s", list ? "]" : "");
      struct parsed p = parse(body);
      assert_int_equal(p.outcome, depth == 59 ? BK_PUBLISH_PARSED : BK_PUBLISH_NOT_JSON);
      drop(&p);
    }
  }
}

static void the_length_of_a_list(void **state) {
  (void)state;
  for (int count = 999; count <= 1001; count++) {
    struct bx_buffer body = {0};
    for (int i = 0; i < count; i++) bx_buffer_printf(&body, "%c{\"channel\":\"/a\",\"data\":%d}", i ? ',' : '[', i);
    bx_buffer_char(&body, ']');
    struct parsed p = parse_slice(bx_buffer_view(&body));
    assert_int_equal(p.outcome, count <= 1000 ? BK_PUBLISH_PARSED : BK_PUBLISH_TOO_MANY);
    if (count <= 1000) {
      assert_int_equal(p.r.count, count);
      char last[8];
      snprintf(last, sizeof last, "%d", count - 1);
      assert_slice(p.r.entries[count - 1].item.data, last);
    }
    drop(&p);
    bx_buffer_fini(&body);
  }
}

static void a_long_name_is_shown_in_part(void **state) {
  (void)state;
  char body[400], expected[300];
  memset(expected, 'x', sizeof expected);
  snprintf(body, sizeof body, "{\"channel\":\"/a\",\"data\":1,\"%.*s\":2}", 200, expected);
  snprintf(expected, sizeof expected, "unknown member: %.*s...", 128, body + 24);
  struct parsed p = parse(body);
  struct bx_buffer text = {0};
  bk_publish_entry_error(&p.r.entries[0], &text);
  assert_int_equal(text.len, strlen("unknown member: ") + 128 + 3);
  bx_buffer_fini(&text);
  drop(&p);
}

static void error_texts(void **state) {
  (void)state;
  static const struct {
    struct bk_publish_result result;
    const char *text;
  } rows[] = {
      {{.outcome = BK_PUBLISH_ACKNOWLEDGED, .position = 1}, ""},
      {{.outcome = BK_PUBLISH_REFUSED}, "503:/a:Not published"},
      {{.outcome = BK_PUBLISH_UNKNOWN}, "504:/a:Outcome unknown"},
      {{.outcome = BK_PUBLISH_REFUSED, .error = {"its own", 7}}, "its own"},
      {{.outcome = BK_PUBLISH_BAD, .error = {"bad", 3}}, "bad"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct bx_buffer text = {0};
    bk_publish_error_text(&rows[i].result, BX_LIT("/a"), &text);
    assert_slice(bx_buffer_view(&text), rows[i].text);
    bx_buffer_fini(&text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_object),
      cmocka_unit_test(data_keeps_its_bytes),
      cmocka_unit_test(escaped_strings_are_decoded),
      cmocka_unit_test(the_last_duplicate_wins),
      cmocka_unit_test(bad_entries),
      cmocka_unit_test(the_length_of_an_id),
      cmocka_unit_test(a_bad_entry_spoils_its_slot_only),
      cmocka_unit_test(an_empty_list),
      cmocka_unit_test(bodies_that_are_not_json),
      cmocka_unit_test(depth_counts_from_the_entry),
      cmocka_unit_test(the_length_of_a_list),
      cmocka_unit_test(a_long_name_is_shown_in_part),
      cmocka_unit_test(error_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
