// SPDX-License-Identifier: Apache-2.0
// A question to all brokers: asked through their inboxes, answered with a text of each one's making.
// Who does not answer in time is told as missing; a survey never waits longer than for that.
#include "engine-redis/core/private.h"

struct er_survey {
  struct bx_list link;
  uint64_t question;
  bx_millis deadline;
  struct bx_buffer asked;   // the question's text, until the directory has answered
  struct er_report *reports;
  size_t count, missing;
  void (*done)(void *context, const struct er_report *, size_t count);
  void *context;
};

static struct er_survey *of(struct bx_list *link) { return bx_container_of(link, struct er_survey, link); }

static struct bx_slice copy(struct bx_slice text) {
  return (struct bx_slice){memcpy(bx_alloc(text.len + 1), text.len ? text.at : "", text.len), text.len};
}

static void finish(struct er_survey *s, bool known) {
  bx_list_remove(&s->link);
  s->done(s->context, known ? s->reports : NULL, known ? s->count : 0);
  for (size_t i = 0; i < s->count; i++) {
    bx_free((char *)s->reports[i].node.at);
    bx_free((char *)s->reports[i].text.at);
  }
  bx_free(s->reports);
  bx_buffer_fini(&s->asked);
  bx_free(s);
}

static struct er_survey *find(struct er_core *c, uint64_t question) {
  bx_list_each (link, &c->surveys)
    if (of(link)->question == question) return of(link);
  return NULL;
}

// -- asking ----------------------------------------------------------------------------------------

struct asking {
  struct er_core *core;
  uint64_t question;
};

static bool is_asked(const struct er_core *c, const struct er_node_info *node) {
  return bx_slice_equal(node->role, BX_LIT("broker")) && !bx_slice_equal(node->node, c->options.node) &&
         node->age < ER_HEARTBEAT;
}

static void ask_all(void *context, const struct er_node_info *nodes, size_t count) {
  struct asking *a = context;
  struct er_core *c = a->core;
  struct er_survey *s = find(c, a->question);

  bx_free(a);
  if (s == NULL) return;   // too late
  if (nodes == NULL) {
    finish(s, false);
    return;
  }
  s->reports = bx_alloc((count + 1) * sizeof *s->reports);
  for (size_t i = 0; i < count; i++) {
    if (!is_asked(c, &nodes[i])) continue;
    s->reports[s->count++] = (struct er_report){.node = copy(nodes[i].node), .missing = true};
    er_post(c, nodes[i].node, "survey", BX_LIT("-"), s->question, "raw", bx_buffer_view(&s->asked));
  }
  s->missing = s->count;
  if (s->missing == 0) finish(s, true);
}

void er_core_survey(struct er_core *c, struct bx_slice question,
                    void (*done)(void *context, const struct er_report *, size_t count), void *context) {
  struct er_survey *s = bx_alloc(sizeof *s);
  struct asking *a = bx_alloc(sizeof *a);

  s->question = ++c->questions;
  s->deadline = c->now + ER_SURVEY_TIME;
  s->done = done;
  s->context = context;
  bx_buffer_slice(&s->asked, question);
  bx_list_append(&c->surveys, &s->link);
  *a = (struct asking){c, s->question};
  er_core_ask_nodes(c, ask_all, a);
}

void er_survey_report(struct er_core *c, uint64_t question, struct bx_slice node, struct bx_slice text) {
  struct er_survey *s = find(c, question);

  for (size_t i = 0; s != NULL && i < s->count; i++) {
    struct er_report *r = &s->reports[i];
    if (!r->missing || !bx_slice_equal(r->node, node)) continue;
    r->text = copy(text);
    r->missing = false;
    if (--s->missing == 0) finish(s, true);
    return;
  }
}

void er_survey_tick(struct er_core *c) {
  bx_list_each (link, &c->surveys)
    if (c->now >= of(link)->deadline) finish(of(link), of(link)->reports != NULL);
}

void er_survey_end_all(struct er_core *c) {
  while (!bx_list_empty(&c->surveys)) finish(of(c->surveys.next), false);
}

// -- answering -------------------------------------------------------------------------------------

void er_core_on_survey(struct er_core *c, void (*answer)(void *, struct bx_slice, struct bx_buffer *), void *context) {
  c->answer_survey = answer;
  c->answer_context = context;
}

void er_survey_answer(struct er_core *c, uint64_t question, struct bx_slice from, struct bx_slice text) {
  struct bx_buffer out = {0};

  if (c->answer_survey == NULL || !er_usable(c)) return;
  c->answer_survey(c->answer_context, text, &out);
  if (out.len > 0) er_post(c, from, "report", BX_LIT("-"), question, "replies", bx_buffer_view(&out));
  bx_buffer_fini(&out);
}
