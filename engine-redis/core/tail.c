// SPDX-License-Identifier: Apache-2.0
// The tail: first the whole stream into the ring, page by page; then whatever is appended, and what
// other nodes put into the inbox, by one blocking read.
#include <stdio.h>

#include "engine-redis/core/keys.h"
#include "engine-redis/core/private.h"

#define PAGE 1000
#define READ_COUNT "512"
#define READ_BLOCK "1000"   // ms; the link counts silence beyond 3 s as its death

static void read_more(struct er_core *c);
static void read_page(struct er_core *c);

// -- entries ---------------------------------------------------------------------------------------

struct bx_slice er_entry_field(const struct er_reply *fields, const char *name) {
  for (size_t i = 0; fields != NULL && i + 1 < fields->count; i += 2)
    if (bx_slice_equal(er_reply_text(fields, i), bx_slice_of(name))) return er_reply_text(fields, i + 1);
  return (struct bx_slice){"", 0};
}

#define POSITIONS_END (1ull << 53)   // scripts and JavaScript count exactly up to here

bool er_entry_position(struct bx_slice id, bx_position *position) {
  return id.len > 2 && memcmp(id.at + id.len - 2, "-0", 2) == 0 &&
         er_text_u64((struct bx_slice){id.at, id.len - 2}, position) && *position < POSITIONS_END;
}

// "<node>:<sequence>", when the node is this one.
static bool is_own(const struct er_core *c, struct bx_slice origin, uint64_t *sequence) {
  size_t n = c->options.node.len;

  return bx_slice_starts(origin, c->options.node) && origin.len > n + 1 && origin.at[n] == ':' &&
         er_text_u64((struct bx_slice){origin.at + n + 1, origin.len - n - 1}, sequence);
}

static void begin(struct er_core *c, bx_position base) {
  if (c->begun) return;
  c->begun = true;
  c->head = c->engine.base = base;
  c->engine.events.begin(c->engine.events.context, base);
}

static void gap(struct er_core *c, bx_position to) {
  er_event(c, "engine.gap", "%llu to %llu", (unsigned long long)c->head + 1, (unsigned long long)to);
  c->engine.events.gap(c->engine.events.context, c->head + 1, to);
}

// Is this the next position? A jump is lawful over an entry of kind `epoch` only.
static void step_to(struct er_core *c, bx_position position) {
  if (position > c->head + 1) gap(c, position - 1);
  c->head = position;
}

// When nothing survived, what Redis knew of this node's link is gone, too.
static void learn(struct er_core *c, uint64_t epoch, bx_position first, bx_position survived) {
  bool news = epoch > c->epoch;

  er_learn_epoch(c, epoch, first, survived);
  if (news && survived == 0) er_hello(c);
}

static void apply_epoch(struct er_core *c, bx_position position, const struct er_reply *fields) {
  uint64_t survived = 0, epoch = 0;

  if (!er_text_u64(er_entry_field(fields, "s"), &survived) || !er_text_u64(er_entry_field(fields, "e"), &epoch))
    er_malformed(c, "epoch entry", BX_LIT(""));
  else if (c->warm)
    learn(c, epoch, position, survived);
  if (position <= c->head) return;
  if (c->head < survived) gap(c, survived);   // what survived and was trimmed before it was read here
  c->head = position;
  c->engine.events.jump(c->engine.events.context, position);
}

// Every node checks what it hands to its clients: the journal is open to whoever can write to Redis.
static bool is_object(struct bx_slice text) {
  struct bx_value value;
  struct bx_scan s;

  bx_scan_init(&s, text, 64);
  return bx_scan_peek(&s) == BX_JSON_OBJECT && bx_scan_value(&s, &value) && bx_scan_end(&s);
}

#define MAX_CHANNEL 65536   // bytes; nodes limit what their own clients publish on

static bool is_channel(struct bx_slice channel) {
  return channel.len <= MAX_CHANNEL && bx_channel_classify(channel) == BX_CHANNEL_NAME &&
         bx_channel_depth(channel) <= 64 && !bx_channel_is_meta(channel);
}

