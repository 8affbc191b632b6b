// SPDX-License-Identifier: Apache-2.0
#include "broker/webhook/options.h"

#include "config/check.h"

enum { MIN_SECRET = 16, MAX_SECRETS = 4 };

static const char *check_secret(struct bx_slice text) { return text.len >= MIN_SECRET ? NULL : "16 bytes or more"; }

#define FIELD(field) offsetof(struct bk_webhook_options, field)

const struct cf_option bk_webhook_options[] = {
    {.key = "events.webhook.url",
     .type = CF_STRING,
     .offset = FIELD(url),
     .check = cf_check_service_url,
     .doc = "The HTTP service that is told who shakes hands, subscribes, unsubscribes and leaves; see events.md. Give "
            "all brokers of one Redis the same: one of them tells. Without it nobody is told."},
    {.key = "events.webhook.secret",
     .type = CF_SECRETS,
     .offset = FIELD(secrets),
     .check = check_secret,
     .doc = "What requests to it are signed with: 16 bytes or more. Several, at most 4, so that they can be changed "
            "without a gap: then each signs."},
    {.key = "events.webhook.timeout",
     .type = CF_DURATION,
     .offset = FIELD(timeout),
     .standard = "10s",
     .min = 10,
     .max = 60000,
     .doc = "How long a request to it may take. Then, and after any answer that is not 2xx, the same events are sent "
            "again."},
    {.key = "events.webhook.pause",
     .type = CF_DURATION,
     .offset = FIELD(pause),
     .standard = "30s",
     .min = 100,
     .max = 3600000,
     .doc = "The longest pause before events are sent again: half a second at first, then twice as long each time."},
    {.key = "events.webhook.batch",
     .type = CF_NUMBER,
     .offset = FIELD(batch),
     .standard = "100",
     .min = 1,
     .max = 1000,
     .doc = "Events of one request, at most."},
    {.key = "events.webhook.queue",
     .type = CF_NUMBER,
     .offset = FIELD(queue),
     .standard = "100000",
     .min = 1,
     .max = 10000000,
     .doc = "Events that wait while it does not take them, with the memory engine; beyond it the oldest are dropped. "
            "In Redis about 100,000 are kept."},
    {0}};

void bk_webhook_check(const struct cf_set *config, const struct bk_webhook_options *o, struct bx_buffer *faults) {
  const char *from = cf_origin(config, "events.webhook.secret");
  if (o->secrets.count > 0 && !o->url)
    bx_buffer_printf(faults, "%s: events.webhook.secret: nothing is signed without events.webhook.url\n", from);
  if (o->secrets.count > MAX_SECRETS) bx_buffer_printf(faults, "%s: events.webhook.secret: at most 4\n", from);
}
