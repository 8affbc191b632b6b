// SPDX-License-Identifier: Apache-2.0
// access.rules: the first line is the rules, the second a pattern, the third a channel. Whatever the rules
// are, a pattern that is granted matches no channel that would not be granted by itself.
#include <stdio.h>
#include <stdlib.h>

#include "bayeux/channel.h"
#include "broker/access/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bx_slice take_line(struct bx_slice *rest) {
  const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;
  struct bx_slice line = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
  size_t gone = line.len + (end != NULL);
  rest->at += gone;
  rest->len -= gone;
  return line;
}

static void check(const struct bk_rules *rules, struct bx_slice pattern, struct bx_slice channel,
                  const struct bk_subject *who) {
  struct bx_buffer error = {0};
  struct bk_decision d = bk_rules_decide(rules, BK_SUBSCRIBE, pattern, who);
  bk_rules_error(&d, BK_SUBSCRIBE, pattern, &error);
  bx_buffer_fini(&error);
  if (d.ruling == BK_RULING_DENY || !bx_channel_matches(pattern, channel)) return;
  enum bk_ruling alone = bk_rules_decide(rules, BK_SUBSCRIBE, channel, who).ruling;
  // What the authority is asked about the pattern it answers for its channels.
  if (alone != BK_RULING_ALLOW && !(d.ruling == BK_RULING_ASK && alone == BK_RULING_ASK)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct bk_subject subjects[] = {{{"u", 1}, false}, {{0}, false}, {{0}, true}};
  struct bx_slice rest = {(const char *)data, size}, json = take_line(&rest), pattern = take_line(&rest);
  struct bk_rules rules;
  if (size > 4096 || bk_rules_read(json, &rules) != NULL) return 0;
  if (bx_channel_classify(pattern) != BX_CHANNEL_INVALID && bx_channel_classify(rest) == BX_CHANNEL_NAME)
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) check(&rules, pattern, rest, &subjects[i]);
  bk_rules_fini(&rules);
  return 0;
}