// A reference. NULL: the entry is no message.
static struct bx_frame *make_frame(struct er_core *c, struct bx_slice channel, struct bx_slice text) {
  struct bx_frame *frame;

  if (!is_channel(channel) || !is_object(text)) return NULL;
  frame = bx_frame_create(text.len, c->engine.frames);
  memcpy(bx_frame_text(frame), text.at, text.len);
  return frame;
}

// What went out from here and came back as it was has its frame, and was checked when it was made.
static void apply_message(struct er_core *c, bx_position position, const struct er_reply *fields) {
  struct bx_slice channel = er_entry_field(fields, "c"), text = er_entry_field(fields, "m");
  struct bx_slice origin = er_entry_field(fields, "o");
  struct bx_frame *frame = NULL;
  uint64_t sequence;
  bool own = is_own(c, origin, &sequence);

  step_to(c, position);
  if (own) frame = er_append_frame(c, sequence, channel, text);
  frame = frame != NULL ? bx_frame_ref(frame) : make_frame(c, channel, text);
  if (frame == NULL) {
    er_malformed(c, "journal entry", channel);
    c->engine.events.jump(c->engine.events.context, position);
  } else {
    er_origin_read(c, origin, position);
    c->engine.events.appended(c->engine.events.context, position, channel, frame);
    bx_engine_deliver(&c->engine);   // one by one: an acknowledgement may follow
    bx_frame_unref(frame);
  }
  if (!own) return;
  er_append_saw(c, sequence, position);
  er_recover_saw(c, sequence, position);
}

// Where reading goes on: behind the last id, whatever it was.
static void note_id(char *to, size_t size, struct bx_slice id) {
  if (id.len >= size) return;
  memcpy(to, id.at, id.len);
  to[id.len] = '\0';
}

static void apply(struct er_core *c, const struct er_reply *entry) {
  const struct er_reply *fields = er_reply_item(entry, 1);
  struct bx_slice kind = er_entry_field(fields, "k");
  bx_position position;

  note_id(c->journal_at, sizeof c->journal_at, er_reply_text(entry, 0));

  if (!er_entry_position(er_reply_text(entry, 0), &position)) {
    er_malformed(c, "journal id", er_reply_text(entry, 0));
    return;
  }
  begin(c, position - 1);
  if (bx_slice_equal(kind, BX_LIT("epoch"))) {
    apply_epoch(c, position, fields);
  } else if (position <= c->head) {
    return;   // seen
  } else if (kind.len == 0) {
    apply_message(c, position, fields);
  } else {
    struct bx_slice name = er_entry_field(fields, "c");

    if (bx_slice_equal(kind, BX_LIT("revoke")) && name.len > 0)
      c->engine.events.revoked(c->engine.events.context, name);
    if (bx_slice_equal(kind, BX_LIT("revoke-token")) && name.len > 0)
      c->engine.events.revoked_token(c->engine.events.context, name);
    step_to(c, position);   // also a probe, or a kind of a later version
    c->engine.events.jump(c->engine.events.context, position);
  }
}

// -- reading ---------------------------------------------------------------------------------------

static void add_key(struct er_arguments *args, const struct er_core *c, const char *name, struct bx_slice more) {
  struct bx_buffer key = {0};

  bx_buffer_slice(&key, c->options.ns);
  bx_buffer_slice(&key, bx_slice_of(name));
  bx_buffer_slice(&key, more);
  er_arguments_text(args, bx_buffer_view(&key));
  bx_buffer_fini(&key);
}

