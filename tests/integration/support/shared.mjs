// SPDX-License-Identifier: Apache-2.0
// One broker for all tests of a file, started by the first that asks for it and checked by a last
// test. For suites whose tests cannot disturb each other.
//
//   const broker = sharedBroker({set: {'broker.timeout': '10s'}});
//   test('...', async t => { const {bayeux} = await broker(); });
//   broker.endsWell();   // at the end of the file

import {startBroker} from '../lib/daemon.mjs';
import {test} from '../lib/suite.mjs';

export function sharedBroker(options) {
  const context = {failed: false, cleanups: [], after(fn) { this.cleanups.push(fn); }, onFailure() {}};
  let started = null;
  const broker = () => (started ??= startBroker(context, options));
  broker.endsWell = () => test('the broker ends in order', async () => {
    await broker();
    for (const clean of context.cleanups.reverse()) await clean();
  });
  return broker;
}
