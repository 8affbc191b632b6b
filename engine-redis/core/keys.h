// SPDX-License-Identifier: Apache-2.0
// The keys that are named outside the scripts (engine-redis/scripts/keys.lua knows them all).
#pragma once

#define ER_KEY_JOURNAL ":journal"
#define ER_KEY_INBOX ":inbox:"