static void take_stream(struct er_core *c, const struct er_reply *stream) {
  const struct er_reply *entries = er_reply_item(stream, 1);
  struct bx_slice name = er_reply_text(stream, 0);
  bool journal = name.len == c->options.ns.len + sizeof ER_KEY_JOURNAL - 1 &&
                 memcmp(name.at + c->options.ns.len, ER_KEY_JOURNAL, sizeof ER_KEY_JOURNAL - 1) == 0;

  for (size_t i = 0; entries != NULL && i < entries->count; i++) {
    const struct er_reply *entry = &entries->items[i];

    if (journal) {
      apply(c, entry);
      continue;
    }
    note_id(c->inbox_at, sizeof c->inbox_at, er_reply_text(entry, 0));
    er_inbox(c, er_reply_item(entry, 1));
  }
}

static void read_done(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  bx_free(call);
  if (reply == NULL || c->tail != ER_TAIL_READING) return;
  if (er_reply_is_error(reply)) {
    er_event(c, "engine.tail_failed", "%.*s", (int)reply->text.len, reply->text.at);
    c->env.reset(c->env.context, ER_TAIL, "the tail can not be read");
    return;
  }
  for (size_t i = 0; reply->type == ER_REPLY_ARRAY && i < reply->count; i++) take_stream(c, &reply->items[i]);
  er_append_tailed(c);
  if (c->tail == ER_TAIL_READING) read_more(c);
}

static void read_more(struct er_core *c) {
  struct er_call *call = bx_alloc(sizeof *call);
  struct er_arguments args = {0};

  call->done = read_done;
  er_arguments_text(&args, BX_LIT("BLOCK"));
  er_arguments_text(&args, BX_LIT(READ_BLOCK));
  er_arguments_text(&args, BX_LIT("COUNT"));
  er_arguments_text(&args, BX_LIT(READ_COUNT));
  er_arguments_text(&args, BX_LIT("STREAMS"));
  add_key(&args, c, ER_KEY_JOURNAL, (struct bx_slice){0});
  add_key(&args, c, ER_KEY_INBOX, c->options.node);
  er_arguments_text(&args, bx_slice_of(c->journal_at));
  er_arguments_text(&args, bx_slice_of(c->inbox_at));
  er_send(c, ER_TAIL, "XREAD", &args, call);
}

// The ring is filled before anything is adopted; afterwards reading forward never asks Redis.
static void page_done(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  bx_free(call);
  if (reply == NULL || c->tail != ER_TAIL_WARMING) return;
  if (reply->type != ER_REPLY_ARRAY) {
    c->env.reset(c->env.context, ER_TAIL, "the journal can not be read");
    return;
  }
  for (size_t i = 0; i < reply->count; i++) apply(c, &reply->items[i]);
  if (reply->count == PAGE) {
    read_page(c);
    return;
  }
  if (!c->begun) snprintf(c->journal_at, sizeof c->journal_at, "%llu-0", (unsigned long long)c->hello_p);
  begin(c, c->hello_p);
  c->warm = true;
  c->tail = ER_TAIL_READING;
  er_event(c, "engine.warm", "head %llu", (unsigned long long)c->head);
  er_append_tailed(c);
  read_more(c);
}

static void read_page(struct er_core *c) {
  struct er_call *call = bx_alloc(sizeof *call);
  struct er_arguments args = {0};
  char from[64];

  call->done = page_done;
  add_key(&args, c, ER_KEY_JOURNAL, (struct bx_slice){0});
  snprintf(from, sizeof from, c->journal_at[0] == '0' ? "-" : "(%s", c->journal_at);
  er_arguments_text(&args, bx_slice_of(from));
  er_arguments_text(&args, BX_LIT("+"));
  er_arguments_text(&args, BX_LIT("COUNT"));
  er_arguments_u64(&args, PAGE);
  er_send(c, ER_TAIL, "XRANGE", &args, call);
}

void er_tail_up(struct er_core *c) {
  if (!c->greeted && !c->warm) return;   // hello makes the journal, and says where it stands
  c->tail = c->warm ? ER_TAIL_READING : ER_TAIL_WARMING;
  if (c->warm)
    read_more(c);
  else
    read_page(c);
}

void er_tail_down(struct er_core *c) { c->tail = ER_TAIL_DOWN; }
