// SPDX-License-Identifier: Apache-2.0
// Log lines, read back from standard error.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/host/log.h"

static char line[4096];

// Runs `log` with standard error caught; what was written is in `line`.
static void capture(void (*log)(void)) {
  int ends[2], kept = dup(STDERR_FILENO);
  assert_int_equal(pipe(ends), 0);
  dup2(ends[1], STDERR_FILENO);
  log();
  dup2(kept, STDERR_FILENO);
  close(kept);
  close(ends[1]);
  ssize_t n = read(ends[0], line, sizeof line - 1);
  line[n > 0 ? n : 0] = '\0';
  close(ends[0]);
}

static void log_fields(void) {
  bk_info("listening", bk_s("listener", "broker"), bk_u("port", 18446744073709551615u), bk_b("open", true),
          bk_b("shut", false), bk_s("none", NULL));
}

static void text_lines(void **state) {
  (void)state;
  bk_log_configure(BK_INFO, false);
  capture(log_fields);
  // 2026-11-21T10:00:00.123Z info listening ...
  assert_int_equal(line[10], 'T');
  assert_int_equal(line[19], '.');
  assert_int_equal(line[23], 'Z');
  assert_string_equal(line + 24,
                      " info listening listener=broker port=18446744073709551615 open=true shut=false none=\"\"\n");
}

static void json_lines(void **state) {
  (void)state;
  bk_log_configure(BK_INFO, true);
  capture(log_fields);
  assert_memory_equal(line, "{\"time\":\"2", 10);
  assert_string_equal(strstr(line, "\",\"level\""),
                      "\",\"level\":\"info\",\"event\":\"listening\",\"listener\":\"broker\","
                      "\"port\":18446744073709551615,\"open\":true,\"shut\":false,\"none\":\"\"}\n");
}

static void log_odd(void) {
  bk_error("odd", bk_s("space", "a b"), bk_s("quote", "a\"b"), bk_s("line", "a\nb"), bk_s("equals", "a=b"),
           bk_sl("bytes", BX_LIT("\xff")), bk_s("plain", "a/b:c,d;[e]"));
}

static void odd_values_are_quoted(void **state) {
  (void)state;
  bk_log_configure(BK_INFO, false);
  capture(log_odd);
  assert_string_equal(line + 24, " error odd space=\"a b\" quote=\"a\\\"b\" line=\"a\\nb\" equals=\"a=b\" "
                                 "bytes=\"\xef\xbf\xbd\" plain=a/b:c,d;[e]\n");
}

static int evaluated;
static void log_levels(void) {
  bk_debug("no", bk_u("n", (uint64_t)++evaluated));
  bk_info("no");
  bk_warn("yes");
}

static void levels_below_the_lowest_cost_nothing(void **state) {
  (void)state;
  bk_log_configure(BK_WARN, false);
  capture(log_levels);
  assert_string_equal(line + 24, " warn yes\n");
  assert_int_equal(evaluated, 0);
  assert_false(bk_log_enabled(BK_INFO));
  assert_true(bk_log_enabled(BK_ERROR));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_lines),
      cmocka_unit_test(json_lines),
      cmocka_unit_test(odd_values_are_quoted),
      cmocka_unit_test(levels_below_the_lowest_cost_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
